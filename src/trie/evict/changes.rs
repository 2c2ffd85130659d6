//! Changes of residency: the one place that records blocks as cached or evicted.

use std::ops::Range;

use crate::trie::Trie;
use crate::trie::groups::group_of;
use crate::trie::node::NodeRef;

/// A change of the set of cached blocks.
#[derive(Debug, Clone)]
pub enum Change<'g> {
    /// These blocks of a run were published. The caller still holds the last one.
    Published(NodeRef<'g>, Range<usize>),
    /// These blocks of a run were claimed. The caller has not given them away yet.
    Evicted(NodeRef<'g>, Range<usize>),
    /// The roots of namespaces were replaced.
    Cleared,
}

impl Trie {
    /// Tells the root of a new run where the run starts.
    fn note_group(&self, run: NodeRef<'_>) {
        // SAFETY: the caller holds a block of the run, which keeps the root.
        let root: NodeRef<'_> = unsafe { NodeRef::at(run.root()) };
        // Rule (note-group): a clearing finds the run by its group.
        root.groups()
            .insert(group_of(run.id(0), self.clock.capacity()));
    }

    /// Records a change in the slots of the clock, in the statistics, and for the change feed.
    pub fn note(&self, change: Change<'_>) {
        match change {
            Change::Published(run, blocks) => {
                let bytes = (blocks.start == 0).then(|| run.bytes());
                let (old, new) = self.counters.published(blocks.len(), bytes);
                self.ranking.inserted(old, new);
                // Rule (insert-then-mark): the reader looks at each slot once for each mark.
                self.clock.insert(run, blocks.clone());
                // Rule (insert-then-mark): the slots are filled.
                self.mark(run, &blocks);
                if blocks.start == 0 {
                    self.note_group(run);
                }
            }
            Change::Evicted(run, blocks) => {
                if self.counters.evicted(blocks.len()) {
                    self.check_density();
                }
                // Rule (remove-then-mark): as above.
                for &id in &run.ids(blocks.end)[blocks.clone()] {
                    self.clock.remove(id);
                }
                // Rule (remove-then-mark): the slots are empty.
                self.mark(run, &blocks);
            }
            Change::Cleared => {
                if let Some(marks) = &self.marks {
                    marks.mark_all();
                }
            }
        }
    }

    /// Tells the reader of the change feed, if there may be one, that slots have changed.
    fn mark(&self, run: NodeRef<'_>, blocks: &Range<usize>) {
        if let Some(marks) = &self.marks {
            marks.mark(&run.ids(blocks.end)[blocks.clone()]);
        }
    }
}
