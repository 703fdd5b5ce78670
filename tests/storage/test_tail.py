"""The ends of shards."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_diagnostics.storage import alive
from pytest_diagnostics.storage.files import write_atomically
from pytest_diagnostics.storage.runs import (
    RunDirectory,
    create_run,
    has_ended,
    previous_run,
    shard_header,
)
from pytest_diagnostics.storage.shard import ShardWriter
from pytest_diagnostics.storage.tail import TAIL_BYTES, is_running, read_tail, settle


def written(run: RunDirectory, results: int, *, end: bool = False) -> ShardWriter:
    writer = ShardWriter(run.shard("main", os.getpid()))
    writer.append("run", shard_header(run.name, "main"))
    for number in range(results):
        writer.append("result", {"collector": "c", "monotonic": float(number), "data": {"x" * 200: number}})
    writer.append("test", {"nodeid": "last", "monotonic": 5.0})
    writer.close({"reason": "finished"} if end else None)
    return writer


@pytest.mark.parametrize("results", [0, 3, 3 * TAIL_BYTES // 300])
def test_a_tail_has_the_header_and_what_was_written_last(tmp_path: Path, results: int) -> None:
    run = create_run(tmp_path, {})
    writer = written(run, results)

    (shard,) = read_tail(run).shards

    assert shard.header["role"] == "main"
    assert shard.zero == json.loads(run.header.read_text())["anchor"]["monotonic"]
    assert [fields["nodeid"] for fields in shard.of_kind("test")] == ["last"]
    assert shard.count == results + 2 if writer.bytes < TAIL_BYTES else 100 < shard.count < results
    if results:
        assert shard.collectors["c"].times[-1] == results - 1


def test_what_is_damaged_is_left_out(tmp_path: Path) -> None:
    run = create_run(tmp_path, {})
    written(run, 2)
    with run.shard("main", os.getpid()).open("ab") as file:
        file.write(b'{"v":1,"kind":"test","nodeid":"torn')
    (run.shards / "gw0-1.jsonl").mkdir()
    (run.shards / "gw1-1.jsonl").write_bytes(b"")
    run.header.write_text("nonsense")

    shards = {shard.name: shard.count for shard in read_tail(run).shards}

    assert shards == {f"main-{os.getpid()}": 4, "gw0-1": 0, "gw1-1": 0}
    assert read_tail(RunDirectory(tmp_path / "nowhere")).shards == []


def test_only_a_process_that_can_be_seen_is_running(tmp_path: Path) -> None:
    run = create_run(tmp_path, {})
    assert is_running(run)

    header = json.loads(run.header.read_bytes())
    header["process"]["node"] = "elsewhere"
    write_atomically(run.header, json.dumps(header).encode())
    assert not is_running(run)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by /proc")
def test_a_recorder_that_is_there_is_waited_for_until_it_said_its_end(tmp_path: Path) -> None:
    run = create_run(tmp_path, {})
    recorder = ShardWriter(run.shard("recorder", os.getpid()))
    told = {"kind": "process", "start_ticks": alive.start_ticks(os.getpid())}
    recorder.append("run", shard_header(run.name, "recorder", recorder=told))
    # It writes its end while it is waited for.
    writing = threading.Timer(0.1, recorder.close, [{"reason": "process ended"}])
    writing.start()

    settle(run, 10.0)

    (shard,) = read_tail(run).shards
    assert len(shard.of_kind("end")) == 1
    writing.join()


def test_a_recorder_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    run = create_run(tmp_path, {})
    recorder = ShardWriter(run.shard("recorder", os.getpid()))
    recorder.append("run", shard_header(run.name, "recorder", recorder={"start_ticks": 1}))
    began = time.monotonic()

    settle(run, 10.0)

    assert time.monotonic() - began < 5


def test_the_run_before_is_the_one_that_began_last(tmp_path: Path) -> None:
    runs = [create_run(tmp_path, {}) for _ in range(3)]
    for place, run in enumerate(runs):  # within one second only the header's time orders them
        os.utime(run.header, ns=(0, place))
    (tmp_path / "runs" / "20200101T000000Z-00000000").mkdir()
    (tmp_path / "runs" / "20210101T000000Z-notarun").mkdir()

    before = [previous_run(tmp_path, run) for run in runs]

    assert [run.name for run in before if run] == ["20200101T000000Z-00000000", *(r.name for r in runs[:2])]
    assert previous_run(tmp_path, RunDirectory(tmp_path / "runs" / "20200101T000000Z-00000000")) is None
    assert previous_run(tmp_path / "nowhere", runs[0]) is None


def test_a_run_has_ended_when_its_own_process_said_so(tmp_path: Path) -> None:
    ended, died = create_run(tmp_path, {}), create_run(tmp_path, {})
    written(ended, 1, end=True)
    written(died, 1)
    other = ShardWriter(died.shard("recorder", 1))
    other.close({"reason": "process ended"})

    assert (has_ended(ended), has_ended(died)) == (True, False)
