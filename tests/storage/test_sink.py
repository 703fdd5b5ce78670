"""The sink of a manager, shards in memory, and the end of a shard."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from pytest_diagnostics.core.model import DiagnosticResult, Execution
from pytest_diagnostics.core.protocols import Sink
from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.shard import MemoryShard, ShardSink, ShardWriter

BIG = "x" * 4000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "main-1.jsonl"


@pytest.fixture
def writer(path: Path) -> ShardWriter:
    return ShardWriter(path)


def test_the_end_record_tells_the_time_and_the_account(writer: ShardWriter, path: Path) -> None:
    writer.append("test", {"n": 0})
    writer.close({"reason": "finished", "exit_status": 0})
    writer.close({"reason": "again"})

    assert writer.append("test", {"n": 1}) is False
    last = [records.decode(line) for line in path.read_bytes().splitlines()]
    assert [fields["kind"] for fields in last] == ["test", "end"]
    assert (last[1]["reason"], last[1]["exit_status"], last[1]["written"]) == ("finished", 0, 1)
    assert isinstance(last[1]["monotonic"], float)


def test_a_sink_writes_what_is_worth_a_line_and_leaves_the_shard_open(
    writer: ShardWriter, path: Path
) -> None:
    sink = ShardSink(writer)
    assert isinstance(sink, Sink)
    now = datetime.now(timezone.utc)
    sink.write(DiagnosticResult("cpu", now, 1.0, 0.1, {"a": 1}, collected=True, stored=True))
    sink.write(Execution("cpu", 1.0, 1.0, 0.1, 1, succeeded=True))
    sink.close()

    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == ["result"]
    assert writer.append("test", {"n": 1}) is True


def test_memory_keeps_the_newest_records_and_always_the_header() -> None:
    line = len(records.encode("test", {"n": 10, "pad": BIG}))
    shard = MemoryShard("main-1", limit_bytes=3 * line)
    shard.append("run", {"n": 1})
    for n in range(10, 20):
        assert shard.append("test", {"n": n, "pad": BIG}) is True
    shard.close({"reason": "finished"})

    kept = [records.decode(line) for line in shard.lines]
    assert [fields.get("n") for fields in kept] == [1, 18, 19, None]
    assert "oldest records dropped" in shard.problems[0]
    assert shard.append("test", {"n": 99}) is False
