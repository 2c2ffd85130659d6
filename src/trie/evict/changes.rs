//! Changes of residency: the one place that records blocks as cached or evicted.

use std::ops::Range;

use crate::trie::Trie;
use crate::trie::node::NodeRef;

/// A change of the set of cached blocks.
#[derive(Debug, Clone)]
pub enum Change<'g> {
    /// These blocks of a run were published. The caller still holds the last one.
    Published(NodeRef<'g>, Range<usize>),
    /// These blocks of a run were claimed. The caller has not given them away yet.
    Evicted(NodeRef<'g>, Range<usize>),
}

impl Trie {
    /// Records a change in the slots of the clock and in the statistics.
    pub fn note(&self, change: Change<'_>) {
        match change {
            Change::Published(run, blocks) => {
                let bytes = (blocks.start == 0).then(|| run.bytes());
                let (old, new) = self.counters.published(blocks.len(), bytes);
                self.ranking.inserted(old, new);
                self.clock.insert(run, blocks);
            }
            Change::Evicted(run, blocks) => {
                self.counters.evicted(blocks.len());
                for &id in &run.ids(blocks.end)[blocks] {
                    self.clock.remove(id);
                }
            }
        }
    }
}
