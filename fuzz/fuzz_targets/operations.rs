//! Operations chosen by a fuzzer, played by the driver of `tests/oracle`, which checks every
//! invariant after each.

#![no_main]

#[path = "../../tests/oracle/blocks.rs"]
mod blocks;
#[path = "../../tests/oracle/case.rs"]
mod case;
#[path = "../../tests/oracle/check.rs"]
mod check;
#[path = "../../tests/oracle/choices.rs"]
mod choices;
#[path = "../../tests/oracle/feed.rs"]
mod feed;
#[path = "../../tests/oracle/model.rs"]
mod model;
#[path = "../../tests/oracle/request.rs"]
mod request;
#[path = "../../tests/oracle/router.rs"]
mod router;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| case::play(bytes));
