//! The mixes of work that decoders make.

use clap::ValueEnum;

/// A mix of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mix {
    /// Lookups of prompts that have nothing in common
    Private,
    /// Lookups of prompts that start with the same system prompt
    System,
    /// Lookups of one and the same prompt
    One,
    /// The requests of a trace, with publication and eviction
    Trace,
}

impl Mix {
    /// What tables call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Private => "private prompts",
            Self::System => "same system prompt, different endings",
            Self::One => "one prompt for all",
            Self::Trace => "a trace, with publication and eviction",
        }
    }

    /// How many times the throughput of one thread two are asked to reach.
    pub fn wanted_speedup(self) -> Option<f64> {
        match self {
            Self::Private => Some(1.9),
            Self::System => Some(1.8),
            Self::One => Some(1.5),
            Self::Trace => None,
        }
    }
}
