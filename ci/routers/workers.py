"""Workers, and what stands between them and a router."""

import json
import random
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import zmq


def free_port():
    """Returns a port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def endpoint():
    """Returns a ZeroMQ endpoint that is free now."""
    return f"tcp://127.0.0.1:{free_port()}"


def http(method, url, body=None):
    """Sends a request, and returns the status and the text of the answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def wait_for(what, holds, seconds=15):
    """Waits until `holds()` is true, and fails after some seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} seconds: {what}")
        time.sleep(0.05)


class Worker:
    """A process of kvtrie-events' example `worker`, which may die and start again."""

    program = None

    def __init__(self, blocks=3000, ring=1000):
        self.endpoint, self.replay_endpoint = endpoint(), endpoint()
        self.options = [self.endpoint, self.replay_endpoint, str(blocks), str(ring)]
        self.lock = threading.Lock()
        self.start()

    def start(self):
        """Starts the process, with an empty cache."""
        self.process = subprocess.Popen(
            [self.program, *self.options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == '"ready"\n', "the worker does not start"

    def die(self):
        """Kills the process, as a crash would."""
        self.process.kill()
        self.process.wait()

    def ask(self, *words):
        """Carries out a command of the worker, and returns its answer."""
        with self.lock:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

    def stats(self):
        """Returns what the publisher has done."""
        names = ["batches", "bytes", "replays", "full_replays", "repeats"]
        return dict(zip(names, self.ask("stats"), strict=True))

    def stop(self):
        """Ends the process."""
        if self.process.poll() is None:
            self.process.stdin.close()
            assert self.process.wait(timeout=10) == 0, "the worker fails at its end"


class Lossy:
    """A proxy that passes on a worker's messages, and drops a share of them."""

    def __init__(self, upstream, seed, share=0.01):
        self.endpoint, self.dropped, self.passed = endpoint(), 0, 0
        self.share, self.deaf_until = share, 0
        self.random, self.open = random.Random(seed), True
        context = zmq.Context.instance()
        self.source, self.target = context.socket(zmq.SUB), context.socket(zmq.PUB)
        self.source.subscribe(b"")
        self.source.connect(upstream)
        self.target.bind(self.endpoint)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        """Passes messages on until the proxy is closed."""
        while self.open:
            if not self.source.poll(50):
                continue
            message = self.source.recv_multipart()
            if self.random.random() < self.share or time.monotonic() < self.deaf_until:
                self.dropped += 1
            else:
                self.passed += 1
                self.target.send_multipart(message)

    def lose(self, seconds):
        """Drops everything for some seconds."""
        self.deaf_until = time.monotonic() + seconds

    def stop(self):
        """Closes the proxy."""
        self.open = False
        self.thread.join()
        self.source.close(linger=0)
        self.target.close(linger=0)
