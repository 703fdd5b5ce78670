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
    """The ticks of one collector: the first at once, then those at ``origin + offset + k * interval``."""

    __slots__ = ("_first", "_origin", "_tick", "interval")

    def __init__(
        self, origin: float, interval: float, offset: float = 0.0, *, first: float | None = None
    ) -> None:
        """``offset`` shifts every tick but the first; ``first`` is when that is (default: the origin)."""
        self._origin = origin + offset
        self.interval = interval
        self._first: float | None = origin if first is None else first
        #: The number of the next tick, once the first one is over.
        self._tick = math.floor((self._first - self._origin) / interval) + 1

    @property
    def due(self) -> float:
        """The next deadline."""
        return self._at(self._tick) if self._first is None else self._first

    def advance(self, now: float) -> int:
        """Move to the first deadline after ``now``; return how many whole ticks were skipped by it."""
        first, self._first = self._first, None
        following = self._tick + 1 if first is None else self._tick
        self._tick = max(following, math.floor((now - self._origin) / self.interval) + 1)
        # A tick that is due at this very instant by the arithmetic of floats is not in the future.
        while self._at(self._tick) <= now:
            self._tick += 1
        skipped = self._tick - following
        # The first tick may lie right before one of the others, which it then stands for if it is late.
        return skipped if first is None else min(skipped, int((now - first) / self.interval))

    def postpone(self, until: float) -> None:
        """Skip to the first deadline at or after ``until``, as a back-off does."""
        if self.due >= until:
            return
        if self._first is not None:
            self._first = None
        self._tick = max(self._tick, math.floor((until - self._origin) / self.interval))
        while self._at(self._tick) < until:
            self._tick += 1

    def _at(self, tick: int) -> float:
        return self._origin + tick * self.interval


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
