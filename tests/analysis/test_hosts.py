"""Runs on several hosts: what befell one, or was sampled there, says nothing about the tests of another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_diagnostics.analysis.schema import Attempt, Summary
from pytest_diagnostics.analysis.summary import summarise
from pytest_diagnostics.core.model import JsonValue
from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.recording import read_run
from pytest_diagnostics.storage.runs import RunDirectory, create_run

FAR = "ssh=far (far)"
#: What CLOCK_MONOTONIC says on the far host when it says 0 s from the run's start here.
FAR_ZERO = 5_000_000.0
#: The same process id on both hosts.
PID = 4711


class TwoHosts:
    """A run of one worker here and one there, whose processes happen to have the same ids."""

    def __init__(self, directory: Path) -> None:
        self.run: RunDirectory = create_run(directory, {"settings": {"interval_seconds": 1.0}})
        header = json.loads(self.run.header.read_text())
        self.wall, self.zero = header["anchor"]["wall"], header["anchor"]["monotonic"]
        self.boot = header["process"]["boot_id"]
        self.main = header["process"]["pid"]
        self.shard("main-1", "main", self.main, end=True)

    def shard(self, name: str, role: str, pid: int, *lines: bytes, host: str = "", end: bool = False) -> None:
        zero = FAR_ZERO if host else self.zero
        header: dict[str, object] = {"role": role, "pid": pid, "boot_id": "another" if host else self.boot}
        header["anchor"] = {"wall": self.wall + 2, "monotonic": zero + 2}
        if host:
            header["host"] = host
        if role == "recorder":
            header["recorder"] = {"kind": "process", "where": "a process of its own", "interval_seconds": 1.0}
        ends = [records.encode("end", {"reason": "finished", "monotonic": zero + 10.0})] if end else []
        path = self.run.shards / f"{name}.jsonl"
        path.write_bytes(b"".join([records.encode("run", header), *lines, *ends]))

    def worker(self, name: str, host: str = "", *, finished: bool = True) -> None:
        """Write the shard of a worker that runs a test from 1 s to 3 s."""
        zero = FAR_ZERO if host else self.zero
        identity = {"nodeid": f"t.py::on_{name}", "occurrence": 0, "attempt": 1, "worker": name, "pid": PID}
        lines = [records.encode("test", {**identity, "monotonic": zero + 1})]
        for when, start, stop in (("setup", 1.0, 1.1), ("call", 1.1, 2.9), ("teardown", 2.9, 3.0)):
            if finished:
                told = {**identity, "when": when, "outcome": "passed", "usage": {}}
                lines.append(records.encode("phase", {**told, "start": zero + start, "end": zero + stop}))
        self.shard(f"{name}-{PID}", name, PID, *lines, host=host, end=finished)

    def recorder(self, value: float, *more: tuple[str, dict[str, object]], host: str = "") -> None:
        """Write the shard of a host's recorder, whose samples are all ``value``."""
        zero = FAR_ZERO if host else self.zero
        data: dict[str, JsonValue] = {"usage_percent": value}
        lines = [
            records.encode("result", {"collector": "cpu", "monotonic": zero + at, "data": data})
            for at in range(5)
        ]
        lines += [records.encode(kind, fields) for kind, fields in more]
        self.shard("recorder_2-77" if host else "recorder-77", "recorder", 77, *lines, host=host, end=True)

    def summary(self) -> Summary:
        return summarise(read_run(self.run))


@pytest.fixture
def hosts(tmp_path: Path) -> TwoHosts:
    return TwoHosts(tmp_path / "records")


def of(summary: Summary, worker: str) -> Attempt:
    """Return the only attempt of a worker."""
    (attempt,) = [attempt for attempt in summary["tests"] if attempt["worker"] == worker]
    return attempt


def test_samples_are_those_of_the_tests_own_host(hosts: TwoHosts) -> None:
    hosts.worker("gw0")
    hosts.worker("gw1", FAR)
    hosts.recorder(10.0)
    hosts.recorder(90.0, host=FAR)

    summary = hosts.summary()

    assert of(summary, "gw0")["samples"]["cpu.usage_percent"]["mean"] == 10.0
    assert of(summary, "gw1")["samples"]["cpu.usage_percent"]["mean"] == 90.0
    sources = [series["source"] for series in summary["series"] if series["name"] == "cpu.usage_percent"]
    assert sources == ["recorder-77", f"recorder_2-77 on {FAR}"]
    assert [state["where"].endswith(FAR) for state in summary["collectors"]] == [False, True]
    assert [state["where"].endswith(FAR) for state in summary["recorders"]] == [False, True]


def test_a_host_without_a_recorder_has_no_samples(hosts: TwoHosts) -> None:
    hosts.worker("gw1", FAR)
    hosts.recorder(10.0)

    assert of(hosts.summary(), "gw1")["samples"] == {}


def test_another_host_is_placed_in_time_by_the_wall_clocks(hosts: TwoHosts) -> None:
    hosts.worker("gw0")
    hosts.worker("gw1", FAR)

    summary = hosts.summary()

    assert [attempt["start_seconds"] for attempt in summary["tests"]] == pytest.approx([1.0, 1.0], abs=1e-3)


def test_a_stall_befalls_the_process_of_its_own_host(hosts: TwoHosts) -> None:
    hosts.worker("gw0")
    hosts.worker("gw1", FAR)
    details: dict[str, object] = {"pid": PID, "worker": "gw1", "start": FAR_ZERO + 1.5, "seconds": 1.0}
    stopped: dict[str, object] = {
        "gap": "stopped",
        "collector": None,
        "monotonic": FAR_ZERO + 2.5,
        "details": details,
    }
    hosts.recorder(90.0, ("gap", stopped), host=FAR)

    summary = hosts.summary()

    assert of(summary, "gw0")["stalls"] == []
    assert [stall["kind"] for stall in of(summary, "gw1")["stalls"]] == ["stopped"]


def test_a_process_that_ended_is_not_taken_for_one_of_the_same_id_elsewhere(hosts: TwoHosts) -> None:
    hosts.worker("gw0")
    hosts.worker("gw1", FAR, finished=False)
    details: dict[str, object] = {
        "pid": PID,
        "worker": "gw1",
        "exit_code": None,
        "signal": "SIGKILL",
        "source": "zombie",
    }
    ended: dict[str, object] = {
        "event": "process_ended",
        "collector": None,
        "monotonic": FAR_ZERO + 2,
        "details": details,
    }
    hosts.recorder(90.0, ("event", ended), host=FAR)

    summary = hosts.summary()

    assert [ending["process"] for ending in summary["endings"]] == ["gw1"]
    assert of(summary, "gw0")["outcome"] == "passed"
    assert of(summary, "gw1")["outcome"] == "crashed"
