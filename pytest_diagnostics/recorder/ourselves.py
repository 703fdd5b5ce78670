"""Why a recorder process was late itself: what it says of others then is about them all."""

from __future__ import annotations

import os

from ..core.model import JsonValue
from .scheduled import Scheduled, counted_between

#: The share of a delay that a cause has to cover.
MOST = 0.5


class Ourselves:
    """What the scheduler has counted for this process, from one look to the next."""

    def __init__(self) -> None:
        self._scheduled = Scheduled(os.getpid())
        self.look()

    def look(self) -> None:
        """Remember the counters."""
        self._before = self._scheduled.read()
        if not self._before or self._scheduled.throttled_until_now:
            self._scheduled.throttled()

    def why_late(self, late: float, now: float) -> tuple[str, float, dict[str, JsonValue]]:
        """Return the kind of a gap that lasted ``late`` seconds until ``now``, its end and the evidence."""
        counted = counted_between(self._before, self._scheduled.read())
        wait = None if counted is None else counted[1]
        throttled_before = self._scheduled.throttled_until_now
        throttled = self._scheduled.throttled() - throttled_before
        kind = "recorder_stopped"
        if wait is not None and wait >= MOST * late:
            kind = "recorder_throttled" if throttled >= MOST * wait else "recorder_starved"
        return (
            kind,
            now,
            {
                "start": now - late,
                "seconds": round(late, 6),
                "wait_seconds": None if wait is None else round(wait, 6),
                "throttled_seconds": round(throttled, 6),
            },
        )
