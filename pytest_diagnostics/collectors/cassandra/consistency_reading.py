"""Rows of both sides of a view, as the server sent them: bytes, which no type of either driver changes.

Everything is reached from the session that is given: the driver is not imported here. A session of our own is
opened on its cluster, since how rows are decoded is set for a whole session, and theirs is not touched.
"""

from __future__ import annotations

import math
import struct
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from ...core.clock import SystemClock
from ...core.errors import UnavailableError
from .consistency_digests import RawRow
from .consistency_plan import LEVELS
from .levels import told
from .queries import SYSTEM_KEYSPACES
from .target import refuse_no_session

#: A statement that is prepared, of the driver's own class.
Statement = Any

FETCH_ROWS = 5000
#: What a page of large rows may take; the first page, before anything is known, is a small one.
PAGE_BYTES = 2 << 20
FIRST_ROWS = 500
LEAST_ROWS = 20
#: Point reads on their way at the same time.
AT_ONCE = 64
REQUEST_SECONDS = 10.0
#: What an answer may take at least, however little time there is.
LEAST_SECONDS = 1.0
#: The pauses before a read that failed is tried again.
PAUSES_SECONDS = (0.5, 1.0, 2.0)
#: The least and the largest token of Murmur3Partitioner that a row may have.
FIRST_TOKEN, LAST_TOKEN = -(2**63) + 1, 2**63 - 1

_RESULT, _ROWS, _BLOB = 0x08, 0x02, 0x03  # the protocol's own numbers
_FINAL = (
    "InvalidRequest",
    "SyntaxException",
    "Unauthorized",
    "AuthenticationFailed",
    "ConfigurationException",
)


class RefusedStatementError(UnavailableError):
    """The server understood a statement, and does not execute it: trying again does not help."""


class _Asked:
    """One statement on its way."""

    def __init__(self, future: Any, values: Sequence[bytes | None]) -> None:
        self.values = values
        self.rows: list[RawRow] = []
        self.paging_state: bytes | None = None
        self.error: BaseException | None = None
        self._done = threading.Event()
        self._future: Any = future
        future.add_callbacks(self._arrived, self._failed)

    def _arrived(self, rows: list[Any]) -> None:
        # Of a cluster with options of the older kind, rows are named tuples, which marshal does not take.
        self.rows = rows if not rows or type(rows[0]) is tuple else [tuple(row) for row in rows]
        self._done.set()

    def _failed(self, error: BaseException) -> None:
        self.error = error
        self._done.set()

    def wait(self) -> None:
        # The driver's timers may die with its threads; ours is a little later than they.
        if not self._done.wait(REQUEST_SECONDS + 5.0):
            self.error = TimeoutError(f"no answer within {REQUEST_SECONDS + 5.0:g} s")
        future, self._future = self._future, None  # which knows us: the two would be waste for the collector
        if self.error is None:
            self.paging_state = future.result().paging_state
        future.clear_callbacks()


class Reader:
    """Reads at one consistency level, no faster than it may; nothing but SELECT is ever sent."""

    def __init__(self, session: Any, rows_per_second: float | None) -> None:
        """Open a session of our own on the cluster of ``session``; ``close`` ends it."""
        refuse_no_session(session)
        self.level = "ONE"
        self.rows_read = 0
        #: When there is no time left for more, on CLOCK_MONOTONIC; None: there is as much as it takes.
        self.until: float | None = None
        self._rate = rows_per_second
        self._clock = SystemClock()
        self._began = self._clock.monotonic()
        self._never = threading.Event()
        self._version = session.cluster.protocol_version
        try:
            self._session = session.cluster.connect()
        except Exception as exc:
            raise UnavailableError(f"the cluster cannot be asked: {told(exc)}") from exc
        self._options: dict[str, object] = {"timeout": REQUEST_SECONDS}
        try:
            self._blob = _take_bytes(self._session)
            profile = self._session.execution_profile_clone_update(
                self._session.cluster.profile_manager.default, row_factory=lambda _names, rows: rows
            )
            self._session.execute("SELECT key FROM system.local", execution_profile=profile)
            self._options["execution_profile"] = profile
        except ValueError:  # the cluster was made with options of the older kind, which exclude profiles
            pass
        except Exception as exc:
            self.close()
            raise UnavailableError(f"the cluster cannot be asked: {told(exc)}") from exc

    def close(self) -> None:
        """End our session; the one that was given is not touched."""
        with suppress(Exception):  # nobody can be helped by what goes wrong here
            self._session.shutdown()

    def table(self, cql: str, *values: object) -> list[dict[str, object]]:
        """Return rows of a table of the server's own, decoded."""
        try:
            result = self._session.execute(cql, values or None, **self._options)
            names = list(result.column_names or ())
            return [dict(zip(names, row, strict=True)) for row in result]
        except Exception as exc:
            raise UnavailableError(f"the schema cannot be read: {told(exc)}") from exc

    def not_built_on(self, keyspace: str, view: str) -> tuple[str, ...]:
        """Return the addresses of the nodes that have not built a view (system.built_views of each).

        All are asked at once, and have a second. A node that is away, or does not tell, is none of them.
        """
        cql = "SELECT view_name FROM system.built_views WHERE keyspace_name = %s AND view_name = %s"
        options = {**self._options, "timeout": LEAST_SECONDS}
        asked, found = {}, []
        for host in self._session.cluster.metadata.all_hosts():
            with suppress(Exception):  # it is away
                future = self._session.execute_async(cql, (keyspace, view), host=host, **options)
                asked[str(host.address)] = future
        for address, future in asked.items():
            with suppress(Exception):  # who does not tell is not said to lack it
                if not list(future.result()):
                    found.append(address)
        return tuple(sorted(found))

    def prepare(self, cql: str) -> Statement:
        """Return a statement that takes bytes; raises RefusedStatementError for one that makes no sense."""
        try:
            statement = self._session.prepare(cql)
        except Exception as exc:
            raise _refused_or_not(exc, cql) from exc
        statement.consistency_level = LEVELS[self.level]
        statement.column_metadata = [
            column._replace(type=self._blob) for column in statement.column_metadata or ()
        ]
        return statement

    def decoded(self, statement: Statement, row: RawRow) -> dict[str, object]:
        """Return a row's values by column, as the driver decodes them; as hexadecimal where it cannot."""
        values: dict[str, object] = {}
        for (_, _, name, type_), stored in zip(statement.result_metadata, row, strict=True):
            try:
                values[name] = type_.from_binary(stored, self._version)
            except Exception:  # noqa: BLE001 - a date beyond Python's, for one; the bytes say it all
                values[name] = None if stored is None else f"0x{stored.hex()}"
        return values

    @property
    def seconds_left(self) -> float:
        """How much time there is: at least 0, and infinite where nobody set a limit."""
        return math.inf if self.until is None else max(0.0, self.until - self._clock.monotonic())

    def seconds_for(self, rows: int) -> float:
        """Return the least time that so many rows take at the rate that is allowed."""
        return 0.0 if self._rate is None else rows / self._rate

    def times(self, rows: int) -> float:
        """Return how often so many rows may be read in the time that is left, as far as a rate limits it.

        Once in any case; infinite where nobody set a limit to both.
        """
        if self._rate is None or self.until is None:
            return math.inf
        return max(1, int(self.seconds_left * self._rate / rows))

    def wait(self, seconds: float) -> None:
        """Let some time pass."""
        self._never.wait(seconds)

    # -- ranges

    def pages(self, statement: Statement, ranges: int) -> Iterator[tuple[int, list[RawRow]]]:
        """Yield a whole table, page by page, with the number of ranges that are done.

        The next page is on its way while one is looked at. A page is emptied when the next one is asked for:
        the driver holds it for as long as its request might have taken.
        """
        edges = token_ranges(ranges)
        statement.fetch_size = self._at_most(FIRST_ROWS)
        asked = self._send(statement, edges[0])
        for done, _edge in enumerate(edges):
            state: bytes | None = b""
            while state is not None:
                asked = self._taken(statement, asked, state or None)
                rows, state = asked.rows, asked.paging_state
                statement.fetch_size = self._at_most(_fetch_size(rows, statement.fetch_size))
                if state is not None:
                    asked = self._send(statement, asked.values, state)
                elif done + 1 < len(edges):
                    asked = self._send(statement, edges[done + 1])
                self._took(len(rows))
                yield done + (state is None), rows
                rows.clear()

    def rows(self, statement: Statement, keys: Iterable[Sequence[bytes | None]]) -> Iterator[list[RawRow]]:
        """Yield what is read with each of these values, in their order; many are read at the same time."""
        statement.fetch_size = FETCH_ROWS
        under_way: deque[_Asked] = deque()
        for values in keys:
            under_way.append(self._send(statement, values))
            self._took(1)
            if len(under_way) == AT_ONCE:
                yield self._arrived(statement, under_way.popleft())
        while under_way:
            yield self._arrived(statement, under_way.popleft())

    def some(
        self, statement: Statement, values: Sequence[bytes | None], most: int
    ) -> tuple[list[RawRow], bool]:
        """Return what is read with these values, page by page, and whether that is all.

        It ends when there are more than ``most`` rows, or when half of the time is over. A LIMIT of the
        statement is more than ``most``.
        """
        statement.fetch_size = FIRST_ROWS
        enough = self.seconds_left / 2
        rows: list[RawRow] = []
        state: bytes | None = None
        while True:
            asked = self._taken(statement, self._send(statement, values, state), state)
            rows += asked.rows
            self._took(len(asked.rows))
            # Where a page holds all that a LIMIT allows, Cassandra gives the first rows again.
            statement.fetch_size = min(most, _fetch_size(asked.rows, statement.fetch_size))
            state = asked.paging_state
            if state is None or len(rows) > most or self.seconds_left < enough:
                return rows, state is None

    def _arrived(self, statement: Statement, asked: _Asked) -> list[RawRow]:
        rows = self._taken(statement, asked).rows
        self._took(len(rows) - 1)  # one of them was counted when it was asked for
        return rows

    # -- one statement

    def _send(
        self, statement: Statement, values: Sequence[bytes | None], state: bytes | None = None
    ) -> _Asked:
        bound = statement.bind(list(values))
        options = self._options
        if self.until is not None:
            options = {**options, "timeout": max(LEAST_SECONDS, min(REQUEST_SECONDS, self.seconds_left))}
        return _Asked(self._session.execute_async(bound, paging_state=state, **options), values)

    def _taken(self, statement: Statement, asked: _Asked, state: bytes | None = None) -> _Asked:
        """Return the statement with its answer; one that failed is sent again, some times."""
        asked.wait()
        for pause in PAUSES_SECONDS:
            if asked.error is None or type(asked.error).__name__ in _FINAL or pause > self.seconds_left:
                break
            self.wait(pause)
            # What was too much for one request may be little enough for several.
            statement.fetch_size = max(LEAST_ROWS, (statement.fetch_size or FETCH_ROWS) // 4)
            asked = self._send(statement, asked.values, state)
            asked.wait()
        if asked.error is not None:
            raise _refused_or_not(asked.error, statement.query_string, self.level) from asked.error
        return asked

    def _at_most(self, rows: int) -> int:
        return rows if self._rate is None else max(LEAST_ROWS, min(rows, int(self._rate)))

    def _took(self, rows: int) -> None:
        """Wait as long as it takes to have read no faster than is allowed."""
        self.rows_read += max(0, rows)
        if self._rate is not None:
            ahead = self.rows_read / self._rate - (self._clock.monotonic() - self._began)
            if ahead > 0:
                self.wait(ahead)


def token_ranges(count: int) -> list[tuple[bytes, bytes]]:
    """Return the whole ring as ranges of equal width: the first and the last token of each, as bytes."""
    width = (LAST_TOKEN - FIRST_TOKEN + 1) // count
    firsts = [FIRST_TOKEN + width * number for number in range(count)]
    lasts = [first - 1 for first in firsts[1:]] + [LAST_TOKEN]
    return [(token_bytes(first), token_bytes(last)) for first, last in zip(firsts, lasts, strict=True)]


def token_bytes(token: int) -> bytes:
    """Return a token as the protocol sends it."""
    return struct.pack(">q", token)


def _fetch_size(rows: Sequence[RawRow], before: int | None) -> int:
    """Return how many rows of this size make a page."""
    some = rows[:50]
    if not some:
        return before or FIRST_ROWS
    size = sum(len(value) for row in some for value in row if value is not None) // len(some)
    # A Python object for each value takes some 40 bytes besides.
    return max(LEAST_ROWS, min(FETCH_ROWS, PAGE_BYTES // (size + 40 * len(some[0]))))


def _refused_or_not(exc: BaseException, cql: str, level: str = "") -> UnavailableError:
    if type(exc).__name__ in _FINAL:
        return RefusedStatementError(f"{cql}: {told(exc)}")
    at = f" at {level}" if level else ""
    return UnavailableError(f"{cql}{at}: {told(exc)}; check again when all replicas answer")


def _take_bytes(session: Any) -> Any:
    """Let a session of our own give rows of users' tables as bytes; return the driver's type of bytes."""
    handler = session.client_protocol_handler
    messages: dict[int, Any] = handler.message_types_by_opcode
    result: Any = messages[_RESULT]
    blob = result.type_codes[_BLOB]

    # With the underscore, the driver does not take it for the message of all sessions.
    class _Result(result):  # type: ignore[misc] # known at run time only
        column_metadata: Any

        def recv_results_metadata(self, *arguments: object) -> None:
            super().recv_results_metadata(*arguments)
            if self.kind == _ROWS and self.column_metadata:
                self.column_metadata = [
                    column if column[0] in SYSTEM_KEYSPACES else (*column[:3], blob)
                    for column in self.column_metadata
                ]

    session.client_protocol_handler = type(
        "BytesHandler", (handler,), {"message_types_by_opcode": {**messages, _RESULT: _Result}}
    )
    return blob
