"""What keeps a process from running is told for what it is, and nothing is told where nothing did."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.recorder.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diagnostics.analysis.schema import Gap, Stall, Summary
    from tests.recorder.conftest import Ended, Runs

#: What a test does to itself -> what is told of it.
STALLED = {
    "test_a_thread_holds_the_lock": "gil",
    "test_the_main_thread_holds_the_lock_beside_a_collector": "gil",
    "test_stopped_by_a_signal": "stopped",
    "test_starved_by_neighbours": "starved",
}
STALLING = """
    import ctypes, os, subprocess, sys, threading, time
    from pytest_diagnostics import DiagnosticCollector

    held = ctypes.PyDLL(None).usleep  # with the lock held, unlike time.sleep

    class Mine(DiagnosticCollector):
        blocking = False
        asked = threading.Event()

        def collect(self):
            self.asked.set()
            return {}

    def test_a_thread_holds_the_lock():
        threading.Thread(target=held, args=(1_900_000,)).start()
        end = time.monotonic() + 1.9
        while time.monotonic() < end:
            pass

    def test_the_main_thread_holds_the_lock_beside_a_collector(diagnostics):
        diagnostics.add(Mine())
        Mine.asked.wait()
        Mine.asked.clear()
        held(1_500_000)
        Mine.asked.wait()

    def test_stopped_by_a_signal():
        subprocess.run(["sh", "-c", "kill -STOP $PPID; sleep 0.9; kill -CONT $PPID"])

    def test_starved_by_neighbours():
        where = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(where)})
        spinning = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(6)]
        end = time.monotonic() + 2.2
        while time.monotonic() < end:
            pass
        os.sched_setaffinity(0, where)
        for one in spinning:
            one.kill()
            one.wait()
"""
#: Looks like a wait for the lock, or like one for a CPU, and is none.
QUIET = """
    import queue, threading, time

    SECONDS = 1.7
    lasts = time.monotonic

    def spin():
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            pass

    def test_nothing():
        pass

    def test_busy():
        spin()

    def test_joins_a_busy_thread():
        thread = threading.Thread(target=spin)
        thread.start()
        thread.join()

    def test_sleeps_as_often_as_the_lock_wakes():
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(0.005)

    def test_awaits_an_event_as_often_as_the_lock_wakes():
        end, event = time.monotonic() + SECONDS, threading.Event()
        while time.monotonic() < end:
            event.wait(0.005)
"""
#: Runs on a twentieth of a CPU, with its recorder, once its first test is over.
THROTTLED = """
    import os, time

    def test_before():
        while not os.path.exists("go on"):
            time.sleep(0.01)

    def test_throttled():
        with open(os.environ["QUOTA"], "w") as file:
            file.write(os.environ["LITTLE"])
        end = time.monotonic() + 2.2
        while time.monotonic() < end:
            pass
        with open(os.environ["QUOTA"], "w") as file:
            file.write(os.environ["MUCH"])
"""
JOINING = """
    import os

    with open(os.environ["GROUP"], "w") as file:
        file.write(str(os.getpid()))
"""


def summary(ended: Ended) -> Summary:
    assert ended.code == 0, ended.out
    return cast("Summary", ended.summary())


def stalls_of(told: Summary, test: str) -> dict[str, Stall]:
    (found,) = [attempt for attempt in told["tests"] if attempt["nodeid"].endswith(f"::{test}")]
    return {stall["kind"]: stall for stall in found["stalls"]}


def gaps_of(told: Summary, kind: str) -> list[Gap]:
    return [gap for gap in told["gaps"] if gap["kind"] == kind]


def test_each_stall_is_told_for_what_it_is(runs: Runs) -> None:
    runs.fresh(test_stalling=STALLING)

    told = summary(runs.run("--diagnostics-report=none"))

    for test, kind in STALLED.items():
        stalls = stalls_of(told, test)
        assert kind in stalls, f"{test}: {stalls}"
        assert set(stalls) <= {kind, "starved"}, test  # neighbours on this machine may be real
        assert stalls[kind]["seconds"] >= 0.5, test
    assert {gap["worker"] for gap in gaps_of(told, "gil")} == {"main"}
    assert not gaps_of(told, "recorder_stopped")


def test_nothing_is_told_of_what_only_looks_like_a_stall(runs: Runs) -> None:
    runs.fresh(test_quiet=QUIET)

    told = summary(runs.run("--diagnostics-report=none"))

    # That something had to wait for a CPU on a busy machine is true.
    allowed = {"starved", "recorder_starved", "gap"}
    assert {gap["kind"] for gap in told["gaps"]} <= allowed, told["gaps"]


def test_a_recorder_that_is_stopped_says_so_and_blames_nobody_else(runs: Runs) -> None:
    path = runs.fresh(
        test_waiting="""
        import os, time

        def test_waits():
            while not os.path.exists("go on"):
                time.sleep(0.01)
        """
    )
    runs.start("--diagnostics-report=none")
    recorder = runs.await_recorder()
    os.kill(recorder, signal.SIGSTOP)
    time.sleep(1.2)  # how long it is stopped is the very thing
    os.kill(recorder, signal.SIGCONT)
    shard = next(path.glob("pytest-diagnostics/runs/*/shards/recorder-*.jsonl"))
    wait_until(lambda: b'"gap":"recorder_stopped"' in shard.read_bytes())
    (path / "go on").touch()

    told = summary(runs.end())

    (gap, *_) = gaps_of(told, "recorder_stopped")
    assert gap["pid"] is None
    assert gap["seconds"] >= 0.7
    assert {gap["kind"] for gap in told["gaps"]} <= {"recorder_stopped", "starved"}
    assert set(stalls_of(told, "test_waits")) <= {"starved"}


def test_a_cpu_quota_is_told_as_one(runs: Runs, quota: dict[str, str]) -> None:
    path = runs.fresh(conftest=JOINING, test_throttled=THROTTLED)
    runs.start("--diagnostics-report=none", env=quota)
    runs.await_recorder()
    (path / "go on").touch()

    told = summary(runs.end())

    stall = stalls_of(told, "test_throttled")["throttled"]
    assert stall["seconds"] >= 1.0
    assert "cpu.stat" in stall["detail"]
    assert "throttled" not in stalls_of(told, "test_before")


@pytest.fixture
def quota() -> Iterator[dict[str, str]]:
    """A cgroup whose CPU quota can be set, and how."""
    made = _new_group()
    if made is None:
        pytest.skip("no cgroup with a CPU quota can be made here")
    group, version = made
    names = {
        1: {"QUOTA": f"{group}/cpu.cfs_quota_us", "LITTLE": "5000", "MUCH": "-1"},
        2: {"QUOTA": f"{group}/cpu.max", "LITTLE": "5000 100000", "MUCH": "max 100000"},
    }
    yield {"GROUP": f"{group}/cgroup.procs", **names[version]}
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(OSError):
            (group.parent / "cgroup.procs").write_text(pid)
    wait_until(lambda: _removed(group))


def _removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def _new_group() -> tuple[Path, int] | None:
    if sys.platform != "linux":
        return None
    name = f"pytest-diagnostics-{os.getpid()}"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, where = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        root = Path("/sys/fs/cgroup", *(["cpu"] if version == 1 else []))
        group = root / where.lstrip("/") / name
        with suppress(OSError):
            group.mkdir()
            file = group / ("cpu.cfs_quota_us" if version == 1 else "cpu.max")
            if os.access(file, os.W_OK):
                return group, version
            group.rmdir()
    return None
