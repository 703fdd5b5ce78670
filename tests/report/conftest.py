"""Summaries to render, as fixtures: importlib mode has no place to import builders from."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from pytest_diagnostics.analysis.schema import (
    SCHEMA,
    VERSION,
    Attempt,
    Fixture,
    Limit,
    Phase,
    Sampled,
    Series,
    Summary,
    Usage,
)
from tests.report.browser import chromium, seen, show  # noqa: F401 - fixtures, for the tests beside


def usage(wall: float = 0.5, peak: int = 80 << 20, cpu: float | None = None) -> Usage:
    cpu = wall * 0.6 if cpu is None else cpu
    return {
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "cpu_user_seconds": cpu * 0.8,
        "cpu_system_seconds": cpu * 0.2,
        "children_cpu_seconds": 0.0,
        "cpu_wait_seconds": wall * 0.05,
        "minor_faults": 812,
        "major_faults": 0,
        "voluntary_switches": 31,
        "involuntary_switches": 4,
        "read_bytes": 0,
        "write_bytes": 20480,
        "rss_bytes": peak - (3 << 20),
        "rss_change_bytes": 40960,
        "peak_rss_bytes": peak,
        "fds": 21,
        "fds_change": 0,
        "threads": 3,
        "threads_change": 0,
        "children": 0,
        "children_change": 0,
    }


def phase(when: str, outcome: str, start: float, wall: float, peak: int = 80 << 20) -> Phase:
    why = {"throttled_seconds": "not in a cgroup with a CPU limit", "oom_kills": "no memory controller"}
    return {
        "when": when,
        "outcome": outcome,
        "start_seconds": start,
        "wall_seconds": wall,
        "usage": usage(wall, peak),
        "absent": why,
    }


def make_attempt(
    nodeid: str = "tests/test_a.py::test_one",
    outcome: str = "passed",
    start: float = 0.0,
    wall: float = 0.5,
    worker: str = "main",
    peak: int = 80 << 20,
    failure: str | None = None,
    attempt: int = 1,
    samples: dict[str, Sampled] | None = None,
) -> Attempt:
    worst = outcome if outcome in ("failed", "skipped", "rerun") else "passed"
    return {
        "nodeid": nodeid,
        "occurrence": 0,
        "attempt": attempt,
        "worker": worker,
        "pid": 4711,
        "outcome": outcome,
        "complete": True,
        "start_seconds": start,
        "wall_seconds": wall,
        "phases": [
            phase("setup", "failed" if outcome == "error" else "passed", start, wall * 0.1, peak),
            phase("call", worst, start + wall * 0.1, wall * 0.8, peak),
            phase("teardown", "passed", start + wall * 0.9, wall * 0.1, peak),
        ],
        "usage": usage(wall, peak),
        "samples": samples or {},
        "failure": failure,
        "subtests": [],
        "limits": [],
        "stretches": [],
        "collections": [],
        "stalls": [],
    }


def make_series(
    name: str, unit: str, values: list[float | None], step: float = 1.0, source: str = "main-1"
) -> Series:
    return {
        "name": name,
        "collector": name.partition(".")[0],
        "unit": unit,
        "source": source,
        "times": [step * (place + 1) for place in range(len(values))],
        "values": values,
    }


def make_summary(
    tests: list[Attempt], series: list[Series] | None = None, seconds: float | None = None
) -> Summary:
    counts: dict[str, int] = {}
    for test in tests:
        counts[test["outcome"]] = counts.get(test["outcome"], 0) + 1
    end = seconds or max((t["start_seconds"] + (t["wall_seconds"] or 0) for t in tests), default=1.0)
    names = sorted({one["collector"] for one in series or []})
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "run": {
            "id": "20260314T092653Z-3f9a",
            "started": "2026-03-14T09:26:53Z",
            "wall_seconds": end,
            "finished": True,
            "end_reason": "finished",
            "ending": None,
            "exit_status": int("failed" in counts),
            "scope": "session",
            "interval_seconds": 1.0,
            "peak": "exact",
            "workers": sorted({t["worker"] for t in tests}) or ["main"],
        },
        "environment": {
            "host": "ci-runner-14",
            "python": "3.11.9",
            "kernel": "Linux 6.1.0",
            "cpus": "4",
        },
        "counts": counts,
        "tests": tests,
        "fixtures": [],
        "series": series or [],
        "collectors": [
            {
                "name": name,
                "where": "thread in main (pid 4711)",
                "state": "healthy",
                "reason": None,
                "results": int(end),
                "errors": 0,
                "timeouts": 0,
                "missed": 0,
                "truncated": 0,
                "coerced": 0,
                "seconds_total": end * 2e-4,
            }
            for name in names
        ],
        "recorders": [
            {"kind": "thread", "where": "main (pid 4711)", "interval_seconds": 1.0, "collectors": names}
        ]
        if names
        else [],
        "gaps": [],
        "builds": [],
        "endings": [],
        "shards": [
            {
                "name": "main-4711.jsonl",
                "records": 7 * len(tests),
                "damaged": 0,
                "torn": False,
                "unknown": 0,
            }
        ],
        "health": {"state": "good", "line": f"{len(names)} collectors, no gaps.", "problems": []},
        "cost": {
            "collect_seconds": end * 1e-3,
            "edges": 6 * len(tests),
            "edge_seconds": 9e-5 * len(tests),
            "recorded_bytes": 900 * len(tests) + int(end) * 800,
        },
    }


SIGNALS = (
    ("cpu.usage_percent", "percent", 45.0),
    ("cpu.user_percent", "percent", 30.0),
    ("cpu.system_percent", "percent", 9.0),
    ("cpu.iowait_percent", "percent", 4.0),
    ("cpu.steal_percent", "percent", 1.0),
    ("cpu.load_avg_1m", "count", 3.0),
    ("cpu.frequency_mhz", "mhz", 2800.0),
    ("pressure.cpu_some_percent", "percent", 8.0),
    ("pressure.io_some_percent", "percent", 3.0),
    ("pressure.memory_some_percent", "percent", 0.4),
    ("memory.used_bytes", "bytes", 6200000000.0),
    ("memory.available_bytes", "bytes", 9100000000.0),
    ("memory.cached_bytes", "bytes", 4000000000.0),
    ("network.bytes_recv_per_sec", "bytes_per_second", 190000.0),
    ("network.bytes_sent_per_sec", "bytes_per_second", 80000.0),
    ("disk.read_bytes_per_sec", "bytes_per_second", 2000000.0),
    ("disk.write_bytes_per_sec", "bytes_per_second", 5000000.0),
    ("disk.busy_percent", "percent", 6.0),
    ("process.rss_bytes", "bytes", 400000000.0),
    ("process.cpu_percent", "percent", 140.0),
    ("process.threads", "count", 21.0),
    ("process.fds", "count", 60.0),
    ("process.children", "count", 5.0),
    ("memory_bandwidth.pgfault_per_sec", "per_second", 9000.0),
    ("memory_bandwidth.pgmajfault_per_sec", "per_second", 3.0),
    ("cgroup.throttled_percent", "percent", 2.0),
    ("database.pending_mutations", "count", 12.0),
)


def _walk(dice: random.Random, level: float, points: int, end: float) -> list[float | None]:
    values: list[float | None] = []
    drift = 0.0
    for place in range(points):
        drift = 0.97 * drift + dice.gauss(0, 0.12)
        at = place / points
        busy = 1.6 if 0.42 < at < 0.5 else 1.0
        spike = 2.5 if dice.random() < 0.004 else 1.0
        value = max(0.0, level * (1 + drift + 0.3 * math.sin(at * 9)) * busy * spike)
        values.append(None if 0.7 < at < 0.73 else value)
    return values


def make_realistic(tests: int, workers: int, seconds: float, seed: int = 7) -> Summary:
    """A run as it might have been: an incident in the middle, a gap in the samples, one of everything."""
    dice = random.Random(seed)
    points = min(2000, max(2, int(seconds)))
    series = [
        make_series(name, unit, _walk(dice, level, points, seconds), seconds / points)
        for name, unit, level in SIGNALS
    ]
    for one in series:
        if one["unit"] == "percent" and not one["name"].startswith("process"):
            one["values"] = [None if v is None else min(100.0, v) for v in one["values"]]
    series.append(make_series("memory.total_bytes", "bytes", [16 * 2.0**30] * points, seconds / points))
    lanes = [0.5 + dice.random() for _ in range(workers)]
    mean = seconds * workers * 0.93 / max(1, tests)
    made = []
    for number in range(tests):
        lane = lanes.index(min(lanes))
        wall = min(mean * dice.lognormvariate(-0.5, 1.0), seconds - lanes[lane] - 0.01)
        wall = max(0.004, wall)
        incident = 0.42 < lanes[lane] / seconds < 0.5
        roll = dice.random()
        outcome = (
            "failed" if roll < (0.18 if incident else 0.012) else "skipped" if roll > 0.975 else "passed"
        )
        outcome = "error" if outcome == "failed" and dice.random() < 0.12 else outcome
        area = number * 20 // max(1, tests)
        module = f"tests/integration/area_{area}/test_module_{number % 7}.py"
        nodeid = f"{module}::TestViews::test_view[ks{number % 5}-rf{number % 3}-case{number}]"
        inside = int(wall * points / seconds)
        samples: dict[str, Sampled] = {
            name: {
                "min": level * 0.7,
                "max": level * 1.6,
                "mean": level * dice.uniform(0.8, 1.3),
                "last": level,
                "count": inside,
            }
            for name, _, level in SIGNALS
        }
        failure = (
            "AssertionError: row missing from ks4.mv_orders after 5.0 s\nassert 0 == 1"
            if outcome in ("failed", "error")
            else None
        )
        if outcome == "skipped":
            wall = 0.002
        peak = int((70 + dice.lognormvariate(2.5, 1.2)) * 2**20)
        made.append(
            make_attempt(
                nodeid,
                outcome,
                lanes[lane],
                wall,
                f"gw{lane}" if workers > 1 else "main",
                peak,
                failure,
                1,
                samples,
            )
        )
        lanes[lane] += wall + 0.001
    found = make_summary(made, series, seconds)
    decorate(found)
    return found


def make_limit(name: str, limit: float, value: float | None, unit: str, *state: str) -> Limit:
    found, detail = state
    return {"name": name, "limit": limit, "value": value, "unit": unit, "state": found, "detail": detail}


def decorate(found: Summary) -> None:
    """One of everything that a test can carry, on the first failed test (or the first)."""
    tests, seconds = found["tests"], found["run"]["wall_seconds"]
    if not tests:
        return
    chosen = next((t for t in tests if t["outcome"] == "failed"), tests[0])
    chosen["subtests"] = [
        {"name": "replica 127.0.0.1", "outcome": "passed"},
        {"name": "replica 127.0.0.2", "outcome": "failed"},
    ]
    chosen["limits"] = [
        make_limit("peak_rss", 200 << 20, 231 << 20, "bytes", "exceeded", "in call"),
        make_limit("cpu_seconds", 2, None, "seconds", "not checked", "no clock"),
    ]
    chosen["stalls"] = [{"kind": "gil", "seconds": seconds * 0.03, "count": 1, "detail": "the lock was held"}]
    chosen["stretches"] = [
        {
            "name": "load rows",
            "start_seconds": chosen["start_seconds"] + 0.1,
            "wall_seconds": 0.2,
            "usage": usage(0.2),
        }
    ]
    chosen["collections"] = [
        {
            "reason": "call failed",
            "time_seconds": chosen["start_seconds"] + 0.4,
            "data": {"memory": {"percent": 41.2}},
            "errors": {"disk": "timed out"},
        }
    ]
    again = make_attempt(
        chosen["nodeid"], "rerun", max(0.0, chosen["start_seconds"] - 0.3), 0.25, chosen["worker"]
    )
    chosen["attempt"] = 2
    tests.append(again)
    found["counts"]["rerun"] = 1
    made: list[Fixture] = [
        {
            "name": name,
            "scope": scope,
            "worker": chosen["worker"],
            "phase": when,
            "during": chosen["nodeid"],
            "start_seconds": 0.2,
            "wall_seconds": wall,
            "usage": usage(wall),
        }
        for name, scope, when, wall in (
            ("cluster", "session", "setup", 0.5),
            ("keyspace", "module", "setup", 0.2),
            ("cluster", "session", "teardown", 0.1),
        )
    ]
    found["fixtures"] = made
    found["gaps"] = [
        {
            "kind": "gap",
            "source": "main-1",
            "worker": "main",
            "pid": 4711,
            "collector": None,
            "start_seconds": seconds * 0.7,
            "time_seconds": seconds * 0.73,
            "seconds": seconds * 0.03,
            "detail": "the test process held the GIL",
        }
    ]
    found["health"] = {
        "state": "degraded",
        "line": "1 gap in the samples; everything else is complete.",
        "problems": ["no samples for 3 % of the run: the test process held the GIL"],
    }


@pytest.fixture
def attempt() -> Callable[..., Attempt]:
    return make_attempt


@pytest.fixture
def series() -> Callable[..., Series]:
    return make_series


@pytest.fixture
def summary() -> Callable[..., Summary]:
    return make_summary


@pytest.fixture
def realistic() -> Callable[..., Summary]:
    return make_realistic
