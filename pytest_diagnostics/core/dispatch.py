"""Where collectors are called: in the manager's own thread, or in their lanes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from .entry import Entry
from .lane import Lane

if TYPE_CHECKING:
    from .execution import Executor
    from .protocols import Clock


class LeftBehindError(Exception):
    """The owner gave this thread up while it hung in a collector or a sink."""


class Dispatcher:
    """Has collectors called, one call of each at a time, and hands the answers to who waits for them."""

    def __init__(
        self,
        executor: Executor,
        clock: Clock,
        wake: threading.Condition,
        crashed: Callable[[BaseException], None],
    ) -> None:
        """``wake`` guards the demands; ``crashed`` hears of our own faults."""
        self.executor = executor
        self._clock = clock
        self._wake = wake
        self._crashed = crashed
        #: True once the owner gave the manager's thread up.
        self.abandoned = False

    def collect(self, entry: Entry, due: float | None = None, *, final: bool = False) -> bool:
        """Collect now; False when a call is in flight."""
        if entry.busy:
            return False
        if not entry.blocking:
            self._execute_here(entry, due, final=final)
            self.go_on()
            return True
        try:
            return self._lane(entry).submit(partial(self._execute, entry, due, final=final))
        except RuntimeError as exc:
            self.executor.refused(entry, exc)
            self.deliver(entry)
            return True

    def answer(self, entry: Entry) -> None:
        """Serve the demands for a collector; who waits for one that is known to hang learns that at once."""
        if entry.hangs:
            self.deliver(entry)
        elif not entry.busy:
            self.collect(entry)

    def overrun(self, entry: Entry, *, final: bool = False) -> None:
        """Declare the call in flight late, and let nobody wait for it any more."""
        self.executor.overrun(entry, final=final)
        if entry.hangs:
            self.deliver(entry)

    def deliver(self, entry: Entry) -> None:
        """Hand the latest answer to everybody who waits for one."""
        if not entry.demands:
            return  # whoever asks from now on waits for the next answer
        with self._wake:
            demands, entry.demands = entry.demands, []
        for demand in demands:
            demand.deliver(entry.name, entry.answer)

    def see_off(self, entry: Entry) -> None:
        """Make a leaving collector's final collection and close it, once its lane is free."""
        demand = entry.leaving

        def farewell() -> None:
            if entry.tracker.is_active and not entry.muted:
                self._execute(entry, None, final=True)
            self.executor.retire(entry, clean=not entry.muted)
            if demand is not None:
                demand.deliver(entry.name, entry.answer)

        entry.retired = True
        if not entry.blocking:
            self._here(entry, farewell)
            return
        try:
            self._lane(entry).close(farewell)
        except RuntimeError as exc:
            self.executor.refused(entry, exc)
            if demand is not None:
                demand.deliver(entry.name, entry.answer)

    def close(self, entry: Entry, *, clean: bool) -> None:
        """Have a collector stopped, in its lane and after the call that hangs there if one does."""
        if entry.retired:
            return
        entry.retired = True
        # Data of a collector that hangs is not forgotten: its owner may have read it by then.
        clean = clean and not entry.busy
        retire = partial(self.executor.retire, entry, clean=clean)
        if not entry.blocking:
            self._here(entry, retire)
        elif clean or entry.prepared or entry.busy:
            # Without a thread for it, it was never asked either, so that there is little to close.
            with suppress(RuntimeError):
                self._lane(entry).close(retire)

    def go_on(self) -> None:
        """End the manager's thread here if it was given up while it was in foreign code."""
        if self.abandoned:
            raise LeftBehindError

    # -- inside

    def _lane(self, entry: Entry) -> Lane:
        if entry.lane is None or entry.lane.closed:
            entry.lane = Lane(f"diagnostics-{entry.name}", self._clock, entry.freed)
        return entry.lane

    def _execute_here(self, entry: Entry, due: float | None, *, final: bool) -> None:
        entry.occupied = True
        try:
            self._execute(entry, due, final=final)
            if self.abandoned:
                # It hung, and everything else was closed meanwhile; this one can only be closed here.
                self.executor.retire(entry, clean=False)
        finally:
            self._vacate(entry)

    def _here(self, entry: Entry, call: Callable[[], None]) -> None:
        entry.occupied = True
        try:
            call()
        finally:
            self._vacate(entry)

    def _vacate(self, entry: Entry) -> None:
        entry.occupied = False
        if self.abandoned:
            entry.freed()

    def _execute(self, entry: Entry, due: float | None, *, final: bool = False) -> None:
        try:
            if not self.executor.muted:
                self.executor.execute(entry, due, final=final)
        except BaseException as exc:  # noqa: BLE001 - our own fault: the run ends, and its owner is told
            self._crashed(exc)
        if not self.executor.muted:  # else who waits now waits for an answer of the next run
            self.deliver(entry)
