"""What a router needs for many blocks: memory, and the time until it knows them.

  target/routers/bin/python lab/cluster/scale.py WORKER [BLOCKS…]     after ci/routers.sh

WORKER is kvtrie-events' example `worker`. Each worker has prompts of 64 blocks of 16 tokens.
"""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ci" / "routers"))

from dynamo import Indexer
from vllm import Engine, Router
from workers import Worker, http, wait_for

LENGTH = 64


def resident(process):
    """Returns the resident memory of a process in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def computed(process):
    """Returns the processor time that a process has used so far, in seconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def dynamo(blocks, log):
    """Measures Dynamo's indexer, which joins a worker that has its blocks already."""
    with ExitStack() as stack:
        worker = Worker(blocks, ring=500)
        stack.callback(worker.stop)
        worker.ask("fill", blocks // LENGTH, LENGTH)
        time.sleep(3)
        indexer = Indexer(log)
        stack.callback(indexer.stop)
        before, used = resident(indexer.process), computed(indexer.process)
        indexer.register(worker)
        start = time.monotonic()
        for prompt in samples(blocks):
            wait_for("the indexer has all", lambda prompt=prompt: indexer.score(prompt) == 16 * LENGTH, 120)
        seconds = time.monotonic() - start
        used = computed(indexer.process) - used
        report("Dynamo's indexer", blocks, resident(indexer.process) - before, used, seconds, worker.stats())


def mix(number):
    """Mixes the bits of a number as the worker does."""
    mask = (1 << 64) - 1
    number = (number + 0x9E3779B97F4A7C15) & mask
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & mask
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & mask
    return number ^ (number >> 31)


def samples(blocks):
    """Returns a hundred of the worker's prompts."""
    prompts = blocks // LENGTH
    numbers = range(prompts - 1, 0, -max(1, prompts // 100))
    return [[mix(number * 100_000 + place) % (1 << 32) % 50_000 for place in range(16 * LENGTH)] for number in numbers]


def vllm(blocks, log):
    """Measures vllm-router, likewise; it knows all once it credits the prompt that was last."""
    with ExitStack() as stack:
        engine = Engine(stack, blocks)
        router = Router(stack, [engine], Path(log.name).parent)
        before, used = resident(router.process), computed(router.process)
        start = time.monotonic()
        engine.worker.ask("fill", blocks // LENGTH, LENGTH)
        for prompt in samples(blocks)[::20]:
            wait_for("vllm-router has all", lambda prompt=prompt: router.route(prompt)[1] > 16 * (LENGTH - 2), 120)
        seconds = time.monotonic() - start
        used = computed(router.process) - used
        report("vllm-router", blocks, resident(router.process) - before, used, seconds, engine.worker.stats())


def report(name, blocks, memory, used, seconds, stats):
    """Prints a line. The processor time is that of the router, so other programs do not count."""
    print(
        f"{name}: {blocks} blocks: {memory / blocks:.0f} bytes a block in memory; {used:.1f} s of a core, "
        f"known after {seconds:.1f} s; {stats}",
        flush=True,
    )


def main():
    """Measures each number of blocks."""
    Worker.program = sys.argv[1]
    folder = Path("target/routers/logs")
    with (folder / "scale.log").open("w") as log:
        for blocks in [int(word) for word in sys.argv[2:]] or [250_000, 1_000_000]:
            dynamo(blocks, log)
            vllm(blocks, log)


if __name__ == "__main__":
    main()
