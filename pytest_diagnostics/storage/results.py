"""Results read back from their records: what a recorder process collected, as a result again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import TypeVar

from ..core.clock import SystemClock
from ..core.errors import ErrorType
from ..core.model import CollectorError, DiagnosticResult, JsonValue, Stage
from ..core.recording import Fields, mapping, number, text, whole
from . import records
from .files import Files

#: How much of a shard's end is read for the latest results, and at most for those of a whole test. A result
#: has up to 64 KiB, and beside one that is seldom others come ten times a second.
TAIL_BYTES = 1024 * 1024
LONG_TAIL_BYTES = 8 * 1024 * 1024

_NAME = re.compile(rb'\{"v":\d+,"kind":"result","collector":"((?:[^"\\]|\\.)*)"')

E = TypeVar("E", bound=Enum)


def result_of(fields: Fields, clock: SystemClock) -> DiagnosticResult | None:
    """Return the result of a ``result`` record of this machine's clock; None when it is damaged."""
    monotonic = number(fields, "monotonic")
    if monotonic is None:
        return None
    error = mapping(fields, "error")
    return DiagnosticResult(
        collector_name=text(fields, "collector"),
        timestamp=clock.wall(monotonic),
        monotonic=monotonic,
        seconds=number(fields, "seconds") or 0.0,
        data=fields.get("data"),
        collected=fields.get("collected") is not False,
        stored=fields.get("stored") is not False,
        error=_error(error) if error else None,
        coerced=whole(fields, "coerced"),
        truncated=fields.get("truncated") is True,
        final=fields.get("final") is True,
    )


def latest_results(path: str, clock: SystemClock) -> dict[str, DiagnosticResult]:
    """Return the newest result of each collector at the end of a growing shard."""
    found: dict[str, DiagnosticResult] = {}
    seen: set[bytes] = set()
    for line in reversed(_tail(path, TAIL_BYTES).split(b"\n")):
        named = _NAME.match(line)
        # Only what is the newest of its collector is worth being decoded.
        if named is None or named[1] in seen:
            continue
        result = _decoded(line, clock)
        if result is not None:
            seen.add(named[1])
            found[result.collector_name] = result
    return found


def results_since(path: str, since: float, clock: SystemClock) -> list[DiagnosticResult]:
    """Return the results of a growing shard from a moment on CLOCK_MONOTONIC on, oldest first."""
    found: list[DiagnosticResult] = []
    for result in _backwards(path, clock, LONG_TAIL_BYTES):
        if result.monotonic < since:
            break
        found.append(result)
    return found[::-1]


def _backwards(path: str, clock: SystemClock, limit: int) -> Iterator[DiagnosticResult]:
    """Yield the results at the end of a file, the newest first; nothing where there is no file."""
    for line in reversed(_tail(path, limit).split(b"\n")):
        if b'"kind":"result"' not in line[:40]:
            continue
        result = _decoded(line, clock)
        if result is not None:
            yield result


def _decoded(line: bytes, clock: SystemClock) -> DiagnosticResult | None:
    try:
        return result_of(records.decode(line), clock)
    except records.RecordError:
        return None


def _tail(path: str, limit: int) -> bytes:
    try:
        fd = Files.open(path, Files.READ)
    except OSError:
        return b""
    try:
        size = Files.fstat(fd).st_size
        Files.lseek(fd, max(0, size - limit), 0)
        parts = []
        while limit > 0 and (part := Files.read(fd, limit)):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        Files.close(fd)


def _error(fields: Fields) -> CollectorError:
    details: dict[str, JsonValue] = mapping(fields, "details")
    return CollectorError(
        type=_one_of(ErrorType, text(fields, "type"), ErrorType.PROCESSING),
        stage=_one_of(Stage, text(fields, "stage"), Stage.COLLECT),
        message=text(fields, "message"),
        is_critical=fields.get("is_critical") is True,
        time=_moment(text(fields, "time")),
        details=details,
    )


def _one_of(kind: type[E], value: str, default: E) -> E:
    try:
        return kind(value)
    except ValueError:
        return default


def _moment(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None
