//! The mixes of work that decoders make.

use crate::hash_map::HashMapInMutex;
use crate::lookups::{BLOCKS, Lookups};
use crate::own::{Kvtrie, Locked};
use crate::requests::{Requests, Sequence};
use crate::sharded_map::ShardedMap;
use crate::{Cache, Entry, Work};

/// kvtrie's place among the entries of every mix.
pub const KVTRIE: usize = 0;

/// A mix of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Lookups of prompts that have nothing in common.
    Private,
    /// Lookups of prompts that start with the same system prompt.
    System,
    /// Lookups of one and the same prompt.
    One,
    /// The requests of a trace, with publication and eviction.
    Trace,
}

impl Mix {
    /// Every mix.
    pub const ALL: [Self; 4] = [Self::Private, Self::System, Self::One, Self::Trace];

    /// Returns what tables call the mix.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Private => "private prompts",
            Self::System => "same system prompt, different endings",
            Self::One => "one prompt for all",
            Self::Trace => "a trace, with publication and eviction",
        }
    }

    /// Returns what an operation is.
    #[must_use]
    pub fn operations(self) -> &'static str {
        match self {
            Self::Trace => "requests",
            _ => "lookups",
        }
    }

    /// Returns every cache with this work, for up to `threads` threads. kvtrie is at [`KVTRIE`].
    #[must_use]
    pub fn entries(self, threads: usize, sequences: &[Sequence]) -> Vec<Entry<'_>> {
        vec![
            self.entry::<Kvtrie>(threads, sequences),
            self.entry::<Locked>(threads, sequences),
            self.entry::<HashMapInMutex>(threads, sequences),
            self.entry::<ShardedMap>(threads, sequences),
        ]
    }

    /// Returns kvtrie with this work for one thread.
    #[must_use]
    pub fn alone(self, sequences: &[Sequence]) -> Box<dyn Work + '_> {
        self.entry::<Kvtrie>(1, sequences).1
    }

    fn entry<C: Cache + 'static>(self, threads: usize, sequences: &[Sequence]) -> Entry<'_> {
        let shared = match self {
            Self::Private => 0,
            Self::System => 48,
            Self::One => BLOCKS,
            Self::Trace => return (C::NAME, Box::new(Requests::<C>::new(sequences))),
        };
        lookups::<C>(threads, BLOCKS, shared)
    }
}

/// Returns a cache with prompts of `blocks` blocks for each thread, the first `shared` of which are
/// the same in all prompts.
#[must_use]
pub fn lookups<C: Cache + 'static>(threads: usize, blocks: usize, shared: usize) -> Entry<'static> {
    (
        C::NAME,
        Box::new(Lookups::<C>::new(threads, blocks, shared)),
    )
}
