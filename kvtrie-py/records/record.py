"""Records what an engine's own prefix cache answers to random calls.

    python record.py mini_sglang sglang vllm

Each engine must be importable; this script installs nothing. README.md says how to set each one up.
A record is one file of JSON lines, `<engine>.jsonl` beside this script. It holds one or more runs.
A run starts with a header, an object that has the key "engine"; every other line is one call with
its arguments and, under the other keys, what the engine answered. The same seed gives the same
calls, but a different version of the engine may answer otherwise.
"""

import argparse
import hashlib
import importlib
import inspect
import json
import random
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENGINES = ("mini_sglang", "sglang", "vllm")
SEED = 1


def record(engine: str) -> None:
    """Drives one engine and writes its record."""
    driver = importlib.import_module(f"drivers.{engine}")
    path = HERE / f"{engine}.jsonl"
    with path.open("w") as out:
        for number, settings in enumerate(driver.RUNS):
            seed = SEED + number
            steps = driver.drive(random.Random(seed), **settings)
            engine_is = {"engine": engine, "version": driver.version(), "source": digest(driver)}
            header = {**engine_is, "seed": seed, **settings}
            for line in (header, *steps):
                out.write(json.dumps(line, separators=(",", ":")) + "\n")
            print(f"{path.name}: {len(steps)} calls, {settings}")


def digest(driver: Any) -> str:
    """Returns the start of the SHA-256 of the file that defines the engine's cache."""
    file = inspect.getfile(driver.source())
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def main() -> None:
    """Records the engines that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="+", choices=ENGINES, metavar="engine")
    for engine in parser.parse_args().engines:
        record(engine)


if __name__ == "__main__":
    main()
