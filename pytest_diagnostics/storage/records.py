"""The written form: one record is one line of JSON, closed by a checksum.

    {"v":1,"kind":"result","collector":"cpu",...,"crc":"1a2b3c4d"}\\n

The checksum is the CRC-32 of the bytes before ``,"crc"``. A line holds ASCII only, so that no locale, editor
or copy changes it, and a lone surrogate in a test's name survives as an escape. ``docs/file-format.md`` lists
the fields of every kind.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import cast

from ..core.errors import RecordingError, ValidationError
from ..core.model import (
    CollectorError,
    DiagnosticResult,
    Event,
    EventKind,
    Execution,
    Health,
    JsonValue,
    Record,
)

#: 1: the first.
FORMAT_VERSION = 1

#: Every kind of record. There is no "finish": the record of a test's teardown phase is its finish.
KINDS = frozenset(
    {
        "run",
        "result",
        "test",
        "phase",
        "fixture",
        "stretch",
        "collection",
        "gap",
        "health",
        "event",
        "end",
    }
)

_RESERVED = frozenset({"v", "kind", "crc"})
_PREFIXES = {kind: f'{{"v":{FORMAT_VERSION},"kind":"{kind}"' for kind in KINDS}
_MARK = b',"crc":"'
#: The length of ``,"crc":"1a2b3c4d"}``.
_TAIL = 18
_GAPS = frozenset({EventKind.GAP, EventKind.CLOCK_STEP, EventKind.SUSPEND})
#: How deep the slow path of ``encode_leniently`` follows a structure.
_MAX_DEPTH = 32


class RecordError(RecordingError):
    """A line that is not a readable record."""


class TornRecordError(RecordError):
    """A line that stops before its checksum: the write did not complete."""


class DamagedRecordError(RecordError):
    """A line whose checksum does not fit, or whose content is not a record."""


class UnknownRecordError(RecordError):
    """A whole record of a version or a kind that this version does not know."""


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON")


class _Json:
    """Bound once: tests replace ``json.dumps`` and its friends."""

    # check_circular costs a tenth of the time; a structure that contains itself ends in RecursionError.
    dumps = staticmethod(
        json.JSONEncoder(
            ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":")
        ).encode
    )
    loads = staticmethod(json.JSONDecoder(parse_constant=_refuse_constant).decode)
    crc32 = staticmethod(zlib.crc32)


def encode(kind: str, fields: Mapping[str, object]) -> bytes:
    """Return the line of a record; ValidationError when ``fields`` hold what JSON cannot say."""
    prefix = _PREFIXES.get(kind)
    if prefix is None:
        raise ValidationError(f"there is no record kind {kind!r}")
    if not _RESERVED.isdisjoint(fields):
        raise ValidationError(f"a {kind} record may not name a field v, kind or crc")
    try:
        text = _Json.dumps(fields if type(fields) is dict else dict(fields))
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValidationError(f"a {kind} record cannot be written: {exc}") from exc
    body = f"{prefix},{text[1:-1]}" if len(text) > 2 else prefix
    data = body.encode("ascii")
    return b'%b,"crc":"%08x"}\n' % (data, _Json.crc32(data))


def encode_leniently(kind: str, fields: Mapping[str, object]) -> tuple[bytes, bool]:
    """Return the line of a record and whether values had to be replaced to write it.

    A phase with one NaN in it is worth more than no phase: what JSON cannot say becomes None or its text.
    """
    try:
        return encode(kind, fields), False
    except ValidationError:
        cleaned = {str(key): _clean(value, 0) for key, value in fields.items() if key not in _RESERVED}
        return encode(kind, cleaned), True


def _clean(value: object, depth: int) -> JsonValue:
    if value is None or type(value) in (bool, str):
        return cast("JsonValue", value)
    if isinstance(value, int):
        # Python refuses to print integers beyond some thousand digits.
        return int(value) if value.bit_length() <= 1024 else None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return str.__str__(value)
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {str(key): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item, depth + 1) for item in value]
    return f"<{type(value).__name__}>"


def decode(line: bytes) -> dict[str, JsonValue]:
    """Return the fields of a line, with ``v`` and ``kind``; raise one of the three errors above."""
    body = line[:-1] if line.endswith(b"\n") else line
    if body[-_TAIL:-10] != _MARK or body[-2:] != b'"}':
        raise TornRecordError("the line ends before its checksum")
    if body[-10:-2] != b"%08x" % _Json.crc32(body[:-_TAIL]):
        raise DamagedRecordError("the checksum does not fit the line")
    try:
        fields = _Json.loads(body.decode("ascii"))
    except (ValueError, RecursionError) as exc:
        raise DamagedRecordError(f"the line is not JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise DamagedRecordError("the line is not a JSON object")
    version, kind = fields.get("v"), fields.get("kind")
    if type(version) is not int or type(kind) is not str:
        raise DamagedRecordError("the line has no version or no kind")
    if not 1 <= version <= FORMAT_VERSION:
        raise UnknownRecordError(f"format version {version} is not known, {FORMAT_VERSION} is the newest")
    if kind not in KINDS:
        raise UnknownRecordError(f"record kind {kind!r} is not known")
    del fields["crc"]
    return cast("dict[str, JsonValue]", fields)


def decode_together(lines: Sequence[bytes]) -> list[dict[str, JsonValue]] | None:
    """Return the fields of lines without their ends in half the time of one by one, their keys shared.

    None when not every one of them is whole and known: which, and why, is for ``decode`` to say.
    """
    for line in lines:
        if line[-_TAIL:-10] != _MARK or line[-2:] != b'"}':
            return None
        if line[-10:-2] != b"%08x" % _Json.crc32(line[:-_TAIL]):
            return None
    try:
        found = _Json.loads((b"[%b]" % b",".join(lines)).decode("ascii"))
    except (ValueError, RecursionError):
        return None
    if len(found) != len(lines):
        return None
    for fields in found:
        if type(fields) is not dict:
            return None
        version, kind = fields.get("v"), fields.get("kind")
        if type(version) is not int or type(kind) is not str:
            return None
        if not 1 <= version <= FORMAT_VERSION or kind not in KINDS:
            return None
        del fields["crc"]
    return cast("list[dict[str, JsonValue]]", found)


def from_record(record: Record) -> tuple[str, dict[str, JsonValue]] | None:
    """Return kind and fields of what a manager tells its sinks; None when it is not worth a line."""
    if isinstance(record, DiagnosticResult):
        return "result", _result_fields(record)
    if isinstance(record, Event):
        return _event_fields(record)
    return _execution_fields(record)


def from_health(health: Health, monotonic: float) -> tuple[str, dict[str, JsonValue]]:
    """Return kind and fields of a collector's final account."""
    account = {key: _plain(value) for key, value in asdict(health).items()}
    fields: dict[str, JsonValue] = {
        "collector": health.collector_name,
        "monotonic": monotonic,
        "state": str(health.state),
        "reason": health.reason,
    }
    for key in ("collector_name", "state", "reason"):
        del account[key]
    fields["account"] = account
    return "health", fields


def _result_fields(result: DiagnosticResult) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {
        "collector": result.collector_name,
        "monotonic": result.monotonic,
        "seconds": result.seconds,
        "data": result.data,
    }
    # What is as usual is left out: a run holds tens of thousands of these.
    if not result.collected:
        fields["collected"] = False
    if not result.stored:
        fields["stored"] = False
    if result.error is not None:
        fields["error"] = _error_fields(result.error)
    if result.coerced:
        fields["coerced"] = result.coerced
    if result.truncated:
        fields["truncated"] = True
    if result.final:
        fields["final"] = True
    return fields


def _error_fields(error: CollectorError) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {
        "type": str(error.type),
        "stage": str(error.stage),
        "message": error.message,
    }
    if error.is_critical:
        fields["is_critical"] = True
    if error.time is not None:
        fields["time"] = error.time.isoformat()
    if error.details:
        fields["details"] = dict(error.details)
    return fields


def _event_fields(event: Event) -> tuple[str, dict[str, JsonValue]]:
    fields: dict[str, JsonValue] = {"collector": event.collector_name, "monotonic": event.monotonic}
    if event.kind is EventKind.HEALTH:
        fields["state"] = event.details.get("state")
        fields["previous"] = event.details.get("previous")
        fields["reason"] = event.details.get("reason")
        return "health", fields
    kind = "gap" if event.kind in _GAPS else "event"
    fields[kind] = str(event.kind)
    fields["details"] = dict(event.details)
    return kind, fields


def _execution_fields(execution: Execution) -> tuple[str, dict[str, JsonValue]] | None:
    if execution.succeeded:
        return None  # the result says when it began and what it took
    details: dict[str, JsonValue] = {
        "due": execution.due,
        "seconds": execution.seconds,
        "attempt": execution.attempt,
    }
    return "event", {
        "collector": execution.collector_name,
        "monotonic": execution.monotonic,
        "event": "attempt_failed",
        "details": details,
    }


def _plain(value: object) -> JsonValue:
    if isinstance(value, Enum):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else cast("JsonValue", value)
