"""Notices when the wall clock was set or the machine was suspended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .model import EventKind, JsonValue
from .protocols import Clock

#: A wall-clock step or a suspend shorter than this is not news.
NOTABLE_STEP_SECONDS: Final = 1.0


class ClockWatch:
    """Compares the clocks with what they said before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._drift = clock.drift() or 0.0
        self._suspended = clock.suspended() or 0.0

    def news(self) -> Iterator[tuple[EventKind, dict[str, JsonValue]]]:
        """Yield what happened since the last call."""
        drift = self._clock.drift()
        if drift is not None and abs(drift - self._drift) >= NOTABLE_STEP_SECONDS:
            yield EventKind.CLOCK_STEP, {"step_seconds": drift - self._drift}
            self._drift = drift
        suspended = self._clock.suspended()
        if suspended is not None and suspended - self._suspended >= NOTABLE_STEP_SECONDS:
            yield EventKind.SUSPEND, {"suspended_seconds": suspended - self._suspended}
            self._suspended = suspended
