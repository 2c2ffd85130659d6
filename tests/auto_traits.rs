//! Which threads may have what: everything may be shared and sent.

use std::panic::{RefUnwindSafe, UnwindSafe};

use kvtrie::{
    AdoptError, Block, BlockHash, BlockId, BlockStatus, BuildError, Builder, Change, ChangeFeed,
    ChangeFeedError, Evicted, Hold, Namespace, NamespaceKey, OutOfBlocks, OverBudget, Pinned,
    PrefixCache, Priority, Prompt, PublishError, Removed, Replaced, Sequence, Stats, Stored,
};

fn anywhere<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}

#[test]
fn everything_may_be_shared_and_sent() {
    anywhere::<PrefixCache>();
    anywhere::<Hold>();
    anywhere::<Block>();
    anywhere::<Sequence>();
    anywhere::<Replaced>();
    anywhere::<Namespace>();
    anywhere::<NamespaceKey>();
    anywhere::<BlockId>();
    anywhere::<BlockHash>();
    anywhere::<Builder>();
    anywhere::<Stats>();
    anywhere::<BlockStatus>();
    anywhere::<Evicted>();
    anywhere::<AdoptError>();
    anywhere::<BuildError>();
    anywhere::<PublishError>();
    anywhere::<OutOfBlocks>();
    anywhere::<OverBudget>();
    anywhere::<Pinned>();
    anywhere::<Priority>();
    anywhere::<Prompt<'static>>();
    anywhere::<ChangeFeed>();
    anywhere::<ChangeFeedError>();
    anywhere::<Change<'static>>();
    anywhere::<Stored<'static>>();
    anywhere::<Removed<'static>>();
}
