"""NVIDIA Dynamo's indexer: its tree must be what the workers' caches hold."""

import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack

from workers import Lossy, Worker, free_port, http, wait_for

STATUS = re.compile(r'^dynamo_kvrouter_kv_cache_events_applied\{.*status="(\w+)"\} (\d+)', re.M)


class Indexer:
    """A process of the indexer."""

    def __init__(self, log):
        self.url, self.log = f"http://127.0.0.1:{free_port()}", log
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "dynamo.indexer", "--port", port, "--threads", "2"]
        self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_for("the indexer answers", self.answers)

    def answers(self):
        """Returns whether the indexer serves requests."""
        try:
            return http("GET", f"{self.url}/metrics")[0] == 200
        except OSError:
            return False

    def register(self, worker, number=1, source=None):
        """Tells the indexer of a worker; `source` stands in for its endpoint."""
        status, answer = http("POST", f"{self.url}/register", {
            "instance_id": number, "endpoint": source or worker.endpoint,
            "replay_endpoint": worker.replay_endpoint,
            "model_name": "m", "block_size": 16, "dp_rank": 0,
        })  # fmt: skip
        assert status == 201, answer

    def hashes(self):
        """Returns the hashes of all blocks in the tree."""
        trees = json.loads(http("GET", f"{self.url}/dump")[1])
        stored = (event["event"]["data"]["stored"] for tree in trees.values() for event in tree["events"])
        return {block["block_hash"] for run in stored for block in run["blocks"]}

    def score(self, prompt):
        """Returns how many tokens of a prompt the first worker has, as the indexer thinks."""
        body = {"token_ids": prompt, "model_name": "m"}
        scores = json.loads(http("POST", f"{self.url}/query", body)[1])["scores"]
        return scores.get("1", {}).get("0", 0)

    def stop(self):
        """Ends the process."""
        self.process.terminate()
        self.process.wait()


def agree(indexer, worker):
    """Waits until tree and cache agree, and checks every prompt and the counters."""
    expected = set(worker.ask("expect"))
    wait_for("the tree is what the cache holds", lambda: indexer.hashes() == expected)
    for prompt, found in worker.ask("peek"):
        assert indexer.score(prompt) == found, f"{indexer.score(prompt)} tokens, but {found} cached"
    counts = {}
    for status, count in STATUS.findall(http("GET", f"{indexer.url}/metrics")[1]):
        counts[status] = counts.get(status, 0) + int(count)
    refused = {status: count for status, count in counts.items() if count and status != "ok"}
    assert not refused, f"events refused: {refused}"
    return f"{len(expected)} blocks agree after {counts['ok']} events"


def storm(log):
    """Eight threads publish, evict and clear."""
    with ExitStack() as stack:
        worker, indexer = started(stack, log)
        indexer.register(worker)
        worker.ask("storm", 1, 4000)
        return agree(indexer, worker)


def loss(log):
    """One batch in a hundred is lost, and asked for again."""
    with ExitStack() as stack:
        worker, indexer = started(stack, log)
        proxy = Lossy(worker.endpoint, seed=7)
        stack.callback(proxy.stop)
        indexer.register(worker, source=proxy.endpoint)
        worker.ask("storm", 2, 8000)
        result = agree(indexer, worker)
        replays = worker.stats()["replays"]
        assert proxy.dropped and replays > 1, f"{proxy.dropped} lost, {replays} replays"
        return f"{result}; {proxy.dropped} of {proxy.dropped + proxy.passed} batches lost, {replays} replays"


def late(log):
    """The worker is registered after the storm: the ring has everything, or almost nothing."""
    results = []
    for ring in (10_000, 3):
        with ExitStack() as stack:
            worker, indexer = started(stack, log, ring=ring)
            worker.ask("storm", 3, 1500)
            indexer.register(worker)
            results.append(f"{agree(indexer, worker)}, ring of {ring}")
            assert worker.stats()["full_replays"] == (ring == 3)
    return "; ".join(results)


def indexer_restarts(log):
    """The indexer dies, and a new one learns everything again."""
    with ExitStack() as stack:
        worker, indexer = started(stack, log, ring=50)
        indexer.register(worker)
        worker.ask("storm", 4, 1500)
        indexer.process.kill()
        worker.ask("storm", 5, 500)
        successor = Indexer(log)
        stack.callback(successor.stop)
        successor.register(worker)
        worker.ask("storm", 6, 1000)
        return agree(successor, worker)


def worker_restarts(log):
    """The worker dies and starts again, and does not register anew."""
    with ExitStack() as stack:
        worker, indexer = started(stack, log)
        indexer.register(worker)
        worker.ask("storm", 7, 1500)
        agree(indexer, worker)
        worker.die()
        time.sleep(0.5)
        worker.start()
        worker.ask("storm", 8, 1500)
        return agree(indexer, worker)


def started(stack, log, ring=1000):
    """Starts a worker and an indexer, which end with the stack."""
    worker = Worker(ring=ring)
    stack.callback(worker.stop)
    indexer = Indexer(log)
    stack.callback(indexer.stop)
    return worker, indexer


CHECKS = [storm, loss, late, indexer_restarts, worker_restarts]
