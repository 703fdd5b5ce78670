"""Series: the numeric leaves of collectors' data, their names, their units, and thinning for display."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from .courses import TOPICS, name_of
from .model import JsonValue

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Leaves whose names say too little, or the wrong thing.
_UNITS_BY_NAME = {
    "percent": "percent",
    "per_core": "percent",
    "seconds": "seconds",
    "threads": "count",
    "fds": "count",
    "pids": "count",
    "children": "count",
    "processes": "count",
    "oom_kill": "count",
    "oom_kills": "count",
    "errin": "count",
    "errout": "count",
    "dropin": "count",
    "dropout": "count",
    "value": "count",
    "count": "count",
    # /proc/vmstat counts these two in KiB.
    "pgpgin_per_sec": "kb_per_second",
    "pgpgout_per_sec": "kb_per_second",
}

_UNITS_BY_SUFFIX = (
    ("_kb_per_sec", "kb_per_second"),
    ("_bytes_per_sec", "bytes_per_second"),
    ("_per_sec", "per_second"),
    ("_per_second", "per_second"),
    ("_percent", "percent"),
    ("_bytes", "bytes"),
    ("_seconds", "seconds"),
    ("_ms", "milliseconds"),
    ("_us", "microseconds"),
    ("_mhz", "mhz"),
    ("_celsius", "celsius"),
    ("_cores", "cores"),
    ("_count", "count"),
    ("_threads", "count"),
    ("_kills", "count"),
    ("_hits", "count"),
    ("_left_out", "count"),
    # The kernel's own averages of pressure.
    ("_avg10", "percent"),
    ("_avg60", "percent"),
    ("_avg300", "percent"),
)


def numeric_leaves(name: str, data: JsonValue) -> Iterator[tuple[str, float]]:
    """Yield a series' name and value for every finite number in a collector's data.

    A dot leads to a field, brackets to an element or to a foreign name:
    ``network.interfaces[eth0].bytes_recv``, ``cpu.per_core[0]``. A key is foreign when it is no identifier,
    or when it names one of several alike: when all values beside it are mappings too. A collector's own
    top-level keys are fields. A view or an index is called by its name, since its place in the list changes:
    ``cassandra_views.views[ks.by_email].percent``.
    """
    if type(data) is dict:
        for key, value in data.items():
            path = f"{name}.{key}" if _IDENTIFIER.fullmatch(key) else f"{name}[{key}]"
            if key in TOPICS and type(value) is list:
                yield from _named_leaves(path, key, value)
                continue
            yield from _leaves(path, value)
    else:
        yield from _leaves(name, data)


def _leaves(path: str, value: JsonValue) -> Iterator[tuple[str, float]]:
    kind = type(value)
    if kind is int or kind is float:
        try:
            number = float(value)  # type: ignore[arg-type]  # narrowed by exact type, which leaves bool out
        except OverflowError:
            return
        if math.isfinite(number):
            yield path, number
    elif isinstance(value, dict):
        foreign = all(type(inner) is dict for inner in value.values())
        for key, inner in value.items():
            dotted = not foreign and _IDENTIFIER.fullmatch(key)
            yield from _leaves(f"{path}.{key}" if dotted else f"{path}[{key}]", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(f"{path}[{index}]", inner)


def _named_leaves(path: str, topic: str, items: list[JsonValue]) -> Iterator[tuple[str, float]]:
    for index, item in enumerate(items):
        called = name_of(topic, item) if isinstance(item, dict) else None
        yield from _leaves(f"{path}[{index if called is None else called}]", item)


def unit_of(name: str) -> str:
    """Return the unit that a series' name tells; "number" when it tells none."""
    leaf = re.sub(r"(\[[^\[\]]*\])+$", "", name).rpartition(".")[2].rpartition("]")[2]
    if leaf in _UNITS_BY_NAME:
        return _UNITS_BY_NAME[leaf]
    if leaf.startswith("bytes_"):
        return "bytes_per_second" if leaf.endswith(("_per_sec", "_per_second")) else "bytes"
    for suffix, unit in _UNITS_BY_SUFFIX:
        if leaf.endswith(suffix):
            return unit
    return "count" if leaf.startswith(("packets_", "read_count", "write_count")) else "number"


def thin(
    times: Sequence[float], values: Sequence[float | None], limit: int = 2000
) -> tuple[list[float], list[float | None]]:
    """Return at most ``limit`` points of a series, in order, with its exact extremes, ends and gaps.

    The points between the first and the last are cut into buckets; of each its lowest and its highest point
    stay, and one None where there is any.
    """
    size = len(values)
    if size <= limit:
        return list(times), list(values)
    if limit < 5:
        raise ValueError(f"a series cannot be thinned to {limit} points; 5 is the least")
    has_gaps = None in values
    buckets = (limit - 2) // (3 if has_gaps else 2)
    chosen = [0]
    for bucket in range(buckets):
        start = 1 + bucket * (size - 2) // buckets
        end = 1 + (bucket + 1) * (size - 2) // buckets
        part = values[start:end]
        chosen.extend(start + index for index in (_edges_with_gap(part) if has_gaps else _edges(part)))
    chosen.append(size - 1)
    return [times[index] for index in chosen], [values[index] for index in chosen]


def _edges(part: Sequence[float | None]) -> list[int]:
    # min and max run in C, an order of magnitude faster than a loop over 86,400 points.
    low = part.index(min(part))  # type: ignore[type-var]  # the caller looked: there is no None
    high = part.index(max(part))  # type: ignore[type-var]
    if low == high:
        return [low]
    return [low, high] if low < high else [high, low]


def _edges_with_gap(part: Sequence[float | None]) -> list[int]:
    if None not in part:
        return _edges(part)
    gap = part.index(None)
    known = [value for value in part if value is not None]
    if not known:
        return [gap]
    return sorted({part.index(min(known)), gap, part.index(max(known))})
