"""Rows as JSON: every type of the driver's has one form, written out here. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID


def json_line(
    timestamp: str, query: str, topic: str, node: str | None, *, data: object = None, error: object = None
) -> str:
    """Return one record of the file."""
    fields = {
        "timestamp": timestamp,
        "query": query,
        "topic": topic,
        "node": node,
        "data": data,
        "error": error,
    }
    # ASCII: no text of a row, not even half a surrogate pair, can keep the line from being written.
    return json.dumps(fields, allow_nan=False, separators=(",", ":"))


def plain(value: object) -> object:
    """Return a column's value as JSON can say it.

    A UUID, an address, a decimal or a duration is a text, a moment is ISO 8601 in UTC, bytes are ``0x…``, a
    set is a list in the set's order, a user-defined type is an object. A number that JSON has not (NaN,
    infinity) is a text.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        # The driver's timestamps are in UTC without saying so.
        aware = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
        return aware.astimezone(timezone.utc).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal, IPv4Address, IPv6Address)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"0x{bytes(value).hex()}"
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    fields = getattr(value, "_fields", None)
    if isinstance(value, tuple) and isinstance(fields, tuple):
        return {name: plain(item) for name, item in zip(fields, value, strict=True)}
    if hasattr(value, "__iter__"):  # also the driver's sets, which are no Set
        return [plain(item) for item in value]
    return str(value)  # the driver's own Date, Time and Duration, which write themselves as CQL does
