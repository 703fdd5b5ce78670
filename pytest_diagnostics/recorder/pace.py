"""When a recorder process looks at what it watches: behind a tick, and in between where that is too rare."""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf

from ..core.clock import SystemClock

#: How often the watched processes are looked at.
LOOK_SECONDS = 0.5
#: How often as long as all of them are calm and ticks are no more frequent than this: with a tick, each time.
CALM_LOOK_SECONDS = 1.0
#: How much later than that a look may come that goes with a tick.
WITHIN_SECONDS = 0.01
#: What a tick may take before the look is taken without waiting for its end.
TICK_SECONDS = 0.02
#: A look that is due so soon is taken at the end of a tick.
NEAR_SECONDS = 0.05


class Pace:
    """Has the looks that are due at about a tick of the sampling thread taken when the tick is over.

    Waking a process that slept costs more than a look does; what a tick has touched is in the CPU's caches.
    """

    def __init__(self, interval: float) -> None:
        """``interval`` is that of the ticks; the first look is due now."""
        self._interval = interval
        #: The pause after a look at which everything was calm.
        self.calm_seconds = CALM_LOOK_SECONDS if interval >= CALM_LOOK_SECONDS else LOOK_SECONDS
        self._monotonic = SystemClock().monotonic
        self._ticked_at = -inf
        #: When the next look is due.
        self.at = self._monotonic()
        self._end, self._nudge = os.pipe()
        os.set_blocking(self._nudge, False)

    def fileno(self) -> int:
        """Return the descriptor that a poll finds readable when a look is due before its time."""
        return self._end

    def tick(self) -> None:
        """Note the end of a tick; called in the sampling thread."""
        self._ticked_at = now = self._monotonic()
        if now >= self.at - NEAR_SECONDS:
            with suppress(BlockingIOError):  # it has been told often enough
                os.write(self._nudge, b".")

    def take_nudge(self, now: float) -> None:
        """Take in what ``tick`` said, which the poll found: a look is due now, unless taken since."""
        os.read(self._end, 4096)
        if now >= self.at - NEAR_SECONDS:
            self.at = min(self.at, now)

    def looked(self, now: float, pause: float) -> None:
        """Let the next look be due ``pause`` seconds after ``now``, or behind the tick at about that time."""
        if pause >= LOOK_SECONDS:
            until_tick = self._ticked_at + self._interval - now
            if LOOK_SECONDS / 2 < until_tick <= pause + WITHIN_SECONDS:
                pause = until_tick + TICK_SECONDS
        self.at = now + pause
