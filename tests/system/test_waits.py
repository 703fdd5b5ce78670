"""Waiting for a CPU belongs to the window in which it was waited, and to no other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_diagnostics.core.figures import Usage
from pytest_diagnostics.system.usage import UsageReader, open_usage_reader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="figures of Linux")

NEIGHBOURS = 2
#: What the clocks' own reading takes.
NOISE_SECONDS = 50e-6


@pytest.fixture
def reader() -> Iterator[UsageReader]:
    reader = open_usage_reader()
    yield reader
    reader.release()


@pytest.fixture
def crowded() -> Iterator[None]:
    """Have this thread share one CPU with processes that never rest."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(NEIGHBOURS)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
        os.sched_setaffinity(0, allowed)


def waited_so_far() -> float:
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def window(reader: UsageReader, cpu_seconds: float = 0.0) -> Usage:
    opened = reader.open()
    end = time.process_time() + cpu_seconds
    while time.process_time() < end:
        pass
    usage, absent = reader.close(opened)
    if "cpu_wait_seconds" in absent:
        pytest.skip(absent["cpu_wait_seconds"])
    return usage


def test_what_is_waited_between_windows_is_in_none(reader: UsageReader, crowded: None) -> None:
    end = time.monotonic() + 2.0
    found = []
    before = waited_so_far()
    while time.monotonic() < end:
        found.append(window(reader))

    wrong = [
        (usage["cpu_wait_seconds"], usage["wall_seconds"])
        for usage in found
        if usage["cpu_wait_seconds"] > usage["wall_seconds"] + NOISE_SECONDS
    ]
    assert wrong == []
    # Most of what this thread has of the CPU goes into the windows' edges, and so does most of its waiting.
    in_windows = sum(usage["cpu_wait_seconds"] for usage in found)
    assert in_windows < 0.5 * (waited_so_far() - before)


def test_what_is_waited_in_a_window_is_in_it(reader: UsageReader, crowded: None) -> None:
    usage = window(reader, cpu_seconds=0.3)

    # It never sleeps: whenever it did not run, it waited, but for what a hypervisor took from the CPU.
    waited = usage["wall_seconds"] - usage["cpu_seconds"]
    assert waited > 0.1
    assert 0.7 * waited <= usage["cpu_wait_seconds"] <= waited + NOISE_SECONDS
