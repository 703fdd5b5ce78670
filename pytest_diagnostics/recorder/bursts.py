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
        #: Of each process, when the last long test began that was told of.
        self._told: dict[str, float | None] = {}

    def look(self, now: float) -> None:
        """Notice tests that have begun."""
        if self._wanted:
            for followed in self._follower.running:
                since = followed.running_since
                if since is not None and now < since + LONG_SECONDS < self.at:
                    self.at = since + LONG_SECONDS

    def due(self, now: float) -> tuple[list[dict[str, JsonValue]], bool]:
        """Return what to tell of bursts that begin now, and whether to sample now."""
        long = self._long_tests(now)
        if not long:
            self.at = self._next_long(now)
            return [], False
        self.at = now + DENSE_INTERVAL_SECONDS * random.uniform(1 - DENSE_JITTER, 1 + DENSE_JITTER)
        begun = [one for one in long if self._told.get(one.path) != one.running_since]
        self._told.update((one.path, one.running_since) for one in begun)
        return [{**(one.told() or {}), "interval_seconds": DENSE_INTERVAL_SECONDS} for one in begun], True

    def _long_tests(self, now: float) -> list[Followed]:
        """Return the processes whose test is long, and not for so long that the usual interval will do."""
        return [
            followed
            for followed in self._follower.processes.values()
            if followed.running_since is not None
            and LONG_SECONDS <= now - followed.running_since < LONG_SECONDS + DENSE_SECONDS
        ]

    def _next_long(self, now: float) -> float:
        """Return when the next of the running tests becomes long."""
        starts = [followed.running_since for followed in self._follower.processes.values()]
        return min(
            (s + LONG_SECONDS for s in starts if s is not None and s + LONG_SECONDS > now), default=inf
        )
