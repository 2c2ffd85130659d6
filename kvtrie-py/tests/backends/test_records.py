"""Replays what the engines' own caches answered, and compares every answer.

Where an answer may differ, `records/README.md` says why, and a replay checks the rule that it
states there.
"""

from typing import Any

import pytest
import replay_mini_sglang
from arrays import KINDS
from mirror import name_of, runs


@pytest.mark.parametrize("arrays", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("run", runs("mini_sglang"), ids=name_of)
def test_mini_sglang(run: Any, arrays: Any) -> None:
    header, calls = run
    replay = replay_mini_sglang.Replay(header, arrays)
    for call in calls:
        replay.call(call)
    assert len(calls) >= 500
    print(replay.differences)
