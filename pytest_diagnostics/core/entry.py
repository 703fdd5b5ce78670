"""What a manager keeps for each of its collectors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from .collector import DiagnosticCollector
from .errors import ConfigurationError
from .health import HealthTracker
from .lane import Lane
from .model import DiagnosticResult, HealthState, Stage
from .schedule import Schedule
from .threads import Flag, new_lock

#: Bounds of the timeout of a collector that names none.
MIN_TIMEOUT_SECONDS = 1.0
MAX_TIMEOUT_SECONDS = 30.0
#: What an async call, which is cancelled at its timeout, is given to end.
CANCEL_SECONDS = 1.0


class Demand:
    """A caller that waits for one result of each of some collectors."""

    def __init__(self, names: set[str]) -> None:
        self.results: dict[str, DiagnosticResult] = {}
        self._missing = set(names)
        self._complete = Flag()
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
    def complete(self) -> bool:
        """Whether every result is there."""
        return not self._missing

    @property
    def missing(self) -> list[str]:
        """The names of the collectors whose result is not there yet."""
        return sorted(self._missing)

    def is_held(self) -> bool:
        """Whether the calling thread is inside this demand, as a signal handler may be."""
        return self._complete.is_held()

    def wait(self, timeout: float) -> bool:
        """Wait until every result is there; False when some are not after ``timeout`` seconds."""
        return self._complete.wait(timeout)


class Entry:
    """One collector in one manager: its schedule, health, lane and latest result."""

    def __init__(self, collector: DiagnosticCollector, interval: float) -> None:
        self.collector = collector
        self.name = collector.name
        self.interval = interval
        calls = (collector.collect, collector.start, collector.stop)
        self.is_async = any(inspect.iscoroutinefunction(call) for call in calls)
        self.blocking = collector.blocking or self.is_async
        # Not inherited: a derived class may add what its base never returned.
        self.plain = bool(vars(type(collector)).get("plain"))
        #: Whether the collector keeps what it collects, other than the manager does.
        self.stores = getattr(collector.store, "__func__", None) is not DiagnosticCollector.store
        self.timeout = _checked_timeout(collector.timeout, interval, self.name)
        #: Which share of the interval this collector ticks at, among those of equal interval.
        self.ordinal: int | None = None
        self.latest: DiagnosticResult | None = None
        #: The result of the call that ended or was declared late last; None when a processor dropped it.
        self.answer: DiagnosticResult | None = None
        self.lane: Lane | None = None
        #: Called when a call ended: wakes the loop of the latest run, whichever run's thread was busy.
        self.wake_owner: Callable[[], None] = _nobody
        #: True while the manager's own thread is inside this collector.
        self.occupied = False
        #: True between ``start()`` of the collector and its ``stop()``, whichever run called them.
        self.prepared = False
        #: True for a removed collector that hangs: what it still returns is nobody's.
        self.muted = False
        #: Guards the call in flight, which its thread ends and the manager's thread declares late.
        self._call = new_lock()
        #: When the call in flight began; None when there is none. Changed by ``begin`` and ``end`` alone.
        self.running_since: float | None = None
        self._overran = False
        self.stage = Stage.COLLECT
        self.reset(Schedule(0.0, interval))

    def reset(self, schedule: Schedule) -> None:
        """Begin a run: a fresh account and fresh ticks. A call that still hangs goes on and counts anew."""
        self.tracker = HealthTracker(self.name)
        self.schedule = schedule
        #: A back-off: no tick before this moment.
        self.not_before = 0.0
        self.forget_demands()

    def forget_demands(self) -> None:
        """Begin a run or a single collection: nobody waits, nothing was declared late."""
        #: Collections on demand that wait for this collector's next result. Guarded by the loop's lock.
        self.demands: list[Demand] = []
        #: Set when the collector was removed: no more ticks, and this demand waits for its end.
        self.leaving: Demand | None = None
        #: True once the run has closed it.
        self.retired = False
        self._overran = False

    def after_fork_in_child(self) -> None:
        """Forget the threads, and what they were at: only the parent has them."""
        if self.lane is not None:
            self.lane.after_fork_in_child()
        self.lane = None
        self.wake_owner = _nobody
        self.occupied = self.prepared = False
        self._call = new_lock()
        self.running_since = None
        self.forget_demands()

    def answers_to(self, names: set[str] | None) -> bool:
        """Whether a demand for these collectors (None: all) is one for this collector."""
        if self.leaving is not None or self.tracker.state is HealthState.DISABLED:
            return False
        return names is None or self.name in names

    @property
    def patience(self) -> float:
        """Seconds after which a call counts as hung; an async one has been cancelled by then."""
        return self.timeout + (CANCEL_SECONDS if self.is_async else 0.0)

    @property
    def busy(self) -> bool:
        """Whether a call is in flight, so that no other may be made."""
        return self.occupied or (self.lane is not None and self.lane.busy)

    @property
    def hangs(self) -> bool:
        """Whether the call in flight was declared late."""
        return self._overran and self.running_since is not None

    @property
    def late_at(self) -> float | None:
        """When the call in flight is to be declared late; None when there is none, or when it was."""
        began = self.running_since
        return None if began is None or self._overran else began + self.patience

    def freed(self) -> None:
        """Tell the latest run that a call ended."""
        self.wake_owner()

    def begin(self, stage: Stage, now: float) -> None:
        """Note that a call of the collector begins."""
        with self._call:
            self.stage = stage
            self.running_since = now
            self._overran = False

    def end(self) -> bool:
        """Note that the call ended; True when it had been declared late."""
        with self._call:
            self.running_since = None
            return self._overran

    def declare_late(self, *, again: bool = False) -> bool:
        """Note that the call in flight is late; False when it just ended, or was declared late before."""
        with self._call:
            if self.running_since is None or (self._overran and not again):
                return False
            self._overran = True
            return True


def _nobody() -> None:
    """Stand for the loop before there is one."""


def _checked_timeout(timeout: object, interval: float, name: str) -> float:
    if timeout is None:
        return min(max(interval, MIN_TIMEOUT_SECONDS), MAX_TIMEOUT_SECONDS)
    if not isinstance(timeout, (int, float)) or not math.isfinite(timeout) or timeout <= 0:
        raise ConfigurationError(
            f"the timeout of the collector {name!r} is {timeout!r}; give seconds above 0"
        )
    return float(timeout)
