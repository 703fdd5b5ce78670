"""What a manager keeps for each of its collectors."""

from __future__ import annotations

import inspect
import threading

from .collector import DiagnosticCollector
from .health import HealthTracker
from .lane import Lane
from .model import DiagnosticResult
from .schedule import Schedule

#: Bounds of the timeout of a collector that names none.
MIN_TIMEOUT_SECONDS = 1.0
MAX_TIMEOUT_SECONDS = 30.0


class Demand:
    """A caller that waits for one result of each of some collectors."""

    def __init__(self, names: set[str]) -> None:
        self.results: dict[str, DiagnosticResult] = {}
        self._missing = set(names)
        self._complete = threading.Event()
        if not names:
            self._complete.set()

    def deliver(self, name: str, result: DiagnosticResult | None) -> None:
        """Take a result; None when there is none to come, as when a processor dropped it."""
        if result is not None:
            self.results[name] = result
        self._missing.discard(name)
        if not self._missing:
            self._complete.set()

    @property
    def missing(self) -> list[str]:
        """The names of the collectors whose result is not there yet."""
        return sorted(self._missing)

    def wait(self, timeout: float) -> bool:
        """Wait until every result is there; False when some are not after ``timeout`` seconds."""
        return self._complete.wait(timeout)


class Entry:
    """One collector in one manager: its schedule, health, lane and latest result."""

    def __init__(self, collector: DiagnosticCollector, interval: float) -> None:
        self.collector = collector
        self.name = collector.name
        self.interval = interval
        self.is_async = inspect.iscoroutinefunction(collector.collect)
        self.blocking = collector.blocking or self.is_async
        self.timeout = collector.timeout or min(max(interval, MIN_TIMEOUT_SECONDS), MAX_TIMEOUT_SECONDS)
        self.latest: DiagnosticResult | None = None
        self.lane: Lane | None = None
        self.reset(0.0, 0.0)

    def reset(self, start: float, offset: float) -> None:
        """Begin anew: a fresh account, and ticks from ``start`` on."""
        self.tracker = HealthTracker(self.name)
        self.schedule = Schedule(start, self.interval, offset)
        #: True between a successful ``start()`` of the collector and its ``stop()``.
        self.prepared = False
        #: When the call in flight began; None when there is none. Written by the thread that collects.
        self.running_since: float | None = None
        #: True once the call in flight was declared late, so that it is declared once.
        self.overran = False
        #: A back-off: no tick before this moment.
        self.not_before = 0.0
        #: Collections on demand that wait for this collector's next result. Guarded by the loop's lock.
        self.demands: list[Demand] = []
        #: Set when the collector was removed: no more ticks, and this demand waits for its end.
        self.leaving: Demand | None = None

    @property
    def patience(self) -> float:
        """Seconds after which a call counts as hung; an async one has been cancelled by then."""
        return self.timeout + (1.0 if self.is_async else 0.0)
