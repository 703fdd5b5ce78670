"""The latest results at the end of a growing shard."""

from __future__ import annotations

from pathlib import Path

from pytest_diagnostics.core.clock import SystemClock
from pytest_diagnostics.storage.results import latest_results
from pytest_diagnostics.storage.shard import ShardWriter


def append(shard: ShardWriter, collector: str, moment: float, data: object) -> None:
    fields = {"collector": collector, "monotonic": moment, "seconds": 0.001, "data": data}
    assert shard.append("result", fields)


def test_a_collector_that_is_seldom_is_found_behind_those_that_are_often(tmp_path: Path) -> None:
    shard = ShardWriter(tmp_path / "recorder-1.jsonl")
    append(shard, 'cassandra "views"', 1.0, {"views": ["x" * 50_000]})
    append(shard, 'cassandra "views"', 2.0, {"views": ["y" * 50_000]})
    for number in range(100):
        append(shard, "process", 3.0 + number, {"name": "z" * 2000})
    with Path(shard.path).open("ab") as file:
        file.write(b'{"v":1,"kind":"result","collector":"process","monot')

    found = latest_results(str(shard.path), SystemClock())

    assert {name: result.monotonic for name, result in found.items()} == {
        'cassandra "views"': 2.0,
        "process": 102.0,
    }
