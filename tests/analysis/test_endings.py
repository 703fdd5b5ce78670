"""How processes ended: what a recorder saw, and what is inferred where nothing saw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.analysis.schema import Ending

if TYPE_CHECKING:
    from tests.analysis.conftest import Recorded

GB = 1_000_000_000


def ending_of(recorded: Recorded) -> Ending:
    (ending,) = recorded.summary()["endings"]
    return ending


def killed_in_a_test(recorded: Recorded, **details: object) -> Ending:
    """Record a run whose process was gone 41 s into the call of its second test."""
    main = recorded.process()
    recorded.recorder(until=3)
    recorded.test(main, "t.py::test_x", 0.5, "setup", "call", "teardown")
    recorded.test(main, "t.py::test_y", 1.0, "setup")
    recorded.ended(42.0, **details)
    recorded.end(77, at=42.0, reason="process ended")
    return ending_of(recorded)


@pytest.mark.parametrize(
    ("details", "sentence"),
    [
        (
            {
                "signal": "SIGKILL",
                "source": "zombie",
                "last_rss_bytes": 7.8 * GB,
                "last_rss_monotonic": 41.6,
                "oom_kills": {"cgroup": [2, 3], "machine": [5, 6]},
            },
            "ended without finishing: killed for lack of memory (SIGKILL) in the call of t.py::test_y after "
            "41 s, RSS 7.8 GB 400 ms before, oom_kill +1 in its cgroup",
        ),
        (
            {"signal": "SIGKILL", "source": "pidfd", "oom_kills": {"cgroup": [2, 2], "machine": [2, 2]}},
            "ended without finishing: killed (SIGKILL) in the call of t.py::test_y after 41 s",
        ),
        (
            {"signal": "SIGKILL", "oom_kills": {"machine": [5, 6]}},
            "ended without finishing: killed (SIGKILL) in the call of t.py::test_y after 41 s, "
            "oom_kill +1 on the machine",
        ),
        (
            {"signal": "SIGTERM", "oom_kills": {"cgroup": [0, 1]}},
            "ended without finishing: ended by SIGTERM in the call of t.py::test_y after 41 s, "
            "oom_kill +1 in its cgroup",
        ),
        (
            {"signal": "SIGSEGV"},
            "ended without finishing: crashed (SIGSEGV) in the call of t.py::test_y after 41 s",
        ),
        (
            {"exit_code": 0},
            "ended without finishing: exited with code 0 in the call of t.py::test_y after 41 s",
        ),
        (
            {"unknown": "its parent had taken its exit status already"},
            "ended without finishing, in the call of t.py::test_y after 41 s; how is not known: "
            "its parent had taken its exit status already",
        ),
    ],
    ids=["oom", "killed", "killed, oom elsewhere", "terminated", "crashed", "exited", "unknown"],
)
def test_what_the_recorder_saw_is_told_and_no_more(
    recorded: Recorded, details: dict[str, object], sentence: str
) -> None:
    ending = killed_in_a_test(recorded, **details)

    assert ending["sentence"] == sentence
    assert not ending["inferred"]
    assert (ending["nodeid"], ending["phase"], ending["running_seconds"]) == ("t.py::test_y", "call", 41.0)
    summary = recorded.summary()
    assert summary["run"]["ending"] == ending
    assert summary["run"]["end_reason"] == sentence
    assert summary["health"]["problems"] == [f"the run {sentence}"]


def test_each_figure_names_its_source(recorded: Recorded) -> None:
    ending = killed_in_a_test(
        recorded, signal="SIGKILL", source="zombie", last_rss_bytes=5, oom_kills={"cgroup": [2, 3]}
    )

    pid = recorded.main
    assert ending["evidence"] == [
        f"SIGKILL: the exit status in /proc/{pid}/stat, read before its parent took it",
        "the test: it began and has no end in its process' shard",
        f"RSS: /proc/{pid}/stat, as last read by the recorder (shard recorder-77)",
        "oom_kill of its cgroup: 2 before, 3 after",
    ]
    assert ending["oom_kills"] == {"cgroup": [2, 3]}


def test_a_test_lasts_until_its_process_ended_and_has_the_samples_up_to_then(recorded: Recorded) -> None:
    main = recorded.process()
    recorded.recorder(until=9)
    recorded.test(main, "t", 2.5, "setup")
    recorded.ended(6.2, signal="SIGKILL")

    (attempt,) = recorded.summary()["tests"]
    assert (attempt["complete"], attempt["outcome"], attempt["wall_seconds"]) == (False, "running", 3.7)
    assert attempt["samples"]["process.rss_bytes"]["count"] == 4
    assert attempt["failure"] is None


@pytest.mark.parametrize(("at", "problems"), [(1.5, 2), (2.5, 1)], ids=["before", "after"])
def test_a_collector_that_fails_because_the_process_is_gone_is_no_problem(
    recorded: Recorded, at: float, problems: int
) -> None:
    recorded.process()
    recorder = recorded.recorder(until=1)
    recorded.ended(2.0, signal="SIGKILL")
    error = {"type": "unavailable", "message": "its process has ended"}
    told = {"collector": "process", "seconds": 0.0, "collected": False, "data": None, "error": error}
    recorded.add(recorder, "result", monotonic=at, **told)

    assert len(recorded.summary()["health"]["problems"]) == problems


@pytest.mark.parametrize(
    ("phases", "where"),
    [(("setup", "call", "teardown"), "while no test ran"), (None, "before any test")],
    ids=["between tests", "before tests"],
)
def test_an_end_outside_of_tests_says_so(
    recorded: Recorded, phases: tuple[str, ...] | None, where: str
) -> None:
    main = recorded.process()
    recorded.recorder()
    if phases is not None:
        recorded.test(main, "t", 0.0, *phases)
    recorded.ended(2.0, signal="SIGKILL")

    assert ending_of(recorded)["sentence"] == f"ended without finishing: killed (SIGKILL) {where}"


def test_a_test_whose_shard_is_lost_is_the_one_that_the_recorder_saw_begin(recorded: Recorded) -> None:
    recorded.recorder()
    running = {"nodeid": "t.py::test_y", "worker": "main", "pid": recorded.main, "started_monotonic": 1.5}
    recorded.ended(4.0, signal="SIGKILL", running=[running])

    ending = ending_of(recorded)
    assert ending["sentence"] == "ended without finishing: killed (SIGKILL) in t.py::test_y after 2.5 s"
    assert ending["phase"] is None
    assert "the test: the recorder had seen it begin (shard recorder-77)" in ending["evidence"]


def test_what_nothing_saw_is_inferred_from_where_the_records_stop(recorded: Recorded) -> None:
    main = recorded.process()
    recorded.recorder(until=8)
    recorded.test(main, "t.py::test_y", 1.0, "setup")

    ending = ending_of(recorded)
    assert ending["inferred"]
    assert ending["sentence"] == (
        "ended without finishing, in the call of t.py::test_y after at least 7 s, RSS 9.0 MB in the last "
        "sample; how is not known: nothing was left to see it, its recorder stopped at the same time, after "
        "its last sample 8 s into the run"
    )
    assert ending["evidence"] == [
        "RSS: the last sample in shard recorder-77, 8 s into the run",
        f"shard main-{main} has no end record; its last record is of 1.1 s into the run",
        "shard recorder-77 has no end record; its last record is of 8 s into the run",
        "the test: it began and has no end in its process' shard",
    ]
    assert recorded.summary()["tests"][0]["wall_seconds"] is None


def test_a_recorder_that_was_a_thread_could_not_see_it(recorded: Recorded) -> None:
    recorded.process(role="recorder")
    recorded.sample(recorded.main, 3.0, "own", x=1)

    assert ending_of(recorded)["unknown"] == "nothing was left to see it, its recorder was a thread of it"


def test_a_run_that_still_runs_has_no_ending(recorded: Recorded) -> None:
    recorded.process()
    recorded.recorder(until=1)

    summary = recorded.summary(alive=True)
    assert (summary["run"]["end_reason"], summary["run"]["ending"]) == ("still running", None)
    assert (summary["endings"], summary["health"]["state"]) == ([], "good")


def test_a_run_that_finished_has_no_ending(recorded: Recorded) -> None:
    main = recorded.process()
    recorder = recorded.recorder(until=1)
    recorded.end(main, recorder)

    summary = recorded.summary()
    assert (summary["run"]["finished"], summary["run"]["ending"], summary["endings"]) == (True, None, [])


def test_a_crashed_worker_is_told_and_its_test_is_crashed(recorded: Recorded) -> None:
    main, worker = recorded.process(), recorded.process("gw0", 5)
    recorder = recorded.recorder(until=20)
    recorded.test(worker, "t.py::test_y", 1.0, "setup")
    recorded.ended(5.5, pid=worker, worker="gw0", signal="SIGSEGV", source="zombie")
    recorded.end(main, recorder, at=20.0)

    summary = recorded.summary()
    (attempt,) = summary["tests"]
    assert (attempt["outcome"], attempt["complete"], attempt["wall_seconds"]) == ("crashed", False, 4.5)
    assert attempt["failure"] == "worker gw0 was ended by SIGSEGV"
    assert attempt["phases"][-1]["outcome"] == "crashed"
    assert attempt["samples"]["process.rss_bytes"]["last"] == 6_000_000
    assert summary["counts"] == {"crashed": 1}
    assert summary["run"]["ending"] is None
    assert summary["run"]["end_reason"] == "finished"
    sentence = "ended without finishing: crashed (SIGSEGV) in the call of t.py::test_y after 4.5 s"
    assert summary["health"]["problems"] == [f"worker gw0 {sentence}"]


def test_a_failure_that_was_told_of_a_crashed_test_stays(recorded: Recorded) -> None:
    main, worker = recorded.process(), recorded.process("gw0", 5)
    recorder = recorded.recorder()
    recorded.test(worker, "t", 1.0, "setup")
    told = {"when": "call", "outcome": "failed", "amends": True, "failure": "boom"}
    recorded.add(worker, "phase", **recorded.identity(worker, "t"), **told)
    recorded.ended(5.5, pid=worker, worker="gw0", exit_code=3)
    recorded.end(main, recorder)

    (attempt,) = recorded.summary()["tests"]
    assert (attempt["outcome"], attempt["failure"]) == ("failed", "boom")


def test_a_controllers_end_names_the_test_that_ran_longest_in_its_workers(recorded: Recorded) -> None:
    recorded.process()
    first, second = recorded.process("gw0", 5), recorded.process("gw1", 6)
    recorded.recorder()
    recorded.test(first, "t.py::late", 4.0, "setup")
    recorded.test(second, "t.py::early", 1.0, "setup")
    recorded.ended(6.0, signal="SIGKILL")

    assert ending_of(recorded)["sentence"] == (
        "ended without finishing: killed (SIGKILL) in the call of t.py::early on gw1 and 1 more beside "
        "it after 5 s"
    )


def test_the_runs_own_ending_comes_first(recorded: Recorded) -> None:
    recorded.process()
    recorded.process("gw0", 5)
    recorded.recorder()
    recorded.ended(2.0, pid=5, worker="gw0", signal="SIGSEGV")
    recorded.ended(6.0, signal="SIGKILL")

    assert [ending["process"] for ending in recorded.summary()["endings"]] == ["main", "gw0"]
