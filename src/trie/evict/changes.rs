//! Changes of residency: the one place that records blocks as cached or evicted.

use std::ops::Range;

use crate::trie::Trie;
use crate::trie::node::NodeRef;

/// A change of the set of cached blocks.
#[derive(Debug, Clone)]
pub enum Change<'g> {
    /// The blocks of a run were published. The caller still holds the last one.
    Published(NodeRef<'g>),
    /// These blocks of a run were claimed. The caller has not given them away yet.
    Evicted(NodeRef<'g>, Range<usize>),
}

impl Trie {
    /// Records a change in the slots of the clock and in the statistics.
    pub fn note(&self, change: Change<'_>) {
        match change {
            Change::Published(run) => {
                self.clock.insert(run);
                self.counters.published(run.len(), run.bytes());
            }
            Change::Evicted(run, blocks) => {
                self.counters.evicted(blocks.len());
                for &id in &run.ids()[blocks] {
                    self.clock.remove(id);
                }
            }
        }
    }
}
