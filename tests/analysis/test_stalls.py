"""Stretches in which something did not run: their cause, and the tests that they befell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.analysis.schema import Gap

if TYPE_CHECKING:
    from tests.analysis.conftest import Recorded

LIVE = 6


def thread_gap(recorded: Recorded, start: float, end: float) -> None:
    """Write the gap that a thread of the pytest process noticed."""
    recorded.process(role="live")
    recorded.gap(recorded.main, "gap", end, missed=3, late_seconds=end - start)


def gap_of(recorded: Recorded, source: str) -> Gap:
    (gap,) = [gap for gap in recorded.summary()["gaps"] if gap["source"].startswith(source)]
    return gap


@pytest.mark.parametrize(
    ("kind", "details", "seconds", "detail"),
    [
        (
            "stopped",
            {},
            2.0,
            "the pytest process was stopped for 2 s, by a signal or a debugger (its state in /proc)",
        ),
        (
            "starved",
            {"wait_seconds": 1.5, "run_seconds": 0.2},
            1.5,
            "the pytest process waited 1.5 s of 2 s for a CPU (its schedstat)",
        ),
        (
            "throttled",
            {"throttled_seconds": 3.5},
            2.0,
            "the CPU quota of its cgroup kept the pytest process from running for 2 s of 2 s (cpu.stat)",
        ),
        (
            "gil",
            {"wakes_per_second": 199.6, "run_seconds": 0.003},
            2.0,
            "the main thread of the pytest process waited 2 s for the interpreter's lock: it woke 200 times "
            "a second and ran 3 ms",
        ),
    ],
)
def test_what_befell_the_process_is_listed_on_its_tests_and_no_fault_of_the_recording(
    recorded: Recorded, kind: str, details: dict[str, object], seconds: float, detail: str
) -> None:
    main = recorded.process()
    recorder = recorded.recorder(until=10)
    recorded.test(main, "before", 1.0, "setup", "call", "teardown")
    recorded.test(main, "befallen", 3.0, "setup", "call", "teardown", seconds=3.0)
    recorded.stall(kind, 4.0, 6.0, **details)
    recorded.end(main, recorder)

    summary = recorded.summary()
    before, befallen = summary["tests"]
    assert before["stalls"] == []
    assert befallen["stalls"] == [{"kind": kind, "seconds": seconds, "count": 1, "detail": detail}]
    (gap,) = summary["gaps"]
    assert (gap["kind"], gap["worker"], gap["start_seconds"], gap["seconds"]) == (kind, "main", 4.0, seconds)
    assert summary["health"]["state"] == "good"
    assert ", no gaps, " in summary["health"]["line"]


def test_only_the_part_within_a_tests_window_is_its_own(recorded: Recorded) -> None:
    main = recorded.process()
    recorded.recorder(until=3)
    recorded.test(main, "t", 2.0, "setup", "call", "teardown")
    for start in (1.5, 2.2):
        recorded.stall("stopped", start, start + 0.6)
    recorded.stall("stopped", 0.0, 9.0, pid=4)

    (attempt,) = recorded.summary()["tests"]
    (stall,) = attempt["stalls"]
    assert stall["seconds"] == pytest.approx(0.2)
    assert stall["count"] == 2


@pytest.mark.parametrize("kind", ["stopped", "starved", "throttled", "gil"])
def test_a_gap_of_a_thread_is_explained_by_what_covers_most_of_it(recorded: Recorded, kind: str) -> None:
    recorded.recorder(until=10)
    thread_gap(recorded, 4.0, 8.0)
    recorded.stall(kind, 4.5, 7.5)

    gap = gap_of(recorded, "live")
    assert gap["kind"] == kind
    assert gap["detail"].startswith("3 ticks missed; the ")


def test_a_gap_while_the_recorder_was_on_time_is_the_interpreters_lock(recorded: Recorded) -> None:
    recorded.recorder(until=10)
    thread_gap(recorded, 4.5, 8.0)
    recorded.stall("stopped", 1.0, 5.0)

    gap = gap_of(recorded, "live")
    assert (gap["kind"], gap["worker"], gap["pid"]) == ("gil", "main", recorded.main)
    assert gap["detail"] == (
        "3 ticks missed by a thread of main, while the recorder took 3 samples on time and saw it neither "
        "stopped nor without a CPU: the interpreter's lock was held"
    )


@pytest.mark.parametrize("kind", ["recorder_starved", "recorder_stopped", "recorder_throttled", "gap"])
def test_a_gap_while_the_recorder_was_late_is_the_machines(recorded: Recorded, kind: str) -> None:
    recorder = recorded.recorder(until=4)
    recorded.sample(recorder, 9.0, rss_bytes=1)
    thread_gap(recorded, 4.5, 8.5)
    if kind == "gap":
        recorded.gap(recorder, "gap", 9.0, missed=4, late_seconds=4.0)
    else:
        recorded.stall(kind, 4.2, 8.8, wait_seconds=4.0)

    gap = gap_of(recorded, "live")
    assert (gap["kind"], gap["worker"]) == ("host", None)
    assert "; the recorder, a process of its own, was late as well: " in gap["detail"]


def test_a_gap_with_a_suspend_inside_is_the_suspends(recorded: Recorded) -> None:
    recorder = recorded.recorder(until=10)
    thread_gap(recorded, 4.5, 8.0)
    recorded.gap(recorder, "suspend", 5.0, suspended_seconds=60.0)

    assert gap_of(recorded, "live")["kind"] == "suspend"


@pytest.mark.parametrize("why", ["no recorder", "recorder ended before", "too short for a sample"])
def test_a_gap_that_nothing_explains_stays_one(recorded: Recorded, why: str) -> None:
    if why != "no recorder":
        recorded.recorder(until=10 if why.startswith("too short") else 2)
    thread_gap(recorded, 4.2, 4.8 if why.startswith("too short") else 8.0)

    gap = gap_of(recorded, "live")
    assert (gap["kind"], gap["detail"]) == ("gap", "3 ticks missed")


def test_a_recorder_that_did_not_run_for_a_moment_is_no_problem(recorded: Recorded) -> None:
    main = recorded.process()
    recorder = recorded.recorder(until=10)
    recorded.stall("recorder_starved", 2.0, 2.3, wait_seconds=0.3)
    recorded.end(main, recorder, at=10.0)
    assert recorded.summary()["health"]["state"] == "good"


def test_the_same_stretch_of_a_recorder_counts_once(recorded: Recorded) -> None:
    main = recorded.process()
    recorder = recorded.recorder(until=10)
    recorded.stall("recorder_starved", 2.0, 4.0, wait_seconds=1.9)
    recorded.gap(recorder, "gap", 4.0, missed=2, late_seconds=2.0)
    recorded.end(main, recorder, at=10.0)

    summary = recorded.summary()
    assert [gap["kind"] for gap in summary["gaps"]] == ["recorder_starved", "recorder_starved"]
    assert summary["health"]["problems"] == ["the recorder did not run for 2 s of 10 s: starved 2 s"]


def test_a_suspend_is_told_once_though_two_saw_it(recorded: Recorded) -> None:
    main = recorded.process()
    recorder = recorded.recorder(until=3)
    recorded.test(main, "t", 1.0, "setup", "call", "teardown")
    for pid in (recorder, main):
        recorded.gap(pid, "suspend", 1.1, suspended_seconds=60.0)

    (attempt,) = recorded.summary()["tests"]
    assert attempt["stalls"] == [
        {"kind": "suspend", "seconds": 60.0, "count": 1, "detail": "the machine was suspended for 60 s"}
    ]


def test_a_stalled_machine_befalls_the_tests_of_all_workers(recorded: Recorded) -> None:
    recorder = recorded.recorder(until=1)
    first, second = recorded.process("gw0", 5), recorded.process("gw1", LIVE)
    for worker in (first, second):
        recorded.test(worker, "t", 1.0)
    thread_gap(recorded, 2.0, 6.0)
    recorded.stall("recorder_starved", 2.0, 6.0, wait_seconds=4.0)
    recorded.sample(recorder, 7.0, rss_bytes=1)

    stalls = [attempt["stalls"] for attempt in recorded.summary()["tests"]]
    assert [[(stall["kind"], stall["seconds"]) for stall in each] for each in stalls] == [[("host", 4.0)]] * 2


def test_what_a_thread_noticed_of_a_stop_does_not_lengthen_it(recorded: Recorded) -> None:
    recorded.recorder(until=10)
    recorded.process()
    recorded.test(recorded.main, "t", 1.0, "setup", "call", "teardown", seconds=8.0)
    thread_gap(recorded, 4.0, 6.5)
    recorded.stall("stopped", 4.0, 6.0)

    (attempt,) = recorded.summary()["tests"]
    assert [(stall["kind"], stall["seconds"]) for stall in attempt["stalls"]] == [("stopped", 2.0)]


def test_an_edge_that_reaches_into_the_next_test_is_not_its_own(recorded: Recorded) -> None:
    main = recorded.process()
    recorded.recorder(until=3)
    recorded.test(main, "t", 2.0, "setup", "call", "teardown")
    recorded.stall("stopped", 1.0, 2.005)

    assert recorded.summary()["tests"][0]["stalls"] == []
