"""The thread of one run of a manager: its ticks, its collections on demand and its end.

Each start of a manager makes a new loop. One that does not end in time, because a collector hangs in its
thread, is left behind: it publishes nothing any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from .entry import Demand, Entry
from .lane import Lane
from .model import Event, EventKind, HealthState, JsonValue, Record
from .threads import start_thread

if TYPE_CHECKING:
    from .execution import Executor
    from .protocols import Clock

#: A wall-clock step or a suspend shorter than this is not news.
NOTABLE_STEP_SECONDS: Final = 1.0
#: The part of the time for stopping that the final collection may take; the rest is for closing.
FINAL_SHARE: Final = 0.7


class Loop:
    """Owns the manager's thread and the lanes."""

    def __init__(
        self, entries: Iterable[Entry], executor: Executor, clock: Clock, publish: Callable[[Record], None]
    ) -> None:
        self._executor = executor
        self._clock = clock
        self._publish = publish
        #: Guards everything below that more than one thread writes, and wakes the thread.
        self._wake = threading.Condition(threading.Lock())
        self._entries = list(entries)
        self._requested: list[Entry] = []
        self._paused = False
        self._stop_reason: str | None = None
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None
        self._drift = 0.0
        self._suspended = 0.0
        self.stop_timeout = 5.0
        #: True for a loop that only collects once and forgets nothing.
        self.once = False
        #: What ended the thread if it was not a stop.
        self.error: BaseException | None = None
        self.ended = threading.Event()
        #: True once the owner gave the loop up: it publishes nothing any more.
        self.abandoned = False
        #: Waits for the first result of every collector.
        self.first_demand = Demand({entry.name for entry in self._entries})
        for entry in self._entries:
            entry.demands.append(self.first_demand)
        #: Called in the loop's thread at its very end.
        self.on_end: Callable[[Loop], None] | None = None

    # -- called from any thread

    def start(self, name: str) -> None:
        """Start the thread; raises RuntimeError when the system refuses it."""
        self._thread = start_thread(self._run, name)

    def add(self, entry: Entry) -> None:
        """Take one more collector; its first tick is now."""
        with self._wake:
            self._entries.append(entry)
            self._wake.notify()

    def remove(self, entry: Entry) -> Demand:
        """Let a collector go, after a final collection; the returned demand waits for its end."""
        demand = Demand({entry.name})
        with self._wake:
            entry.leaving = demand
            self._wake.notify()
        return demand

    def demand(self, names: set[str] | None = None) -> Demand:
        """Ask the named collectors (default: all that are active) for a result now."""
        with self._wake:
            asked = [
                entry
                for entry in self._entries
                if entry.leaving is None
                and entry.tracker.state is not HealthState.DISABLED
                and (names is None or entry.name in names)
            ]
            demand = Demand({entry.name for entry in asked})
            for entry in asked:
                entry.demands.append(demand)
                self._requested.append(entry)
            self._wake.notify()
        return demand

    def pause(self, paused: bool) -> None:
        """Hold or resume the ticks; demands are served all the same."""
        now = self._clock.monotonic()
        with self._wake:
            if self._paused and not paused:
                for entry in self._entries:
                    # Ticks of the pause were not missed, they were not wanted.
                    entry.schedule.postpone(now)
            self._paused = paused
            self._wake.notify()

    def request_stop(self, reason: str, deadline: float | None = None) -> None:
        """End the loop: final collection, closing of collectors, end of the thread."""
        with self._wake:
            if self._stop_reason is None:
                self._stop_reason = reason
            if deadline is not None:
                self._deadline = deadline
            for entry in self._entries:
                if entry.lane is not None:
                    entry.lane.interrupted.set()
            self._wake.notify()

    def declare_late(self, entry: Entry) -> None:
        """Publish that a collector hangs, in the place of the thread that it hangs in."""
        self._executor.overrun(entry, final=True)

    def is_own_thread(self) -> bool:
        """Whether the caller runs in the loop's thread or in one of its lanes."""
        if threading.current_thread() is self._thread:
            return True
        return any(entry.lane is not None and entry.lane.is_current() for entry in self._entries)

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested, by the owner or by a STOP strategy."""
        return self._stop_reason is not None

    # -- the loop's thread

    def _run(self) -> None:
        try:
            self._tell(EventKind.STARTED, {"collectors": [entry.name for entry in self._entries]})
            while self._stop_reason is None:
                self._serve()
                if self.once:
                    break
                self._sleep()
            self._finish()
            self._tell(EventKind.STOPPED, {"reason": self._stop_reason or "once"})
        except BaseException as exc:  # noqa: BLE001 - the owner is told; a thread's exception helps nobody
            self.error = exc
        finally:
            # A collector that hung and comes back later has nobody to tell any more.
            self.abandoned = True
            if self.on_end is not None:
                self.on_end(self)
            self.ended.set()

    def _serve(self) -> None:
        """Do what is due: demands, ticks, farewells, overruns."""
        with self._wake:
            requested, self._requested = self._requested, []
            entries = list(self._entries)
        for entry in requested:
            self._dispatch(entry, self._clock.monotonic())
        self._tick(entries)
        for entry in entries:
            if entry.leaving is not None:
                self._see_off(entry)
            if self._is_late(entry):
                self._executor.overrun(entry)
        self._watch_clocks()

    def _is_late(self, entry: Entry) -> bool:
        began = entry.running_since
        if entry.lane is None or began is None or entry.overran:
            return False
        return self._clock.monotonic() - began >= entry.patience

    def _tick(self, entries: list[Entry]) -> None:
        missed, late = 0, 0.0
        for entry in entries:
            now = self._clock.monotonic()
            if not self._wants_ticks(entry):
                continue
            if entry.schedule.due < entry.not_before:
                entry.schedule.postpone(entry.not_before)
            due = entry.schedule.due
            if due > now or self._stop_reason is not None:
                continue
            skipped = entry.schedule.advance(now)
            if skipped:
                missed += skipped
                late = max(late, now - due)
            if not self._dispatch(entry, due):
                skipped += 1
            entry.tracker.missed += skipped
            entry.tracker.next_run = entry.schedule.due
        if missed:
            self._tell(EventKind.GAP, {"missed": missed, "late_seconds": late})

    def _dispatch(self, entry: Entry, due: float, *, final: bool = False) -> bool:
        """Collect now, here or in the collector's lane; False when its lane is busy."""
        if not entry.blocking:
            self._execute(entry, due, final=final)
            return True
        return self._submit(entry, partial(self._execute, entry, due, final=final))

    def _submit(self, entry: Entry, job: Callable[[], None]) -> bool:
        if entry.lane is None or entry.lane.closed:
            entry.lane = Lane(f"diagnostics-{entry.name}", self._notify)
        try:
            return entry.lane.submit(job)
        except RuntimeError as exc:
            self._executor.refused(entry, exc)
            self._deliver(entry)
            return True

    def _execute(self, entry: Entry, due: float, *, final: bool = False) -> None:
        try:
            self._executor.execute(entry, due, final=final)
        finally:
            self._deliver(entry)

    def _deliver(self, entry: Entry) -> None:
        with self._wake:
            demands, entry.demands = entry.demands, []
        for demand in demands:
            demand.deliver(entry.name, entry.latest)

    def _see_off(self, entry: Entry) -> None:
        """Make a leaving collector's final collection and close it, once its lane is free."""
        demand = entry.leaving
        if demand is None or (entry.lane is not None and entry.lane.busy):
            return

        def farewell() -> None:
            if entry.tracker.is_active:
                self._execute(entry, self._clock.monotonic(), final=True)
            self._executor.retire(entry, clean=True)
            demand.deliver(entry.name, entry.latest)

        with self._wake:
            self._entries.remove(entry)
        if entry.blocking and entry.lane is not None:
            entry.lane.submit(farewell)
            entry.lane.close()
        else:
            farewell()

    def _sleep(self) -> None:
        with self._wake:
            if self._stop_reason is not None or self._requested:
                return
            if any(e.leaving is not None and not (e.lane and e.lane.busy) for e in self._entries):
                return
            self._clock.wait(self._wake, self._until_next())

    def _until_next(self) -> float | None:
        """Return the seconds until the next tick or overrun; None when nothing is due ever."""
        moments = [
            entry.running_since + entry.patience
            for entry in self._entries
            if entry.lane is not None and entry.running_since is not None and not entry.overran
        ]
        moments += [
            max(entry.schedule.due, entry.not_before) for entry in self._entries if self._wants_ticks(entry)
        ]
        if not moments:
            return None
        return max(0.0, min(moments) - self._clock.monotonic())

    def _wants_ticks(self, entry: Entry) -> bool:
        return not self._paused and entry.leaving is None and entry.tracker.state is not HealthState.DISABLED

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify()

    # -- the end

    def _finish(self) -> None:
        now = self._clock.monotonic()
        deadline = self._deadline if self._deadline is not None else now + self.stop_timeout
        active = [entry for entry in self._entries if entry.tracker.is_active or entry.leaving]
        self._collect_finally(active, now + FINAL_SHARE * (deadline - now))
        self._retire(deadline)
        with self._wake:
            waiting = [(entry, entry.demands) for entry in self._entries]
        for entry, demands in waiting:
            for demand in (*demands, *([entry.leaving] if entry.leaving else [])):
                demand.deliver(entry.name, None)

    def _collect_finally(self, entries: list[Entry], until: float) -> None:
        """Make the final collection; a lane that is not free in time is declared late."""
        if self.once:
            first = {entry: True for entry in entries if entry.blocking}
            for entry in self._await(first, until):
                self._executor.overrun(entry)
            return
        #: Collector -> whether its final collection was handed to its lane yet.
        pending = {entry: self._dispatch(entry, until, final=True) for entry in entries if entry.blocking}
        for entry in entries:
            if not entry.blocking:
                self._execute(entry, self._clock.monotonic(), final=True)
        for entry in self._await(pending, until):
            self._executor.overrun(entry, final=True)

    def _retire(self, deadline: float) -> None:
        clean = not self.once
        pending: dict[Entry, bool] = {}
        for entry in self._entries:
            if entry.lane is None:
                self._executor.retire(entry, clean=clean)
            elif not entry.lane.busy:
                pending[entry] = self._submit(entry, partial(self._executor.retire, entry, clean=clean))
        self._await(dict.fromkeys(pending, True), deadline)
        for entry in self._entries:
            if entry.lane is not None:
                entry.lane.close()
        for entry in pending:
            if entry.lane is not None:
                entry.lane.join(deadline - self._clock.monotonic())

    def _await(self, pending: dict[Entry, bool], until: float) -> list[Entry]:
        """Wait for lanes, handing out what could not be handed out yet; return those that were too late."""
        while pending:
            with self._wake:
                free = [entry for entry in pending if entry.lane is None or not entry.lane.busy]
                remaining = until - self._clock.monotonic()
                if not free:
                    if remaining <= 0:
                        break
                    self._clock.wait(self._wake, remaining)
                    continue
            for entry in free:
                if pending[entry]:
                    del pending[entry]
                else:
                    pending[entry] = self._dispatch(entry, until, final=True)
        return list(pending)

    # -- telling

    def _tell(self, kind: EventKind, details: dict[str, JsonValue]) -> None:
        now = self._clock.monotonic()
        self._publish(Event(kind, self._clock.wall(now), now, details=details))

    def _watch_clocks(self) -> None:
        drift = self._clock.drift()
        if drift is not None and abs(drift - self._drift) >= NOTABLE_STEP_SECONDS:
            self._tell(EventKind.CLOCK_STEP, {"step_seconds": drift - self._drift})
            self._drift = drift
        suspended = self._clock.suspended()
        if suspended is not None and suspended - self._suspended >= NOTABLE_STEP_SECONDS:
            self._tell(EventKind.SUSPEND, {"suspended_seconds": suspended - self._suspended})
            self._suspended = suspended
