//! Changes of residency: the one place where blocks are noted as cached, or as cached no more.

use std::ops::Range;

use crate::trie::Trie;
use crate::trie::node::NodeRef;

/// A change of what is cached.
#[derive(Debug, Clone)]
pub enum Change<'g> {
    /// The blocks of a run were published. The caller still holds the last of them.
    Published(NodeRef<'g>),
    /// These blocks of a run were claimed. The caller has not given them away yet.
    Evicted(NodeRef<'g>, Range<usize>),
}

impl Trie {
    /// Notes a change in the slots of the clock and in the statistics.
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
