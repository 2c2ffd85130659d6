"""What routers learn: the change feed, the publisher, the metrics."""

import time
from typing import Any

import pytest

import kvtrie
from kvtrie import Cleared, PrefixCache, Prompt, Removed, Stored


UNBUILT = r"^the cache has no change feed: build it with PrefixCache\(change_feed=True\)$"


@pytest.fixture
def cache() -> PrefixCache:
    return PrefixCache(blocks=16, block_size=2, change_feed=True)


def publish(cache: PrefixCache, model: kvtrie.Namespace, tokens: Any, blocks: int) -> kvtrie.Hold:
    hold = cache.lookup(model, [])
    hold.publish(tokens, cache.allocate(blocks)).free()
    return hold


def test_a_feed_reports_what_is_stored_and_removed(cache: PrefixCache) -> None:
    model = cache.namespace("model", adapter="lora", tenant="salt")
    feed = cache.change_feed()
    assert feed.poll() == ([], True)
    image = Prompt([1, 2, 3, 4], items=[(3, 4, bytes([7]) * 32)])
    hold = publish(cache, model, image, 2)
    changes, complete = feed.poll()
    assert complete
    stored = [change for change in changes if isinstance(change, Stored)]
    assert len(stored) == len(changes)
    assert {(run.model, run.adapter, run.tenant) for run in stored} == {("model", "lora", "salt")}
    assert stored[0].parent is None
    assert [token for run in stored for token in run.tokens.tolist()] == [1, 2, 3, 4]
    assert [block for run in stored for block in run.blocks.tolist()] == hold.block_table().tolist()
    assert stored[-1].hashes[-1] == hold.hash
    assert [digest for run in stored for _, digest in run.items] == [bytes([7]) * 32]
    assert [run.hashes for run in feed.snapshot()] == [run.hashes for run in stored]

    end = hold.hash
    hold.release()
    cache.evict(1).blocks.free()
    ((removed,), complete) = feed.poll()
    assert complete and isinstance(removed, Removed)
    assert (removed.hashes, removed.model, removed.tenant) == ([end], "model", "salt")
    cache.clear(model).blocks.free()
    ((cleared,), complete) = feed.poll()
    assert complete and isinstance(cleared, Cleared)
    assert feed.snapshot() == []


def test_one_feed_exists_at_a_time(cache: PrefixCache) -> None:
    with cache.change_feed() as feed:
        with pytest.raises(kvtrie.ChangeFeedError, match="has a reader"):
            cache.change_feed()
    with pytest.raises(kvtrie.Released):
        feed.poll()
    cache.change_feed().release()
    with pytest.raises(kvtrie.ChangeFeedError, match=UNBUILT):
        PrefixCache(4).change_feed()


def test_a_feed_outlives_its_cache() -> None:
    cache = PrefixCache(4, 2, change_feed=True)
    feed = cache.change_feed()
    publish(cache, cache.namespace("model"), [1, 2], 1).release()
    del cache
    assert feed.poll()[1]


def test_a_publisher_sends_what_routers_read(cache: PrefixCache) -> None:
    zmq, msgpack = pytest.importorskip("zmq"), pytest.importorskip("msgpack")
    model = cache.namespace("model")
    with kvtrie.Publisher(
        cache, "tcp://127.0.0.1:*", replay_endpoint="tcp://127.0.0.1:*", topic="kv", heartbeat=0.05
    ) as publisher:
        assert publisher.replay_endpoint not in (None, publisher.endpoint)
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger = 0
            socket.subscribe(b"kv")
            socket.rcvtimeo = 10_000
            socket.connect(publisher.endpoint)
            socket.recv_multipart()  # a heartbeat: the subscription is known
            hold = publish(cache, model, [1, 2, 3, 4], 2)
            events: list[Any] = []
            while not events:
                topic, number, payload = socket.recv_multipart()
                assert (topic, len(number)) == (b"kv", 8)
                events = [event for event in msgpack.unpackb(payload)[1] if event]
        assert events[0]["type"] == "BlockStored"
        assert events[0]["block_hashes"][-1] == int(hold.hash)
        assert publisher.stats()["batches"] >= 2
        text = cache.metrics("llama", engine=3, publisher=publisher)
        assert 'kvtrie_blocks{model_name="llama",engine="3",state="cached"} 2' in text
        assert "kvtrie_events" in text
        assert "kvtrie_events" not in cache.metrics("llama")
    assert "stopped" in repr(publisher)
    assert publisher.stats()["batches"] >= 2
    publisher.stop()
    cache.change_feed().release()


def test_a_publisher_says_why_it_does_not_start(cache: PrefixCache) -> None:
    with pytest.raises(kvtrie.PublisherError, match=UNBUILT):
        kvtrie.Publisher(PrefixCache(4), "tcp://127.0.0.1:*")
    with pytest.raises(kvtrie.PublisherError, match="cannot bind nonsense"):
        kvtrie.Publisher(cache, "nonsense")
    for wrong in (0.0, -1.0, float("nan"), 1e300):
        with pytest.raises(ValueError, match="interval is .*: it must exceed zero"):
            kvtrie.Publisher(cache, "tcp://127.0.0.1:*", interval=wrong)
    with kvtrie.Publisher(cache, "tcp://127.0.0.1:*") as publisher:
        with pytest.raises(kvtrie.PublisherError, match="has a reader"):
            kvtrie.Publisher(cache, "tcp://127.0.0.1:*")
        other = PrefixCache(4, change_feed=True)
        with pytest.raises(kvtrie.PublisherError, match="in use by another socket"):
            kvtrie.Publisher(other, publisher.endpoint)


def test_a_publisher_that_is_dropped_stops(cache: PrefixCache) -> None:
    publisher = kvtrie.Publisher(cache, "tcp://127.0.0.1:*")
    del publisher
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            cache.change_feed().release()
            break
        except kvtrie.ChangeFeedError:
            time.sleep(0.01)
    else:
        pytest.fail("the feed is still in use")
