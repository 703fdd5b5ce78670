"""Recordings written by the real shards, as fixtures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_diagnostics.analysis.schema import Summary
from pytest_diagnostics.analysis.summary import summarise
from pytest_diagnostics.storage.recording import read_run
from pytest_diagnostics.storage.runs import RunDirectory, create_run, shard_header
from pytest_diagnostics.storage.shard import ShardWriter

RECORDER = 77
#: Fields that hold a moment, in records and in their details.
MOMENTS = ("monotonic", "start", "end", "started_monotonic", "last_rss_monotonic")


class Recorded:
    """A run on disk; moments are given in seconds from its start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run: RunDirectory = create_run(directory, {"settings": {"interval_seconds": 1.0}})
        self.zero = float(json.loads(self.run.header.read_text())["anchor"]["monotonic"])
        self.main = os.getpid()
        self.shards: dict[int, ShardWriter] = {}
        self.workers: dict[int, str] = {}

    def process(self, worker: str = "main", pid: int | None = None, role: str = "") -> int:
        """Open a process' shard and return its id."""
        pid = pid or self.main
        self.workers[pid] = worker
        more: dict[str, object] = {"recorder": {"kind": "thread", "collectors": ["own"]}} if role else {}
        self._open(pid, role or worker, more)
        return pid

    def recorder(self, until: float = 0.0, interval: float = 1.0) -> int:
        """Open the shard of a recorder process that sampled until then; return its id."""
        told = {"kind": "process", "where": f"process {RECORDER}", "interval_seconds": interval}
        told |= {"collectors": ["process"], "watched": self.main}
        self._open(RECORDER, "recorder", {"recorder": told})
        tick = 0.0
        while tick <= until:
            self.sample(RECORDER, tick, rss_bytes=1_000_000 * (1 + round(tick)))
            tick += interval
        return RECORDER

    def sample(self, pid: int, moment: float, /, collector: str = "process", **data: float) -> None:
        self.add(pid, "result", collector=collector, monotonic=moment, seconds=0.001, data=data)

    def test(self, pid: int, nodeid: str, at: float, *phases: str, seconds: float = 0.1) -> None:
        """Write a test that has passed so many phases, the call of so many seconds, the others of 0.1 s."""
        identity = self.identity(pid, nodeid)
        self.add(pid, "test", **identity, monotonic=at)
        start = at
        for when in phases:
            end = start + (seconds if when == "call" else 0.1)
            usage = {"wall_seconds": end - start, "cpu_seconds": 0.05}
            told = {"when": when, "outcome": "passed", "start": start, "end": end, "usage": usage}
            self.add(pid, "phase", **identity, **told)
            start = end

    def identity(self, pid: int, nodeid: str) -> dict[str, object]:
        """Return the fields that tell a first attempt from every other."""
        return {"nodeid": nodeid, "occurrence": 0, "attempt": 1, "worker": self.workers[pid], "pid": pid}

    def ended(self, at: float, /, **details: object) -> None:
        """Write what a recorder saw of the end of a process, by default the run's own."""
        told: dict[str, object] = {"pid": self.main, "worker": "main", "exit_code": None, "signal": None}
        told |= {"source": None, "unknown": None, "last_rss_bytes": None, "last_rss_monotonic": None}
        told |= {"oom_kills": {}, "running": [], **details}
        self.add(RECORDER, "event", event="process_ended", collector=None, monotonic=at, details=told)

    def gap(self, pid: int, kind: str, end: float, /, **details: object) -> None:
        self.add(pid, "gap", gap=kind, collector=None, monotonic=end, details=details)

    def stall(self, kind: str, start: float, end: float, /, **details: object) -> None:
        """Write what a recorder saw befall a process, by default the run's own, or itself."""
        whose = {} if kind.startswith("recorder_") else {"pid": self.main, "worker": "main"}
        self.gap(RECORDER, kind, end, **{**whose, **details}, start=start, seconds=end - start)

    def add(self, pid: int, kind: str, /, **fields: object) -> None:
        assert self.shards[pid].append(kind, self._placed(fields))

    def end(self, *pids: int, at: float = 10.0, reason: str = "finished") -> None:
        for pid in pids:
            self.add(pid, "end", reason=reason, exit_status=0, monotonic=at)

    def summary(self, *, alive: bool = False) -> Summary:
        return summarise(read_run(self.run), alive=alive)

    def _open(self, pid: int, role: str, more: dict[str, object]) -> None:
        shard = ShardWriter(self.run.shard(role, pid))
        shard.append("run", {**shard_header(self.run.name, role, **more), "pid": pid})
        self.shards[pid] = shard

    def _placed(self, fields: dict[str, object]) -> dict[str, object]:
        placed: dict[str, object] = {}
        for key, value in fields.items():
            if key in MOMENTS and isinstance(value, (int, float)):
                placed[key] = self.zero + value
            elif isinstance(value, dict):
                placed[key] = self._placed(value)
            elif isinstance(value, list):
                placed[key] = [self._placed(each) if isinstance(each, dict) else each for each in value]
            else:
                placed[key] = value
        return placed


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path / "records")
