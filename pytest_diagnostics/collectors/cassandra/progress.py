"""How fast a build goes, and how long it still takes, from what was seen of it lately. Pure."""

from __future__ import annotations

from collections import deque

#: A speed is told from this many different percentages on.
FEWEST = 3
#: Percentages older than this are forgotten, unless fewer than ``KEPT`` would be left.
WINDOW_SECONDS = 30.0
KEPT = 5
#: Nobody looked for longer than this, and than thrice the time between two looks before: an outage, which
#: says nothing of the pace before or after.
GAP_SECONDS = 10.0


class Progress:
    """One build's percentages over time; it begins anew with ``forget``."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: it is another build."""
        #: (moment, percent) of each time that the percentage was a new one.
        self._points: deque[tuple[float, float]] = deque()
        self._latest = float("-inf")
        self._between = float("inf")

    def add(self, moment: float, percent: float | None) -> float | None:
        """Note a percentage, read at a moment on CLOCK_MONOTONIC, and return the highest so far.

        What is done is not undone while the same build goes on: a lower figure is one that was read from
        tables which were just being written. None, which is what could not be read, is no figure.
        """
        if percent is None:
            return self.percent
        between, self._between = self._between, moment - self._latest
        if self._points and self._between > max(GAP_SECONDS, 3 * between):
            before = self._points[-1][1]
            self._points.clear()
            self._points.append((moment, max(percent, before)))
        self._latest = max(self._latest, moment)
        if not self._points or percent > self._points[-1][1]:
            self._points.append((moment, percent))
        while len(self._points) > KEPT and self._points[0][0] < self._latest - WINDOW_SECONDS:
            self._points.popleft()
        return self._points[-1][1]

    @property
    def percent(self) -> float | None:
        """The highest percentage so far, not rounded; None before the first."""
        return self._points[-1][1] if self._points else None

    @property
    def changed_at(self) -> float | None:
        """When the percentage last changed, CLOCK_MONOTONIC."""
        return self._points[-1][0] if self._points else None

    @property
    def rate_percent_per_second(self) -> float | None:
        """Percent per second over the window, up to the latest look; None before three percentages."""
        if len(self._points) < FEWEST:
            return None
        (began, first), (_, last) = self._points[0], self._points[-1]
        seconds = self._latest - began
        return (last - first) / seconds if seconds > 0 else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds from the latest look until 100 %, if it goes on as it did; None when nobody can know."""
        rate, percent = self.rate_percent_per_second, self.percent
        if not rate or percent is None:
            return None
        return (100.0 - percent) / rate
