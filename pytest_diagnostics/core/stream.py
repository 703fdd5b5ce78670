"""The one stream of a manager's records: to the history, to sinks, to subscribers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from .model import DiagnosticResult, Event, EventKind, Execution, Record
from .protocols import Sink, Subscriber

#: A sink that fails this often in a row is asked no more; it reaches nobody else meanwhile.
MAX_SINK_FAILURES: Final = 10
#: How long a record waits for a sink that another thread is stuck in, before it is dropped and counted.
EMIT_TIMEOUT_SECONDS: Final = 5.0


class _Target:
    """A sink or subscriber and its account."""

    def __init__(self, name: str, write: Callable[[Record], object]) -> None:
        self.name = name
        self.write = write
        self.failures = 0
        self.failures_in_row = 0
        self.last_failure: str | None = None


class RecordStream:
    """Hands every record to every target, in order, from one thread at a time."""

    def __init__(self, sinks: Iterable[Sink], max_history: int | None) -> None:
        self._lock = threading.Lock()
        self._sinks = tuple(sinks)
        self._sink_targets = [_Target(type(sink).__name__, sink.write) for sink in self._sinks]
        self._subscribers: list[_Target] = []
        self._history: deque[DiagnosticResult] = deque(maxlen=max_history)
        #: Records that no target got, because one of them held the stream for too long.
        self.dropped = 0

    def publish(self, record: Record) -> None:
        """Hand out one record. A target that raises is counted; the others get the record all the same."""
        if not self._lock.acquire(timeout=EMIT_TIMEOUT_SECONDS):
            self.dropped += 1
            return
        try:
            if isinstance(record, DiagnosticResult):
                self._history.append(record)
            for failed in [t for t in self._targets() if not self._hand(t, record)]:
                self._tell_failure(failed, record)
        finally:
            self._lock.release()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell ``subscriber`` every record from now on; return the function that ends it."""
        target = _Target(getattr(subscriber, "__name__", type(subscriber).__name__), subscriber)
        # A new list each time: a record that is being handed out goes on over the old one.
        self._subscribers = [*self._subscribers, target]

        def unsubscribe() -> None:
            self._subscribers = [t for t in self._subscribers if t is not target]

        return unsubscribe

    def history(self) -> list[DiagnosticResult]:
        """Return the kept results, oldest first, as a new list."""
        with self._lock:
            return list(self._history)

    def clear(self) -> None:
        """Forget the kept results."""
        with self._lock:
            self._history.clear()

    def close(self) -> None:
        """Let every sink write what it holds back."""
        for target, sink in zip(self._sink_targets, self._sinks, strict=True):
            try:
                sink.close()
            except Exception as exc:  # noqa: BLE001 - a sink's failure reaches nobody else
                self._count(target, exc)

    def failures(self) -> dict[str, str]:
        """Return what sinks and subscribers failed with: name -> "3 times, last: OSError: …"."""
        return {
            target.name: f"{target.failures} times, last: {target.last_failure}"
            for target in self._targets()
            if target.failures
        }

    def after_fork_in_child(self) -> None:
        """Make the lock anew and let go of the sinks: what they hold belongs to the parent."""
        self._lock = threading.Lock()
        self._sinks = ()
        self._sink_targets = []
        self._subscribers = []

    def _targets(self) -> list[_Target]:
        return [*self._sink_targets, *self._subscribers]

    def _hand(self, target: _Target, record: Record) -> bool:
        if target.failures_in_row >= MAX_SINK_FAILURES:
            return True
        try:
            target.write(record)
        except Exception as exc:  # noqa: BLE001 - a target's failure reaches nobody else
            self._count(target, exc)
            return False
        target.failures_in_row = 0
        return True

    def _count(self, target: _Target, exc: Exception) -> None:
        target.failures += 1
        target.failures_in_row += 1
        target.last_failure = f"{type(exc).__name__}: {exc}"

    def _tell_failure(self, failed: _Target, record: Record) -> None:
        """Tell the other targets once a series of failures; a failure while telling is only counted."""
        if failed.failures_in_row != 1 or isinstance(record, Execution):
            return
        event = Event(
            EventKind.SINK_FAILED,
            record.timestamp,
            record.monotonic,
            details={"sink": failed.name, "message": failed.last_failure},
        )
        for target in self._targets():
            if target is not failed:
                self._hand(target, event)
