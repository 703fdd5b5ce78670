"""A run's directory that was removed, and who may make it again."""

from __future__ import annotations

import shutil
from pathlib import Path

from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.shard import ShardWriter


def test_who_may_outlive_the_run_waits_for_its_directory_and_does_not_bring_it_back(tmp_path: Path) -> None:
    path = tmp_path / "run" / "shards" / "recorder-1.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(path, founds_run=False)
    writer.append("run", {"run": "r"})
    writer.retry_seconds = 0.0  # type: ignore[misc] # this one shall not wait
    run = path.parent.parent

    shutil.rmtree(run)
    assert not writer.append("test", {"n": 1})
    assert not run.exists()

    run.mkdir()
    assert writer.append("test", {"n": 2})
    writer.close({"reason": "finished"})
    kinds = [records.decode(line)["kind"] for line in path.read_bytes().splitlines()]
    assert kinds == ["run", "test", "test", "end"]
