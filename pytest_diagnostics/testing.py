"""For authors of collectors, sinks, processors and handlers: doubles, and what every collector must keep.

    def test_my_collector_keeps_the_contract():
        check_collector(lambda: MyCollector(host="localhost"))

The doubles run with a real manager; none of them is a mock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from .contract import CheckedCollector, check_collector
from .core.collector import DiagnosticCollector
from .core.handlers import ExceptionHandler, ExceptionStrategy
from .core.model import DiagnosticResult, Event, EventKind, Execution, Record
from .core.threads import new_condition

__all__ = [
    "CheckedCollector",
    "FakeClock",
    "MemorySink",
    "RecordingHandler",
    "RecordingProcessor",
    "ScriptedCollector",
    "check_collector",
]

#: Real seconds after which a wait of these doubles has failed.
TIMEOUT = 10.0


@dataclass
class _Waiter:
    """A thread that waits for the clock."""

    thread: threading.Thread
    condition: threading.Condition
    until: float | None
    expired: bool = False


class FakeClock:
    """A clock that moves only when it is told to; give it to a manager as ``clock``.

    ``advance`` stops at every moment for which a thread waits, wakes that thread, and goes on when it
    waits again: what it did in between is done. Only threads that wait on this clock are known to it, so
    collectors that are to be exact in it say ``blocking = False``.
    """

    def __init__(self, monotonic: float = 1000.0, wall: datetime | None = None) -> None:
        """Begin at these times (wall: 2026-01-01 00:00 UTC)."""
        self._monotonic = monotonic
        self._anchor = monotonic
        self._wall = wall or datetime(2026, 1, 1, tzinfo=timezone.utc)
        self._drift = 0.0
        self._suspended = 0.0
        #: Guards the waiters.
        self._changed = new_condition()
        self._waiters: list[_Waiter] = []

    def monotonic(self) -> float:
        """Return the seconds that ``advance`` has made of it."""
        return self._monotonic

    def wall(self, monotonic: float) -> datetime:
        """Return the UTC time of a monotonic moment."""
        return self._wall + timedelta(seconds=monotonic - self._anchor)

    def drift(self) -> float | None:
        """Return the sum of all ``step_wall``."""
        return self._drift

    def suspended(self) -> float | None:
        """Return the sum of all ``suspend``."""
        return self._suspended

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        """Wait on a held condition; True when notified, False when ``advance`` passed the timeout."""
        if timeout is not None and timeout <= 0:
            return False
        until = None if timeout is None else self._monotonic + timeout
        waiter = _Waiter(threading.current_thread(), condition, until)
        with self._changed:
            self._waiters.append(waiter)
            self._changed.notify_all()
        try:
            condition.wait()
        finally:
            with self._changed:
                self._waiters.remove(waiter)
                self._changed.notify_all()
        return not waiter.expired

    def advance(self, seconds: float) -> None:
        """Let time pass, and every thread that waits for a moment of it do its work."""
        target = self._monotonic + seconds
        while (waiter := self._next(target)) is not None:
            if waiter.until is not None:
                self._monotonic = max(self._monotonic, waiter.until)
            waiter.expired = True
            with waiter.condition:
                waiter.condition.notify_all()
            self._await_return(waiter)
        self._monotonic = max(self._monotonic, target)

    def leap(self, seconds: float) -> None:
        """Let time pass that nobody saw, as in a process that got no CPU; may be called by a collector."""
        self._monotonic += seconds

    def settle(self, waiters: int = 1) -> None:
        """Wait until that many threads wait for this clock, as after a manager's start."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._waiters) >= waiters, TIMEOUT):
                raise AssertionError(f"{len(self._waiters)} threads wait for the clock, not {waiters}")

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP does."""
        self._drift += seconds

    def suspend(self, seconds: float) -> None:
        """Suspend the machine: CLOCK_MONOTONIC stands still meanwhile."""
        self._suspended += seconds

    def _next(self, target: float) -> _Waiter | None:
        with self._changed:
            due = [w for w in self._waiters if w.until is not None and w.until <= target and not w.expired]
        return min(due, key=lambda w: w.until or 0.0, default=None)

    def _await_return(self, waiter: _Waiter) -> None:
        def back() -> bool:
            waits = any(w is not waiter and w.thread is waiter.thread for w in self._waiters)
            return waits or not waiter.thread.is_alive()

        with self._changed:
            for _ in range(int(TIMEOUT / 0.05)):
                # In steps: a thread's end notifies nobody.
                if self._changed.wait_for(back, 0.05):
                    return
        raise AssertionError(f"the thread {waiter.thread.name!r} did not come back to the clock")


class ScriptedCollector(DiagnosticCollector):
    """Gives one answer after the other: values are returned, exceptions raised, callables called.

    The last one is repeated. ``calls`` lists what the manager did with it, in order.
    """

    def __init__(
        self,
        script: Iterable[object] = ({"value": 1},),
        *,
        name: str = "scripted",
        interval: float | None = None,
        timeout: float | None = None,
        blocking: bool = False,
        aligned: bool = False,
        unavailable: str | None = None,
        exception_handler: ExceptionHandler | None = None,
    ) -> None:
        """``unavailable`` is what ``probe`` returns; it may be changed at any time, as may ``script``."""
        super().__init__(name, exception_handler)
        self.script = list(script)
        self.interval = interval  # type: ignore[misc] # declared for the class, given for the instance
        self.timeout = timeout  # type: ignore[misc] # as above
        self.blocking = blocking  # type: ignore[misc] # as above
        self.aligned = aligned  # type: ignore[misc] # as above
        self.unavailable = unavailable
        self.calls: list[str] = []
        self.stored: list[object] = []
        self.collected = 0

    def probe(self) -> str | None:
        self.calls.append("probe")
        return self.unavailable

    def start(self) -> None:
        self.calls.append("start")

    def collect(self) -> object:
        self.calls.append("collect")
        answer = self.script[min(self.collected, len(self.script) - 1)]
        self.collected += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    def store(self, result: object) -> None:
        self.calls.append("store")
        self.stored.append(result)

    def stop(self) -> None:
        self.calls.append("stop")

    def clean(self) -> None:
        self.calls.append("clean")


class MemorySink:
    """Keeps every record, and lets a test wait for one."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.closed = 0
        self._changed = new_condition()

    def write(self, record: Record) -> None:
        """Keep a record."""
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def __call__(self, record: Record) -> None:
        """Keep a record, as a subscriber."""
        self.write(record)

    def close(self) -> None:
        """Count the closings."""
        with self._changed:
            self.closed += 1
            self._changed.notify_all()

    @property
    def results(self) -> list[DiagnosticResult]:
        """The results among the records."""
        return [record for record in list(self.records) if isinstance(record, DiagnosticResult)]

    @property
    def executions(self) -> list[Execution]:
        """The executions among the records."""
        return [record for record in list(self.records) if isinstance(record, Execution)]

    def events(self, kind: EventKind | None = None) -> list[Event]:
        """Return the events among the records, of one kind or of all."""
        events = [record for record in list(self.records) if isinstance(record, Event)]
        return [event for event in events if kind is None or event.kind is kind]

    def wait_for(self, wanted: Callable[[MemorySink], object], timeout: float = TIMEOUT) -> None:
        """Wait until ``wanted(sink)`` is true; asked anew after each record. Raises AssertionError."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(wanted(self)), timeout):
                raise AssertionError(f"not within {timeout:g} s; the last records are {self.records[-5:]}")


class RecordingProcessor:
    """Keeps what it is given and passes it on, or what ``change`` makes of it."""

    def __init__(self, change: Callable[[DiagnosticResult], DiagnosticResult | None] | None = None) -> None:
        """``change`` may return another result, None to drop it, or raise."""
        self.seen: list[DiagnosticResult] = []
        self._change = change

    def __call__(self, result: DiagnosticResult) -> DiagnosticResult | None:
        """Process one result."""
        self.seen.append(result)
        return result if self._change is None else self._change(result)


class RecordingHandler(ExceptionHandler):
    """Keeps what it is asked: ``asked`` lists (stage, collector's name, exception)."""

    def __init__(self, strategy: ExceptionStrategy = ExceptionStrategy.CONTINUE) -> None:
        """Answer everything with ``strategy``."""
        super().__init__(strategy)
        self.asked: list[tuple[str, str, Exception]] = []

    def handle_exception_during_collecting(
        self, collector: DiagnosticCollector, exc: Exception
    ) -> ExceptionStrategy:
        """Keep the question and answer it."""
        self.asked.append(("collect", collector.name, exc))
        return self.strategy

    def handle_exception_during_storing(
        self, collector: DiagnosticCollector, exc: Exception
    ) -> ExceptionStrategy:
        """Keep the question and answer it."""
        self.asked.append(("store", collector.name, exc))
        return self.strategy
