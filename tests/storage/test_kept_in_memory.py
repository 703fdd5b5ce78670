"""What a shard holds in memory when its file can be neither written nor read back."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_diagnostics.core.errors import RecordingError
from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.files import Files
from pytest_diagnostics.storage.recording import Kept, read_run
from pytest_diagnostics.storage.runs import RunDirectory, create_run, shard_header
from pytest_diagnostics.storage.shard import ShardWriter

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults are provoked with POSIX means")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run without shards."""
    return create_run(tmp_path, {})


def test_of_a_file_that_cannot_be_read_back_header_end_and_what_is_in_memory_are_known(
    run: RunDirectory,
) -> None:
    path = run.shard("main", 1)
    writer = ShardWriter(path)
    writer.append("run", shard_header(run.name, "main"))
    writer.append("test", {"n": 0})
    path.unlink()
    path.mkdir()
    writer.append("test", {"n": 1})
    writer.close({"reason": "finished"})

    recording = read_run(run, kept={path.name: Kept(writer.unwritten, writer.outline)})

    (shard,) = recording.shards
    assert shard.header["role"] == "main"
    assert [fields["n"] for fields in shard.of_kind("test")] == [1]
    assert [fields["reason"] for fields in shard.of_kind("end")] == ["finished"]
    assert "main-1 cannot be read" in recording.problems[0]


def test_the_end_in_memory_tells_what_kept_it_from_the_file(run: RunDirectory) -> None:
    writer = ShardWriter(run.shard("main", 1))
    writer.append("run", {})
    with no_descriptor_left():
        writer.close({"reason": "finished"})
    (end,) = [records.decode(line) for line in writer.unwritten]
    assert end["problems"] == writer.problems
    assert "EMFILE" in writer.problems[0]


def test_a_file_that_could_not_be_completed_is_not_left_behind(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(fd: int, mode: int) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Files, "_fchmod", staticmethod(refuses))
    with pytest.raises(RecordingError, match="EACCES"):
        ShardWriter(run.shard("main", 1))
    assert os.listdir(run.shards) == []
