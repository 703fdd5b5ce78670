"""The bounds that a test declares with ``diagnostics_limit``: what may be said, and what became of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..core.errors import ConfigurationError
from .schema import Limit
from .words import weight

MARKER = "diagnostics_limit"


@dataclass(frozen=True)
class _Figure:
    """Where a limit's value comes from."""

    usage: str
    unit: Literal["seconds", "bytes", "count"]
    #: How the figures of setup and call become one; a change may be negative, so its parts prove nothing.
    join: Literal["sum", "max", "change"] = "sum"


_FIGURES: dict[str, _Figure] = {
    "wall_seconds": _Figure("wall_seconds", "seconds"),
    "cpu_seconds": _Figure("cpu_seconds", "seconds"),
    "cpu_wait_seconds": _Figure("cpu_wait_seconds", "seconds"),
    "children_cpu_seconds": _Figure("children_cpu_seconds", "seconds"),
    "throttled_seconds": _Figure("throttled_seconds", "seconds"),
    "peak_rss": _Figure("peak_rss_bytes", "bytes", "max"),
    "rss_growth": _Figure("rss_change_bytes", "bytes", "change"),
    "read_bytes": _Figure("read_bytes", "bytes"),
    "write_bytes": _Figure("write_bytes", "bytes"),
    "major_faults": _Figure("major_faults", "count"),
    "fds_leaked": _Figure("fds_change", "count", "change"),
    "threads_leaked": _Figure("threads_change", "count", "change"),
    "children_leaked": _Figure("children_change", "count", "change"),
    "oom_kills": _Figure("oom_kills", "count"),
}

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-zµ]*)\s*")
_SIZES = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_TIMES = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_HELP = {
    "seconds": 'seconds, or a text such as "500 ms", "2 s", "1 min"',
    "bytes": 'bytes, or a text such as "64 kB", "200 MB", "1.5 GiB"',
    "count": "a whole number",
}


def parse_limits(arguments: Mapping[str, object]) -> dict[str, float]:
    """Return the limits of a marker's keyword arguments, in seconds, bytes or counts.

    ConfigurationError names the argument, what was given, and what may be.
    """
    if not arguments:
        raise ConfigurationError(f"{MARKER} names no limit; there are: {', '.join(_FIGURES)}")
    limits = {}
    for name, given in arguments.items():
        figure = _FIGURES.get(name)
        if figure is None:
            raise ConfigurationError(
                f"{MARKER}({name}={given!r}): there is no such limit; there are: {', '.join(_FIGURES)}"
            )
        value = _parse(given, figure.unit)
        if value is None:
            raise ConfigurationError(
                f"{MARKER}({name}={given!r}): give {_HELP[figure.unit]}, not less than zero"
            )
        limits[name] = value
    return limits


def _parse(given: object, unit: str) -> float | None:
    if isinstance(given, bool):
        return None
    if isinstance(given, (int, float)):
        if not math.isfinite(given) or given < 0 or (unit != "seconds" and given != int(given)):
            return None
        return given
    if not isinstance(given, str):
        return None
    found = _QUANTITY.fullmatch(given)
    if found is None:
        return None
    digits, suffix = found.groups()
    if unit == "count":
        return int(digits) if digits.isdigit() and not suffix else None
    factor = (_SIZES if unit == "bytes" else _TIMES).get(suffix)
    if factor is None:
        # A bare number in a text has no unit, and guessing one is how limits come to mean nothing.
        return None
    return float(round(float(digits) * factor)) if unit == "bytes" else float(digits) * factor


def judge(
    limits: Mapping[str, float],
    setup_usage: Mapping[str, float],
    call_usage: Mapping[str, float],
    absent: Mapping[str, str],
) -> list[Limit]:
    """Return what became of each limit over setup and call together.

    ``absent`` tells why a usage key is missing in either phase.
    """
    return [
        _judge_one(name, limit, {"call": call_usage, "setup": setup_usage}, absent)
        for name, limit in limits.items()
    ]


def _judge_one(
    name: str, limit: float, phases: Mapping[str, Mapping[str, float]], absent: Mapping[str, str]
) -> Limit:
    figure = _FIGURES[name]
    known = {when: usage[figure.usage] for when, usage in phases.items() if figure.usage in usage}
    verdict = Limit(name=name, limit=limit, value=None, unit=figure.unit, state="not checked", detail="")
    missing = [when for when in phases if when not in known]
    if known:
        value = max(known.values()) if figure.join == "max" else sum(known.values())
        # What one phase alone exceeded stays exceeded, whatever the other one used.
        if not missing or (figure.join != "change" and value > limit):
            verdict["value"] = value
            verdict["state"] = "exceeded" if value > limit else "ok"
            parts = sorted(known.items(), key=lambda part: -part[1])
            verdict["detail"] = ", ".join(f"{when}: {_shown(part, figure.unit)}" for when, part in parts)
            return verdict
    reason = absent.get(figure.usage, "it was not measured")
    where = " and ".join(reversed(missing))
    verdict["detail"] = f"{figure.usage} is not available for {where}: {reason}"
    return verdict


def message(limits: list[Limit]) -> str:
    """Return the text of the failure for the limits exceeded; empty when none is."""
    exceeded = [told(limit) for limit in limits if limit["state"] == "exceeded"]
    return f"{MARKER} exceeded: " + "\n  and ".join(exceeded) if exceeded else ""


def told(limit: Limit) -> str:
    """Return a limit with what was measured and where: it is the first line that a short summary shows."""
    value = limit["value"]
    measured = "no data" if value is None else _shown(value, limit["unit"])
    return f"{limit['name']} {measured}, limit {_shown(limit['limit'], limit['unit'])} ({limit['detail']})"


def _shown(value: float, unit: str) -> str:
    if unit == "seconds":
        return f"{value * 1000:.4g} ms" if abs(value) < 1 else f"{value:.4g} s"
    if unit == "count":
        return f"{value:.0f}"
    return weight(value)
