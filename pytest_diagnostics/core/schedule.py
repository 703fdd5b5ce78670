"""When a collector's next tick is due: absolute deadlines, no drift, no bursts. Pure."""

from __future__ import annotations

import math
from typing import Final

from .errors import ConfigurationError

#: Below this a tick costs more than it tells, whatever the collector.
MIN_INTERVAL_SECONDS: Final = 0.001


def checked_interval(interval: object, whose: str) -> float:
    """Return an interval in seconds; raises ConfigurationError for what is none."""
    if not isinstance(interval, (int, float)) or isinstance(interval, bool) or not math.isfinite(interval):
        raise ConfigurationError(f"the interval of {whose} is {interval!r}; give a number of seconds")
    if interval < MIN_INTERVAL_SECONDS:
        raise ConfigurationError(
            f"the interval of {whose} is {interval!r} s; give at least {MIN_INTERVAL_SECONDS} s"
        )
    return float(interval)


class Schedule:
    """The ticks of one collector: one at ``start``, then at ``start + offset + k * interval``."""

    __slots__ = ("_offset", "_start", "_tick", "interval")

    def __init__(self, start: float, interval: float, offset: float = 0.0) -> None:
        """``offset`` (less than the interval) shifts every tick but the first, to spread the work."""
        self._start = start
        self.interval = interval
        self._offset = offset
        #: -1 stands for the first tick, which an offset does not shift.
        self._tick = -1 if offset else 0

    @property
    def due(self) -> float:
        """The next deadline."""
        if self._tick < 0:
            return self._start
        return self._start + self._offset + self._tick * self.interval

    def advance(self, now: float) -> int:
        """Move to the first deadline after ``now``; return how many whole ticks were skipped by it."""
        following = self._tick + 1
        reached = math.floor((now - self._start - self._offset) / self.interval)
        self._tick = max(following, reached + 1)
        # A tick that is due at this very instant by the arithmetic of floats is not in the future.
        while self.due <= now:
            self._tick += 1
        return max(0, self._tick - following)

    def postpone(self, until: float) -> None:
        """Skip to the first deadline at or after ``until``, as a back-off does."""
        while self.due < until:
            self._tick = max(self._tick + 1, math.floor((until - self._start - self._offset) / self.interval))


def spread(ordinal: int) -> float:
    """Return where in an interval (0 <= x < 1) the n-th collector of that interval ticks.

    Van der Corput's sequence (0, 1/2, 1/4, 3/4, 1/8 …): evenly spread for any number of collectors, and
    adding one moves no other.
    """
    place, denominator = 0.0, 1.0
    while ordinal:
        denominator *= 2
        place += (ordinal & 1) / denominator
        ordinal >>= 1
    return place
