"""Replays what the engines' own caches answered, and compares every answer.

Where an answer may differ, `records/README.md` says why, and a replay checks the rule that it
states there.
"""

from typing import Any

import pytest
import replay_mini_sglang
import replay_sglang
import replay_vllm
from arrays import KINDS
from mirror import name_of, runs

RADIX = [
    pytest.param(replay.Replay, run, id=name_of(run))
    for name, replay in (("mini_sglang", replay_mini_sglang), ("sglang", replay_sglang))
    for run in runs(name)
]


@pytest.mark.parametrize("arrays", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(("replay_of", "run"), RADIX)
def test_radix_cache(replay_of: Any, run: Any, arrays: Any) -> None:
    header, calls = run
    replay = replay_of(header, arrays)
    for call in calls:
        replay.call(call)
    assert len(calls) >= 500
    assert all(replay.differences.values()), "each explained difference occurs"


@pytest.mark.parametrize("run", runs("vllm"), ids=name_of)
def test_vllm(run: Any) -> None:
    header, calls = run
    replay = replay_vllm.Replay(header)
    for call in calls:
        replay.call(call)
    assert len(calls) >= 500
    assert all(replay.differences.values()), "each explained difference occurs"
