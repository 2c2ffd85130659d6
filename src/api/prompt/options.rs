//! All of a prompt but its tokens.

use std::borrow::Cow;

use crate::item::Item;
use crate::trie::evict::policy::{Priority, Ranking, Span, Terms, Wishes};

/// The items of a prompt, and how the request uses the cache.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Invariant: in the order of their starts, all of which lie within the tokens.
    pub items: Cow<'a, [Item]>,
    /// Where the last item ends, at most.
    pub end: usize,
    /// The priority of published blocks in no span.
    pub priority: Priority,
    /// Priorities of ranges of tokens. The last one that covers a token counts.
    pub spans: Cow<'a, [Span]>,
    /// The inserted blocks for which published blocks are kept after each use.
    pub retention: usize,
    /// Whether the request looks up its prefix.
    pub read: bool,
    /// Whether the request publishes its blocks.
    pub store: bool,
}

impl Options<'_> {
    /// Returns the engine's terms for the tokens, for the ranking.
    pub fn wishes(&self, ranking: &Ranking) -> Wishes<'_> {
        Wishes {
            terms: Terms {
                priority: self.priority,
                retention: ranking.retention(self.retention),
            },
            spans: &self.spans,
            start: 0,
        }
    }

    /// Returns the same options, with borrowed tables.
    pub fn borrowed(&self) -> Options<'_> {
        Options {
            items: Cow::Borrowed(&self.items),
            spans: Cow::Borrowed(&self.spans),
            ..*self
        }
    }

    /// Returns the options with tables of their own: copies the borrowed ones.
    pub fn into_owned(self) -> Options<'static> {
        Options {
            items: Cow::Owned(self.items.into_owned()),
            spans: Cow::Owned(self.spans.into_owned()),
            ..self
        }
    }
}
