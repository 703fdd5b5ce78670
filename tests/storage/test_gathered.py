"""Records that are written together, by one write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.shard import ShardWriter

if os.name == "posix":
    import resource
    import signal

BIG = "x" * 4000

pytestmark = pytest.mark.skipif(os.name != "posix", reason="faults are provoked with POSIX means")


def numbers(path: Path) -> list[object]:
    """Return the ``n`` of all readable records of a file."""
    found: list[object] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(records.decode(line).get("n"))
        except records.RecordError:
            continue
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "main-1.jsonl"


def test_gathered_records_are_written_together_and_before_what_follows(path: Path) -> None:
    writer = ShardWriter(path)
    for n in range(3):
        writer.gather("test", {"n": n})
    assert path.stat().st_size == 0
    assert len(writer.unwritten) == 3

    writer.append("test", {"n": 3})
    writer.gather("test", {"n": 4})
    writer.close()

    assert numbers(path) == [0, 1, 2, 3, 4]
    assert writer.written == 5
    assert writer.bytes == path.stat().st_size


@pytest.mark.parametrize("room", [-1, 0, 1, 100])
def test_gathered_records_that_did_not_all_fit_are_each_written_once(path: Path, room: int) -> None:
    """The kernel cuts the write of three records behind the second one, or a little before or after."""
    writer = ShardWriter(path)
    line = len(records.encode("test", {"n": 0, "pad": BIG}))
    for n in range(3):
        writer.gather("test", {"n": n, "pad": BIG})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (line * 2 + room, hard))
        writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)

    writer.flush()
    assert numbers(path) == [0, 1, 2]
    assert writer.written == 3
