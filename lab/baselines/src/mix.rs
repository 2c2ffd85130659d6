//! The mixes of work that decoders make.

use crate::hash_map::HashMapInMutex;
use crate::lookups::{BLOCKS, Lookups};
use crate::own::{Kvtrie, Locked};
use crate::requests::{Requests, Sequence};
use crate::sharded_map::ShardedMap;
use crate::{Cache, Entry};

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
        match self {
            Self::Private => all_lookups(threads, 0),
            Self::System => all_lookups(threads, 48),
            Self::One => all_lookups(threads, 64),
            Self::Trace => vec![
                requests::<Kvtrie>(sequences),
                requests::<Locked>(sequences),
                requests::<HashMapInMutex>(sequences),
                requests::<ShardedMap>(sequences),
            ],
        }
    }
}

/// Returns every cache with prompts of which the first `shared` blocks are the same.
fn all_lookups(threads: usize, shared: usize) -> Vec<Entry<'static>> {
    vec![
        lookups::<Kvtrie>(threads, BLOCKS, shared),
        lookups::<Locked>(threads, BLOCKS, shared),
        lookups::<HashMapInMutex>(threads, BLOCKS, shared),
        lookups::<ShardedMap>(threads, BLOCKS, shared),
    ]
}

/// Returns a cache with prompts of `blocks` blocks for each thread, the first `shared` of which are
/// the same in all prompts.
#[must_use]
pub fn lookups<C: Cache + 'static>(threads: usize, blocks: usize, shared: usize) -> Entry<'static> {
    let lookups = Lookups::<C>::new(threads, blocks, shared);
    (C::NAME, Box::new(lookups))
}

fn requests<'a, C: Cache + 'a>(sequences: &'a [Sequence]) -> Entry<'a> {
    (C::NAME, Box::new(Requests::<C>::new(sequences)))
}
