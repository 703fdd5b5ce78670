"""The manager in a process where tests do what tests do: signals, forks, frozen clocks, mocks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from unittest import mock

import freezegun
import pytest
import time_machine

from pytest_diagnostics import DiagnosticManager, ManagerError, ManagerStatus
from pytest_diagnostics.testing import TIMEOUT, MemorySink, ScriptedCollector

Run = Callable[..., DiagnosticManager]

PRELUDE = """
import os, signal, sys, threading, time
from pytest_diagnostics import *
from pytest_diagnostics.testing import *
manager = DiagnosticManager(
    [ScriptedCollector(interval=0.01), ScriptedCollector(name="lane", interval=0.01, blocking=True)],
    sinks=[],
)
"""

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


def run_program(program: str, *options: str) -> str:
    """Run a program in a fresh interpreter; it must say nothing on stderr and end well."""
    # A coverage that measures children has locks of its own, which a signal handler interrupts.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *options, "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT * 2,
        check=False,
        env=environment,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


def test_nothing_is_said_in_development_mode() -> None:
    said = run_program("""
        class Async(DiagnosticCollector):
            async def collect(self):
                return 1
        manager.add_collector(Async())
        with manager:
            manager.collect_all()
        print(len(manager.get_results()) >= 6, threading.active_count())
        """)
    assert said == "True 1\n"


def test_interpreter_ends_while_a_collector_hangs() -> None:
    said = run_program("""
        hung = ScriptedCollector([threading.Event().wait], name="hung", blocking=True)
        manager.add_collector(hung)
        manager.start_collecting()
        manager.collect_now(["scripted"])
        print("end")
        """)
    assert said == "end\n"


@posix
def test_signals_go_to_the_program_and_never_to_our_threads() -> None:
    # With one thread open to it, the signal would kill the process: nobody handles it.
    said = run_program("""
        manager.start_collecting()
        manager.collect_all()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        manager.stop_collecting()
        """)
    assert said == "[]\n"


@posix
def test_stop_from_a_signal_handler_does_not_deadlock() -> None:
    said = run_program("""
        def stop(number, frame):
            manager.stop_collecting()
        signal.signal(signal.SIGALRM, stop)
        for delay in range(40):
            manager.start_collecting()
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0002 * delay)
            began = time.monotonic()
            while manager.is_running:
                manager.pause(); manager.resume()
                manager.get_results(); manager.clear_results(); manager.request()
            manager.stop_collecting()
            assert time.monotonic() - began < 2.0, "a lock was waited for"
        print(manager.status, threading.active_count())
        """)
    assert said == "stopped 1\n"


@posix
def test_ctrl_c_in_a_stop_leaves_a_manager_that_can_be_stopped() -> None:
    said = run_program("""
        hung = ScriptedCollector([lambda: time.sleep(0.6)], name="hung", blocking=True)
        manager.add_collector(hung)
        manager.start_collecting()
        manager.collect_now(["lane"])
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            manager.stop_collecting()
        except KeyboardInterrupt:
            print("interrupted")
        manager.stop_collecting()
        print(manager.status, [r.final for r in manager.get_results() if r.collector_name == "hung"])
        """)
    assert said == "interrupted\nstopped [False, True]\n"


FORK = """
sink = MemorySink()
manager = DiagnosticManager(
    [ScriptedCollector(interval=0.005), ScriptedCollector(name="lane", interval=0.005, blocking=True)],
    sinks=[sink],
)
manager.start_collecting()
manager.collect_all()

def in_child(work):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.write(1, repr(work()).encode() + b"\\n")
        os._exit(0)
    end = time.monotonic() + 10
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done or time.monotonic() > end:
            break
        time.sleep(0.005)
    if not done:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert done and status == 0, (done, status)
"""


def run_fork(program: str) -> str:
    # Forking beside threads warns from Python 3.12 on; that is the test's own doing.
    options = ("-W", "ignore::DeprecationWarning")
    return run_program(FORK + textwrap.dedent(program), *options)


@posix
def test_forked_child_is_inert() -> None:
    said = run_fork("""
        def work():
            before = len(sink.records)
            manager.stop_collecting(); manager.pause(); manager.clear_results()
            return manager.status.value, threading.active_count(), len(sink.records) - before, sink.closed
        for _ in range(20):
            in_child(work)
        print(manager.status)
        manager.stop_collecting()
        print(sink.closed)
        """)
    assert said == "('stopped', 1, 0, 0)\n" * 20 + "running\n1\n"


@posix
def test_manager_can_be_started_anew_in_the_child() -> None:
    said = run_fork("""
        def work():
            manager.clear_results()
            reply = manager.collect_all()
            manager.start_collecting()
            manager.collect_all()
            manager.stop_collecting()
            return reply["lane"], manager.latest("lane").final, sink.closed
        for _ in range(10):
            in_child(work)
        manager.stop_collecting()
        """)
    assert said == "({'value': 1}, True, 0)\n" * 10


@posix
def test_fork_while_a_sink_holds_its_lock_does_not_deadlock_the_child() -> None:
    said = run_fork("""
        held, go_on = threading.Event(), threading.Event()
        lock = threading.Lock()
        def hold(record):
            with lock:
                held.set()
                go_on.wait(10)
        manager.subscribe(hold)
        held.wait(10)
        def work():
            manager.subscribe(print)
            manager.stop_collecting()
            manager.start_collecting()
            manager.stop_collecting()
            return manager.status.value
        manager.subscribe(len)
        in_child(lambda: (manager.get_results() and "results"))
        in_child(lambda: manager.stop_collecting())
        in_child(lambda: (manager.start_collecting(), manager.stop_collecting())[1])
        go_on.set()
        manager.stop_collecting()
        """)
    assert said == "'results'\nNone\nNone\n"


@posix
def test_fork_in_a_collector_leaves_a_child_that_says_nothing() -> None:
    said = run_fork("""
        def fork():
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
                return {"parent": 1}
            return {"child": 1}
        with manager:
            manager.add_collector(ScriptedCollector([fork], name="forking", blocking=True))
            print(manager.collect_now(["forking"])["forking"].data)
        print(any(r.data == {"child": 1} for r in sink.results))
        """)
    assert said == "{'parent': 1}\nFalse\n"


def test_refused_thread_is_a_manager_error_and_the_manager_can_be_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    manager = DiagnosticManager([ScriptedCollector()])
    monkeypatch.setattr("pytest_diagnostics.core.threads._start", refuse)
    with pytest.raises(ManagerError, match=r"cannot start: the system refused a thread \(can't start"):
        manager.start_collecting()
    with pytest.raises(ManagerError, match="cannot start"):
        manager.collect_all()
    assert manager.status is ManagerStatus.IDLE
    manager.stop_collecting()
    monkeypatch.undo()
    with manager:
        assert manager.collect_all()["scripted"] == {"value": 1}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs another user's limits")
def test_thread_limit_of_the_system_is_a_manager_error() -> None:
    said = run_program("""
        import resource
        os.setgid(65534)
        os.setuid(64123)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            manager.start_collecting()
        except ManagerError as exc:
            print(type(exc).__name__, manager.status)
        """)
    assert said in ("ManagerError idle\n", "")


def ticks_are_right(run: Run, sink: MemorySink) -> None:
    """Run a manager for a while: its ticks and stamps must be those of the real clocks."""
    began, wall = time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime_ns(5) / 1e9
    manager = run(
        ScriptedCollector(interval=0.02), ScriptedCollector(name="lane", interval=0.02, blocking=True)
    )
    sink.wait_for(lambda s: len([r for r in s.results if r.collector_name == "scripted"]) > 10)
    manager.stop_collecting()
    results = [r for r in manager.get_results() if r.collector_name == "scripted"]
    assert 0.2 <= results[-1].monotonic - began < TIMEOUT
    assert abs(results[0].timestamp.timestamp() - wall) < 1.0
    gaps = [b.monotonic - a.monotonic for a, b in zip(results[1:-2], results[2:-1])]  # noqa: B905, RUF007
    assert min(gaps) > 0.001, "a burst"
    assert all(r.seconds < 1.0 for r in results)


linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux' clocks")


@linux
def test_frozen_time_of_freezegun_does_not_reach_us(run: Run, sink: MemorySink) -> None:
    with freezegun.freeze_time("2012-01-14"):
        ticks_are_right(run, sink)


@linux
@pytest.mark.parametrize("tick", [True, False])
def test_travelled_time_of_time_machine_does_not_reach_us(run: Run, sink: MemorySink, tick: bool) -> None:
    with time_machine.travel(datetime(1999, 1, 1, tzinfo=timezone.utc), tick=tick):
        ticks_are_right(run, sink)


@linux
@pytest.mark.parametrize("name", ["sleep", "time", "monotonic", "perf_counter", "time_ns", "monotonic_ns"])
def test_mocked_clock_does_not_reach_us_and_is_not_called(run: Run, sink: MemorySink, name: str) -> None:
    with mock.patch.object(time, name, side_effect=AssertionError("called")) as mocked:
        manager = run(ScriptedCollector(interval=0.01), ScriptedCollector(name="lane", blocking=True))
        sink.wait_for(lambda s: len(s.results) > 5)
        manager.collect_all()
        manager.stop_collecting()

    mocked.assert_not_called()


@pytest.mark.parametrize("name", ["Event", "Condition", "Lock", "RLock", "Thread", "current_thread"])
def test_mocked_threading_does_not_reach_us(run: Run, sink: MemorySink, name: str) -> None:
    manager = run(ScriptedCollector(blocking=True), ScriptedCollector(name="b", interval=0.01))
    sink.wait_for(lambda s: {r.collector_name for r in s.results} == {"scripted", "b"})
    with mock.patch.object(threading, name, side_effect=AssertionError("called")):
        reply = manager.collect_all()
        manager.pause()
        manager.resume()
        manager.get_results()

    assert reply["scripted"] == {"value": 1}


def test_mocked_system_calls_do_not_reach_us(run: Run, sink: MemorySink) -> None:
    with mock.patch("os.getpid", return_value=1), mock.patch("builtins.open"), mock.patch("json.dumps"):
        manager = run(ScriptedCollector(interval=0.01))
        sink.wait_for(lambda s: len(s.results) > 3)
        assert manager.status is ManagerStatus.RUNNING
        manager.stop_collecting()


def test_log_and_output_stay_untouched(
    run: Run, sink: MemorySink, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    manager = run(ScriptedCollector([OSError("x")], interval=0.01), ScriptedCollector([1 / 3], name="b"))
    sink.wait_for(lambda s: len(s.results) > 8)
    manager.stop_collecting()

    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
