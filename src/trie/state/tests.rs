//! Limits of the counts, and the layout of the word.

use std::process::Command;

use super::*;

/// Creates a word with `pins` pins and `children` children.
fn counting(pins: u64, children: u64) -> State {
    State(AtomicU64::new(children << COUNT_BITS | pins))
}

/// Runs one of the three operations that add to a count, on a full word, in its own process.
#[test]
#[ignore = "ends the process: `a_full_count_ends_the_process` runs it"]
fn overflow() {
    match std::env::var("OVERFLOW").as_deref() {
        Ok("pin") => drop(counting(MOST, 0).pin()),
        Ok("fork") => drop(counting(MOST, 0).fork()),
        Ok("hand_over") => counting(1, MOST).hand_over(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_count_ends_the_process() {
    let this_binary = std::env::current_exe().expect("a test has a path");
    for operation in ["pin", "fork", "hand_over"] {
        let mut child = Command::new(&this_binary);
        let child = child.args(["--exact", "trie::state::tests::overflow", "--ignored"]);
        let ended = child
            .env("OVERFLOW", operation)
            .output()
            .expect("a test runs");
        assert_eq!(ended.status.code(), None, "{operation} ends by a signal");
    }
    assert!(counting(MOST - 1, 0).pin().is_some());
    counting(1, MOST - 1).hand_over();
}

#[test]
fn the_fields_of_the_word_do_not_overlap() {
    let counts = [COUNT, COUNT << COUNT_BITS];
    let flags = [BLOCK, FOLLOWED, PHASE, QUEUED, LISTED];
    let fields = [&counts[..], &flags[..]].concat();
    assert_eq!(
        fields.iter().fold(0, |all, field| all ^ field),
        fields.iter().sum::<u64>()
    );
}
