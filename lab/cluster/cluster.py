"""Chats with four decoders behind vllm-router, with their own caches, against one big cache.

  target/routers/bin/python lab/cluster/cluster.py FOLDER [RUNS]      after ci/routers.sh

FOLDER has the programs `engine` and `chart`. Writes lab/results/cluster.md and cluster.svg.
"""

import json
import random
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ci" / "routers"))

from vllm import Router
from workers import Lossy, endpoint, free_port, http, wait_for

WORKERS, BLOCKS = 4, 600
USERS, AT_ONCE, TURNS = 32, 6, 5


class Engine:
    """A decoder process."""

    program = None

    def __init__(self, stack, blocks=BLOCKS, threads=1):
        self.endpoint, self.replay_endpoint, self.served = endpoint(), endpoint(), 0
        self.worker, self.port = self, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = [
            "--listen", f"127.0.0.1:{self.port}", "--publish", self.endpoint, "--replay", self.replay_endpoint,
            "--blocks", str(blocks), "--threads", str(threads),
        ]  # fmt: skip
        self.start()
        stack.callback(self.die)

    def start(self):
        """Starts the process, with an empty cache."""
        self.process = subprocess.Popen([self.program, *self.options])
        wait_for("the engine answers", self.answers)

    def answers(self):
        """Returns whether the engine serves requests."""
        try:
            return http("GET", f"{self.url}/health")[0] == 200
        except OSError:
            return False

    def die(self):
        """Kills the process."""
        self.process.kill()
        self.process.wait()


class Chats:
    """Users who talk to the same assistants, turn after turn. The same for the same seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        systems = [self.text(320, 960) for _ in range(6)]
        self.users = [[self.random.choice(systems)] for _ in range(USERS)]
        for user in self.users:
            for _ in range(TURNS):
                # What the user says, and what was answered.
                user.append((self.text(30, 60), self.text(40, 80)))

    def text(self, least, most):
        """Returns a random text, in bytes."""
        return [self.random.randrange(256) for _ in range(self.random.randint(least, most))]


class Run:
    """One run of all chats through a router."""

    def __init__(self, url, chats, on_progress=None):
        self.url, self.lock, self.on_progress = url, threading.Lock(), on_progress
        self.seconds, self.prefilled, self.prompts, self.retries = [], 0, 0, 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in pool.map(self.talk, chats.users):
                assert done

    def talk(self, user):
        """Holds one user's conversation."""
        said = list(user[0])
        for message, answer in user[1:]:
            said += message
            self.complete(said)
            said += answer
        return True

    def complete(self, prompt):
        """Sends a prompt until it is answered. The time to the first token includes every try."""
        start = time.monotonic()
        for tries in range(50):
            try:
                status, answer = http("POST", f"{self.url}/v1/completions", {"model": "m", "prompt": prompt, "max_tokens": 1})
            except OSError:
                status = 0
            if status == 200:
                break
            time.sleep(0.1)
        assert status == 200, f"not answered after {tries} tries"
        with self.lock:
            self.seconds.append(time.monotonic() - start)
            self.prefilled += json.loads(answer)["kvtrie"]["prefilled"]
            self.prompts += len(prompt)
            self.retries += tries
            served = len(self.seconds)
        if self.on_progress:
            self.on_progress(served / (USERS * TURNS))


def routed(policy):
    """Returns a run behind a router with a policy."""

    def run(seed, folder):
        with ExitStack() as stack:
            engines = [Engine(stack) for _ in range(WORKERS)]
            router = Router(stack, engines, folder, policy)
            return Run(router.url, Chats(seed))

    return run


def one_cache(seed, folder):
    """Runs one process with all blocks, and as many threads as there are workers otherwise."""
    with ExitStack() as stack:
        engine = Engine(stack, BLOCKS * WORKERS, WORKERS)
        router = Router(stack, [engine], folder, "round_robin")
        return Run(router.url, Chats(seed))


def with_faults(seed, folder):
    """One worker is stopped for good, one restarted, and one loses its messages for a second."""
    with ExitStack() as stack:
        engines = [Engine(stack) for _ in range(WORKERS)]
        proxy = Lossy(engines[2].endpoint, seed, share=0)
        stack.callback(proxy.stop)
        engines[2].endpoint = proxy.endpoint
        router = Router(stack, engines, folder, "kv_aware")
        faults = {0.3: engines[0].die, 0.5: lambda: (engines[1].die(), engines[1].start()), 0.7: lambda: proxy.lose(1)}

        def on_progress(share):
            for due in [due for due in list(faults) if due <= share]:
                fault = faults.pop(due, None)
                if fault:
                    fault()

        run = Run(router.url, Chats(seed), on_progress)
        assert not faults and proxy.dropped, "the faults happened"
        return run


KINDS = {
    "KV-aware": routed("kv_aware"), "round robin": routed("round_robin"),
    "one big cache": one_cache, "KV-aware, with faults": with_faults,
}  # fmt: skip


def table(results):
    """Returns the results in Markdown: sums and medians over the runs."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    runs = len(next(iter(results.values())))
    lines = [
        f"# Four decoders behind vllm-router, {now}",
        "",
        f"`lab/cluster/cluster.py`: {runs} runs of {USERS} users with {TURNS} turns each, {AT_ONCE} at a time, six system prompts.",
        f"Each worker has {BLOCKS} blocks of 16 tokens; the big cache has {BLOCKS * WORKERS}. Two cores, which other programs used as",
        "well, so times compare only with each other. Tokens are counted, not estimated. Time to the first token as the client sees it.",
        "",
        "| cluster | tokens of the prompts | prefilled, by run | share | time to first token, ms: p10 / p50 / p90 | retries |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, of_kind in results.items():
        prefilled = [run.prefilled for run in of_kind]
        prompts = sum(run.prompts for run in of_kind)
        tenths = statistics.quantiles([second for run in of_kind for second in run.seconds], n=10)
        times = " / ".join(f"{1000 * tenths[place]:.0f}" for place in (0, 4, 8))
        retries = sum(run.retries for run in of_kind)
        by_run = ", ".join(f"{count:,}" for count in prefilled)
        lines.append(f"| {name} | {prompts:,} | {by_run} | {sum(prefilled) / prompts:.1%} | {times} | {retries} |")
    lines += ["", "![Time to the first token](cluster.svg)", ""]
    lines += [
        "Faults: after 30 % of the requests one worker is stopped for good, after 50 % another is restarted with an empty cache, and after",
        "70 % a third loses its messages for a second. Requests to a worker that is gone are retried by the client, which the time includes. (vllm-router retries by itself first.)",
    ]
    return "\n".join(lines) + "\n"


def main():
    """Runs every kind, and writes table and chart."""
    programs, runs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    Engine.program = str(programs / "engine")
    folder = ROOT / "target" / "routers" / "logs"
    results = {name: [] for name in KINDS}
    for seed in range(runs):
        for name, kind in KINDS.items():
            results[name].append(kind(seed, folder))
            run = results[name][-1]
            print(f"{name}: {run.prefilled} of {run.prompts} tokens, median {statistics.median(run.seconds):.3f} s", flush=True)
    (ROOT / "lab" / "results" / "cluster.md").write_text(table(results))
    times = folder / "cluster.json"
    times.write_text(json.dumps({name: sum((run.seconds for run in runs), []) for name, runs in results.items()}))
    subprocess.run([programs / "chart", times, ROOT / "lab" / "results" / "cluster.svg"], check=True)


if __name__ == "__main__":
    main()
