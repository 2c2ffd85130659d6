"""vllm-router: requests must go to the worker that has their prefix."""

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from workers import Worker, free_port, http, wait_for

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CREDIT = re.compile(r"KV prefix decision.*credited_prefix_tokens=(\d+)")
ANSWER = {
    "id": "1", "object": "text_completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "text": "x", "finish_reason": "length", "logprobs": None}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


class Engine:
    """A worker with the HTTP interface of an engine."""

    def __init__(self, stack, blocks=3000):
        self.worker, self.served = Worker(blocks), 0
        stack.callback(self.worker.stop)
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, body):
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                self.answer({})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                engine.served += 1
                engine.worker.ask("serve", *body["prompt"])
                self.answer(ANSWER)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        stack.callback(self.server.shutdown)


class Router:
    """A process of vllm-router in front of engines."""

    def __init__(self, stack, engines, folder, policy="kv_aware"):
        self.url, self.engines = f"http://127.0.0.1:{free_port()}", engines
        self.log_path = Path(folder) / f"vllm-router-{free_port()}.log"
        command = [
            str(Path(sys.executable).parent / "vllm-router"), "--policy", policy,
            "--host", "127.0.0.1", "--port", self.url.rpartition(":")[2],
            "--prometheus-port", str(free_port()), "--log-level", "debug",
            "--worker-urls", *[engine.url for engine in engines],
        ]  # fmt: skip
        if policy == "kv_aware":
            command += ["--kv-event-block-size", "16", "--kv-event-model", "m"]
        for engine in engines if policy == "kv_aware" else []:
            command += ["--kv-event-source", f"{engine.url}={engine.worker.endpoint}"]
            command += ["--kv-event-replay-source", f"{engine.url}={engine.worker.replay_endpoint}"]
        log = stack.enter_context(self.log_path.open("w"))
        self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(self.stop)
        wait_for("vllm-router answers", self.answers, 60)
        # A router has heard of a worker once a heartbeat has arrived.
        time.sleep(1.5)

    def answers(self):
        """Returns whether the router serves requests."""
        try:
            return http("GET", f"{self.url}/health")[0] == 200
        except OSError:
            return False

    def route(self, prompt):
        """Sends a prompt. Returns which engine got it, and how many tokens were credited."""
        # Events take a poll of the worker and one of the router: 20 milliseconds.
        time.sleep(0.2)
        before = [engine.served for engine in self.engines]
        decisions = len(self.credits())
        status, answer = http("POST", f"{self.url}/v1/completions", {"model": "m", "prompt": prompt, "max_tokens": 1})
        assert status == 200, answer
        [chosen] = [place for place, engine in enumerate(self.engines) if engine.served > before[place]]
        wait_for("the decision is logged", lambda: len(self.credits()) > decisions)
        return chosen, int(self.credits()[-1])

    def credits(self):
        """Returns the credits of all decisions, from the log."""
        return CREDIT.findall(COLOUR.sub("", self.log_path.read_text()))

    def stop(self):
        """Ends the process."""
        self.process.terminate()
        self.process.wait()


def prompt(number):
    """Returns a prompt of ten blocks; the router credits nine of them."""
    return list(range(1000 * number, 1000 * number + 160))


def started(stack, log):
    """Starts two engines and a router."""
    engines = [Engine(stack), Engine(stack)]
    return engines, Router(stack, engines, Path(log.name).parent)


def follow(log):
    """Requests follow the worker that has their prefix, and move when it clears."""
    with ExitStack() as stack:
        engines, router = started(stack, log)
        holders = [number % 3 % 2 for number in range(12)]
        for number, holder in enumerate(holders):
            engines[holder].worker.ask("serve", *prompt(number))
        for number, holder in enumerate(holders):
            assert router.route(prompt(number)) == (holder, 144)
        for number in range(4):
            engines[holders[number]].worker.ask("clear")
            assert router.route(prompt(number))[1] == 0, "credited after a clear"
            other = engines[1 - holders[number]]
            engines[holders[number]].worker.ask("clear")
            other.worker.ask("serve", *prompt(number))
            assert router.route(prompt(number)) == (1 - holders[number], 144)
        return "12 prompts follow, 4 move"


def router_restarts(log):
    """A router that starts later knows what is cached."""
    with ExitStack() as stack:
        engines, router = started(stack, log)
        for number in range(6):
            engines[number % 2].worker.ask("serve", *prompt(number))
        router.process.kill()
        successor = Router(stack, engines, Path(log.name).parent)
        for number in range(6):
            assert successor.route(prompt(number)) == (number % 2, 144)
        return "6 prompts follow after the restart"


def worker_restarts(log):
    """A worker that starts again has nothing, and is believed from its first block on."""
    with ExitStack() as stack:
        engines, router = started(stack, log)
        engines[1].worker.ask("serve", *prompt(1))
        assert router.route(prompt(1)) == (1, 144)
        engines[1].worker.die()
        engines[1].worker.start()
        engines[1].worker.ask("serve", *prompt(2))
        time.sleep(2)
        assert router.route(prompt(2)) == (1, 144)
        assert router.route(prompt(1))[1] == 0, "credited what died with the worker"
        return "what died is forgotten, what is new is known"


CHECKS = [follow, router_restarts, worker_restarts]
