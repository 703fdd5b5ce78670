"""The summary of a recording."""

from __future__ import annotations

import json
from typing import get_type_hints

import pytest

from pytest_diagnostics.analysis import schema
from pytest_diagnostics.analysis.schema import Attempt, Summary
from pytest_diagnostics.analysis.summary import summarise
from pytest_diagnostics.core.model import JsonValue
from pytest_diagnostics.core.recording import Recording, ShardRecords
from pytest_diagnostics.storage import records

ZERO = 1000.0
FIGURES: dict[str, JsonValue] = {
    "wall_seconds": 1.0,
    "cpu_seconds": 0.5,
    "peak_rss_bytes": 100,
    "rss_bytes": 50,
    "fds": 7,
    "fds_change": 1,
}


class Run:
    """Builds a recording as a session would write it, moments in seconds from the run's start."""

    def __init__(self, worker: str = "main", pid: int = 1) -> None:
        self.worker, self.pid = worker, pid
        self.shard = ShardRecords(
            f"{worker}-{pid}", zero=ZERO, header={"role": worker, "pid": pid, "run": "r1"}
        )

    def add(self, kind: str, **fields: JsonValue) -> None:
        for key in ("monotonic", "start", "end"):
            if isinstance(fields.get(key), (int, float)):
                fields[key] = ZERO + float(fields[key])  # type: ignore[arg-type]
        # Through the written form: a field that cannot be written proves nothing.
        self.shard.add(records.decode(records.encode(kind, fields)))

    def identity(self, nodeid: str, attempt: int = 1, occurrence: int = 0) -> dict[str, JsonValue]:
        return {
            "nodeid": nodeid,
            "occurrence": occurrence,
            "attempt": attempt,
            "worker": self.worker,
            "pid": self.pid,
        }

    def test(
        self, nodeid: str, *outcomes: str, at: float = 0.0, attempt: int = 1, occurrence: int = 0
    ) -> None:
        """Write a test with phases of one second each."""
        identity = self.identity(nodeid, attempt, occurrence)
        self.add("test", **identity, monotonic=at)
        whens = ("setup", "call", "teardown") if len(outcomes) != 2 else ("setup", "teardown")
        for n, (when, outcome) in enumerate(zip(whens, outcomes, strict=False)):
            self.add(
                "phase",
                **identity,
                when=when,
                outcome=outcome,
                start=at + n,
                end=at + n + 1,
                usage=dict(FIGURES),
            )

    def end(self, at: float = 10.0, **fields: JsonValue) -> None:
        self.add("end", reason="finished", exit_status=0, monotonic=at, **fields)


def summary_of(*runs: Run, **header: JsonValue) -> Summary:
    full: dict[str, JsonValue] = {"id": "r1", "process": {"pid": runs[0].pid if runs else 0}, **header}
    return summarise(Recording(full, [run.shard for run in runs], started=0.0))


def only(run: Run) -> Attempt:
    (attempt,) = summary_of(run)["tests"]
    return attempt


@pytest.mark.parametrize(
    ("phases", "outcome"),
    [
        (("passed", "passed", "passed"), "passed"),
        (("passed", "failed", "passed"), "failed"),
        (("passed", "failed", "failed"), "failed"),
        (("failed", "passed"), "error"),
        (("passed", "passed", "failed"), "error"),
        (("skipped", "passed"), "skipped"),
        (("passed", "skipped", "passed"), "skipped"),
        (("passed", "xfailed", "passed"), "xfailed"),
        (("passed", "xpassed", "passed"), "xpassed"),
        (("passed", "xfailed", "failed"), "error"),
        (("passed", "rerun", "passed"), "rerun"),
        (("rerun", "passed"), "rerun"),
    ],
)
def test_the_outcome_is_what_a_person_calls_it(phases: tuple[str, ...], outcome: str) -> None:
    run = Run()
    run.test("t", *phases)
    run.end()
    assert only(run)["outcome"] == outcome
    assert only(run)["complete"] is True
    assert summary_of(run)["counts"] == {outcome: 1}


def test_the_figures_of_the_phases_add_up() -> None:
    run = Run()
    run.test("t", "passed", "passed", "passed", at=2.0)
    run.end()

    attempt = only(run)
    assert (attempt["start_seconds"], attempt["wall_seconds"]) == (2.0, 3.0)
    assert attempt["usage"] == {
        "wall_seconds": 3.0,
        "cpu_seconds": 1.5,
        "peak_rss_bytes": 100,
        "rss_bytes": 50,
        "fds": 7,
        "fds_change": 3,
    }
    assert [(phase["when"], phase["start_seconds"]) for phase in attempt["phases"]] == [
        ("setup", 2.0),
        ("call", 3.0),
        ("teardown", 4.0),
    ]


def test_a_figure_that_one_phase_lacks_is_not_made_up_for_the_test() -> None:
    run = Run()
    identity = run.identity("t")
    for n, when in enumerate(("setup", "call", "teardown")):
        usage: dict[str, JsonValue] = {"wall_seconds": 1.0}
        if when != "call":
            usage["peak_rss_bytes"] = 5
        run.add(
            "phase",
            **identity,
            when=when,
            outcome="passed",
            start=n,
            end=n + 1,
            usage=usage,
            absent={} if when != "call" else {"peak_rss_bytes": "no right"},
        )
    attempt = only(run)
    assert attempt["usage"] == {"wall_seconds": 3.0}
    assert attempt["phases"][1]["absent"] == {"peak_rss_bytes": "no right"}


@pytest.mark.parametrize(
    ("phases", "when", "start"),
    [((), "setup", 4.0), (("passed",), "call", 5.0), (("failed",), "teardown", 5.0)],
)
def test_a_run_that_died_names_the_test_and_the_phase_it_died_in(
    phases: tuple[str, ...], when: str, start: float
) -> None:
    run = Run()
    run.test("before", "passed", "passed", "passed")
    run.test("victim", *phases, at=4.0)
    summary = summary_of(run)

    assert summary["run"]["finished"] is False
    reason = summary["run"]["end_reason"]
    assert reason.startswith(f"ended without finishing, in the {when} of victim after at least ")
    assert reason.endswith("; how is not known: no recorder watched it")
    assert summary["run"]["exit_status"] is None
    assert summary["health"]["line"] == f"degraded: the run {reason}"
    victim = summary["tests"][1]
    assert victim["complete"] is False
    assert victim["wall_seconds"] is None
    assert victim["outcome"] == ("error" if "failed" in phases else "running")
    last = victim["phases"][-1]
    assert (last["when"], last["outcome"], last["start_seconds"], last["wall_seconds"]) == (
        when,
        "running",
        start,
        None,
    )


def test_a_later_record_amends_the_outcome_from_whichever_shard() -> None:
    main, worker = Run("main", 1), Run("gw0", 2)
    worker.test("t", "passed", "failed", "passed")
    main.add("phase", **worker.identity("t"), when="call", outcome="rerun", amends=True)
    main.end()
    worker.end()

    (attempt,) = summary_of(main, worker)["tests"]
    assert attempt["outcome"] == "rerun"
    assert attempt["phases"][1]["usage"]["cpu_seconds"] == 0.5


def test_a_crashed_workers_test_gets_its_outcome_from_whoever_saw_the_crash() -> None:
    main, worker = Run("main", 1), Run("gw0", 2)
    worker.test("t", "passed")
    main.add(
        "phase", **worker.identity("t"), when="call", outcome="failed", amends=True, failure="worker crashed"
    )
    main.end()

    summary = summary_of(main, worker)
    (attempt,) = summary["tests"]
    assert (attempt["outcome"], attempt["complete"], attempt["failure"]) == (
        "failed",
        False,
        "worker crashed",
    )
    assert summary["health"]["problems"] == [
        "worker gw0 ended without finishing, in the call of t after at least 1 s; how is not known: "
        "no recorder watched it"
    ]


def test_an_interrupted_phase_is_where_its_test_ended() -> None:
    run = Run()
    run.test("t", "passed", "interrupted")
    run.shard.records[-1] = {**run.shard.records[-1], "when": "call"}
    run.end()

    summary = summary_of(run)
    (attempt,) = summary["tests"]
    assert [(phase["when"], phase["outcome"]) for phase in attempt["phases"]] == [
        ("setup", "passed"),
        ("call", "interrupted"),
    ]
    assert (attempt["outcome"], attempt["complete"]) == ("running", False)
    assert summary["health"]["problems"] == ["the call of t on main did not finish"]


def test_every_attempt_is_kept_and_the_last_one_counts() -> None:
    run = Run()
    run.test("flaky", "passed", "rerun", "passed", at=0.0, attempt=1)
    run.test("flaky", "passed", "passed", "passed", at=3.0, attempt=2)
    run.test("twice", "passed", "passed", "passed", at=6.0)
    run.test("twice", "passed", "failed", "passed", at=9.0, occurrence=1)
    run.end(at=12.0)

    summary = summary_of(run)
    assert [(test["nodeid"], test["attempt"], test["occurrence"]) for test in summary["tests"]] == [
        ("flaky", 1, 0),
        ("flaky", 2, 0),
        ("twice", 1, 0),
        ("twice", 1, 1),
    ]
    assert summary["counts"] == {"rerun": 1, "passed": 2, "failed": 1}


def test_what_belongs_to_a_test_is_joined_to_it() -> None:
    main, recorder = Run("main", 1), Run("recorder", 9)
    identity = main.identity("t")
    main.test("t", "passed", "failed", "passed")
    limit: JsonValue = {
        "name": "fds_leaked",
        "limit": 0,
        "value": 3,
        "unit": "count",
        "state": "exceeded",
        "detail": "d",
    }
    main.add(
        "phase",
        **identity,
        when="call",
        outcome="failed",
        amends=True,
        failure="E" * 5000,
        limits=[limit],
        subtests=[{"name": "i=1", "outcome": "failed"}],
    )
    main.add("stretch", **identity, name="load", start=1.2, end=1.5, usage={"cpu_seconds": 0.1})
    recorder.add(
        "collection",
        **identity,
        reason="failed call",
        monotonic=2.0,
        data={"cpu": {"x": 1}},
        errors={"db": "away"},
    )
    recorder.add("stretch", **main.identity("nobody"), name="lost", start=1.2, end=1.5)

    attempt = summary_of(main, recorder)["tests"][0]
    assert attempt["failure"] == "E" * 2000
    assert attempt["limits"] == [limit]
    assert attempt["subtests"] == [{"name": "i=1", "outcome": "failed"}]
    assert attempt["stretches"] == [
        {"name": "load", "start_seconds": 1.2, "wall_seconds": 0.3, "usage": {"cpu_seconds": 0.1}}
    ]
    assert attempt["collections"] == [
        {"reason": "failed call", "time_seconds": 2.0, "data": {"cpu": {"x": 1}}, "errors": {"db": "away"}}
    ]


def test_samples_of_a_test_lie_in_its_window_even_where_its_wall_time_is_less() -> None:
    run = Run()
    identity = run.identity("t")
    # Nine of the ten seconds belonged to a session fixture.
    run.add("phase", **identity, when="setup", outcome="passed", start=0, end=10, usage={"wall_seconds": 1.0})
    run.add(
        "phase", **identity, when="teardown", outcome="passed", start=10, end=11, usage={"wall_seconds": 1.0}
    )
    for second in range(20):
        run.add(
            "result", collector="cpu", monotonic=second + 0.5, seconds=0.01, data={"usage_percent": second}
        )
    attempt = only(run)
    assert attempt["wall_seconds"] == 2.0
    assert attempt["samples"]["cpu.usage_percent"]["count"] == 11


def test_fixtures_above_function_scope_have_rows_of_their_own() -> None:
    run = Run()
    run.add(
        "fixture",
        name="db",
        scope="session",
        worker="main",
        phase="setup",
        during="t",
        start=1,
        end=3,
        usage={"cpu_seconds": 1},
    )
    run.add("fixture", name="cut", scope="module")
    assert summary_of(run)["fixtures"] == [
        {
            "name": "db",
            "scope": "session",
            "worker": "main",
            "phase": "setup",
            "during": "t",
            "start_seconds": 1.0,
            "wall_seconds": 2.0,
            "usage": {"cpu_seconds": 1},
        }
    ]


def test_an_empty_recording_has_a_summary_of_full_shape() -> None:
    summary = summarise(Recording({}, []))

    assert set(summary) == set(Summary.__annotations__)
    assert set(summary["run"]) == set(schema.Run.__annotations__)
    assert summary["tests"] == []
    assert summary["counts"] == {}
    assert summary["run"]["finished"] is False


@pytest.mark.parametrize("kind", sorted(records.KINDS))
def test_records_that_lack_everything_raise_nothing(kind: str) -> None:
    run = Run()
    run.add(kind)
    keys = "nodeid monotonic start end usage details account cost problems limits subtests data errors error"
    junk: dict[str, JsonValue] = {
        key: [1, {"a": None}] for key in (*keys.split(), "when", "collector", "attempt", "worker", "pid")
    }
    run.add(kind, **junk)
    summary = summary_of(run)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_every_part_has_all_the_keys_of_the_schema() -> None:
    run = Run()
    run.test("t", "passed", "failed", "passed")
    run.add("stretch", **run.identity("t"), name="s", start=0, end=1)
    run.add("collection", **run.identity("t"), reason="r", monotonic=1)
    run.add("fixture", name="f", start=0, end=1)
    run.add("gap", gap="gap", monotonic=1)
    run.add("result", collector="cpu", monotonic=0.5, seconds=0, data={"usage_percent": 1})
    run.end()
    summary = summary_of(run)
    (test,) = summary["tests"]
    parts: list[tuple[object, type]] = [
        (summary, Summary),
        (summary["run"], schema.Run),
        (test, schema.Attempt),
        (test["phases"][0], schema.Phase),
        (test["samples"]["cpu.usage_percent"], schema.Sampled),
        (test["stretches"][0], schema.Stretch),
        (test["collections"][0], schema.Collection),
        (summary["fixtures"][0], schema.Fixture),
        (summary["series"][0], schema.Series),
        (summary["collectors"][0], schema.CollectorState),
        (summary["recorders"][0], schema.RecorderState),
        (summary["gaps"][0], schema.Gap),
        (summary["shards"][0], schema.ShardState),
        (summary["health"], schema.HealthSummary),
    ]
    for part, shape in parts:
        assert isinstance(part, dict)
        assert set(part) == set(get_type_hints(shape)), shape
