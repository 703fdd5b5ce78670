"""The short ways of joining attempts lead where the long ones do."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest

from pytest_diagnostics.analysis.attempts import attempts_of, usage_of
from pytest_diagnostics.core.figures import KEYS, Usage, total
from pytest_diagnostics.core.model import JsonValue
from pytest_diagnostics.core.recording import Recording, ShardRecords

WHEN = ("setup", "call", "teardown")


def phase(when: str, usage: dict[str, float], **more: JsonValue) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {
        "kind": "phase",
        "nodeid": "test_x.py::test_y",
        "occurrence": 0,
        "attempt": 1,
        "worker": "main",
        "pid": 7,
        "when": when,
        "start": 1.0,
        "end": 2.0,
        "usage": cast("JsonValue", usage),
        "absent": {},
        "outcome": "passed",
    }
    return {**told, **more}


def recording(*records: dict[str, JsonValue]) -> Recording:
    shard = ShardRecords("main-7")
    for fields in records:
        shard.add(fields)
    return Recording({}, [shard])


def figures(seed: int) -> dict[str, float]:
    return {
        key: (seed * 7 + place) % 11 + (0.25 if "seconds" in key else 0) for place, key in enumerate(KEYS)
    }


@pytest.mark.parametrize("without", ["", "cpu_seconds", "fds", "peak_rss_bytes"])
@pytest.mark.parametrize("other", [False, True])
def test_the_figures_of_an_attempt_are_the_total_of_its_phases(without: str, other: bool) -> None:
    usages = [figures(seed) for seed in range(3)]
    usages[1].pop(without, None)
    if other and without:
        usages[1]["unheard_of"] = 1.0  # as many as usual
    expected = total(cast("list[Usage]", [dict(usage) for usage in usages]))

    [(attempt, _)] = attempts_of(recording(*map(phase, WHEN, usages)))

    assert json.dumps(attempt["usage"]) == json.dumps(expected)


@pytest.mark.parametrize("bad", [True, "1", None, math.inf, math.nan, [1]])
def test_what_is_no_number_is_no_figure(bad: JsonValue) -> None:
    usage: dict[str, JsonValue] = {"cpu_seconds": 0.1234567, "fds": bad, "threads": 2}
    assert dict(usage_of({"usage": usage})) == {"cpu_seconds": pytest.approx(0.123457), "threads": 2}


@pytest.mark.parametrize(
    "odd", [{"pid": "7"}, {"pid": True}, {"attempt": 0}, {"worker": None}, {"occurrence": 1.5}]
)
def test_an_odd_identity_is_read_as_well_as_it_can_be(odd: dict[str, JsonValue]) -> None:
    [(attempt, _)] = attempts_of(recording(phase("setup", figures(1), **odd)))
    assert (attempt["worker"], attempt["attempt"], attempt["occurrence"]) == ("main", 1, 0)
    assert attempt["pid"] == (0 if "pid" in odd else 7)


def test_an_amendment_that_comes_first_is_taken() -> None:
    amended = phase("call", {}, amends=True, outcome="rerun")
    [(attempt, _)] = attempts_of(recording(amended, *(phase(when, figures(1)) for when in WHEN)))
    assert attempt["outcome"] == "rerun"
