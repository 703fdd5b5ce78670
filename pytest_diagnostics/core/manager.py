"""The manager: asks every collector at its interval, in threads of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Final

from .clock import Pid, SystemClock
from .collector import DiagnosticCollector
from .entry import Demand, Entry
from .errors import ConfigurationError, ManagerError
from .execution import Executor, health_event
from .forks import tell_after_fork
from .handlers import ExceptionHandler
from .loop import Loop
from .model import DiagnosticResult, Health, HealthState, JsonValue, ManagerStatus
from .protocols import Clock, Processor, Sink, Subscriber
from .reply import as_reply
from .roster import Roster
from .schedule import checked_interval
from .stream import RecordStream
from .threads import is_held, new_condition

#: What a stop waits beyond its patience: only a collector that hangs in the manager's own thread, against
#: its promise not to block, or a sink that hangs, takes longer.
GRACE_SECONDS: Final = 0.5


class DiagnosticManager:
    """Runs collectors in threads, each at its interval, from ``start_collecting`` to ``stop_collecting``.

    No collector's failure reaches another one, the program, or the end of the run. All methods may be
    called from any thread. In a forked child the manager does nothing until it is started there.
    """

    def __init__(
        self,
        collectors: Iterable[DiagnosticCollector] = (),
        interval: float = 1.0,
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
        if not stop_timeout >= 0 or math.isinf(stop_timeout):
            raise ConfigurationError(f"stop_timeout is {stop_timeout!r}; give a number of seconds")
        if max_history is not None and max_history < 0:
            raise ConfigurationError(
                f"max_history is {max_history!r}; give 0 or more, or None for everything"
            )
        self.stop_timeout = stop_timeout
        self._clock: Clock = clock or SystemClock()
        self._processors = tuple(processors)
        self._stream = RecordStream(sinks, max_history, self._clock)
        #: Guards everything below. Nothing waits while it is held.
        self._lock = new_condition()
        self._roster = Roster(self.interval)
        #: The latest run, also when it is over, and the latest single collection outside of one.
        self._loop: Loop | None = None
        self._single: Loop | None = None
        self._rest = ManagerStatus.IDLE
        self._pid = Pid.current()
        for collector in collectors:
            self._roster.enter(collector)
        tell_after_fork(self)

    # -- the life of a manager

    def start_collecting(self) -> None:
        """Start; every collector is asked at once, then at its interval. Does nothing when running.

        Raises ManagerError when the system refuses a thread.
        """
        while True:
            self._await_rest()
            with self._lock:
                if self._running_loop():
                    return
                if self._unfinished_loop() is None:
                    self._pid = Pid.current()
                    self._roster.begin(self._clock.monotonic())
                    self._start_loop(self._make_loop(self._roster.all()))
                    return

    def stop_collecting(self, timeout: float | None = None) -> None:
        """Make the final collection, close the collectors and end the threads; does nothing when stopped.

        Returns within ``timeout`` (default: the manager's ``stop_timeout``) even when a collector hangs;
        its thread is then left behind and its result says so. Called from a collector, a subscriber, or a
        signal handler that interrupted another call of this manager, it only asks for the stop. Raises
        ManagerError when the manager's own thread had crashed.
        """
        loop = self._loop
        if loop is None or self._pid != Pid.current():
            return
        if not loop.ended.is_set() and not loop.abandoned:
            patience = self.stop_timeout if timeout is None else max(0.0, timeout)
            loop.request_stop("stop_collecting", self._clock.monotonic() + patience)
            if loop.is_own_thread() or is_held(self._lock) or self._stream.is_held() or loop.is_held():
                return
            self._await_end(loop, patience)
        if loop.error is not None and not loop.error_told:
            loop.error_told = True
            raise ManagerError(f"{self.name} crashed: {loop.error!r}") from loop.error

    def pause(self) -> None:
        """Hold the ticks; collections on demand and the final one are made all the same."""
        self._pause(True)

    def resume(self) -> None:
        """Take the ticks up again; those of the pause do not count as missed."""
        self._pause(False)

    def __enter__(self) -> DiagnosticManager:
        self.start_collecting()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop_collecting()
        except ManagerError:
            if exc is None:  # what the program raised matters more; ``error`` still tells of ours
                raise

    @property
    def status(self) -> ManagerStatus:
        """IDLE before the first start, then RUNNING, PAUSED, STOPPED, or ERROR with ``error`` set."""
        loop = self._loop
        if loop is None:
            return self._rest
        if loop.ended.is_set() or loop.abandoned:
            return ManagerStatus.STOPPED if loop.error is None else ManagerStatus.ERROR
        return ManagerStatus.PAUSED if loop.paused else ManagerStatus.RUNNING

    @property
    def error(self) -> BaseException | None:
        """What crashed the manager in the latest run; None when nothing did."""
        return None if self._loop is None else self._loop.error

    @property
    def is_running(self) -> bool:
        """Whether the manager is between start and stop, paused or not."""
        return self.status in (ManagerStatus.RUNNING, ManagerStatus.PAUSED)

    @property
    def is_collecting(self) -> bool:
        """Whether a collector is being asked at this moment."""
        return any(entry.running_since is not None for entry in self._roster.all())

    def is_healthy(self) -> bool:
        """Whether the manager did not crash."""
        return self.error is None

    # -- collectors

    def add_collector(self, collector: DiagnosticCollector) -> None:
        """Add a collector; when running, it is asked at once. Raises ConfigurationError for a taken name."""
        with self._lock:
            entry = self._roster.enter(collector)
            if loop := self._running_loop():
                self._roster.place(entry, self._clock.monotonic())
                loop.add(entry)

    def remove_collector(self, name: str, timeout: float | None = None) -> bool:
        """Remove a collector, after its final collection when running; False when it hangs.

        One that hangs is closed when it returns; what it returns is nobody's. Raises ConfigurationError
        when there is no collector of that name.
        """
        with self._lock:
            entry = self._roster.leave(name)
            if not (loop := self._running_loop()):
                return True
            demand = loop.remove(entry)
        if loop.is_own_thread():
            return True
        gone = demand.wait(self.stop_timeout if timeout is None else timeout)
        entry.muted = not gone
        if gone and entry.lane is not None:
            entry.lane.join(GRACE_SECONDS)
        return gone

    def disable_collector(self, name: str, reason: str = "by hand") -> None:
        """Ask a collector no more, until it is enabled or the manager is started again."""
        entry = self._roster.get(name)
        if entry.tracker.disable(reason):
            self._tell_health(entry)

    def enable_collector(self, name: str) -> None:
        """Ask a collector again that was disabled, by hand or by a strategy."""
        entry = self._roster.get(name)
        if entry.tracker.enable():
            self._tell_health(entry)

    @property
    def collectors(self) -> list[str]:
        """The names of the collectors, in the order in which they were added."""
        return [entry.name for entry in self._roster.all()]

    def health(self, name: str) -> Health:
        """Return a collector's health; raises ConfigurationError when there is none of that name."""
        entry = self._roster.get(name)
        account = entry.tracker.account()
        if self.status is not ManagerStatus.RUNNING or account.state is HealthState.DISABLED:
            return account
        return replace(account, next_run=max(entry.schedule.due, entry.not_before))

    # -- results

    def collect_all(self, timeout: float | None = None) -> dict[str, JsonValue]:
        """Ask every collector now; return ``{"timestamp": ISO 8601 UTC, name: data, …}``.

        Instead of data, ``{"error": {"type": …, "message": …}}`` says why a collector has none. A manager
        that does not run collects once and closes its collectors again.
        """
        return self._reply(self.collect_now(timeout=timeout))

    def collect_now(
        self, names: Iterable[str] | None = None, timeout: float | None = None
    ) -> dict[str, DiagnosticResult]:
        """Ask the named collectors (default: all) now and return their results by name.

        Missing are disabled ones and those that give no result within ``timeout`` (default:
        ``stop_timeout``). Raises ConfigurationError for a name that no collector has.
        """
        wanted = None if names is None else {self._roster.get(name).name for name in names}
        if self._owns_current_thread():
            raise ManagerError("a collector cannot ask its own manager to collect")
        patience = self.stop_timeout if timeout is None else max(0.0, timeout)
        while True:
            with self._lock:
                if loop := self._running_loop():
                    demand = loop.demand(wanted)
                    break
                if self._unfinished_loop() is None:
                    loop = self._start_single(wanted, patience)
                    demand = loop.once or Demand(set())
                    break
            self._await_rest()
        demand.wait(patience)
        if loop.once is not None:
            self._await_end(loop, patience)
        return dict(demand.results)

    def request(self, names: Iterable[str] | None = None) -> Demand | None:
        """Ask as ``collect_now`` does, without waiting: the demand's ``wait`` and ``results`` are for that.

        None when the manager does not run. Names that no collector has are left out.
        """
        with self._lock:
            loop = self._running_loop()
            return None if loop is None else loop.demand(None if names is None else set(names))

    async def collect_all_async(self, timeout: float | None = None) -> dict[str, JsonValue]:
        """Do as ``collect_all`` does, without blocking the running event loop."""
        import asyncio  # only who calls this pays for it

        return await asyncio.to_thread(self.collect_all, timeout)

    def snapshot(self) -> dict[str, JsonValue]:
        """Return the latest result of every collector in the form of ``collect_all``; asks nobody."""
        return self._reply({entry.name: entry.latest for entry in self._roster.all() if entry.latest})

    def latest(self, name: str) -> DiagnosticResult | None:
        """Return a collector's latest result; None before its first one."""
        return self._roster.get(name).latest

    def get_results(self) -> list[DiagnosticResult]:
        """Return the kept results, oldest first, as a new list."""
        return self._stream.history()

    def clear_results(self) -> None:
        """Forget the kept results; each collector's latest stays."""
        self._stream.clear()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell ``subscriber`` every record from now on, in our threads; return what ends it."""
        return self._stream.subscribe(subscriber)

    def sink_failures(self) -> dict[str, str]:
        """Return what sinks and subscribers failed with, by name; empty when nothing failed."""
        return self._stream.failures()

    # -- inside

    def _start_single(self, names: set[str] | None, patience: float) -> Loop:
        """Collect once, outside of a run. The accounts of the latest run are kept."""
        self._pid = Pid.current()
        asked = [entry for entry in self._roster.all() if entry.answers_to(names)]
        loop = self._make_loop(asked)
        loop.once = Demand({entry.name for entry in asked})
        loop.stop_timeout = patience
        for entry in asked:
            entry.forget_demands()
            entry.demands.append(loop.once)
        return self._start_loop(loop)

    def _make_loop(self, entries: Iterable[Entry]) -> Loop:
        executor = partial(Executor, self._clock, self._processors, lambda: self.exception_handler)
        loop = Loop(entries, self._clock, executor, self._stream)
        loop.stop_timeout = self.stop_timeout
        return loop

    def _start_loop(self, loop: Loop) -> Loop:
        previous = self._loop, self._single
        # Known before it starts: its first call may already ask for a stop.
        self._loop, self._single = (loop, self._single) if loop.once is None else (self._loop, loop)
        self._stream.open()
        try:
            loop.start(self.name)
        except RuntimeError as exc:
            self._loop, self._single = previous
            raise ManagerError(f"{self.name} cannot start: the system refused a thread ({exc})") from exc
        return loop

    def _running_loop(self) -> Loop | None:
        loop = self._loop
        if loop is None or loop.stopping or loop.ended.is_set() or self._pid != Pid.current():
            return None
        return loop

    def _unfinished_loop(self) -> Loop | None:
        """Return a loop that is on its way to its end, a run's or a single collection's."""
        for loop in (self._loop, self._single):
            if loop is None or loop.ended.is_set() or loop.abandoned or self._pid != Pid.current():
                continue
            if loop.stopping or loop.once is not None:
                return loop
        return None

    def _await_rest(self) -> None:
        """Wait until no collector is asked by a run that ends or by a single collection."""
        while (loop := self._unfinished_loop()) is not None:
            if self._owns_current_thread():
                raise ManagerError("a collector or subscriber cannot wait for the end of its own manager")
            self._await_end(loop, loop.stop_timeout)

    def _await_end(self, loop: Loop, patience: float) -> None:
        if loop.ended.wait(patience + GRACE_SECONDS):
            loop.join(GRACE_SECONDS)
        else:
            loop.abandon(GRACE_SECONDS)

    def _owns_current_thread(self) -> bool:
        return any(loop is not None and loop.is_own_thread() for loop in (self._loop, self._single))

    def _pause(self, paused: bool) -> None:
        with self._lock:
            if loop := self._running_loop():
                loop.pause(paused)

    def _tell_health(self, entry: Entry) -> None:
        self._stream.publish(health_event(entry, self._clock))
        if loop := self._running_loop():
            loop.wake()

    def _reply(self, results: dict[str, DiagnosticResult]) -> dict[str, JsonValue]:
        now = self._clock.wall(self._clock.monotonic())
        return as_reply(self._roster.all(), results, now)

    def after_fork_in_child(self) -> None:
        """Be inert in a forked child, which has neither our threads nor a right to the sinks."""
        self._lock = new_condition()
        self._stream.after_fork_in_child()
        for loop in (self._loop, self._single):
            if loop is not None:
                loop.forget()
                self._rest = ManagerStatus.STOPPED
        self._loop = self._single = None
        for entry in self._roster.all():
            entry.after_fork_in_child()


@contextmanager
def collect_diagnostics(
    *collectors: DiagnosticCollector, interval: float = 60.0
) -> Iterator[DiagnosticManager]:
    """Run the collectors for the length of a ``with`` block; gives the manager."""
    with DiagnosticManager(collectors, interval=interval) as manager:
        yield manager
