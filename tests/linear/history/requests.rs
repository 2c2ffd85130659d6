//! Ids that a thread keeps itself, tokens taken back, and ends of requests.

use kvtrie::BlockId;

use super::{Actor, FEW_BLOCKS, with_images};
use crate::model::Step;

impl Actor<'_> {
    /// Lends the id of a block, if there is one.
    pub(super) fn lend(&mut self) {
        if let Some(block) = self.allocate(1).and_then(|mut blocks| blocks.pop()) {
            let lent = |block: &BlockId| vec![Step::Lend { block: *block }];
            self.call(|_| block.into_id(), lent);
        }
    }

    /// Adopts an id, which may be lent. Frees the block once the call is over.
    pub(super) fn adopt(&mut self) {
        let block = BlockId::new(self.rng.usize(0..FEW_BLOCKS));
        drop(self.call(
            |stage| stage.cache.adopt(block),
            |adopted| {
                let succeeded = adopted.is_ok();
                vec![Step::Reclaim { block, succeeded }]
            },
        ));
    }

    /// Starts a sequence, takes some of its tokens back, and keeps its hold.
    pub(super) fn truncate(&mut self) {
        let prompt = self.prompt();
        let name = self.next;
        self.next += 1;
        let mut request = self.call(
            |stage| stage.cache.sequence(&stage.namespace, with_images(&prompt)),
            |request| {
                vec![Step::Lookup {
                    hold: name,
                    prompt: prompt[..prompt.len() - 1].to_vec(),
                    table: request.hold().block_table(),
                }]
            },
        );
        let kept = self.rng.usize(0..=request.hold().len());
        let request = self.call(
            |_| {
                request.truncate(kept);
                request
            },
            |_| vec![Step::Truncate { hold: name, kept }],
        );
        self.holds.push((name, request.hold().clone()));
    }

    /// Drops a hold, and evicts the blocks behind some token.
    pub(super) fn end_a_request(&mut self) {
        let Some((name, hold)) = self.holds.pop() else {
            return self.lookup();
        };
        let from = self.rng.usize(0..=hold.len());
        self.call(
            |stage| stage.cache.evict_from(hold, from),
            |evicted| {
                let blocks = evicted.iter().map(|gone| gone.block.id());
                let left = blocks.map(|block| Step::Evict { block });
                let dropped = Step::LetGo { hold: name };
                std::iter::once(dropped).chain(left).collect()
            },
        );
    }
}
