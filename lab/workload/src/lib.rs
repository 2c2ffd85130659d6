//! Prompts to drive a prefix cache with.
//!
//! A [`Trace`] is a list of [`Request`]s in order of arrival, read from a recorded trace
//! ([`Trace::open`]) or generated ([`Trace::generated`]). It is small whatever the length of its
//! prompts: a request keeps only which pieces its prompt is made of, and spells them out when
//! asked.
//!
//! ```
//! use kvtrie_workload::Trace;
//!
//! let trace = Trace::generated(10, 42);
//! for request in trace.requests() {
//!     assert_eq!(request.prompt().len(), request.prompt_len());
//! }
//! ```

#![forbid(unsafe_code)]

mod generate;
mod request;
mod trace;

pub use request::Request;
pub use trace::{TOKENS_PER_ID, Trace};
