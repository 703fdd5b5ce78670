"""Time that tests cannot change.

freezegun replaces module attributes, time-machine patches the C functions behind the wall clock; both
leave alone a builtin that a class attribute holds, and the monotonic clock.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import ClassVar

# datetime itself is replaced by freezegun in modules that imported it by name, hence class attributes.


class SystemClock:
    """The machine's clocks: one wall-clock anchor taken at construction, monotonic time from then on."""

    _condition_wait = staticmethod(threading.Condition.wait)
    _epoch: ClassVar[datetime] = datetime(1970, 1, 1, tzinfo=timezone.utc)
    _timedelta = timedelta
    if hasattr(time, "clock_gettime"):
        _gettime = staticmethod(time.clock_gettime)
        _MONOTONIC: ClassVar[int] = time.CLOCK_MONOTONIC
        # time-machine freezes CLOCK_REALTIME in C; Linux's coarse twin of it (id 5) is left alone and
        # exact to one jiffy, which is enough to notice a step.
        _WALL: ClassVar[int] = 5 if sys.platform == "linux" else time.CLOCK_REALTIME
        _BOOT: ClassVar[int | None] = getattr(time, "CLOCK_BOOTTIME", None)

        def monotonic(self) -> float:
            """Return CLOCK_MONOTONIC, seconds."""
            return self._gettime(self._MONOTONIC)

        def _wall_now(self) -> float:
            return self._gettime(self._WALL)
    else:  # Windows
        _BOOT = None
        _monotonic = staticmethod(time.monotonic)
        _time = staticmethod(time.time)

        def monotonic(self) -> float:
            """Return ``time.monotonic()`` as it was when this module was imported, seconds."""
            return self._monotonic()

        def _wall_now(self) -> float:
            return self._time()

    def __init__(self) -> None:
        self.anchor_wall = self._wall_now()
        self.anchor_monotonic = self.monotonic()
        self._anchor_boot = self._boot_lead()

    def wall(self, monotonic: float) -> datetime:
        """Return the aware UTC time of a monotonic moment."""
        seconds = self.anchor_wall + (monotonic - self.anchor_monotonic)
        return self._epoch + self._timedelta(seconds=seconds)

    def drift(self) -> float | None:
        """Return how far the wall clock moved against the anchor, less what a suspend explains, seconds."""
        moved = (self._wall_now() - self.anchor_wall) - (self.monotonic() - self.anchor_monotonic)
        return moved - (self.suspended() or 0.0)

    def suspended(self) -> float | None:
        """Return CLOCK_BOOTTIME's lead over CLOCK_MONOTONIC since the anchor, seconds; None without it."""
        if self._anchor_boot is None:
            return None
        lead = self._boot_lead()
        return None if lead is None else lead - self._anchor_boot

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        """Wait on a held condition: a lock with a C-level timeout, which no ``time.sleep`` mock shortens."""
        return self._condition_wait(condition, timeout)

    def _boot_lead(self) -> float | None:
        if self._BOOT is None:
            return None
        return self._gettime(self._BOOT) - self.monotonic()


class Pid:
    """The process' id, read by a function that a test's mock cannot reach."""

    current = staticmethod(os.getpid)
