//! The publisher's sockets.

#[path = "../common/mod.rs"]
mod common;
mod sockets;

use std::time::{Duration, Instant};

use common::{View, cache, events, field, serve};
use kvtrie::{ChangeFeedError, PrefixCache};
use kvtrie_events::{Publisher, PublisherBuilder, StartError};
use sockets::{receive, replay, subscribe, wait_until};

/// An endpoint with a port that the system chooses.
const ANY: &str = "tcp://127.0.0.1:*";

/// Returns the settings of a fast publisher with replays, which sends nothing while it is idle.
fn builder() -> PublisherBuilder {
    let builder = Publisher::builder(ANY).replay_endpoint(ANY);
    let builder = builder.interval(Duration::from_millis(2));
    builder.heartbeat(Duration::from_secs(600))
}

/// Returns the same with heartbeats.
fn beating() -> PublisherBuilder {
    builder().heartbeat(Duration::from_millis(20))
}

/// Caches ten prompts of two blocks, one after the other, so that each gets a batch of its own.
fn publish_ten(cache: &PrefixCache, publisher: &Publisher) {
    let model = cache.namespace("model");
    wait_until(|| publisher.stats().batches > 0);
    for prompt in 0..10 {
        let batches = publisher.stats().batches;
        serve(cache, &model, [prompt, 0, 0, prompt]);
        wait_until(|| publisher.stats().batches > batches);
    }
}

#[test]
fn subscribers_get_consecutive_batches_with_the_topic() {
    let cache = cache(64, 2);
    let publisher = beating().topic("kv@pod@model").start(&cache).unwrap();
    let context = zmq::Context::new();
    let socket = subscribe(&context, publisher.endpoint());
    let mut view = View::default();
    let mut next = None;
    let model = cache.namespace("model");
    for prompt in 0..50 {
        serve(&cache, &model, [prompt, 0]);
        let message = receive(&socket, "kv@pod@model");
        assert_eq!(message.number, next.unwrap_or(message.number));
        next = Some(message.number + 1);
        // The first batches may come before the subscription.
        if prompt > 40 {
            view.apply(&message.payload);
        }
    }
    publisher.stop().unwrap();
}

#[test]
fn an_idle_publisher_sends_empty_batches() {
    let cache = cache(4, 2);
    let publisher = beating().start(&cache).unwrap();
    let context = zmq::Context::new();
    let socket = subscribe(&context, publisher.endpoint());
    let start = Instant::now();
    let messages: Vec<_> = (0..5).map(|_| receive(&socket, "")).collect();
    assert!(start.elapsed() >= Duration::from_millis(80));
    let empty = messages
        .iter()
        .filter(|message| message.events().is_empty());
    assert!(empty.count() >= 4);
    let numbers: Vec<_> = messages.iter().map(|message| message.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_replay_starts_where_it_was_asked_to() {
    let cache = cache(64, 2);
    let publisher = builder().repeats(false).start(&cache).unwrap();
    let context = zmq::Context::new();
    let endpoint = publisher.replay_endpoint().unwrap();
    publish_ten(&cache, &publisher);
    let all = replay(&context, endpoint, 0);
    assert_eq!(all.len(), 11);
    assert_eq!(
        field(&events(&all[0].payload)[0], "type").as_str(),
        Some("AllBlocksCleared")
    );
    let mut view = View::default();
    all.iter().for_each(|message| view.apply(&message.payload));
    assert_eq!(view.blocks.len(), 20);

    let from = all[4].number;
    assert_eq!(replay(&context, endpoint, from), all[4..]);
    assert_eq!(replay(&context, endpoint, all[10].number + 1), []);
    assert_eq!(replay(&context, endpoint, u64::MAX), []);
    assert_eq!(publisher.stats().full_replays, 0);
}

#[test]
fn a_short_ring_answers_with_the_state() {
    for (ring, bytes) in [(3, 1 << 20), (0, 1 << 20), (10_000, 300)] {
        let cache = cache(64, 2);
        let publisher = builder().ring(ring, bytes).repeats(false);
        let publisher = publisher.start(&cache).unwrap();
        let context = zmq::Context::new();
        let endpoint = publisher.replay_endpoint().unwrap();
        publish_ten(&cache, &publisher);
        for prompt in 0..3 {
            // The state is not all that was stored.
            let batches = publisher.stats().batches;
            drop(cache.evict(2 + prompt));
            wait_until(|| publisher.stats().batches > batches);
        }

        let mut view = View::default();
        let messages = replay(&context, endpoint, 0);
        messages
            .iter()
            .for_each(|message| view.apply(&message.payload));
        assert_eq!(
            view.blocks.len(),
            cache.stats().cached,
            "ring of {ring}, {bytes} bytes"
        );
        let model = cache.namespace("model");
        for prompt in 0..10 {
            assert!(view.has_exactly(&cache, &model, &[prompt, 0, 0, prompt]));
        }
        assert_eq!(publisher.stats().full_replays, 1);
        let last = messages.last().unwrap().number;
        assert_eq!(replay(&context, endpoint, last + 1), []);
        assert!(publisher.stats().ring_bytes <= bytes as u64);
    }
}

#[test]
fn a_replay_with_a_gap_is_followed_by_the_state_for_all() {
    let cache = cache(64, 2);
    let publisher = beating().start(&cache).unwrap();
    let context = zmq::Context::new();
    publish_ten(&cache, &publisher);
    let socket = subscribe(&context, publisher.endpoint());
    let first = receive(&socket, "");
    assert!(first.events().is_empty(), "a heartbeat");
    replay(
        &context,
        publisher.replay_endpoint().unwrap(),
        first.number - 1,
    );
    assert_eq!(publisher.stats().repeats, 0, "no gap");
    replay(&context, publisher.replay_endpoint().unwrap(), 0);
    let mut view = View::default();
    while view.blocks.len() < 20 {
        view.apply(&receive(&socket, "").payload);
    }
    wait_until(|| publisher.stats().repeats == 1);
}

#[test]
fn numbers_grow_across_restarts_and_a_replay_forgets_the_earlier_life() {
    let first_cache = cache(64, 2);
    let publisher = builder().start(&first_cache).unwrap();
    let context = zmq::Context::new();
    publish_ten(&first_cache, &publisher);
    let earlier = replay(&context, publisher.replay_endpoint().unwrap(), 0);
    publisher.stop().unwrap();
    let mut view = View::default();
    earlier
        .iter()
        .for_each(|message| view.apply(&message.payload));
    let last = earlier.last().unwrap().number;

    let second_cache = cache(64, 2);
    let publisher = builder().start(&second_cache).unwrap();
    let model = second_cache.namespace("model");
    wait_until(|| publisher.stats().batches == 1);
    serve(&second_cache, &model, [7, 7]);
    wait_until(|| publisher.stats().batches == 2);
    let later = replay(&context, publisher.replay_endpoint().unwrap(), last + 1);
    assert!(later[0].number > last);
    later
        .iter()
        .for_each(|message| view.apply(&message.payload));
    assert_eq!(view.blocks.len(), 1);
    assert!(view.has_exactly(&second_cache, &model, &[7, 7]));
}

#[test]
fn refusals_name_their_reason_and_leave_nothing_behind() {
    let cache = cache(4, 2);
    let publisher = builder().start(&cache).unwrap();
    let endpoint = publisher.endpoint().to_owned();

    let second = builder().start(&cache).unwrap_err();
    assert!(
        matches!(second, StartError::Feed(ChangeFeedError::InUse)),
        "{second}"
    );
    let other = common::cache(4, 2);
    for builder in [
        Publisher::builder(&endpoint),
        Publisher::builder(ANY).replay_endpoint(&endpoint),
    ] {
        let in_use = builder.start(&other).unwrap_err();
        assert!(matches!(&in_use, StartError::EndpointInUse(name) if *name == endpoint));
        assert!(in_use.to_string().contains(&endpoint), "{in_use}");
    }
    let invalid = Publisher::builder("5557").start(&other).unwrap_err();
    assert!(matches!(invalid, StartError::Endpoint { .. }), "{invalid}");
    let zero = builder()
        .heartbeat(Duration::ZERO)
        .start(&other)
        .unwrap_err();
    assert!(matches!(zero, StartError::ZeroInterval));
    let plain = PrefixCache::builder().blocks(4).build().unwrap();
    let not_built = builder().start(&plain).unwrap_err();
    assert!(matches!(
        not_built,
        StartError::Feed(ChangeFeedError::NotBuilt)
    ));

    // Nothing above took the feed of the other cache.
    drop(builder().start(&other).unwrap());
    // A publisher that is dropped gives back its feed and its endpoint.
    drop(publisher);
    let again = Publisher::builder(&endpoint).start(&cache).unwrap();
    again.stop().unwrap();
}

#[test]
fn requests_that_are_none_are_ignored() {
    let cache = cache(4, 2);
    let publisher = builder().start(&cache).unwrap();
    let endpoint = publisher.replay_endpoint().unwrap();
    let context = zmq::Context::new();
    let socket = context.socket(zmq::DEALER).unwrap();
    socket.connect(endpoint).unwrap();
    for frames in [
        vec![vec![]],
        vec![vec![], vec![1; 7]],
        vec![vec![1], vec![0; 8]],
        vec![vec![], vec![0; 8], vec![]],
    ] {
        socket.send_multipart(frames, 0).unwrap();
    }
    // Longer than any request: the connection is closed.
    let long = context.socket(zmq::DEALER).unwrap();
    long.connect(endpoint).unwrap();
    long.send_multipart([vec![], vec![0; 100_000]], 0).unwrap();
    assert_eq!(replay(&context, endpoint, 0).len(), 1);
    assert_eq!(publisher.stats().replays, 1);
}

#[test]
fn a_router_that_leaves_during_its_replay_is_given_up() {
    let cache = cache(4_096, 16);
    let model = cache.namespace("model");
    let prompt: Vec<u32> = (100_000..100_000 + 4_096 * 16).collect();
    serve(&cache, &model, &prompt);
    let publisher = builder().ring(0, 0).start(&cache).unwrap();
    wait_until(|| publisher.stats().batches > 5);
    for _ in 0..3 {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::DEALER).unwrap();
        socket
            .connect(publisher.replay_endpoint().unwrap())
            .unwrap();
        socket.send_multipart([vec![], vec![0; 8]], 0).unwrap();
        let replays = publisher.stats().replays;
        wait_until(|| publisher.stats().replays > replays);
    }
    let context = zmq::Context::new();
    let mut view = View::default();
    for message in replay(&context, publisher.replay_endpoint().unwrap(), 0) {
        view.apply(&message.payload);
    }
    assert_eq!(view.blocks.len(), 4_096);
}

#[test]
fn a_publisher_outlives_its_cache() {
    let cache = cache(4, 2);
    let publisher = beating().start(&cache).unwrap();
    serve(&cache, &cache.namespace("model"), [1, 2]);
    drop(cache);
    let batches = publisher.stats().batches;
    wait_until(|| publisher.stats().batches > batches);
    publisher.stop().unwrap();
}

#[test]
fn an_interval_may_be_endless() {
    let cache = cache(4, 2);
    let publisher = builder().interval(Duration::MAX).start(&cache).unwrap();
    serve(&cache, &cache.namespace("model"), [1, 2]);
    wait_until(|| publisher.stats().batches > 0);
    publisher.stop().unwrap();
}

/// A subscriber that never reads fills its queue of 1,000 batches. From then on it costs nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_subscriber_that_never_reads_costs_bounded_memory() {
    let cache = cache(2_000, 1_024);
    let model = cache.namespace("model");
    let publisher = beating().ring(10, 1 << 20).start(&cache).unwrap();
    let context = zmq::Context::new();
    let socket = subscribe(&context, publisher.endpoint());
    receive(&socket, "");

    let mut memory = Vec::new();
    for round in 0..40 {
        drop(cache.evict(usize::MAX));
        // Tokens of five bytes each: ten megabytes a round.
        let tokens = 0..2_000 * 1_024;
        let prompt: Vec<u32> = tokens.map(|token| 70_000 + round + token).collect();
        let bytes = publisher.stats().bytes;
        serve(&cache, &model, &prompt);
        wait_until(|| publisher.stats().bytes > bytes + 10_000_000);
        memory.push(resident());
    }
    // 1,000 batches of 64 KiB, and what the allocator keeps.
    let (filled, last) = (memory[19], memory[39]);
    assert!(filled < memory[0] + 200_000_000, "{memory:?}");
    // Another 200 megabytes were sent since.
    assert!(last < filled + 50_000_000, "{memory:?}");
    publisher.stop().unwrap();
}

/// Returns the resident memory of this process in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}
