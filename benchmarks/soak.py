"""Whether anything grows over a long run: memory, descriptors, threads, of pytest and of its recorder.

    python benchmarks/soak.py [--tests N] [--seconds M] [off] [process] [thread] [lasting] [library]

``off``, ``process`` and ``thread`` run N tests that do nothing: without us, and with both kinds of recorder.
What pytest holds is read by the process itself, a hundred times in all; what the recorder process holds is
read from outside once a second. ``lasting`` runs tests of five seconds each for M seconds, with a recorder
process that samples every 0.1 s; ``library`` has a manager collect every 0.1 s for M seconds. Slopes leave
out the first fifth, in which caches fill.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from measure import pytest_command

#: The part of a run in which caches fill.
WARM_UP = 0.2
LASTING_SECONDS = 5.0
CONFTEST = """
import os

class Counting:
    def __init__(self, every):
        self.every, self.done = every, 0
        self.file = open("held.txt", "w", buffering=1)

    def pytest_runtest_logfinish(self, nodeid):
        self.done += 1
        if self.done % self.every == 0:
            with open("/proc/self/status") as status:
                fields = dict(line.split(":", 1) for line in status)
            rss, threads = fields["VmRSS"].split()[0], fields["Threads"].strip()
            print(self.done, rss, len(os.listdir("/proc/self/fd")), threads, file=self.file)

def pytest_configure(config):
    config.pluginmanager.register(Counting(max(1, int(os.environ["SOAK_TESTS"]) // 100)))
"""
LIBRARY = """
import os, sys, time
from pathlib import Path
from pytest_diagnostics import DiagnosticManager
from pytest_diagnostics.collectors import DEFAULT, load
from pytest_diagnostics.storage.shard import ShardSink, ShardWriter
shard = ShardWriter(Path(sys.argv[1]) / "library-1.jsonl")
with DiagnosticManager([load(n) for n in DEFAULT], 0.1, sinks=[ShardSink(shard)], max_history=1000):
    time.sleep(float(sys.argv[2]))
"""


class Held(NamedTuple):
    """What a process holds at one moment; ``at`` counts tests or seconds."""

    at: float
    rss_kb: float
    descriptors: float
    threads: float


def main() -> None:
    """Run the parts and print first, last and slope of each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}")
    options = parser.parse_args()
    print("| what | figure | first | last | slope | per |\n|---|---|---|---|---|---|", flush=True)
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="soak-") as name:
            if part == "library":
                library(Path(name), options.seconds)
            elif part == "lasting":
                lasting(Path(name), options.seconds)
            else:
                suite(Path(name), part, options.tests)


def suite(directory: Path, kind: str, tests: int) -> None:
    """Run tests that do nothing."""
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_no_ops.py").write_text(
        f"import pytest\n@pytest.mark.parametrize('n', range({tests}))\ndef test_no_op(n): pass\n"
    )
    ours = ("-p", "no:diagnostics")
    if kind != "off":
        ours = ("--diagnostics", f"--diagnostics-recorder={kind}", "--diagnostics-report=none")
    began = time.monotonic()
    code, _, recorder = watched(directory, ours, tests)
    seconds = time.monotonic() - began
    lines = (directory / "held.txt").read_text().splitlines()
    own = [Held(*map(float, line.split())) for line in lines]
    show(f"{kind}: pytest, {tests:,} tests in {seconds:.0f} s, exit code {code}", own, "test")
    if recorder:
        show(f"{kind}: its recorder", recorder, "s")


def lasting(directory: Path, seconds: float) -> None:
    """Run tests that wait, beside a recorder process that samples ten times a second."""
    count = max(1, round(seconds / LASTING_SECONDS))
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_lasting.py").write_text(
        "import pytest, threading\n"
        f"@pytest.mark.parametrize('n', range({count}))\n"
        f"def test_lasting(n): threading.Event().wait({LASTING_SECONDS})\n"
    )
    code, own, recorder = watched(directory, ("--diagnostics", "--diagnostics-interval=0.1"), count)
    show(f"lasting: pytest, {seconds:.0f} s at 0.1 s, exit code {code}", own, "s")
    show("lasting: its recorder", recorder, "s")


def watched(directory: Path, ours: Sequence[str], tests: int) -> tuple[int, list[Held], list[Held]]:
    """Run pytest; return its exit code, and what it and its recorder process held, second by second."""
    began = time.monotonic()
    pytest = subprocess.Popen(
        pytest_command(*ours),
        cwd=directory,
        env={**os.environ, "SOAK_TESTS": str(tests)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    own: list[Held] = []
    recorder: list[Held] = []
    while pytest.poll() is None:
        time.sleep(1.0)
        own += held(pytest.pid, time.monotonic() - began)
        for shard in directory.glob("pytest-diagnostics/runs/*/shards/recorder-*.jsonl"):
            pid = int(shard.stem.rpartition("-")[2])
            if pid != pytest.pid:  # of a thread of it
                recorder += held(pid, time.monotonic() - began)
    # The last seconds are those in which the run is summed up, not those of tests.
    return pytest.returncode, own[:-2], recorder


def library(directory: Path, seconds: float) -> None:
    """Have a manager collect ten times a second."""
    process = subprocess.Popen([sys.executable, "-c", LIBRARY, str(directory), str(seconds)])
    began, found = time.monotonic(), list[Held]()
    while process.poll() is None:
        time.sleep(1.0)
        found += held(process.pid, time.monotonic() - began)
    show(f"library: a manager at 0.1 s for {seconds:.0f} s, exit code {process.returncode}", found[:-1], "s")


def held(pid: int, at: float) -> list[Held]:
    """Return what a process holds now; nothing when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return [Held(at, float(fields["VmRSS"].split()[0]), descriptors, float(fields["Threads"]))]
    except (OSError, KeyError):  # gone, or a zombie
        return []


def show(what: str, found: Sequence[Held], per: str) -> None:
    """Print a row a figure."""
    later = [one for one in found if one.at >= found[0].at + WARM_UP * (found[-1].at - found[0].at)]
    times = [one.at for one in later]
    for name, place, factor, unit in (
        ("RSS", 1, 1024, "B"),
        ("descriptors", 2, 1, ""),
        ("threads", 3, 1, ""),
    ):
        slope = factor * statistics.linear_regression(times, [one[place] for one in later]).slope
        first, last = (f"{one[place]:,.0f}{' kB' if unit else ''}" for one in (found[0], found[-1]))
        print(f"| {what} | {name} | {first} | {last} | {slope:+.4g} {unit} | {per} |", flush=True)


PARTS = ["off", "process", "thread", "lasting", "library"]

if __name__ == "__main__":
    main()
