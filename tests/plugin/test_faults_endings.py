"""Runs that end early: the exit code is pytest's own, and the recording says where it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

#: ``{setup}``, ``{call}`` and ``{teardown}`` are statements of the second of three tests.
SUITE = """
    import ctypes, os, pytest, signal, sys, threading, time

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    @pytest.fixture
    def around():
        {setup}
        yield
        {teardown}

    def test_first():
        pass

    def test_second(around):
        {call}

    def test_third():
        pass
"""
PHASES = ("setup", "call", "teardown")


@pytest.fixture
def ending(differential: Differential) -> Callable[[str, str], Differential]:
    """Write a suite in which a phase of the second test does something."""

    def write(phase: str, statement: str) -> Differential:
        statements = {**dict.fromkeys(PHASES, "pass"), phase: statement}
        differential.write(test_it=SUITE.format(**statements))
        return differential

    return write


Ending = Callable[[str, str], "Differential"]


@pytest.mark.parametrize("phase", PHASES)
def test_an_interruption_is_recorded_in_its_phase(ending: Ending, phase: str) -> None:
    on = ending(phase, "interrupt()").pair()
    assert on.code == pytest.ExitCode.INTERRUPTED
    assert on.outcomes()["test_first"] == "passed"
    assert "test_third" not in on.outcomes()
    assert on.phases("test_second")[phase]["outcome"] == "interrupted"
    assert on.summary["run"]["exit_status"] == 2


@pytest.mark.parametrize("phase", PHASES)
def test_pytest_exit_keeps_its_exit_code(ending: Ending, phase: str) -> None:
    on = ending(phase, "pytest.exit('enough', returncode=7)").pair()
    assert on.code == 7
    assert on.outcomes()["test_first"] == "passed"
    assert on.phases("test_second")[phase]["outcome"] == "interrupted"


@pytest.mark.parametrize(
    "hook",
    [
        "pytest_runtest_logstart(nodeid)",
        "pytest_runtest_setup(item)",
        "pytest_runtest_makereport(item, call)",
        "pytest_runtest_logreport(report)",
        "pytest_runtestloop(session)",
        "pytest_diagnostics_test_summary(item, summary)",
    ],
)
def test_pytest_exit_in_a_hook_keeps_its_exit_code(ending: Ending, hook: str) -> None:
    runs = ending("call", "pass")
    ours = "diagnostics" in hook
    body = "import pytest\ndef {}:\n    pytest.exit('from a hook', returncode=9)\n"
    (runs.path / "conftest.py").write_text(body.format(hook))
    if ours:
        assert runs.run(on=False).code == 0  # not called without diagnostics
        on = runs.run(on=True)
    else:
        on = runs.pair()
    assert on.code == 9
    assert on.summary["run"]["exit_status"] == 9


@pytest.mark.parametrize(("option", "ran"), [("-x", 2), ("--maxfail=2", 3)])
def test_stopping_after_failures_ends_the_recording_cleanly(
    differential: Differential, option: str, ran: int
) -> None:
    differential.write(
        test_it="""
            import pytest
            @pytest.mark.parametrize("n", range(5))
            def test_it(n):
                assert n == 0
        """
    )
    on = differential.pair(option)
    assert on.code == 1
    assert len(on.summary["tests"]) == ran
    assert on.summary["run"]["finished"]
    assert "did not finish" not in on.problems()


def test_a_second_interruption_during_our_end_still_ends_the_run(ending: Ending) -> None:
    runs = ending("call", "interrupt()")
    runs.write(
        conftest="""
            import os, signal, threading, time
            from pytest_diagnostics import DiagnosticCollector

            class Lingering(DiagnosticCollector):
                def collect(self):
                    return {"n": 1}
                def stop(self):
                    os.kill(os.getpid(), signal.SIGINT)
                    threading.Event().wait(60)

            def pytest_diagnostics_collectors(config):
                return [Lingering()]
        """
    )
    off, on = runs.run(on=False), runs.run(on=True, timeout=20)
    assert (on.code, off.code) == (2, 2)
    assert b"phase" in b"".join(shard.read_bytes() for shard in on.runs[0].glob("shards/*"))


@pytest.mark.parametrize("method", ["signal", "thread"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_timeout_ends_a_test_as_it_would_without_us(ending: Ending, phase: str, method: str) -> None:
    runs = ending(phase, "time.sleep(30)")
    runs.plugins = ("pytest_timeout",)
    on = runs.pair("--timeout=0.7", f"--timeout-method={method}", compare=(), timeout=20)
    records = b"".join(shard.read_bytes() for shard in on.runs[0].glob("shards/main-*"))
    assert b"test_first" in records
    if method == "signal":
        assert on.phases("test_second")[phase]["outcome"] == "failed"
        assert on.outcomes()["test_third"] == "passed"


def test_no_timeout_strikes_while_a_failure_waits_for_its_collection(differential: Differential) -> None:
    differential.plugins = ("pytest_timeout",)
    differential.write(
        conftest="""
            import threading
            from pytest_diagnostics import DiagnosticCollector

            class Hanging(DiagnosticCollector):
                interval, timeout = 0.5, 60.0
                def collect(self):
                    threading.Event().wait(3)

            def pytest_diagnostics_collectors(config):
                return [Hanging()]
        """,
        test_it="""
            import pytest, time
            @pytest.mark.timeout(1)
            @pytest.mark.parametrize("n", range(2))
            def test_it(n):
                time.sleep(0.5)
                assert n == 9
        """,
    )
    on = differential.pair("--timeout-method=signal")
    assert on.code == 1
    assert on.summary["counts"] == {"failed": 2}


def test_time_in_a_debugger_is_not_charged_to_the_test(differential: Differential) -> None:
    differential.stdin = b"import time; time.sleep(0.5)\nc\n" * 2
    differential.write(
        test_it="""
            def test_stops():
                breakpoint()
            def test_fails():
                assert 0
            def test_passes():
                pass
        """,
    )
    on = differential.pair("--pdb")
    assert on.outcomes() == {"test_stops": "passed", "test_fails": "failed", "test_passes": "passed"}
    assert on.phases("test_stops")["call"]["usage"]["wall_seconds"] < 0.4
    assert on.phases("test_fails")["teardown"]["usage"]["wall_seconds"] < 0.4


def test_quitting_the_debugger_ends_the_run_as_it_would_without_us(differential: Differential) -> None:
    differential.stdin = b"q\n"
    differential.write(test_it="def test_it(): breakpoint()\ndef test_more(): pass\n")
    on = differential.pair("--pdb")
    assert on.phases("test_it")["call"]["outcome"] == "interrupted"


def test_an_internal_error_of_another_plugin_stays_its_own(ending: Ending) -> None:
    for hook in (
        "pytest_runtest_protocol(item)",
        "pytest_runtest_logfinish(nodeid)",
        "pytest_sessionfinish()",
    ):
        runs = ending("call", "pass")
        (runs.path / "conftest.py").write_text(f"def {hook}:\n    raise RuntimeError('theirs')\n")
        on = runs.pair(compare=())
        assert on.code in (1, 3)
        assert "theirs" in on.out + on.err
        assert on.summary["run"]["finished"]


def test_the_end_of_the_interpreter_is_silent(differential: Differential) -> None:
    differential.python = ("-X", "dev")
    differential.write(
        conftest="""
            import atexit, threading
            from pytest_diagnostics import DiagnosticCollector, DiagnosticManager

            class Hanging(DiagnosticCollector):
                def collect(self):
                    threading.Event().wait()

            def pytest_diagnostics_collectors(config):
                return [Hanging()]
        """,
        test_it="def test_it(): pass",
    )
    assert differential.pair(timeout=20).err == ""
