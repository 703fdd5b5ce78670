"""The process collector tells of the watched process and its children, and of nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from pytest_diagnostics.collectors.process import ProcessCollector, WorkersCollector
from pytest_diagnostics.core.errors import UnavailableError
from pytest_diagnostics.system.tree import Children

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
MIB = 1 << 20


class Clock:
    now = 10.0

    def monotonic(self) -> float:
        return self.now


def tick(collector: ProcessCollector) -> dict[str, object]:
    data = collector.collect()
    reasons = data.pop("reasons", {})
    assert isinstance(reasons, dict)
    assert {key for key, value in data.items() if value is None} <= set(reasons)
    return data


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A child that holds 30 MiB, has a child of its own, and ends with its standard input."""
    body = (
        "import subprocess, sys\n"
        "block = bytearray(30 << 20); block[::4096] = b'x' * len(block[::4096])\n"
        "inner = subprocess.Popen([sys.executable, '-S', '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print('ready', flush=True); sys.stdin.read(); inner.communicate(b'\\n')\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-S", "-c", body, "secret-argument"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    yield started
    started.communicate()


@linux
def test_the_process_and_its_descendants(child: subprocess.Popen[bytes]) -> None:
    collector = ProcessCollector()
    assert collector.probe() is None
    collector.start()
    data = tick(collector)
    assert data["pid"] == os.getpid()
    assert isinstance(data["children"], int)
    assert data["children"] >= 2
    assert isinstance(data["children_rss_bytes"], int)
    assert data["children_rss_bytes"] > 30 * MIB
    per_child = data["per_child"]
    assert isinstance(per_child, dict)
    own = [value for key, value in per_child.items() if key.endswith(f"[{child.pid}]")]
    assert own[0]["rss_bytes"] > 30 * MIB
    assert own[0]["threads"] == 1
    assert own[0]["cpu_percent"] is None  # the first sample
    assert "secret" not in str(data)
    assert isinstance(data["tree_rss_bytes"], int)
    assert isinstance(data["rss_bytes"], int)
    assert data["tree_rss_bytes"] == data["rss_bytes"] + data["children_rss_bytes"]
    collector.stop()


@linux
def test_cpu_percent_is_of_what_the_process_may_use() -> None:
    clock = Clock()
    collector = ProcessCollector(clock=clock)
    collector.start()
    assert tick(collector)["cpu_percent"] is None
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    clock.now += 0.2
    data = tick(collector)
    cores = data["limit_cores"]
    assert isinstance(cores, (int, float))
    assert data["cpu_percent"] == pytest.approx(50 / cores, rel=0.2)
    collector.stop()


@linux
def test_another_process_is_watched_by_its_pid(child: subprocess.Popen[bytes]) -> None:
    collector = ProcessCollector(pid=child.pid)
    collector.start()
    data = tick(collector)
    assert data["pid"] == child.pid
    assert data["children"] == 1
    collector.stop()


@linux
def test_a_process_that_has_ended_is_an_error_and_not_zeros() -> None:
    started = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    collector = ProcessCollector(pid=started.pid)
    collector.start()
    tick(collector)
    started.communicate(b"\n")
    with pytest.raises(UnavailableError, match=f"/proc/{started.pid}/stat"):
        collector.collect()
    assert "does not exist" in (collector.probe() or "")
    collector.stop()


@linux
def test_many_children_are_bounded_and_counted() -> None:
    children = [
        subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(25)
    ]
    collector = ProcessCollector()
    collector.start()
    try:
        data = tick(collector)
    finally:
        for started in children:
            started.kill()
            started.wait()
    per_child = data["per_child"]
    assert isinstance(per_child, dict)
    assert len(per_child) == 20
    assert data["children"] == 25
    assert data["children_left_out"] == 5
    assert tick(collector)["children"] == 0
    collector.stop()


@linux
def test_without_lists_of_children_the_whole_of_proc_is_searched(child: subprocess.Popen[bytes]) -> None:
    collector = ProcessCollector()
    collector.start()
    missing = mock.Mock(side_effect=UnavailableError("no CONFIG_PROC_CHILDREN"))
    with mock.patch.object(Children, "pids", missing):
        found = tick(collector)
    assert isinstance(found["children"], int)
    assert found["children"] >= 2
    collector.stop()


def lay_out(root: Path, pid: int, ppid: int, born: int = 7, ticks: int = 100, rss: int = 50) -> None:
    directory = root / "proc" / str(pid)
    directory.mkdir(parents=True, exist_ok=True)
    zeros = " ".join(["0"] * 9)
    stat = f"{pid} (w) S {ppid} {zeros} {ticks} 0 0 0 20 0 2 0 {born} 4096 {rss} 1 1"
    (directory / "stat").write_text(stat)


def test_a_pid_that_was_given_out_again_is_another_process(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\n")
    lay_out(tmp_path, 7, 1)
    lay_out(tmp_path, 8, 7, born=20, ticks=500)
    collector = ProcessCollector(pid=7, clock=clock, root=str(tmp_path))
    data = tick(collector)
    assert data["children"] == 1
    assert data["read_bytes"] is None
    assert data["fds"] is None
    lay_out(tmp_path, 8, 7, born=90, ticks=3)  # another process, whose counter is smaller
    clock.now += 1
    data = tick(collector)
    assert data["tree_cpu_percent"] == 0.0
    per_child = data["per_child"]
    assert isinstance(per_child, dict)
    assert per_child["w[8]"]["cpu_percent"] is None
    lay_out(tmp_path, 7, 1, born=91)
    with pytest.raises(UnavailableError, match="process 7 has ended"):
        collector.collect()
    collector.stop()


@linux
def test_workers_are_told_apart_each_with_its_descendants(child: subprocess.Popen[bytes]) -> None:
    clock = Clock()
    collector = ProcessCollector(clock=clock)
    collector.workers = {"gw0": child.pid, "gw1": 1}  # the latter is none of ours
    collector.start()
    tick(collector)
    clock.now += 1.0

    data = tick(collector)

    workers = data["workers"]
    assert isinstance(workers, dict)
    assert set(workers) == {"gw0"}
    assert (workers["gw0"]["pid"], workers["gw0"]["processes"]) == (child.pid, 2)
    assert workers["gw0"]["rss_bytes"] > 30 * MIB
    assert workers["gw0"]["threads"] == 2
    assert workers["gw0"]["cpu_percent"] >= 0
    collector.workers = {}
    assert "workers" not in tick(collector)
    collector.stop()


@linux
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "psutil"])
def test_workers_without_a_common_parent_may_come_and_go(child: subprocess.Popen[bytes], raw: bool) -> None:
    workers: dict[str, int] = {}
    collector = WorkersCollector(workers)
    collector.raw = raw
    collector.start()

    assert tick(collector)["workers"] == {}
    workers["gw0"] = child.pid
    tick(collector)
    data = tick(collector)
    workers["gw1"] = os.getpid()
    both = tick(collector)["workers"]

    assert isinstance(data["workers"], dict)
    assert data["workers"]["gw0"]["processes"] == 2
    assert data["tree_rss_bytes"] == data["workers"]["gw0"]["rss_bytes"]
    assert isinstance(both, dict)
    assert set(both) == {"gw0", "gw1"}
    assert both["gw0"]["processes"] == 2  # one that is another worker's descendant is its own still
    workers.clear()
    assert tick(collector)["tree_cpu_percent"] is None
    collector.stop()
