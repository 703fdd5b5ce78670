"""How a summary tells whether the recording went well."""

from __future__ import annotations

from pytest_diagnostics.analysis.schema import Summary
from pytest_diagnostics.analysis.summary import summarise
from pytest_diagnostics.core.model import JsonValue
from pytest_diagnostics.core.recording import Recording, ShardRecords
from pytest_diagnostics.storage import records


class Run:
    """Builds the recording of one process, moments in seconds from the run's start."""

    def __init__(self) -> None:
        self.shard = ShardRecords("main-1", header={"role": "main", "pid": 1, "run": "r1"})

    def add(self, kind: str, **fields: JsonValue) -> None:
        self.shard.add(records.decode(records.encode(kind, fields)))

    def end(self, **fields: JsonValue) -> None:
        self.add("end", reason="finished", exit_status=0, monotonic=10.0, **fields)


def summary_of(run: Run, **header: JsonValue) -> Summary:
    full: dict[str, JsonValue] = {"id": "r1", "process": {"pid": 1}, **header}
    return summarise(Recording(full, [run.shard], started=0.0))


def test_a_good_run_says_so_with_its_figures() -> None:
    run = Run()
    for second in range(4):
        for name in ("cpu", "memory"):
            run.add("result", collector=name, monotonic=second, seconds=0.25, data={"percent": 1})
    run.add("health", collector="pressure", monotonic=0, state="unavailable", reason="the kernel has no PSI")
    run.end(cost={"edges": 4, "edge_seconds": 0.5, "session_peak_rss_bytes": 77})
    summary = summary_of(
        run,
        settings={"scope": "test", "interval_seconds": 0.5, "peak": "off"},
        environment={"python": "3.11"},
    )

    assert summary["health"] == {
        "state": "good",
        "line": "good: 8 samples of 2 collectors, 1 not available here, no gaps, cost 2.5 s",
        "problems": [],
    }
    assert summary["cost"]["edges"] == 4
    assert summary["cost"]["session_peak_rss_bytes"] == 77
    assert summary["environment"] == {"python": "3.11"}
    assert (summary["run"]["scope"], summary["run"]["interval_seconds"], summary["run"]["peak"]) == (
        "test",
        0.5,
        "off",
    )
    assert (summary["run"]["wall_seconds"], summary["run"]["finished"]) == (10.0, True)


def test_waiting_for_a_database_is_not_what_the_recording_cost() -> None:
    run = Run()
    run.add("result", collector="cpu", monotonic=0, seconds=0.25, data={"percent": 1})
    run.add("result", collector="cassandra_views", monotonic=0, seconds=30.0, data={"views": []})
    run.end(cost={"edges": 4, "edge_seconds": 0.5})
    summary = summary_of(run)

    assert summary["health"]["line"].endswith("cost 0.8 s")
    assert summary["cost"]["collect_seconds"] == 0.25
    assert summary["cost"]["waited_seconds"] == 30.0


def test_a_collectors_account_is_told_with_its_reason() -> None:
    run = Run()
    run.add("result", collector="db", monotonic=1, seconds=0.1, data={"x": 1}, coerced=2, truncated=True)
    run.add(
        "result",
        collector="db",
        monotonic=2,
        seconds=0.1,
        collected=False,
        error={"type": "timeout", "message": "late"},
    )
    run.add(
        "health",
        collector="db",
        monotonic=2,
        state="degraded",
        previous="healthy",
        reason="2 failures in a row",
    )
    run.add(
        "health",
        collector="db",
        monotonic=3,
        state="failing",
        reason="away",
        account={"missed": 4, "timeouts": 3, "seconds_total": 1.5},
    )
    run.end()
    summary = summary_of(run)

    assert summary["collectors"] == [
        {
            "name": "db",
            "where": "main (pid 1)",
            "state": "failing",
            "reason": "away",
            "results": 2,
            "errors": 1,
            "timeouts": 3,
            "missed": 4,
            "truncated": 1,
            "coerced": 2,
            "seconds_total": 1.5,
        }
    ]
    assert summary["health"]["line"] == "degraded: collector db in main (pid 1) is failing: away"


def test_a_collector_that_often_fails_is_a_problem_even_when_it_is_well_at_the_end() -> None:
    run = Run()
    for second in range(4):
        error: JsonValue = {"type": "processing", "message": "boom"} if second == 2 else None
        run.add(
            "result", collector="own", monotonic=second, seconds=0, data=None if error else 1, error=error
        )
    run.end()
    assert summary_of(run)["health"]["problems"] == ["collector own failed 1 of 4 times: processing: boom"]


def test_gaps_and_clock_jumps_are_listed_and_told() -> None:
    run = Run()
    run.add("gap", gap="gap", collector="cpu", monotonic=3, details={"missed": 2, "late_seconds": 2.5})
    run.add("gap", gap="clock_step", collector=None, monotonic=1, details={"step_seconds": -3600.0})
    run.end()
    summary = summary_of(run)

    assert [
        (gap["kind"], gap["collector"], gap["time_seconds"], gap["seconds"]) for gap in summary["gaps"]
    ] == [("clock_step", None, 1.0, -3600.0), ("gap", "cpu", 3.0, 2.5)]
    assert summary["health"]["problems"] == [
        "the wall clock moved by -3.6e+03 s",
        "1 gap without samples, 2.5 s together",
    ]


def test_damage_and_what_the_writers_told_are_problems_counted_in_the_line() -> None:
    run = Run()
    run.shard.damaged, run.shard.torn, run.shard.unknown = 2, True, 1
    run.end(problems=["disk full (ENOSPC) after 8 records"])
    summary = summary_of(run)

    assert summary["health"]["line"] == (
        "degraded: main (pid 1): disk full (ENOSPC) after 8 records, and 1 more"
    )
    assert summary["health"]["problems"][1] == (
        "shard main-1: 2 records damaged, 1 torn record ignored, "
        "1 record of a newer version or unknown kind ignored"
    )
    assert summary["shards"] == [{"name": "main-1", "records": 1, "damaged": 2, "torn": True, "unknown": 1}]


def test_recorders_are_what_they_said_of_themselves() -> None:
    run = Run()
    told: JsonValue = {
        "kind": "thread",
        "where": "thread in main (pid 1)",
        "interval_seconds": 0.5,
        "collectors": ["cpu"],
    }
    run.add("event", event="recorder", collector=None, monotonic=0, details=told)
    assert summary_of(run)["recorders"] == [told]
