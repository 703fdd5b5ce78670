"""What the collectors of one cluster share: its connection, what it answered a moment ago, its outages.

A database that cannot be reached is data here, never an exception of a collection: what a collector returns
says so, since when and why.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import ClassVar

from ...core.clock import SystemClock
from ...core.collector import DiagnosticCollector
from ...core.errors import ConfigurationError, DiagnosticError, ErrorType, UnavailableError
from ...core.forks import tell_after_fork
from ...core.handlers import ExceptionHandler
from ...core.threads import Flag, start_thread
from .connection import Connection, RefusedError, UnreachableError
from .queries import Answers, Query, Reply
from .target import Target, driver_missing

#: What was asked so long ago, by another collector of the same tick, is not asked again.
REUSE_SECONDS = 0.25
#: How long the first poll waits for a connection; later ones find it there, or go on without.
FIRST_SECONDS = 2.0
#: The pause after a failed try to connect doubles from the first of these to the second.
PAUSE_SECONDS = (1.0, 10.0)
#: A cluster of which no node has answered for so long is looked for anew, from its contact points on.
RENEW_SECONDS = 30.0
#: How long a poll waits for another collector's poll to end.
QUEUE_SECONDS = 5.0
OUTAGES = 10
#: A poll that takes a larger part of the interval than this is followed by a rest, of so long at most.
MOST_OF_INTERVAL = 0.2
MOST_REST_SECONDS = 30.0

CONNECTED, UNREACHABLE, REFUSED = "connected", "unreachable", "refused"


class Watch:
    """One connection for all collectors of a process that watch the same cluster."""

    _all: dict[object, Watch] = {}  # noqa: RUF012 - one table for the process
    _table = threading.Lock()
    #: Refused once is refused for good, also for whoever comes later: an account must not be locked.
    _refusals: dict[Target, RefusedError] = {}  # noqa: RUF012 - as above

    def __init__(self, target: Target | None, session: object | None) -> None:
        """Use ``of``, which counts who shares it."""
        self._key: object = target if session is None else id(session)
        self._target = target
        self._session = session
        self._users = 0
        self.clock = SystemClock()
        self._connection = Connection(target, session)
        self._make_locks()
        self._pause = PAUSE_SECONDS[0]
        self._not_before = 0.0
        self._failure: DiagnosticError | None = None
        self._connecting: Flag | None = None
        self._tried_at = 0.0
        self._closed = False
        self._state = UNREACHABLE
        self._reason: str | None = "it was not asked yet"
        self._since = self.clock.monotonic()
        self._outages: deque[dict[str, str | None]] = deque(maxlen=OUTAGES)
        self._last: Answers | None = None
        #: Query -> when it was asked last, and the replies.
        self._kept: dict[Query, tuple[float, dict[str, Reply]]] = {}
        tell_after_fork(self)

    @classmethod
    def of(cls, target: Target | None, session: object | None = None) -> Watch:
        """Return the process' watch of this cluster, made when there is none; ``release`` gives it back."""
        with cls._table:
            watch = cls._all.get(target if session is None else id(session))
            if watch is None:
                watch = cls(target, session)
                cls._all[watch._key] = watch
            watch._users += 1
            return watch

    def release(self) -> None:
        """Close the connection when nobody else uses it, in bounded time whatever the server does."""
        with self._table:
            self._users -= 1
            if self._users > 0:
                return
            if self._all.get(self._key) is self:
                del self._all[self._key]
        with self._lock:
            self._closed = True
            connecting = self._connecting
        if connecting is None:  # else the thread that connects closes what it opened
            self._connection.close()

    @property
    def session(self) -> object | None:
        """The session of the driver; None without a connection."""
        return self._connection.session

    def ask(self, queries: Iterable[Query], since: float = -inf) -> Answers:
        """Return what the nodes say; what was asked within ``REUSE_SECONDS`` is not asked again.

        With ``since``, only if it was asked after that moment: who asks twice wants to know what is now.

        Raises UnreachableError, RefusedError or ConfigurationError, whose message says why nobody answers.
        """
        arrived = self.clock.monotonic()
        if not self._polling.acquire(timeout=QUEUE_SECONDS):
            raise UnreachableError(f"another poll did not end within {QUEUE_SECONDS:g} s")
        try:
            self._connect()
            answers = self._answers(list(queries), max(since, arrived - REUSE_SECONDS))
        finally:
            self._polling.release()
        self._judge(answers, arrived)
        return answers

    def told(self) -> dict[str, object]:
        """Return the state of the connection, as data: ``state``, ``since``, ``reason``, ``outages``."""
        with self._lock:
            outages: list[dict[str, str | None]] = [dict(outage) for outage in self._outages]
            return {
                "state": self._state,
                "since": self._time(self._since),
                "reason": self._reason,
                "outages": outages,
            }

    def after_fork_in_child(self) -> None:
        """Forget the connection: its threads are the parent's, and its sockets shared with it."""
        self._make_locks()
        self._connecting = None
        self._connection.after_fork_in_child()
        self._kept.clear()

    # -- connecting

    def _connect(self) -> None:
        """Return with a connection, or raise why there is none; waits for the first one only."""
        if self._connection.is_open:
            return
        with self._lock:
            connecting = self._connecting
            if connecting is None:
                if self._target is not None and self._target in self._refusals:
                    self._failure = self._refusals[self._target]
                if isinstance(self._failure, (RefusedError, ConfigurationError)):
                    refused = isinstance(self._failure, RefusedError)
                    self._change(REFUSED if refused else UNREACHABLE, str(self._failure))
                    raise self._failure
                if self._failure is not None and self.clock.monotonic() < self._not_before:
                    raise self._failure
                connecting = self._connecting = Flag()
                start_thread(self._try, "diagnostics-cassandra-connect")
                self._tried_at = self.clock.monotonic()
        waited = self.clock.monotonic() - self._tried_at
        if not connecting.wait(FIRST_SECONDS - waited if self._failure is None else 0.0):
            if self._failure is not None:
                raise self._failure
            waited = self.clock.monotonic() - self._tried_at
            failure = UnreachableError(f"{self._target}: no answer yet, after {waited:.1f} s")
            self._change(UNREACHABLE, str(failure))
            raise failure
        if not self._connection.is_open:
            raise self._failure or UnreachableError("the connection was closed")

    def _try(self) -> None:
        failure: DiagnosticError | None = None
        try:
            self._connection.open()
        except DiagnosticError as exc:
            failure = exc
        except Exception as exc:  # noqa: BLE001 - of the driver, or of the system: data like any other
            failure = UnreachableError(f"{self._target}: {type(exc).__name__}: {exc}")
        with self._lock:
            closed = self._closed
            connecting, self._connecting = self._connecting, None
            if failure is not None:
                self._failure = failure
                self._not_before = self.clock.monotonic() + self._pause
                self._pause = min(2 * self._pause, PAUSE_SECONDS[1])
                refused = isinstance(failure, RefusedError)
                if refused and self._target is not None:
                    self._refusals[self._target] = failure  # type: ignore[assignment] # as just asked
                self._change(REFUSED if refused else UNREACHABLE, str(failure))
        if closed:
            self._connection.close()
        if connecting is not None:
            connecting.set()

    # -- asking

    def _answers(self, queries: list[Query], since: float) -> Answers:
        kept = {
            query: self._kept[query][1]
            for query in queries
            if query in self._kept and self._kept[query][0] >= since
        }
        if self._last is not None and len(kept) == len(queries):
            fresh = replace(self._last, replies={}, asked=0, seconds=0.0)
            moment = min((self._kept[query][0] for query in queries), default=since)
        else:
            moment = self.clock.monotonic()
            fresh = self._last = self._connection.ask([query for query in queries if query not in kept])
            for query in queries:
                if query not in kept:
                    self._kept[query] = (moment, dict(fresh.replies.get(query.topic, {})))
            moment = min([moment, *(self._kept[query][0] for query in kept)])
        replies = {**self._last.replies, **fresh.replies}
        replies.update({query.topic: one for query, one in kept.items()})
        return replace(fresh, replies=replies, moment=moment)

    def _judge(self, answers: Answers, began: float) -> None:
        """Take note of whether anybody answered; raises UnreachableError when nobody did."""
        replies = [reply for of in answers.replies.values() for reply in of.values() if reply.node]
        if any(reply.rows is not None or _was_refused(reply) for reply in replies):
            with self._lock:
                self._failure, self._pause = None, PAUSE_SECONDS[0]
                self._change(CONNECTED)
            return
        reasons: dict[str, str] = {}
        for reply in replies:
            reasons.setdefault(reply.node, f"{reply.node}: {reply.error}")
        failure = UnreachableError("; ".join(reasons.values())[:500] or "no node of the cluster is known")
        with self._lock:
            self._change(UNREACHABLE, str(failure), began)
            alone_since = max(self._since, self._tried_at)
            is_lost = self._target is not None and began - alone_since >= RENEW_SECONDS
            self._failure = failure if is_lost else None
        if is_lost:
            self._connection.close()
        raise failure

    # -- telling

    def _change(self, state: str, reason: str | None = None, moment: float | None = None) -> None:
        """Go to a state; a change to ``connected`` ends an outage, one from it begins another."""
        now = self.clock.monotonic() if moment is None else moment
        with self._lock:
            if state == CONNECTED:
                if self._outages and self._outages[-1]["to"] is None:
                    self._outages[-1]["to"] = self._time(now)
                reason = None
            elif not self._outages or self._outages[-1]["to"] is not None:
                self._outages.append({"from": self._time(now), "to": None, "reason": reason, "state": state})
            elif state == REFUSED:  # it was silent at first
                self._outages[-1].update(reason=reason, state=state)
            if state != self._state:
                self._since = now
            self._state = state
            self._reason = reason if state == CONNECTED else reason or self._reason

    def _time(self, moment: float) -> str:
        return str(self.clock.wall(moment).isoformat(timespec="milliseconds"))

    def _make_locks(self) -> None:
        #: Guards the state; held for moments only.
        self._lock = threading.RLock()
        #: Held while the nodes are asked.
        self._polling = threading.Lock()


def _was_refused(reply: Reply) -> bool:
    """Return whether the node did answer, and said no."""
    kinds = (ErrorType.PERMISSION, ErrorType.UNAVAILABLE)
    return reply.error is not None and reply.error.startswith(tuple(f"{kind}:" for kind in kinds))


class CassandraCollector(DiagnosticCollector):
    """Asks a cluster its ``queries`` and has ``read`` make data of the answers.

    Its data has ``connection`` (the state, since when, why, the last outages) and ``poll`` (the seconds that
    it took, the statements that were sent, and how long the next one waits when the server is slow). While
    nobody answers, each of ``topics`` is None, with its reason in ``reasons``.
    """

    timeout = 10.0
    #: All ask at the same instant, so that what one asked serves the others.
    aligned = True
    default_name: ClassVar[str] = "cassandra"
    queries: ClassVar[tuple[Query, ...]] = ()
    #: The keys of what ``read`` returns that are None without a connection.
    topics: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        target: Target | Mapping[str, object] | None = None,
        *,
        session: object | None = None,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
    ) -> None:
        """Watch ``target``, or what its ``fields`` returned, or the cluster of a live session."""
        super().__init__(name or self.default_name, exception_handler)
        self._target = Target.from_fields(target) if isinstance(target, Mapping) else target
        self._session = session
        if target is not None and session is not None:
            raise ConfigurationError("give a target or a session, one of them")
        self._watch: Watch | None = None
        #: When this collector was answered last.
        self._asked_at = -inf

    def wanted(self) -> Sequence[Query]:
        """Return what to ask now; for a collector that asks some things more rarely than others."""
        return self.queries

    @abstractmethod
    def read(self, answers: Answers) -> dict[str, object]:
        """Return the data of one poll."""

    def probe(self) -> str | None:
        """Return why nothing can be watched from here; connects to nothing."""
        if self._session is not None:
            return None
        if self._target is None:
            return "no database was named; give --diagnostics-cassandra=HOST[:PORT],..."
        missing = driver_missing()
        if missing is not None:
            return missing
        try:
            self._target.password()
            if self._target.tls:
                self._target.tls_context()
        except ConfigurationError as exc:
            return str(exc)
        return None

    def start(self) -> object:
        """Take part in the watch of the cluster; the first poll connects."""
        self._open()
        return None

    def collect(self) -> dict[str, object]:
        """Ask and read; a database that does not answer is data."""
        watch = self._open()
        began = watch.clock.monotonic()
        self.as_of = None
        sent, busy = 0, 0.0
        try:
            # Another collector's answers will do, but not those that this one has had.
            answers = watch.ask(self.wanted(), self._asked_at)
        except (UnavailableError, ConfigurationError) as exc:
            data: dict[str, object] = {"server": None, **dict.fromkeys(self.topics)}
            data["reasons"] = dict.fromkeys(self.topics, str(exc))
        else:
            self._asked_at = watch.clock.monotonic()
            data = self.read(answers)
            sent, busy = answers.asked, answers.seconds
            self.as_of = answers.moment
        # The server is not asked for more than a fifth of the time.
        rest = min(busy / MOST_OF_INTERVAL - busy, MOST_REST_SECONDS)
        self.rest_seconds = rest if rest + busy > (self.interval or 1.0) else 0.0
        data["connection"] = watch.told()
        data["poll"] = {
            "seconds": round(watch.clock.monotonic() - began, 4),
            "queries": sent,
            "rests_seconds": round(self.rest_seconds, 1),
        }
        return data

    def stop(self) -> object:
        """Leave the watch; the last one closes the connection, in bounded time."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.release()
        return None

    def _open(self) -> Watch:
        if self._watch is None:
            self._watch = Watch.of(self._target, self._session)
        return self._watch
