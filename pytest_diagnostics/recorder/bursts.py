"""Long tests are sampled more often for a while: when, and for which."""

from __future__ import annotations

import random
from math import inf

from ..core.model import JsonValue
from .follow import Followed, Follower

#: A test that runs longer than this is sampled densely for a while.
LONG_SECONDS = 1.0
DENSE_SECONDS = 10.0
DENSE_INTERVAL_SECONDS = 0.1
#: Samples at exactly the period of a CPU quota would always meet the same part of it.
DENSE_JITTER = 0.2


class Bursts:
    """Knows from the followed processes which test is long."""

    def __init__(self, follower: Follower, *, wanted: bool, interval: float) -> None:
        """``interval`` is the usual one: where it is as short, there is nothing to do."""
        self._follower = follower
        self._wanted = wanted and interval > DENSE_INTERVAL_SECONDS
        #: When a long test is to be sampled next, or when a test becomes one.
        self.at = inf
        self._told: float | None = None

    def look(self, now: float) -> None:
        """Notice tests that have begun."""
        if self._wanted:
            self.at = min(self.at, self._next_long(now))

    def due(self, now: float) -> tuple[dict[str, JsonValue] | None, bool]:
        """Return what to tell of a burst that begins now, if one does, and whether to sample now."""
        long = self._long_test(now)
        if long is None:
            self.at = self._next_long(now)
            return None, False
        self.at = now + DENSE_INTERVAL_SECONDS * random.uniform(1 - DENSE_JITTER, 1 + DENSE_JITTER)
        if long.running_since == self._told:
            return None, True
        self._told = long.running_since
        return {**(long.told() or {}), "interval_seconds": DENSE_INTERVAL_SECONDS}, True

    def _long_test(self, now: float) -> Followed | None:
        """Return the process whose test is long, and not for so long that the usual interval will do."""
        for followed in self._follower.processes.values():
            since = followed.running_since
            if since is not None and LONG_SECONDS <= now - since < LONG_SECONDS + DENSE_SECONDS:
                return followed
        return None

    def _next_long(self, now: float) -> float:
        """Return when the next of the running tests becomes long."""
        starts = [followed.running_since for followed in self._follower.processes.values()]
        return min(
            (s + LONG_SECONDS for s in starts if s is not None and s + LONG_SECONDS > now), default=inf
        )
