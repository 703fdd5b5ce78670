"""The ends of a run's shards: enough to tell how the run ended, without reading the rest."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import cast

from ..core.errors import RecordingError
from ..core.model import JsonValue
from ..core.recording import Recording, ShardRecords, mapping, number
from . import records
from .alive import running, start_ticks
from .files import Files
from .runs import RunDirectory, read_header

#: Read of each shard's end. A record of a test is below 2 KiB, all results of one second are below 32 KiB.
TAIL_BYTES = 1 << 18
_HEAD_BYTES = 1 << 13
#: A recorder needs some milliseconds to notice an end and to write what it saw.
PAUSE_SECONDS = 0.01


class Clock:
    """Bound when this module was imported: tests replace these."""

    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


def read_tail(run: RunDirectory) -> Recording:
    """Return what the ends of all shards say, on the clock of the run; whatever is damaged is left out.

    Moments in the far past are missing, so that only what lasts until the end may be asked of it.
    """
    header = cast("dict[str, JsonValue]", read_header(run))
    zero = number(mapping(header, "anchor"), "monotonic") or 0.0
    shards = []
    with contextlib.suppress(OSError):
        for path in sorted(run.shards.glob("*.jsonl")):
            with contextlib.suppress(OSError):
                shards.append(_shard(path, zero))
    return Recording(header, shards)


def is_running(run: RunDirectory) -> bool:
    """Return whether the process that makes the run is there, for certain: seen from this machine."""
    process = read_header(run).get("process")
    return isinstance(process, dict) and running(process, last_written=0.0)


def settle(run: RunDirectory, seconds: float) -> None:
    """Wait, for so long at most, until recorders that are still there have written how their run ended."""
    deadline = Clock.monotonic() + seconds
    while _is_recording(run) and Clock.monotonic() < deadline:
        Clock.sleep(PAUSE_SECONDS)


def _is_recording(run: RunDirectory) -> bool:
    with contextlib.suppress(OSError):
        for path in run.shards.glob("recorder-*.jsonl"):
            with contextlib.suppress(OSError):
                shard = _shard(path, 0.0)
                ticks = mapping(shard.header, "recorder").get("start_ticks")
                pid = shard.header.get("pid")
                own = type(pid) is int and ticks is not None and start_ticks(pid) == ticks
                if own and not shard.of_kind("end"):
                    return True
    return False


def _shard(path: Path, zero: float) -> ShardRecords:
    shard = ShardRecords(path.stem, zero=zero)
    head, tail = _ends(path)
    # Without its end the first line of a tail is the rest of a record; without its begin there is no tail.
    lines = [*head.split(b"\n")[:1], *tail.split(b"\n")[1:]] if tail else head.split(b"\n")
    for line in lines:
        with contextlib.suppress(RecordingError):
            shard.add(records.decode(line))
    return shard


def _ends(path: Path) -> tuple[bytes, bytes]:
    """Return the first and the last bytes of a shard, all in the first where it is short."""
    fd = Files.open(os.fspath(path), Files.READ)
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            return b"", b""
        if state.st_size <= _HEAD_BYTES + TAIL_BYTES:
            return os.read(fd, _HEAD_BYTES + TAIL_BYTES), b""
        head = os.read(fd, _HEAD_BYTES)
        os.lseek(fd, -TAIL_BYTES, os.SEEK_END)
        return head, os.read(fd, TAIL_BYTES)
    finally:
        os.close(fd)
