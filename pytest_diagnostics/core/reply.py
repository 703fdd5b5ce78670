"""The answer to a collection on demand, in the form that people and JSON read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from .entry import Entry
from .model import DiagnosticResult, JsonValue


def as_reply(
    entries: Iterable[Entry], results: Mapping[str, DiagnosticResult], now: datetime
) -> dict[str, JsonValue]:
    """Return ``{"timestamp": …, name: data, …}``; an error in the place of data that is not there."""
    reply: dict[str, JsonValue] = {"timestamp": now.isoformat()}
    for entry in entries:
        result = results.get(entry.name)
        if result is not None and result.collected:
            reply[entry.name] = result.data
            continue
        error, message = "timeout", "no result yet"
        if result is not None and result.error is not None:
            error, message = result.error.type.value, result.error.message
        elif not entry.tracker.is_active:
            error, message = "unavailable", entry.tracker.reason or entry.tracker.state.value
        reply[entry.name] = {"error": {"type": error, "message": message}}
    return reply
