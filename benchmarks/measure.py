"""Run commands in alternation and compare what they cost: the only fair way on a noisy machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """One run of one command."""

    wall_seconds: float
    #: User and system time of the process and of all children that it waited for.
    cpu_seconds: float
    exit_code: int


@dataclass(frozen=True)
class Compared:
    """Alternating runs of a command (A) and of the one it is compared with (B)."""

    a: list[Cost]
    b: list[Cost]

    def added_cpu_seconds(self) -> float:
        """Median over the pairs of A's CPU time less B's."""
        return statistics.median(x.cpu_seconds - y.cpu_seconds for x, y in zip(self.a, self.b, strict=True))

    def added_wall_seconds(self) -> float:
        """Median over the pairs of A's wall time less B's."""
        return statistics.median(x.wall_seconds - y.wall_seconds for x, y in zip(self.a, self.b, strict=True))

    def cpu_ratio(self) -> float:
        """Ratio of the medians of the CPU times."""
        return self._ratio("cpu_seconds")

    def wall_ratio(self) -> float:
        """Ratio of the medians of the wall times."""
        return self._ratio("wall_seconds")

    def _ratio(self, key: str) -> float:
        a = statistics.median(getattr(cost, key) for cost in self.a)
        b = statistics.median(getattr(cost, key) for cost in self.b)
        return float(a / b)


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end, its output thrown away, and return what the kernel says it cost."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, process.returncode)


def compare(
    a: Sequence[str],
    b: Sequence[str],
    cwd: Path,
    *,
    pairs: int,
    env: Mapping[str, str] | None = None,
) -> Compared:
    """Run A and B in turn, after one of each that does not count."""
    run(b, cwd, env)
    run(a, cwd, env)
    found = Compared([], [])
    for pair in range(pairs):
        # Whoever comes second in a pair may find warmer caches: take turns.
        for which in ("ab", "ba")[pair % 2]:
            (found.a if which == "a" else found.b).append(run(a if which == "a" else b, cwd, env))
    return found


def pytest_command(*options: str) -> list[str]:
    """Return a pytest call with nothing but its own plugins and ours."""
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]


def without_bytecode(directory: Path) -> dict[str, str]:
    """Return an environment in which no bytecode cache is found or written."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(directory / "none")}


def verdict(value: float, budget: float) -> str:
    """Say whether a figure keeps its budget."""
    return "ok" if value <= budget else "OVER"


def show(name: str, value: str, budget: str, said: str) -> None:
    """Print one row."""
    print(f"{name:<58} {value:>14}   budget {budget:<12} {said}", flush=True)
