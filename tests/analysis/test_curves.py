"""Series in a summary."""

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


def test_a_series_shows_a_gap_where_samples_are_missing() -> None:
    run = Run()
    for second in (0, 1, 2, 3, 9, 10):
        run.add("result", collector="cpu", monotonic=second, seconds=0.01, data={"usage_percent": second / 3})
    (series,) = summary_of(run)["series"]
    assert (series["name"], series["unit"], series["source"]) == ("cpu.usage_percent", "percent", "main-1")
    assert series["times"] == [0.0, 1.0, 2.0, 3.0, 4.0, 9.0, 10.0]
    assert series["values"] == [0, 0.333333, 0.666667, 1, None, 3, 3.33333]


def test_of_too_many_series_the_telling_and_the_long_ones_stay() -> None:
    run = Run()
    run.add("result", collector="process", monotonic=0, seconds=0, data={f"child_{n}": n for n in range(900)})
    for second in range(3):
        run.add("result", collector="process", monotonic=second, seconds=0, data={"long": 1})
        run.add("result", collector="cpu", monotonic=second, seconds=0, data={"usage_percent": 1})
    run.end()
    summary = summary_of(run)

    names = [series["name"] for series in summary["series"]]
    assert len(names) == 600
    assert names[-2:] == ["process.long", "cpu.usage_percent"]
    assert summary["health"]["state"] == "good"
    assert summary["health"]["line"].endswith("; 302 series left out of the charts")
