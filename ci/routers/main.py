"""Checks that routers know what workers of kvtrie-events cache. Called by ci/routers.sh.

  main.py WORKER [CHECK…]     WORKER is the example of kvtrie-events; all checks unless some are named
"""

import sys
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import dynamo
import vllm
from workers import Worker


def metrics(_log):
    """Prometheus' own parser reads the worker's metrics."""
    worker = Worker()
    worker.ask("storm", 9, 500)
    page = worker.ask("metrics")
    worker.stop()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    values = {sample.name: sample.value for family in families.values() for sample in family.samples}
    labels = {tuple(sample.labels.items())[:2] for family in families.values() for sample in family.samples}
    assert labels == {(("model_name", "m"), ("engine", "0"))}, labels
    assert families["vllm:prefix_cache_queries"].type == "counter"
    assert 0 < values["vllm:prefix_cache_hits_total"] < values["vllm:prefix_cache_queries_total"]
    assert families["vllm:kv_cache_usage_perc"].type == "gauge"
    assert values["vllm:kv_cache_usage_perc"] == 0, "no request is running"
    assert sum(sample.value for sample in families["kvtrie_blocks"].samples) == 3000
    return f"{len(families)} metrics"


def main():
    """Runs the checks and prints a line for each."""
    Worker.program, wanted = sys.argv[1], sys.argv[2:]
    checks = [metrics, *dynamo.CHECKS, *vllm.CHECKS]
    folder = Path("target/routers/logs")
    folder.mkdir(exist_ok=True)
    for check in checks:
        name = f"{check.__module__.removeprefix('__main__')}.{check.__name__}".strip(".")
        if wanted and name not in wanted:
            continue
        start = time.monotonic()
        with (folder / f"{name}.log").open("w") as log:
            result = check(log)
        print(f"{name}: {result} ({time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
