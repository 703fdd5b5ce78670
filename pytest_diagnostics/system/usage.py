"""Exact figures of windows of time, read at their edges on the thread that runs the test.

    reader = open_usage_reader(peak="exact")
    setup = reader.open()
    fixture = reader.open(exclude=True)      # a session fixture, or time in a debugger
    reader.close(fixture)                    # its own figures; the test's setup is not charged with them
    usage, absent = reader.close(setup)
    stretch = reader.open()                  # inside another window: counted in both
    reader.release()

Windows are opened and closed in reverse order on one thread. ``edge`` and ``delta`` are the same without
windows and without peaks. A figure that cannot be read is absent, and ``absent`` says why.
"""

from __future__ import annotations

import os
import sys
from typing import Literal, Protocol

from ..core.figures import KEYS, Usage, subtract

PeakKind = Literal["exact", "sampled", "off"]

NO_PEAK: dict[str, str] = {
    "sampled": "peaks are sampled, not exact (peak=sampled)",
    "off": "switched off (peak=off)",
}


class Edge(Protocol):
    """What was read at one moment; only the reader that made it understands it."""

    @property
    def pid(self) -> int:
        """The process that read it."""


class Window:
    """An open window. ``exclude`` keeps it out of the windows around it."""

    __slots__ = ("before", "end", "exclude", "inner", "peak", "start")

    def __init__(self, exclude: bool) -> None:
        self.exclude = exclude
        self.before: Edge | None = None
        #: The moments of its edges, seconds on CLOCK_MONOTONIC; 0 before there is one.
        self.start = 0.0
        self.end = 0.0
        #: Gross figures of the excluded windows that were closed inside this one.
        self.inner: list[Usage] = []
        #: The peak's interval, or why there is none.
        self.peak: object = None


class UsageReader(Protocol):
    """Reads exact figures; one a pytest session."""

    def open(self, *, exclude: bool = False) -> Window:
        """Begin a window."""

    def close(self, window: Window) -> tuple[Usage, dict[str, str]]:
        """End a window and return its figures, and the reasons of those that are absent."""

    def edge(self) -> Edge:
        """Read everything but the peak now."""

    def delta(self, before: Edge, after: Edge) -> tuple[Usage, dict[str, str]]:
        """Return the figures between two edges, and the reasons of those that are absent."""

    def release(self) -> None:
        """Close the descriptors that were kept."""


class Windows:
    """The stack of open windows and what inner ones take from outer ones."""

    _getpid = staticmethod(os.getpid)

    def __init__(self) -> None:
        self._stack: list[Window] = []

    def push(self, window: Window) -> None:
        """Begin a window inside those that are open."""
        self._stack.append(window)

    def settle(self, window: Window, gross: Usage) -> Usage:
        """End a window whose figures from edge to edge are ``gross``; return what is its own."""
        if window in self._stack:
            # Windows inside that nobody closed end here, too.
            del self._stack[self._stack.index(window) :]
        outer = self._stack[-1] if self._stack else None
        if outer is not None:
            outer.inner += [gross] if window.exclude else window.inner
        for inner in window.inner:
            gross = subtract(gross, inner)
        return gross


def missing(usage: Usage, reasons: dict[str, str]) -> dict[str, str]:
    """Return a reason for every key that is absent."""
    if len(usage) == len(KEYS):
        return {}
    return {key: reasons.get(key, "a window inside it lacks this figure") for key in KEYS if key not in usage}


def open_usage_reader(peak: PeakKind = "exact") -> UsageReader:
    """Return the reader for this system."""
    if sys.platform == "linux":
        from .usage_linux import LinuxUsageReader

        return LinuxUsageReader(peak)
    else:  # noqa: RET505 - a type checker takes what follows a platform's return for unreachable
        from .usage_portable import PortableUsageReader

        return PortableUsageReader(peak)
