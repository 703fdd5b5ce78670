"""What a recorder process costs: to start, to run, to be on time.

    python benchmarks/recorder.py [--seconds N] [--rounds N] [start] [first] [run] [sleepers] [late]

CPU time is what the scheduler counted for all threads of the recorder (/proc/<pid>/task/*/schedstat), over N
seconds after its start is over; wall times are medians of rounds. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import show, verdict

from pytest_diagnostics.collectors import DEFAULT
from pytest_diagnostics.recorder.channel import Channel, fresh_address, from_printable, printable
from pytest_diagnostics.recorder.launch import launch
from pytest_diagnostics.recorder.plan import Plan
from pytest_diagnostics.storage.alive import start_ticks

GIGABYTE = 1 << 30
#: After this long everything is imported, opened and known.
SETTLED_SECONDS = 3.0
SLEEPERS = 1000
#: Tests beside which a recorder has to be on time.
BUSY = """
import time

def test_busy():
    end = time.monotonic() + 10
    while time.monotonic() < end:
        pass
"""
HELD = """
import ctypes, time

def test_held():
    for _ in range(4):
        ctypes.PyDLL(None).usleep(2_000_000)
        time.sleep(0.5)
"""


class Recorder:
    """A recorder process of this process, started as pytest starts one."""

    def __init__(self, directory: Path, interval: float) -> None:
        self.shards = directory / "shards"
        self.shards.mkdir()
        address = printable(fresh_address(str(directory)))
        self._channel = Channel(from_printable(address))
        pid = os.getpid()
        plan = Plan(str(directory), "benchmark", address, pid, start_ticks(pid), tuple(DEFAULT), interval)
        began = time.monotonic()
        launch(plan)
        self.launched = time.monotonic()
        self.launch_seconds = self.launched - began

    def await_pid(self) -> int:
        """Wait for its shard, and return whose it is."""
        while not (found := list(self.shards.glob("recorder-*.jsonl"))):
            time.sleep(0.0005)
        return int(found[0].stem.rpartition("-")[2])

    def first_sample_seconds(self) -> tuple[float, float]:
        """Wait for the first result; return how long after the launch its data were read, and it written."""
        shard = self.shards / f"recorder-{self.await_pid()}.jsonl"
        while b'"kind":"result"' not in shard.read_bytes():
            time.sleep(0.0005)
        written = time.monotonic()
        lines = shard.read_bytes().split(b"\n")[:-1]
        read = [x["monotonic"] for x in map(json.loads, lines) if x["kind"] == "result"]
        return min(read) - self.launched, written - self.launched

    def end(self) -> None:
        """Have it end."""
        self.await_pid()
        self._channel.ask({"op": "finish", "timeout": 5, "pid": os.getpid()}, 10, insist=True)


@contextmanager
def recorder(interval: float = 1.0) -> Iterator[Recorder]:
    """Start a recorder, and end it."""
    with tempfile.TemporaryDirectory() as name:
        started = Recorder(Path(name), interval)
        yield started
        started.end()


def main() -> None:
    """Measure and print one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    options = parser.parse_args()
    for part in options.parts:
        PARTS[part](options)


def _start(options: argparse.Namespace) -> None:
    held: list[bytearray] = []
    for label, size in (("", 0), (", this process holds 1 GB", GIGABYTE)):
        if size:
            held.append(bytearray(b"x") * size)
        launches = []
        for _ in range(options.rounds):
            with recorder() as one:
                launches.append(one.launch_seconds)
                one.first_sample_seconds()
        milliseconds = 1e3 * statistics.median(launches)
        show(f"start, in pytest's time{label}", f"{milliseconds:.1f} ms", "5 ms", verdict(milliseconds, 5))


def _first(options: argparse.Namespace) -> None:
    firsts = []
    for _ in range(options.rounds):
        with recorder() as one:
            firsts.append(one.first_sample_seconds())
    read, written = (1e3 * statistics.median(column) for column in zip(*firsts, strict=True))
    show("first sample, after the launch", f"{read:.0f} ms", "30 ms", verdict(read, 30))
    show("  written", f"{written:.0f} ms", "none", "")


def _run(options: argparse.Namespace) -> None:
    for interval, budget in ((1.0, 0.1), (0.1, 1.0)):
        label = f"{1 / interval:g} Hz"
        with recorder(interval) as one:
            pid = one.await_pid()
            time.sleep(SETTLED_SECONDS)
            shares = cpu_shares(pid, options.seconds)
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
        total = 100 * sum(shares.values())
        share = f"{total:.3f} %"
        show(f"CPU at {label}, of a core", share, f"{budget:g} %", verdict(total, budget))
        main_thread = shares.pop(pid, 0.0)
        show("  its looks at pytest, a second", f"{1e6 * main_thread:.0f} µs", "none", "")
        tick = 1e6 * sum(shares.values()) * interval
        show("  one tick", f"{tick:.0f} µs", "500 µs", verdict(tick, 500))
        memory = {
            key: int(value.split()[0]) / 1e3
            for key, _, value in (x.partition(":") for x in status)
            if key in ("VmRSS", "VmHWM")
        }
        for key, megabytes in memory.items():
            show(f"  {key}", f"{megabytes:.1f} MB", "20 MB", verdict(megabytes, 20))


def _sleepers(options: argparse.Namespace) -> None:
    """Compare in turn, with and without processes of others: the tick reads nothing of them."""
    found: dict[int, list[float]] = {0: [], SLEEPERS: []}
    for _ in range(3):
        for count in found:
            with sleeping(count), recorder(0.1) as one:
                pid = one.await_pid()
                time.sleep(SETTLED_SECONDS)
                found[count].append(sum(cpu_shares(pid, options.seconds / 3).values()))
    for count, shares in found.items():
        show(
            f"CPU at 10 Hz beside {count:,} sleeping processes",
            f"{100 * statistics.median(shares):.2f} %",
            "none",
            "",
        )


@contextmanager
def sleeping(count: int) -> Iterator[None]:
    """Have processes that do nothing, of a parent that is no descendant of this process."""
    script = f"i=0; while [ $i -lt {count} ]; do sleep 600 & i=$((i+1)); done; echo; read _; kill 0"
    detached = ["sh", "-c", 'exec 3<&0; setsid sh -c "$0" <&3 2>/dev/null &', script]
    with subprocess.Popen(detached, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdout.readline()
        yield
        shell.stdin.write(b"\n")
        shell.stdin.close()
        shell.stdout.read()  # ends with the last of them


def cpu_shares(pid: int, seconds: float) -> dict[int, float]:
    """Return what each thread of a process used of a core."""
    before, began = _run_ns(pid), time.monotonic()
    time.sleep(seconds)
    after, lasted = _run_ns(pid), time.monotonic() - began
    return {thread: (ns - before.get(thread, 0)) / 1e9 / lasted for thread, ns in after.items()}


def _run_ns(pid: int) -> dict[int, int]:
    tasks = Path(f"/proc/{pid}/task")
    return {int(task.name): int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()}


def _late(_: argparse.Namespace) -> None:
    for label, text in (("a busy test", BUSY), ("holds of the interpreter's lock of 2 s", HELD)):
        for kind in ("process", "thread"):
            late, missed = _lateness(text, kind)
            told = f"{late[0]:.1f} / {late[1]:.1f} ms, {missed} missed"
            show(f"10 Hz, {kind}, beside {label}: late p50 / p99", told, "none", "")


def _lateness(text: str, kind: str) -> tuple[tuple[float, float], int]:
    """Return how late samples were against the grid of the first, and how many places of it stayed empty."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "test_it.py").write_text(text)
        ours = [
            "--diagnostics",
            f"--diagnostics-recorder={kind}",
            "--diagnostics-interval=0.1",
            "--diagnostics-report=none",
        ]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ours]
        subprocess.run(command, cwd=name, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = [
            json.loads(line)
            for shard in Path(name).glob("pytest-diagnostics/runs/*/shards/*.jsonl")
            for line in shard.read_text().splitlines()
        ]
    moments = [
        x["monotonic"]
        for x in lines
        if x["kind"] == "result" and x["collector"] == "cpu" and not x.get("final")
    ]
    # Where in an interval samples come is a circle: being late begins behind its longest empty arc.
    places = sorted((moment - moments[0]) % 0.1 for moment in moments)
    arcs = {
        place: (place - before) % 0.1 for before, place in zip(places[-1:] + places, places, strict=False)
    }
    origin = max(arcs, key=lambda place: arcs[place])
    late = sorted(1e3 * ((place - origin) % 0.1) for place in places)
    spanned = round((moments[-1] - moments[0]) / 0.1) + 1
    return (late[len(late) // 2], late[int(0.99 * (len(late) - 1))]), spanned - len(moments)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "start": _start,
    "first": _first,
    "run": _run,
    "sleepers": _sleepers,
    "late": _late,
}

if __name__ == "__main__":
    main()
