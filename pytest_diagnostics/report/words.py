"""Texts and figures as every part of the page writes them.

Texts of a run (test ids, failures, names of collectors) can hold anything. `line` and `block` keep what reads
as itself and write out what has no shape of its own, so that no name can pass for another or break a line.
"""

from __future__ import annotations

import math
import re

#: Characters of one line that are shown: a browser needs seconds to break a word of 20,000.
LONGEST = 4000

#: CSI sequences, OSC sequences (hyperlinks, titles) and two-byte escapes, as terminals read them.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
#: Controls, bidirectional overrides and line separators: all of them can make a text read as another one.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _visible(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    return _NAMED.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def line(text: str) -> str:
    """One line of text as it is, with everything that has no shape of its own written as an escape."""
    if len(text) > LONGEST:
        return f"{line(text[:LONGEST])}… {len(text) - LONGEST:,} more characters"
    whole = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _UNSEEN.sub(_visible, whole)


def block(text: str) -> str:
    """Several lines, with terminal colours and links taken out; line ends and tabs stay."""
    kept = _ANSI.sub("", text).replace("\r\n", "\n")
    return "\n".join("\t".join(line(cell) for cell in row.split("\t")) for row in kept.split("\n"))


_SECONDS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6}
_SIZES = {"bytes": 1, "kb": 1024}  # as /proc counts kb
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def digits(value: float) -> str:
    """Three significant digits; whole numbers from 100 on, grouped."""
    value = float(f"{value:.3g}") if abs(value) < 1000 else value
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 0.01:
        return f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"
    return f"{value:.2e}"


def seconds(value: float | None) -> str:
    """A length of time: µs, ms, s, then minutes and hours."""
    if value is None or not math.isfinite(value):
        return "no data"
    size = abs(value)
    if size == 0:
        return "0 s"
    if size < 0.9995e-3:
        return f"{digits(value * 1e6)} µs"
    if size < 0.9995:
        return f"{digits(value * 1e3)} ms"
    if size < 59.95:
        return f"{digits(value)} s"
    whole = round(size)
    sign = "-" if value < 0 else ""
    if whole < 3600:
        return f"{sign}{whole // 60} m {whole % 60:02d} s"
    minutes = round(size / 60)
    return f"{sign}{minutes // 60} h {minutes % 60:02d} m"


def size(value: float | None) -> str:
    """Bytes in the binary unit that leaves three digits."""
    if value is None or not math.isfinite(value):
        return "no data"
    step = 0
    while abs(value) >= 999.5 and step < len(_BYTES) - 1:
        value /= 1024
        step += 1
    return f"{digits(value) if step else f'{value:.0f}'} {_BYTES[step]}"


def figure(value: float | None, unit: str) -> str:
    """A value in its unit, or "no data"."""
    if value is None or not math.isfinite(value):
        return "no data"
    if unit.endswith("per_second"):
        return f"{figure(value, unit[: -len('per_second')].rstrip('_'))}/s"
    if unit in _SECONDS:
        return seconds(value * _SECONDS[unit])
    if unit in _SIZES:
        return size(value * _SIZES[unit])
    shown = f"{value:,.0f}" if float(value).is_integer() else digits(value)
    if unit in ("", "count", "number"):
        return shown
    names = {"percent": " %", "celsius": " °C", "mhz": " MHz"}
    return shown + (names.get(unit) or f" {line(unit).replace('_', ' ')}")


def counted(number: int, noun: str) -> str:
    """``1 test``, ``2,000 tests``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clock(value: float) -> str:
    """A moment within the run, as h:mm:ss or mm:ss."""
    whole = max(0, int(value))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"
