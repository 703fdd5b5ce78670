"""However pytest ends, its exit code is its own, how it ended is recorded, nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING, cast

import pytest

from tests.recorder.conftest import await_no_recorder, wait_until

if TYPE_CHECKING:
    from tests.recorder.conftest import Ended, Runs

#: The part that ends the run: waits until there are samples, then does what ``DEATH`` says.
DYING = """
    import faulthandler, glob, os, signal, sys, time
    import pytest

    NAMES = ("SIGINT", "SIGTERM", "SIGKILL")

    def has_samples():
        for path in glob.glob("pytest-diagnostics/runs/*/shards/recorder-*.jsonl"):
            with open(path, "rb") as file:
                return file.read().count(b'"collector":"memory","monotonic"') > 2
        return False

    def die(where):
        if os.environ["WHERE"] != where:
            return
        os.environ["WHERE"] = ""
        deadline = time.monotonic() + 20
        samples = os.environ["RECORDED"] and where != "page"
        while samples and not has_samples() and time.monotonic() < deadline:
            time.sleep(0.005)
        death = os.environ["DEATH"]
        if death in NAMES:
            os.kill(os.getpid(), signal.Signals[death])
            for _ in range(100):
                time.sleep(0.01)
        elif death == "SIGSEGV":
            faulthandler.disable()
            faulthandler._sigsegv()
        elif death == "os._exit":
            os._exit(3)
        elif death == "pytest.exit":
            pytest.exit("enough", returncode=7)
        else:
            time.sleep(20)
"""
CONFTEST = """
    import os, sys
    import pytest
    from dying import die

    ending = False

    def audit(event, args):
        if not ending:
            return
        if event == "socket.connect" and "pytest-diagnostics" in str(args[1]):
            die("final collection")
        if event == "open" and "report.html" in str(args[0]):
            die("page")

    sys.addaudithook(audit)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish():
        global ending
        ending = True
        if not os.environ["RECORDED"]:
            die("final collection")
            die("page")
"""
SUITE = """
    import pytest
    from dying import die

    die("collection")

    @pytest.fixture
    def around():
        die("setup")
        yield
        die("teardown")

    def test_first():
        pass

    def test_second(around):
        die("call")

    def test_third():
        pass
"""
QUICK_TESTS = """
    import pytest, time

    @pytest.mark.parametrize("n", range(60))
    def test_it(n):
        time.sleep(0.01)
"""
IN_TESTS = ("setup", "call", "teardown")
#: What kills without pytest's doing, with the exit code or signal that is seen from outside.
KILLS = {
    "SIGTERM": -signal.SIGTERM,
    "SIGKILL": -signal.SIGKILL,
    "SIGSEGV": -signal.SIGSEGV,
    "os._exit": 3,
}


def died(runs: Runs, death: str, where: str, *args: str, on: bool = True) -> Ended:
    """Run the suite that ends in a place by a cause."""
    runs.fresh(dying=DYING, conftest=CONFTEST, test_dies=SUITE)
    return runs.run(*args, on=on, env={"DEATH": death, "WHERE": where})


def assert_complete(ended: Ended, instant: float) -> None:
    """Assert that the samples reach up to the second before an instant."""
    samples = [cast("float", r["monotonic"]) for r in ended.of_kind("result") if r["collector"] == "memory"]
    assert instant - 1 < max(samples) <= instant + 1
    assert [record["reason"] for record in ended.of_kind("end")]


@pytest.mark.parametrize("where", ["collection", *IN_TESTS, "final collection"])
@pytest.mark.parametrize(("death", "code"), KILLS.items(), ids=list(KILLS))
def test_how_a_killed_run_ended_is_recorded_with_the_test_that_ran(
    runs: Runs, death: str, code: int, where: str
) -> None:
    on = died(runs, death, where)
    await_no_recorder(runs.path)
    assert on.code == code
    (ending,) = on.endings()
    assert ending["signal"] == (death if code < 0 else None)
    assert ending["exit_code"] == (None if code < 0 else code)
    assert ending["source"] in ("zombie", "pidfd")
    running = [test["nodeid"] for test in cast("list[dict[str, object]]", ending["running"])]
    assert running == (["test_dies.py::test_second"] if where in IN_TESTS else [])
    # Not known, never nothing, where it died before it was looked at for the first time.
    assert (ending["last_rss_bytes"] is None) is (ending["last_rss_monotonic"] is None)
    assert cast("int", ending["last_rss_bytes"] or 1 << 30) > 10 << 20
    assert_complete(on, cast("float", ending["monotonic"]))
    assert on.of_kind("end")[-1]["reason"] == "process ended"
    assert not (on.run / "recorder.err").exists()


@pytest.mark.parametrize("death", ["SIGKILL", "os._exit"])
def test_a_run_that_is_killed_while_its_page_is_written_leaves_nothing_behind(runs: Runs, death: str) -> None:
    on = died(runs, death, "page")
    await_no_recorder(runs.path)
    assert on.code == KILLS[death]
    assert on.of_kind("end")[-1]["reason"] == "finished"
    assert on.of_kind("end", "main-*")
    assert not on.endings()


@pytest.mark.parametrize("where", ["collection", *IN_TESTS])
@pytest.mark.parametrize("death", ["SIGINT", "pytest.exit"])
def test_a_run_that_ends_early_ends_as_without_us(runs: Runs, death: str, where: str) -> None:
    on = died(runs, death, where)
    await_no_recorder(runs.path)
    assert on.code == (2 if death == "SIGINT" or where == "collection" else 7)
    assert not on.endings()
    assert on.of_kind("end")[-1]["reason"] == "finished"
    assert_complete(on, cast("float", on.of_kind("end")[-1]["monotonic"]))
    assert not (on.run / "recorder.err").exists()


def test_an_interrupted_wait_for_the_recorder_keeps_the_exit_code_of_the_run(runs: Runs) -> None:
    on = died(runs, "SIGINT", "final collection")
    await_no_recorder(runs.path)
    assert on.code == 0
    assert "the wait for collectors was interrupted" in on.problems()


def test_an_interruption_while_the_page_is_written_ends_the_run_as_without_us(runs: Runs) -> None:
    off, on = (died(runs, "SIGINT", "page", on=on) for on in (False, True))
    await_no_recorder(runs.path)
    assert on.code == off.code


@pytest.mark.parametrize(
    ("method", "where"), [("signal", "call"), *(("thread", where) for where in IN_TESTS)]
)
def test_a_timeout_is_the_end_of_its_test_or_a_recorded_one(runs: Runs, method: str, where: str) -> None:
    pytest.importorskip("pytest_timeout")
    args = ("-ppytest_timeout", "--timeout=1", f"--timeout-method={method}")
    on = died(runs, "timeout", where, *args)
    await_no_recorder(runs.path)
    assert on.code == 1
    endings = on.endings()
    if method == "signal":
        assert not endings
        assert "2 passed" in on.out or "3 passed" in on.out
    else:
        assert [(e["exit_code"], e["signal"]) for e in endings] == [(1, None)]
        (running,) = cast("list[dict[str, object]]", endings[0]["running"])
        assert running["nodeid"] == "test_dies.py::test_second"


def test_the_exit_codes_of_killed_runs_are_those_without_us(runs: Runs) -> None:
    seen = {death: died(runs, death, "call", on=False).code for death in (*KILLS, "SIGINT", "pytest.exit")}
    assert seen == {**KILLS, "SIGINT": 2, "pytest.exit": 7}
    assert died(runs, "pytest.exit", "collection", on=False).code == 2


@pytest.mark.parametrize("waits_for_begin", [False, True])
def test_a_kill_at_any_instant_leaves_nothing_behind_and_no_torn_record(
    runs: Runs, waits_for_begin: bool
) -> None:
    chance = random.Random(31)
    endings = 0
    for _ in range(8):
        runs.fresh(test_it=QUICK_TESTS)
        pid = runs.start("--diagnostics-report=none")
        if waits_for_begin:
            wait_until(runs.has_begun)
        time.sleep(chance.random() * 0.3)
        os.kill(pid, signal.SIGKILL)  # it is a zombie at least, or is read in time
        on = runs.end()
        await_no_recorder(runs.path)
        assert on.code in (-signal.SIGKILL, 0)
        if not runs.has_begun():
            continue
        (end,) = on.of_kind("end")
        if end["reason"] == "process ended":
            # It may have been killed after it had said itself that it ends.
            assert on.endings() or on.of_kind("end", "main-*")
        else:
            assert end["reason"] == "finished"
            assert not on.endings()
        for ending in on.endings():
            endings += 1
            assert ending["signal"] == "SIGKILL" or ending["unknown"]
    assert endings >= 3 * waits_for_begin


def test_a_run_of_no_time_at_all_is_whole(runs: Runs) -> None:
    for _ in range(3):
        runs.fresh(test_it="def test_it(): pass")
        on = runs.run("--diagnostics-report=none")
        await_no_recorder(runs.path)
        assert on.code == 0
        assert on.of_kind("end")[-1]["reason"] == "finished"
        assert cast("dict[str, object]", on.summary()["health"])["state"] == "good", on.out
