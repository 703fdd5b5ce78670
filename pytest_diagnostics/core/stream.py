"""The one stream of a manager's records: to the history, to sinks, to subscribers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from .clock import Pid
from .model import DiagnosticResult, Event, EventKind, Execution, Record
from .protocols import Clock, Sink, Subscriber
from .threads import current_ident, is_held, new_condition, new_lock

#: A sink that fails this often in a row is asked no more; it reaches nobody else meanwhile.
MAX_SINK_FAILURES: Final = 10
#: How long the others wait for a sink that another thread is stuck in, before they go on without it.
PATIENCE_SECONDS: Final = 5.0
#: Records that wait for such a sink; what comes beyond is dropped and counted.
MAX_PENDING: Final = 10_000


class _Settled:
    """Takes the place of a record: those of a tick are handed out."""


_SETTLED: Final = _Settled()


class _Target:
    """A sink or subscriber and its account."""

    def __init__(
        self,
        name: str,
        write: Callable[[Record], object],
        settle: Callable[[], object] | None = None,
        *,
        executions: bool = True,
    ) -> None:
        self.name = name
        self.write = write
        self.settle = settle
        #: Whether it is to be told of calls that succeeded.
        self.executions = executions
        self.failures = 0
        self.failures_in_row = 0
        self.last_failure: str | None = None
        self.told = False
        self.closing = False
        #: True while a thread that was given up is still inside.
        self.stuck = False

    def failed(self, message: str) -> None:
        self.failures += 1
        self.failures_in_row += 1
        self.last_failure = message


def _target(sink: Sink) -> _Target:
    settle = getattr(sink, "settle", None)
    return _Target(
        type(sink).__name__, sink.write, settle, executions=getattr(sink, "wants_executions", True)
    )


class RecordStream:
    """Hands every record to every target, in order, from one thread at a time.

    Whoever publishes while another thread hands out leaves its record to that thread: a slow target
    delays nobody but the thread that is inside it.
    """

    def __init__(self, sinks: Iterable[Sink], max_history: int | None, clock: Clock) -> None:
        self._clock = clock
        self._sinks = tuple((sink, _target(sink)) for sink in sinks)
        self._subscribers: tuple[_Target, ...] = ()
        self._count_targets()
        #: Guards everything below; never held while a target is called.
        self._guard = new_lock()
        #: Woken when nobody hands out any more, if somebody waits for that.
        self._lock = new_condition(self._guard)
        self._awaited = False
        self._history: deque[DiagnosticResult] = deque(maxlen=max_history)
        self._pending: deque[Record | _Settled] = deque()
        #: When the thread that hands out took the record it is at; None when nobody hands out.
        self._handing_since: float | None = None
        self._holder: _Target | None = None
        #: Changed when a stuck thread is given up, so that it does not go on when it comes back.
        self._turn = 0
        #: Records that not every target got, because one of them held the stream for too long.
        self.dropped = 0

    def open(self) -> None:
        """Begin a run: every target gets a fresh chance."""
        with self._lock:
            for target in self._targets:
                target.failures_in_row = 0
                target.told = target.closing = False

    def settle(self) -> None:
        """Have sinks that gather records write them: those of a tick are handed out."""
        if self._may_settle:
            self._publish(_SETTLED)

    def publish(self, record: Record) -> None:
        """Hand out one record. A target that raises is counted; the others get the record all the same."""
        self._publish(record)

    def _publish(self, record: Record | _Settled) -> None:
        now = self._clock.monotonic()
        with self._guard:
            if isinstance(record, DiagnosticResult):
                self._history.append(record)
            if self._handing_since is not None or self._pending:
                if len(self._pending) >= MAX_PENDING:
                    self.dropped += 1
                else:
                    self._pending.append(record)
                if self._handing_since is not None:
                    if now - self._handing_since < PATIENCE_SECONDS:
                        return
                    self._give_up_holder()
                record = self._pending.popleft()
            self._handing_since = now
            turn = self._turn
        self._hand_out(turn, record)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell ``subscriber`` every record from now on; return the function that ends it."""
        target = _Target(getattr(subscriber, "__name__", type(subscriber).__name__), subscriber)
        with self._guard:
            # A new tuple each time: a record that is being handed out goes on over the old one.
            self._subscribers = (*self._subscribers, target)
            self._count_targets()

        def unsubscribe() -> None:
            with self._guard:
                self._subscribers = tuple(t for t in self._subscribers if t is not target)
                self._count_targets()

        return unsubscribe

    def history(self) -> list[DiagnosticResult]:
        """Return the kept results, oldest first, as a new list."""
        with self._lock:
            return list(self._history)

    def clear(self) -> None:
        """Forget the kept results."""
        with self._lock:
            self._history.clear()

    def close(self, patience: float) -> None:
        """End a run: let every sink write what it holds back. One that a thread is stuck in is left out."""
        with self._lock:
            if self._handing_since is not None:
                self._awaited = True
                self._lock.wait_for(lambda: self._handing_since is None, patience)
                self._awaited = False
            if self._handing_since is not None:
                self._give_up_holder()
            # What waited behind the stuck one; usually nothing.
            self._handing_since = self._clock.monotonic()
            turn = self._turn
        self._hand_out(turn, self._next(turn))
        for sink, target in self._sinks:
            with self._lock:
                if target.closing or target.stuck:
                    continue
                target.closing = True
            try:
                sink.close()
            except BaseException as exc:  # noqa: BLE001 - a sink's failure reaches nobody else
                self._failed(target, exc)

    def is_held(self) -> bool:
        """Whether the caller interrupted a call of this stream, or is called by it."""
        return is_held(self._lock)

    def failures(self) -> dict[str, str]:
        """Return what sinks and subscribers failed with: name -> "3 times, last: OSError: …"."""
        told: dict[str, str] = {}
        for target in self._targets:
            if target.failures:
                name = target.name
                while name in told:
                    name += "'"
                told[name] = f"{target.failures} times, last: {target.last_failure}"
        if self.dropped:
            told["stream"] = f"{self.dropped} records dropped: a sink held the stream for too long"
        return told

    def after_fork_in_child(self) -> None:
        """Make the lock anew and let go of the sinks: what they hold belongs to the parent."""
        self._guard = new_lock()
        self._lock = new_condition(self._guard)
        self._awaited = False
        self._sinks = ()
        self._subscribers = ()
        self._count_targets()
        self._pending.clear()
        self._handing_since = None
        self._holder = None

    # -- inside

    def _count_targets(self) -> None:
        """Note who is to be told, and of what: asked with every record."""
        self._targets = (*(target for _, target in self._sinks), *self._subscribers)
        self._may_settle = any(target.settle is not None for target in self._targets)
        #: Whether anybody wants to hear of calls that succeeded.
        self.wants_executions = any(target.executions for target in self._targets)

    def _give_up_holder(self) -> None:
        """Go on without the target that a thread is stuck in. Called with the lock held."""
        if self._holder is not None:
            self._holder.stuck = True
            self._holder.failed(f"it kept a record for more than {PATIENCE_SECONDS:g} s")
            self.dropped += 1
        self._holder = None
        self._handing_since = None
        self._turn += 1

    def _hand_out(self, turn: int, record: Record | _Settled | None) -> None:
        pid = Pid.current()
        try:
            while record is not None:
                for target in self._targets:
                    self._hand(turn, target, record)
                    # A target that forks returns twice; in the child nobody is to be told.
                    if turn != self._turn or pid != Pid.current():
                        return
                record = self._next(turn)
        finally:
            with self._guard:
                if turn == self._turn:  # it did not come to an end
                    self._handing_since = self._holder = None
                if self._awaited:
                    self._lock.notify_all()

    def _next(self, turn: int) -> Record | _Settled | None:
        with self._guard:
            if turn != self._turn:
                return None
            if not self._pending:
                # Here and not later: who publishes from now on hands out itself.
                self._handing_since = self._holder = None
                self._turn += 1
                return None
            self._handing_since = self._clock.monotonic()
            return self._pending.popleft()

    def _hand(self, turn: int, target: _Target, record: Record | _Settled) -> None:
        if target.failures_in_row >= MAX_SINK_FAILURES or target.stuck:
            return
        if not target.executions and isinstance(record, Execution) and record.succeeded:
            return
        call = partial(target.write, record) if not isinstance(record, _Settled) else target.settle
        if call is None:
            return
        with self._guard:
            if turn != self._turn:
                return
            self._holder = target
        try:
            call()
        except BaseException as exc:  # a target's failure reaches nobody else
            self._failed(target, exc)
            # Ctrl-C in the main thread is meant for the program, wherever it was caught.
            if isinstance(exc, KeyboardInterrupt) and current_ident() == threading.main_thread().ident:
                raise
        else:
            target.failures_in_row = 0
        finally:
            # A thread that was given up has come back: the target can be used again.
            if turn != self._turn:
                target.stuck = False

    def _failed(self, target: _Target, exc: BaseException) -> None:
        """Count a failure and tell the others of the first one in a run."""
        with self._lock:
            target.failed(f"{type(exc).__name__}: {exc}")
            if target.told or target.closing:
                return
            target.told = True
            now = self._clock.monotonic()
            details = {"sink": target.name, "message": target.last_failure}
            # To the front: it is told before the records that follow.
            self._pending.appendleft(
                Event(EventKind.SINK_FAILED, self._clock.wall(now), now, details={**details})
            )
