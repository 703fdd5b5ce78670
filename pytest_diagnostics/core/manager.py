"""The manager: asks every collector at its interval, in threads of its own."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

from .clock import Pid, SystemClock
from .collector import DiagnosticCollector
from .entry import Demand, Entry
from .errors import ConfigurationError, ManagerError
from .execution import Executor
from .handlers import ExceptionHandler
from .loop import Loop
from .model import DiagnosticResult, Event, EventKind, Health, JsonValue, ManagerStatus, Record
from .protocols import Clock, Processor, Sink, Subscriber
from .schedule import checked_interval, spread
from .stream import RecordStream

DEFAULT_INTERVAL_SECONDS: Final = 1.0


class DiagnosticManager:
    """Runs collectors in threads, each at its interval, from ``start_collecting`` to ``stop_collecting``.

    No collector's failure reaches another one, the program, or the end of the run. All methods may be
    called from any thread. In a forked child the manager does nothing until it is started there.
    """

    def __init__(
        self,
        collectors: Iterable[DiagnosticCollector] = (),
        interval: float = DEFAULT_INTERVAL_SECONDS,
        exception_handler: ExceptionHandler | None = None,
        *,
        sinks: Iterable[Sink] = (),
        processors: Iterable[Processor] = (),
        name: str = "DiagnosticManager",
        max_history: int | None = 10_000,
        stop_timeout: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        """Prepare a manager; nothing runs yet.

        ``interval`` is in seconds and serves collectors that name none. ``max_history`` bounds what
        ``get_results`` keeps (None: everything). ``stop_timeout`` bounds the final collection and the
        closing of collectors together. Raises ConfigurationError for what cannot work.
        """
        self.name = name
        self.interval = checked_interval(interval, f"the manager {name!r}")
        self.exception_handler = exception_handler or ExceptionHandler()
        self.stop_timeout = stop_timeout
        self._clock: Clock = clock or SystemClock()
        self._processors = tuple(processors)
        self._stream = RecordStream(sinks, max_history)
        self._entries: dict[str, Entry] = {}
        #: Guards _entries, _loop and _status.
        self._lock = threading.RLock()
        self._loop: Loop | None = None
        self._status = ManagerStatus.IDLE
        self._error: BaseException | None = None
        self._pid = Pid.current()
        for collector in collectors:
            self._enter(collector)
        _managers.add(self)

    # -- the life of a manager

    def start_collecting(self) -> None:
        """Start; every collector is asked at once, then at its interval. Does nothing when running.

        Raises ManagerError when the system refuses a thread.
        """
        with self._lock:
            if self._running_loop() is not None:
                return
            self._pid = Pid.current()
            self._start_loop(once=False)
            self._status = ManagerStatus.RUNNING

    def stop_collecting(self, timeout: float | None = None) -> None:
        """Make the final collection, close the collectors and end the threads; does nothing when stopped.

        Returns within ``timeout`` (default: the manager's ``stop_timeout``) even when a collector hangs;
        its thread is then left behind and its result says so. Raises ManagerError when the manager's
        own thread had crashed.
        """
        loop = self._loop
        if loop is None or self._pid != Pid.current():
            return
        patience = self.stop_timeout if timeout is None else timeout
        loop.request_stop("stop_collecting", self._clock.monotonic() + patience)
        if loop.is_own_thread():
            return
        # Half a second more than the loop gives itself: only a collector that hangs in the manager's own
        # thread, against its promise not to block, takes longer.
        if not loop.ended.wait(patience + 0.5):
            self._abandon(loop)
        with self._lock:
            if self._loop is loop:
                self._loop = None
        self._stream.close()
        if loop.error is not None:
            raise ManagerError(f"{self.name} crashed: {loop.error!r}") from loop.error

    def pause(self) -> None:
        """Hold the ticks; collections on demand and the final one are made all the same."""
        self._pause(True, ManagerStatus.RUNNING, ManagerStatus.PAUSED, EventKind.PAUSED)

    def resume(self) -> None:
        """Take the ticks up again; those of the pause do not count as missed."""
        self._pause(False, ManagerStatus.PAUSED, ManagerStatus.RUNNING, EventKind.RESUMED)

    def __enter__(self) -> DiagnosticManager:
        self.start_collecting()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop_collecting()
        except ManagerError:
            # What the program raised is more important than our own crash, which ``error`` still tells.
            if exc is None:
                raise

    @property
    def status(self) -> ManagerStatus:
        """IDLE before the first start, then RUNNING, PAUSED, STOPPED, or ERROR with ``error`` set."""
        if self._pid != Pid.current():
            return ManagerStatus.STOPPED
        return self._status

    @property
    def error(self) -> BaseException | None:
        """What crashed the manager's thread; None in all but the ERROR status."""
        return self._error

    @property
    def is_running(self) -> bool:
        """Whether the manager is between start and stop, paused or not."""
        return self.status in (ManagerStatus.RUNNING, ManagerStatus.PAUSED)

    @property
    def is_collecting(self) -> bool:
        """Whether a collector is being asked at this moment."""
        return any(entry.running_since is not None for entry in list(self._entries.values()))

    def is_healthy(self) -> bool:
        """Whether the manager's own thread has not crashed."""
        return self._error is None

    # -- collectors

    def add_collector(self, collector: DiagnosticCollector) -> None:
        """Add a collector; when running, it is asked at once. Raises ConfigurationError for a taken name."""
        with self._lock:
            entry = self._enter(collector)
            loop = self._running_loop()
            if loop is not None:
                self._place(entry, self._clock.monotonic())
                loop.add(entry)

    def remove_collector(self, name: str, timeout: float | None = None) -> bool:
        """Remove a collector, after its final collection when running; False when it hangs.

        Raises ConfigurationError when there is no collector of that name.
        """
        with self._lock:
            entry = self._entry(name)
            del self._entries[name]
            loop = self._running_loop()
        if loop is None:
            return True
        demand = loop.remove(entry)
        if loop.is_own_thread():
            return True
        return demand.wait(self.stop_timeout if timeout is None else timeout)

    @property
    def collectors(self) -> list[str]:
        """The names of the collectors, in the order in which they were added."""
        return list(self._entries)

    def health(self, name: str) -> Health:
        """Return a collector's health; raises ConfigurationError when there is none of that name."""
        return self._entry(name).tracker.account()

    # -- results

    def collect_all(self, timeout: float | None = None) -> dict[str, JsonValue]:
        """Ask every collector now; return ``{"timestamp": ISO 8601 UTC, name: data, …}``.

        Instead of data, ``{"error": {"type": …, "message": …}}`` says why a collector has none. A manager
        that does not run collects once and closes its collectors again.
        """
        return self._report(self.collect_now(timeout=timeout))

    def collect_now(
        self, names: Iterable[str] | None = None, timeout: float | None = None
    ) -> dict[str, DiagnosticResult]:
        """Ask the named collectors (default: all) now and return their results by name.

        A collector that gives no result within ``timeout`` (default: ``stop_timeout``) is missing.
        """
        with self._lock:
            demand = self.request(names) or self._start_loop(once=True).first_demand
        demand.wait(self.stop_timeout if timeout is None else timeout)
        return dict(demand.results)

    def request(self, names: Iterable[str] | None = None) -> Demand | None:
        """Ask as ``collect_now`` does, without waiting for the results; None when the manager does not run."""
        with self._lock:
            loop = self._running_loop()
            if loop is None:
                return None
            if loop.is_own_thread():
                raise ManagerError("a collector cannot ask its own manager to collect")
            return loop.demand(None if names is None else set(names))

    async def collect_all_async(self, timeout: float | None = None) -> dict[str, JsonValue]:
        """Do as ``collect_all`` does, without blocking the running event loop."""
        import asyncio  # only who calls this pays for it

        return await asyncio.to_thread(self.collect_all, timeout)

    def snapshot(self) -> dict[str, JsonValue]:
        """Return the latest result of every collector in the form of ``collect_all``; asks nobody."""
        latest = {name: entry.latest for name, entry in list(self._entries.items())}
        return self._report({name: result for name, result in latest.items() if result is not None})

    def latest(self, name: str) -> DiagnosticResult | None:
        """Return a collector's latest result; None before its first one."""
        return self._entry(name).latest

    def get_results(self) -> list[DiagnosticResult]:
        """Return the kept results, oldest first, as a new list."""
        return self._stream.history()

    def clear_results(self) -> None:
        """Forget the kept results; the latest of each collector stays."""
        self._stream.clear()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell ``subscriber`` every record from now on, in our threads; return what ends it."""
        return self._stream.subscribe(subscriber)

    def sink_failures(self) -> dict[str, str]:
        """Return what sinks and subscribers failed with, by name; empty when nothing failed."""
        failures = self._stream.failures()
        if self._stream.dropped:
            failures["stream"] = (
                f"{self._stream.dropped} records dropped: a sink held the stream for too long"
            )
        return failures

    # -- inside

    def _enter(self, collector: object) -> Entry:
        if not isinstance(collector, DiagnosticCollector):
            hint = (
                f"did you mean {collector.__name__}()?"
                if isinstance(collector, type)
                else ("derive its class from DiagnosticCollector")
            )
            raise ConfigurationError(f"{collector!r} is not a collector; {hint}")
        name = collector.name
        if name in self._entries or name in ("timestamp", "error"):
            why = "is taken" if name in self._entries else "is reserved"
            raise ConfigurationError(f"the collector name {name!r} {why}; give this one a name of its own")
        interval = checked_interval(
            self.interval if collector.interval is None else collector.interval, f"the collector {name!r}"
        )
        entry = Entry(collector, interval)
        self._entries[name] = entry
        return entry

    def _entry(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self._entries) or "none"
            raise ConfigurationError(f"no collector is named {name!r}; there are: {known}") from None

    def _place(self, entry: Entry, start: float) -> None:
        """Give a collector its first tick now, and a share of the interval that others leave free."""
        offset = 0.0
        if not entry.collector.aligned:
            peers = [e for e in self._entries.values() if e.interval == entry.interval]
            peers = [e for e in peers if not e.collector.aligned]
            offset = spread(peers.index(entry)) * entry.interval
        entry.reset(start, offset)

    def _start_loop(self, *, once: bool) -> Loop:
        publish: Callable[[Record], None] = self._stream.publish
        current: list[Loop] = []

        def publish_if_current(record: Record) -> None:
            # A loop that was left behind, or a forked child, has nothing more to say.
            if current and not current[0].abandoned and self._pid == Pid.current():
                publish(record)

        def request_stop(reason: str) -> None:
            current[0].request_stop(reason)

        executor = Executor(
            self._clock, self._processors, lambda: self.exception_handler, publish_if_current, request_stop
        )
        now = self._clock.monotonic()
        for entry in self._entries.values():
            self._place(entry, now)
        loop = Loop(self._entries.values(), executor, self._clock, publish_if_current)
        current.append(loop)
        loop.stop_timeout = self.stop_timeout
        loop.once = once
        loop.on_end = self._loop_ended
        self._error = None
        try:
            loop.start(self.name)
        except RuntimeError as exc:
            raise ManagerError(f"{self.name} cannot start: the system refused a thread ({exc})") from exc
        if not once:
            self._loop = loop
        return loop

    def _running_loop(self) -> Loop | None:
        loop = self._loop
        if loop is None or loop.stopping or loop.ended.is_set() or self._pid != Pid.current():
            return None
        return loop

    def _loop_ended(self, loop: Loop) -> None:
        if self._loop is loop:
            self._error = loop.error
            self._status = ManagerStatus.ERROR if loop.error is not None else ManagerStatus.STOPPED

    def _abandon(self, loop: Loop) -> None:
        """Leave a loop behind whose thread hangs in a collector, and say which."""
        for entry in list(self._entries.values()):
            if entry.running_since is not None and not entry.overran:
                loop.declare_late(entry)
        loop.abandoned = True
        self._status = ManagerStatus.STOPPED

    def _pause(self, paused: bool, wanted: ManagerStatus, following: ManagerStatus, kind: EventKind) -> None:
        with self._lock:
            loop = self._running_loop()
            if loop is None or self._status is not wanted:
                return
            loop.pause(paused)
            self._status = following
        now = self._clock.monotonic()
        self._stream.publish(Event(kind, self._clock.wall(now), now))

    def _report(self, results: dict[str, DiagnosticResult]) -> dict[str, JsonValue]:
        now = self._clock.wall(self._clock.monotonic())
        report: dict[str, JsonValue] = {"timestamp": now.isoformat()}
        for name, entry in list(self._entries.items()):
            result = results.get(name)
            if result is not None and result.error is None:
                report[name] = result.data
                continue
            error, message = "timeout", "no result yet"
            if result is not None and result.error is not None:
                error, message = result.error.type.value, result.error.message
            elif not entry.tracker.is_active:
                error, message = "unavailable", entry.tracker.reason or entry.tracker.state.value
            report[name] = {"error": {"type": error, "message": message}}
        return report

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._loop = None
        self._stream.after_fork_in_child()


#: One hook for the whole process: at-fork hooks cannot be taken back, and managers come and go.
_managers: weakref.WeakSet[DiagnosticManager] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for manager in list(_managers):
        manager._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@contextmanager
def collect_diagnostics(
    *collectors: DiagnosticCollector, interval: float = 60.0
) -> Iterator[DiagnosticManager]:
    """Run the collectors for the length of a ``with`` block; gives the manager."""
    with DiagnosticManager(collectors, interval=interval) as manager:
        yield manager
