"""A recorder process reads first and imports later; what it read carries the moment of the reading."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from pytest_diagnostics.collectors import DEFAULT
from pytest_diagnostics.recorder.channel import fresh_address, printable
from pytest_diagnostics.recorder.launch import launch
from pytest_diagnostics.recorder.plan import Plan
from pytest_diagnostics.storage.alive import start_ticks
from tests.recorder.conftest import Record, Runs, await_no_recorder, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

#: Those whose first data are read before anything is imported, on every Linux.
EARLY = {"cpu", "memory", "network", "memory_bandwidth", "process"}
INTERVAL = 0.5
#: Sends itself a megabyte over and over, for two samples.
BUSY = """
    import socket, time

    def test_it():
        end = time.monotonic() + 1.5
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as out, server.accept()[0] as back:
                while time.monotonic() < end:
                    out.sendall(bytes(1 << 14))
                    back.recv(1 << 14, socket.MSG_WAITALL)
                    time.sleep(0.001)
"""


def moment(record: Record) -> float:
    return cast("float", record["monotonic"])


def anchor(records: list[Record]) -> float:
    """When the recorder began to write, everything imported that this takes."""
    return cast("dict[str, float]", records[0]["anchor"])["monotonic"]


def results(records: list[Record], collector: str) -> list[Record]:
    return [x for x in records if x["kind"] == "result" and x["collector"] == collector]


def watch(path: Path, of: Callable[[int], int]) -> tuple[float, list[Record]]:
    """Have a recorder watch a process until it ends; return the moment before its launch, and its records.

    ``of`` makes the start that the recorder is told of the true one.
    """
    (path / "shards").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        born = start_ticks(child.pid)
        assert born is not None
        address = printable(fresh_address(str(path)))
        plan = Plan(str(path), "first", address, child.pid, of(born), tuple(DEFAULT), INTERVAL)
        before = time.monotonic()
        launch(plan)
        wait_until(lambda: all(results(read(path), name) for name in DEFAULT))
        child.kill()
    await_no_recorder(path)
    return before, read(path)


def read(path: Path) -> list[Record]:
    """Return the whole records of the recorder, as far as it is."""
    lines = [line for shard in path.glob("shards/*") for line in shard.read_bytes().split(b"\n")[:-1]]
    return [json.loads(line) for line in lines]


def test_the_first_data_are_read_before_anything_is_imported(tmp_path: Path) -> None:
    launched, records = watch(tmp_path, lambda born: born)
    writing = anchor(records)
    for name in DEFAULT:
        first, *others = results(records, name)
        assert first.get("error") is None or name in ("pressure", "cgroup")
        if name in EARLY:
            assert launched < moment(first) < writing
        assert all(moment(other) > writing for other in others)
    # That much takes an interpreter a few milliseconds, and the imports several times as long.
    earliest = min(moment(results(records, name)[0]) for name in EARLY)
    assert earliest - launched < writing - earliest


def test_a_glance_at_another_process_of_that_number_is_not_used(tmp_path: Path) -> None:
    _, records = watch(tmp_path, lambda born: born + 1)
    writing = anchor(records)

    assert moment(results(records, "memory")[0]) < writing
    assert all(moment(result) > writing for result in results(records, "process"))


def test_the_second_sample_s_rates_are_of_the_time_since_the_glance(runs: Runs) -> None:
    runs.fresh(test_it=BUSY)
    ended = runs.run(f"--diagnostics-interval={INTERVAL}", "--diagnostics-burst=off")
    assert ended.code == 0, ended.out
    first, second, *_ = results(ended.records(), "network")
    before, after = (cast("dict[str, float]", result["data"]) for result in (first, second))
    distance = moment(second) - moment(first)
    grown = after["bytes_recv"] - before["bytes_recv"]

    assert moment(first) < anchor(ended.records())
    assert distance > INTERVAL
    assert grown > 0
    assert after["bytes_recv_per_sec"] == pytest.approx(grown / distance, rel=0.03)
