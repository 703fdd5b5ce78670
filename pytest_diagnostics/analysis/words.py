"""Lengths of time and sizes of memory, as sentences of a summary have them."""

from __future__ import annotations


def span(seconds: float) -> str:
    """Return a length of time with three digits: 412 ms, 41.2 s, 12 m 05 s, 3 h 07 m."""
    if abs(seconds) < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if abs(seconds) < 99.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} m"


def weight(size: float) -> str:
    """Return a size in decimal units: 7.8 GB."""
    for name, factor in (("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        if abs(size) >= factor:
            return f"{size / factor:.1f} {name}"
    return f"{size:.0f} B"
