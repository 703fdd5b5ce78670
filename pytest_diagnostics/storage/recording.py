"""Reading a run back, whatever became of its files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import cast

from ..core.errors import RecordingError
from ..core.model import JsonValue
from ..core.recording import Fields, Recording, ShardRecords, mapping, number, text
from . import records
from .files import Files, error_text, read_file
from .runs import RunDirectory
from .shard import MemoryShard


@dataclass(frozen=True)
class Kept:
    """What the writer of a shard has in memory."""

    #: Lines that the file could not take.
    unwritten: Sequence[bytes] = ()
    #: Lines that are in the file, too, and tell the most when it cannot be read: the first and the last.
    outline: Sequence[bytes] = ()


#: A longer line is no record of ours: results are bounded to 64 KiB.
MAX_LINE = 16 * 1024 * 1024
_CHUNK = 1 << 20
#: Lines that are decoded together: their records share their keys, which else were most of what they hold.
_TOGETHER = 64
_HEADER_LIMIT = 1 << 20
_BEGIN = re.compile(rb'\{"v":\d+,"kind":"')


def read_run(
    run: RunDirectory | str | os.PathLike[str],
    extra: Sequence[MemoryShard] = (),
    kept: Mapping[str, Kept] = MappingProxyType({}),
) -> Recording:
    """Return the recording of a run directory and of shards kept in memory; damage is counted, never raised.

    ``kept`` has, by the names of their files, what shards have in memory. Only a path at which there is
    nothing to read at all is a RecordingError.
    """
    path = os.fspath(run.path) if isinstance(run, RunDirectory) else os.fspath(run)
    problems: list[str] = []
    if not _is_there(path, problems):
        raise RecordingError(f"there is no run directory {path}")
    header = _read_header(os.path.join(path, "run.json"), problems)
    directory = os.path.join(path, "shards")
    files = {*_shard_files(directory, problems), *(os.path.join(directory, name) for name in kept)}
    shards = []
    for file in sorted(files):
        shard = ShardRecords(os.path.basename(file).removesuffix(".jsonl"))
        in_memory = kept.get(os.path.basename(file), Kept())
        try:
            _fill(shard, _lines(file, shard))
        except OSError as exc:
            problems.append(f"shard {shard.name} cannot be read beyond its records so far: {error_text(exc)}")
            _fill(shard, _not_in(shard, in_memory.outline))
        _fill(shard, ((line, True) for line in in_memory.unwritten))
        shards.append(shard)
    return _assemble(header, shards, problems, extra)


def read_memory(
    header: Fields,
    shards: Sequence[MemoryShard],
    kept: Mapping[str, Kept] = MappingProxyType({}),
) -> Recording:
    """Return the recording of a run that has no directory; ``header`` is what run.json would have held."""
    found = []
    for name, in_memory in kept.items():
        shard = ShardRecords(name.removesuffix(".jsonl"))
        _fill(shard, ((line, True) for line in (*in_memory.outline, *in_memory.unwritten)))
        found.append(shard)
    return _assemble(header, found, [], shards)


def _is_there(path: str, problems: list[str]) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as exc:
        # It is there, or nobody can tell: what can be read below it decides.
        problems.append(f"the run directory cannot be examined: {error_text(exc)}")
        return True


def _not_in(shard: ShardRecords, outline: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield the lines of an outline that were not read before the file failed."""
    for line in outline:
        fields = records.decode(line)
        if fields != shard.header and fields not in shard.records:
            yield line, True


def iter_records(run: RunDirectory) -> Iterator[tuple[str, Fields]]:
    """Yield shard name and record for everything readable, results with all their data included."""
    for file in _shard_files(os.fspath(run.shards), []):
        shard = ShardRecords(os.path.basename(file).removesuffix(".jsonl"))
        try:
            for fields in _decoded(shard, _lines(file, shard)):
                yield shard.name, fields
        except OSError:
            continue  # read_run says so


def _assemble(
    header: Fields, shards: list[ShardRecords], problems: list[str], extra: Sequence[MemoryShard]
) -> Recording:
    # An empty file was made, but could not be used: the records of its process are in memory.
    names = {memory.name for memory in extra}
    shards = [shard for shard in shards if shard.size or shard.count or shard.name not in names]
    for memory in extra:
        shard = ShardRecords(memory.name)
        _fill(shard, ((line, True) for line in memory.lines))
        shard.size = memory.bytes
        shard.name = _free_name(shard, {other.name for other in shards})
        shards.append(shard)
    recording = Recording(header, shards, problems)
    _place_in_time(recording)
    return recording


def _free_name(shard: ShardRecords, taken: set[str]) -> str:
    """Return what a shard from memory would be called as a file: several may come under one name."""
    role, pid = text(shard.header, "role"), shard.header.get("pid")
    name = f"{role}-{pid}" if role and isinstance(pid, int) else shard.name
    number = 1
    while (free := name if number == 1 else f"{name}.{number}") in taken:
        number += 1
    return free


def _place_in_time(recording: Recording) -> None:
    """Find the run's start on each shard's clock.

    Processes of one machine share CLOCK_MONOTONIC, so the run's anchor serves them all, whatever the wall
    clock did meanwhile. Those of another boot or machine are placed together, by the wall clocks.
    """
    anchor, boot = _anchor(recording.header), text(mapping(recording.header, "process"), "boot_id")
    if anchor is None:
        known = [(found, shard) for shard in recording.shards if (found := _anchor(shard.header))]
        if known:
            anchor, first = min(known, key=lambda pair: pair[0][1])
            boot = text(first.header, "boot_id")
    recording.started = anchor[0] if anchor else None
    anchors: dict[tuple[str, str], tuple[float, float]] = {}
    for shard in sorted(recording.shards, key=lambda shard: _anchor(shard.header) or (0.0, 0.0)):
        found, place = _anchor(shard.header), _place(shard)
        if found is not None:
            anchors.setdefault(place, found)
    for shard in recording.shards:
        host, own_boot = _place(shard)
        own = anchors.get((host, own_boot))
        elsewhere = own_boot != boot if boot and own_boot else bool(host)
        if anchor is not None and own is not None and elsewhere:
            shard.zero = own[1] - (own[0] - anchor[0])
        elif anchor is not None:
            shard.zero = anchor[1]
        else:
            moments = [_moment(fields) for other in recording.shards for fields in other.records]
            moments += [results.times[0] for results in shard.collectors.values() if results.times]
            shard.zero = min((moment for moment in moments if moment is not None), default=0.0)


def _place(shard: ShardRecords) -> tuple[str, str]:
    """Return the host and the boot of a shard's process: what shares a monotonic clock."""
    return text(shard.header, "host"), text(shard.header, "boot_id")


def _anchor(header: Fields) -> tuple[float, float] | None:
    anchor = mapping(header, "anchor")
    wall, monotonic = number(anchor, "wall"), number(anchor, "monotonic")
    return None if wall is None or monotonic is None else (wall, monotonic)


def _moment(fields: Fields) -> float | None:
    return number(fields, "start") if "start" in fields else number(fields, "monotonic")


def _read_header(path: str, problems: list[str]) -> dict[str, JsonValue]:
    try:
        value = json.loads(read_file(path, _HEADER_LIMIT))
    except OSError as exc:
        problems.append(f"run.json cannot be read: {error_text(exc)}")
    except (ValueError, RecursionError):
        problems.append("run.json is damaged")
    else:
        if isinstance(value, dict):
            return cast("dict[str, JsonValue]", value)
        problems.append("run.json is damaged")
    return {}


def _shard_files(directory: str, problems: list[str]) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if entry.name.endswith(".jsonl"))
    except OSError as exc:
        problems.append(f"the shards cannot be read: {error_text(exc)}")
        return []


def _fill(shard: ShardRecords, lines: Iterable[tuple[bytes, bool]]) -> None:
    for fields in _decoded(shard, lines):
        shard.add(fields)


def _decoded(shard: ShardRecords, lines: Iterable[tuple[bytes, bool]]) -> Iterator[Fields]:
    """Yield the records of (line, whether a line end closed it), count what is none."""
    batch: list[tuple[bytes, bool]] = []
    size = 0
    try:
        for pair in lines:
            batch.append(pair)
            size += len(pair[0])
            if len(batch) >= _TOGETHER or size >= _CHUNK:
                yield from _batch_decoded(shard, batch)
                batch, size = [], 0
    except OSError:
        yield from _batch_decoded(shard, batch)
        raise
    yield from _batch_decoded(shard, batch)


def _batch_decoded(shard: ShardRecords, batch: Sequence[tuple[bytes, bool]]) -> Iterator[Fields]:
    together = records.decode_together([line.removesuffix(b"\n") for line, _ in batch])
    if together is not None:
        yield from together
        return
    for line, closed in batch:
        try:
            yield records.decode(line)
        except records.UnknownRecordError:
            shard.unknown += 1
        except records.RecordError as exc:
            # Inside a file, what a torn write left is closed by the next record's leading line end.
            if closed or isinstance(exc, records.DamagedRecordError):
                shard.damaged += 1
            else:
                shard.torn = True
            yield from _salvaged(line)


def _salvaged(line: bytes) -> Iterator[Fields]:
    """Yield the whole records in a damaged line: the line end between two of them may be what was hit."""
    # Inside strings quotes are escaped; a field that looks like a beginning has no checksum that fits.
    begins = [found.start() for found in _BEGIN.finditer(line)]
    for begin, after in pairwise([*begins, len(line)]):
        for end in (after, after - 1):
            with contextlib.suppress(records.RecordError):
                yield records.decode(line[begin:end])
                break


def _lines(path: str, shard: ShardRecords) -> Iterator[tuple[bytes, bool]]:
    """Yield the lines of a file without their ends, never holding much more than MAX_LINE bytes."""
    fd = Files.open(path, Files.READ)
    try:
        state = Files.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(22, "is not a regular file", path)
        rest = b""
        while chunk := Files.read(fd, _CHUNK):
            shard.size += len(chunk)
            first, *lines = chunk.split(b"\n")
            if not lines:
                # The head of an endless line is kept: without its tail it counts as one torn record.
                rest = rest + first if len(rest) < MAX_LINE else rest
                continue
            *whole, last = lines
            for line in (rest + first, *whole):
                if line:
                    yield line, True
            rest = last
        if rest:
            yield rest, False
    finally:
        Files.close(fd)
