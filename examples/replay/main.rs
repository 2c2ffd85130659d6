//! Replay.
mod demand;
mod policies;
fn main() {}
