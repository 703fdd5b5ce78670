"""The thread of one run of a manager: its ticks, its collections on demand and its end.

Each start of a manager makes a new loop. One that does not end in time, because a collector hangs in its
thread, is left behind: it publishes nothing any more, and ends when the collector returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .dispatch import Dispatcher, LeftBehindError
from .entry import Demand, Entry
from .model import Event, EventKind, HealthState, JsonValue
from .threads import Flag, current_ident, is_held, new_condition, start_thread
from .watch import ClockWatch

if TYPE_CHECKING:
    from .execution import Executor
    from .protocols import Clock
    from .stream import RecordStream

#: The part of the time for stopping that the final collection may take; the rest is for closing.
FINAL_SHARE: Final = 0.7


class Loop:
    """Owns the manager's thread and the lanes."""

    def __init__(
        self,
        entries: Iterable[Entry],
        clock: Clock,
        make_executor: Callable[[RecordStream, Callable[[str], None]], Executor],
        stream: RecordStream,
    ) -> None:
        """``make_executor`` gets where to publish and whom to ask for a stop."""
        self._clock = clock
        self._stream = stream
        #: Guards everything below that more than one thread writes, and wakes the thread.
        self._wake = new_condition()
        self._executor = make_executor(stream, self.request_stop)
        self._calls = Dispatcher(self._executor, clock, self._wake, self._crashed)
        self._watch = ClockWatch(clock)
        self._entries = list(entries)
        for entry in self._entries:
            entry.wake_owner = self.wake
        #: Removed collectors whose farewell is still being made, in their lanes.
        self._departing: list[Entry] = []
        self._thread: threading.Thread | None = None
        self._ident: int | None = None
        self._stop_reason: str | None = None
        self._deadline: float | None = None
        self._over = False
        self._held = False
        self.stop_timeout = 5.0
        #: True while the owner wants no ticks.
        self.paused = False
        #: Set for a loop that does nothing but answer this demand.
        self.once: Demand | None = None
        #: What ended the thread if it was not a stop.
        self.error: BaseException | None = None
        #: True once the owner was told of the error.
        self.error_told = False
        self.ended = Flag()

    # -- called from any thread

    def start(self, name: str) -> None:
        """Start the thread; raises RuntimeError when the system refuses it."""
        self._thread = start_thread(self._run, name)

    def join(self, timeout: float) -> None:
        """Wait for the very end of the thread, which comes shortly after ``ended``."""
        if self._thread is not None:
            self._thread.join(timeout)

    def add(self, entry: Entry) -> None:
        """Take one more collector; its first tick is now."""
        with self._wake:
            entry.wake_owner = self.wake
            self._entries.append(entry)
            self._wake.notify_all()

    def remove(self, entry: Entry) -> Demand:
        """Let a collector go, after a final collection; the returned demand waits for its end."""
        demand = Demand({entry.name})
        with self._wake:
            if self._over:
                demand.deliver(entry.name, None)
            entry.leaving = demand
            if entry.lane is not None:
                entry.lane.interrupt()
            self._wake.notify_all()
        return demand

    def demand(self, names: set[str] | None = None) -> Demand:
        """Ask the named collectors (default: all that are active) for a result now."""
        with self._wake:
            asked = [e for e in self._entries if e.answers_to(names) and not self._over]
            demand = Demand({entry.name for entry in asked})
            for entry in asked:
                entry.demands.append(demand)
            self._wake.notify_all()
        return demand

    def pause(self, paused: bool) -> None:
        """Hold or resume the ticks; demands are served all the same."""
        with self._wake:
            self.paused = paused
            self._wake.notify_all()

    def request_stop(self, reason: str, deadline: float | None = None) -> None:
        """End the loop: final collection, closing of collectors, end of the thread."""
        with self._wake:
            if self._stop_reason is None:
                self._stop_reason = reason
            if deadline is not None:
                self._deadline = deadline
            for entry in self._entries:
                if entry.lane is not None:
                    entry.lane.interrupt()
            self._wake.notify_all()

    def abandon(self, patience: float) -> None:
        """Leave behind a thread that hangs in a collector or a sink: say in which, close the rest."""
        with self._wake:
            self._over = self._calls.abandoned = True
            entries = list(self._entries)
        for entry in entries:
            self._calls.overrun(entry, final=True)
        self._executor.muted = True
        self._dismiss()

        def close() -> None:
            for entry in entries:
                if entry.occupied:
                    # From now on it has a lane, where it harms nobody but itself.
                    entry.blocking = True
                else:
                    self._calls.close(entry, clean=self.once is None)
            self._stream.close(patience / 2)

        try:
            start_thread(close, "diagnostics-close").join(patience)
        except RuntimeError:
            self._stream.close(patience)

    def forget(self) -> None:
        """Be inert, in a forked child which has neither this thread nor its lanes."""
        self._calls.abandoned = self._executor.muted = True

    def wake(self) -> None:
        """Have the thread look what there is to do."""
        with self._wake:
            self._wake.notify_all()

    def is_own_thread(self) -> bool:
        """Whether the caller runs in the loop's thread or in one of its lanes."""
        if self._ident == current_ident():
            return True
        lanes = [entry.lane for entry in (*self._entries, *self._departing)]
        return any(lane is not None and lane.is_current() for lane in lanes)

    def is_held(self) -> bool:
        """Whether the caller interrupted a call of ours that this thread may have to wait for."""
        demands = [demand for entry in list(self._entries) for demand in list(entry.demands)]
        return is_held(self._wake) or self.ended.is_held() or any(demand.is_held() for demand in demands)

    @property
    def abandoned(self) -> bool:
        """Whether the owner gave the loop up."""
        return self._calls.abandoned

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested, by the owner or by a STOP strategy."""
        return self._stop_reason is not None

    # -- the loop's thread

    def _run(self) -> None:
        self._ident = current_ident()
        try:
            if self.once is not None:
                self._deadline = self._clock.monotonic() + self.stop_timeout
            self._tell(EventKind.STARTED, {"collectors": [entry.name for entry in self._entries]})
            while self._stop_reason is None:
                self._serve()
                self._stream.settle()
                if self._answered():
                    break
                self._sleep()
            self._finish()
            self._tell(EventKind.STOPPED, {"reason": self._stop_reason})
        except LeftBehindError:
            pass
        except BaseException as exc:  # noqa: BLE001 - the owner is told; a thread's exception helps nobody
            self.error = exc
            with suppress(BaseException):  # perhaps the collectors can still be closed
                self._retire(self._clock.monotonic() + 1.0)
        finally:
            # A collector that hung and comes back later has nobody to tell any more.
            self._executor.muted = True
            if not self.abandoned:
                self._dismiss()
                with suppress(BaseException):  # a clock that fails: nothing is left to be done
                    self._stream.close(max(0.5, self._until_deadline()))
            self.ended.set()

    def _serve(self) -> None:
        """Do what is due: ticks, demands, farewells, overruns."""
        with self._wake:
            entries = list(self._entries)
            paused = self.paused
        if paused is not self._held:
            self._hold(paused, entries)
        self._tick(entries)
        for entry in entries:
            if entry.leaving is not None:
                self._see_off(entry)
            elif entry.demands:
                self._calls.answer(entry)
        if self._departing:
            self._departing = [e for e in self._departing if e.lane is not None and not e.lane.closed]
        for entry in (*entries, *self._departing):
            if entry.running_since is not None:
                late_at = entry.late_at
                if late_at is not None and late_at <= self._clock.monotonic():
                    self._calls.overrun(entry)
        for kind, details in self._watch.news():
            self._tell(kind, details)

    def _answered(self) -> bool:
        """Whether a single collection has all its results, or no time left for them."""
        return self.once is not None and (self.once.complete or self._until_deadline() <= 0)

    def _hold(self, paused: bool, entries: list[Entry]) -> None:
        self._held = paused
        if not paused:
            now = self._clock.monotonic()
            for entry in entries:
                # Ticks of the pause were not missed, they were not wanted.
                entry.schedule.postpone(now)
        self._tell(EventKind.PAUSED if paused else EventKind.RESUMED, {})

    def _tick(self, entries: list[Entry]) -> None:
        missed, late = 0, 0.0
        for entry in entries:
            if not self._wants_ticks(entry):
                continue
            schedule = entry.schedule
            due = schedule.due
            if due < entry.not_before:
                schedule.postpone(entry.not_before)
                due = schedule.due
            now = self._clock.monotonic()
            if due > now or self._stop_reason is not None:
                continue
            skipped = schedule.advance(now)
            if skipped:
                missed += skipped
                late = max(late, now - due)
            if not self._calls.collect(entry, due):
                skipped += 1
            entry.tracker.missed += skipped
        if missed:
            self._tell(EventKind.GAP, {"missed": missed, "late_seconds": late})

    def _see_off(self, entry: Entry) -> None:
        with self._wake:
            self._entries.remove(entry)
            self._departing.append(entry)
        self._calls.see_off(entry)

    def _crashed(self, exc: BaseException) -> None:
        self.error = exc
        self.request_stop(f"crashed: {type(exc).__name__}")

    def _sleep(self) -> None:
        with self._wake:
            if self._stop_reason is not None or self.paused is not self._held:
                return
            for entry in self._entries:
                if entry.leaving is not None or (entry.demands and (entry.hangs or not entry.busy)):
                    return
            self._clock.wait(self._wake, self._until_next())

    def _until_next(self) -> float | None:
        """Return the seconds until the next tick or overrun; None when nothing is due ever."""
        now = self._clock.monotonic()
        moments = []
        for entry in (*self._entries, *self._departing):
            if entry.running_since is None and not entry.busy:
                continue
            late_at = entry.late_at
            if late_at is None and entry.busy and not entry.hangs:
                # Its lane has not begun yet, or waits between two tries: look again when it might be late.
                late_at = now + entry.patience
            if late_at is not None:
                moments.append(late_at)
        for entry in self._entries:
            if self._wants_ticks(entry):
                moments.append(max(entry.schedule.due, entry.not_before))
        if self.once is not None and self._deadline is not None:
            moments.append(self._deadline)
        return max(0.0, min(moments) - now) if moments else None

    def _wants_ticks(self, entry: Entry) -> bool:
        if self._held or self.once is not None:
            return False
        return entry.leaving is None and entry.tracker.state is not HealthState.DISABLED

    # -- the end

    def _until_deadline(self) -> float:
        return 0.0 if self._deadline is None else self._deadline - self._clock.monotonic()

    def _finish(self) -> None:
        now = self._clock.monotonic()
        with self._wake:
            if self._deadline is None:
                self._deadline = now + self.stop_timeout
            deadline = self._deadline
            entries = list(self._entries)
        for entry in entries:
            if entry.leaving is not None:
                self._see_off(entry)
        staying = [entry for entry in entries if entry.leaving is None]
        self._collect_finally(staying, now + FINAL_SHARE * (deadline - now))
        self._retire(deadline)

    def _collect_finally(self, entries: list[Entry], until: float) -> None:
        """Make the final collection; a lane that is not free in time is declared late."""
        if self.once is not None:
            for entry in entries:
                self._calls.overrun(entry, final=not entry.hangs)
            return
        entries = [entry for entry in entries if entry.tracker.is_active]
        #: Collector -> whether its final collection was handed to its lane yet.
        pending = {e: self._calls.collect(e, final=True) for e in entries if e.blocking}
        for entry in entries:
            if not entry.blocking:
                self._calls.collect(entry, final=True)
        for entry in self._await(pending, until):
            self._calls.overrun(entry, final=True)

    def _await(self, pending: dict[Entry, bool], until: float) -> list[Entry]:
        """Wait for lanes, handing out what could not be handed out yet; return those that were too late."""
        while pending:
            with self._wake:
                free = [entry for entry in pending if not entry.busy]
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
                    pending[entry] = self._calls.collect(entry, final=True)
        return list(pending)

    def _retire(self, deadline: float) -> None:
        with self._wake:
            entries = list(self._entries)
            self._over = True
        free = [entry for entry in entries if not entry.busy]
        for entry in entries:
            self._calls.close(entry, clean=self.once is None)
            self._calls.go_on()
        for entry in (*free, *self._departing):
            if entry.lane is not None:
                entry.lane.join(deadline - self._clock.monotonic())

    def _dismiss(self) -> None:
        """Tell whoever still waits that nothing comes any more."""
        with self._wake:
            self._over = True
            waiting = [(entry, entry.demands, entry.leaving) for entry in self._entries]
        for entry, demands, leaving in waiting:
            for demand in (*demands, *([leaving] if leaving else [])):
                demand.deliver(entry.name, None)
            if self.error is not None and entry.lane is not None:
                entry.lane.close()

    # -- telling

    def _tell(self, kind: EventKind, details: dict[str, JsonValue]) -> None:
        if self.once is not None:
            return  # a single collection is no run
        self._calls.go_on()
        now = self._clock.monotonic()
        self._stream.publish(Event(kind, self._clock.wall(now), now, details=details))
        self._calls.go_on()
