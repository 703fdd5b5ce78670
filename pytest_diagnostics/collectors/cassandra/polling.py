"""One poll: which node is asked what, at which level, and what is not asked any more. Knows no driver."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from ...core.clock import SystemClock
from ...core.errors import ErrorType
from .levels import is_unavailable, level, told
from .queries import Answers, Catalog, Node, Query, Reply, Ring, Row

#: How long a node may take for one answer, and a poll altogether.
REQUEST_SECONDS = 3.0
POLL_SECONDS = 8.0

_COLUMNS = ("keyspace_name", "table_name", "column_name")
_STORED = Query(
    "catalog",
    "system_schema",
    "columns",
    _COLUMNS,
    where="keyspace_name IN ('system', 'system_schema', 'system_distributed')",
)
_VIRTUAL = Query("virtual_catalog", "system_virtual_schema", "columns", _COLUMNS)
KEYSPACES = Query("keyspaces", "system_schema", "keyspaces", node_local=False)
#: What there is to be read before anything is known.
_BARE = Catalog(
    {
        ("system_schema", "columns"): _COLUMNS,
        ("system_schema", "keyspaces"): ("keyspace_name",),
        ("system_virtual_schema", "columns"): _COLUMNS,
    }
)


class Pending(Protocol):
    """One statement on its way to one node."""

    #: What came; complete once ``wait`` said so.
    rows: list[Row]
    error: BaseException | None
    truncated: bool

    def wait(self, timeout: float) -> bool:
        """Wait for the answer; False without one after ``timeout`` seconds."""

    def give_up(self) -> None:
        """Fetch no further pages: nobody waits any more."""


class Wire(Protocol):
    """The way to the nodes."""

    def nodes(self) -> list[Node]:
        """Return the nodes that are known, sorted by address."""

    def ring(self, keyspaces: Sequence[Row]) -> Ring:
        """Return who owns what of these keyspaces."""

    def send(self, address: str, cql: str, level: str, most_rows: int) -> Pending:
        """Send a statement to one node; raises when that is impossible."""


class Poller:
    """Asks every node one thing at a time, and one that does not answer nothing more until it did."""

    def __init__(self, wire: Wire, clock: SystemClock) -> None:
        self._wire = wire
        self._clock = clock
        self._catalogs: dict[str, Catalog] = {}
        #: Address -> why its tables could not be read.
        self._unread: dict[str, str] = {}
        #: Address -> what it was asked and has not answered yet.
        self._unanswered: dict[str, tuple[str, Pending]] = {}
        #: Address -> how it was when it was seen last.
        self._seen: dict[str, Node] = {}
        self._silent: set[str] = set()
        self._timeout = REQUEST_SECONDS
        self._deadline = 0.0
        self._sent = 0

    def poll(self, queries: Iterable[Query], timeout: float = REQUEST_SECONDS) -> Answers:
        """Put each query to every node that has an answer of its own, or to one node that answers for all.

        ``timeout`` is for each query. A node that lets one pass is asked nothing more in this poll.
        """
        moment = self._clock.monotonic()
        self._timeout, self._deadline = timeout, moment + POLL_SECONDS
        self._silent.clear()
        self._sent = 0
        nodes = self._wire.nodes()
        self._forget_changed(nodes)
        self._learn([node for node in nodes if node.address not in self._catalogs])
        keyspaces = self._anywhere(KEYSPACES, nodes)
        replies = {KEYSPACES.topic: {keyspaces.node: keyspaces}}
        ring = self._wire.ring(keyspaces.rows or [])
        for query in queries:
            if query.node_local:
                replies[query.topic] = self._everywhere(query, nodes)
            else:
                reply = self._anywhere(query, nodes, ring)
                replies[query.topic] = {reply.node: reply}
        seconds = self._clock.monotonic() - moment
        return Answers(tuple(nodes), replies, ring, dict(self._catalogs), moment, self._sent, seconds)

    def forget(self) -> None:
        """Forget the nodes: the next poll goes through another connection."""
        self._catalogs.clear()
        self._unanswered.clear()
        self._seen.clear()

    # -- the nodes' tables

    def _forget_changed(self, nodes: Iterable[Node]) -> None:
        """Ask a node anew which tables it has when it was away: it may be of another version now."""
        seen = {node.address: node for node in nodes}
        for address, before in self._seen.items():
            now = seen.get(address)
            returned = before.is_up is False and now is not None and now.is_up
            if now is None or returned or now.release_version != before.release_version:
                self._catalogs.pop(address, None)
        self._seen = seen

    def _learn(self, nodes: Sequence[Node]) -> None:
        """Read which tables and columns these nodes have."""
        stored = self._everywhere(_STORED, nodes, _BARE)
        for address, reply in stored.items():
            self._unread[address] = reply.reason or ""
        readable = [node for node in nodes if stored[node.address].rows is not None]
        for address, reply in self._everywhere(_VIRTUAL, readable, _BARE).items():
            tables = Catalog.of_rows(stored[address].rows or []).tables
            if reply.rows is not None:
                self._catalogs[address] = Catalog({**tables, **Catalog.of_rows(reply.rows).tables})
            elif is_unavailable(reply.error):
                self._catalogs[address] = Catalog(tables)  # ScyllaDB has no virtual keyspaces
            else:
                self._unread[address] = reply.reason or ""  # and asked again with the next poll

    # -- the queries

    def _anywhere(self, query: Query, nodes: Sequence[Node], ring: Ring | None = None) -> Reply:
        """Ask the nodes in turn until one answers; a replicated table at a quorum where it can be had."""
        reply = Reply(query.topic, query.cql(_BARE), "", error=f"{ErrorType.CONNECTION}: no node is known")
        wanted, why = level(query, nodes, ring)
        catalog = _BARE if query is KEYSPACES else None
        for node in sorted(nodes, key=lambda node: (node.is_up is False, node.address in self._silent)):
            for at in dict.fromkeys((wanted, "ONE")):
                reply = self._everywhere(query, [node], catalog, level=at)[node.address]
                if reply.rows is not None:
                    return replace(reply, consistency=f"{at} ({why})" if why else at)
                refused = (reply.error or "").startswith(f"{ErrorType.PERMISSION}:")
                if reply.unavailable is not None or refused:
                    return reply  # as every node would say
                if node.address in self._silent:
                    break
                why = f"{at} could not be had: {reply.reason}"
        return reply

    def _everywhere(
        self,
        query: Query,
        nodes: Sequence[Node],
        catalog: Catalog | None = None,
        *,
        level: str = "LOCAL_ONE",
    ) -> dict[str, Reply]:
        """Ask all these nodes at the same time."""
        began = self._clock.monotonic()
        replies: dict[str, Reply] = {}
        sent: dict[str, Pending] = {}
        for node in nodes:
            address = node.address
            tables = catalog or self._catalogs.get(address)
            reply = Reply(query.topic, query.cql(tables or _BARE), address, moment=began)
            unavailable = query.refusal(tables) if tables is not None else None
            error = self._hindrance(address, began, known=tables is not None)
            replies[address] = replace(reply, unavailable=unavailable, error=None if unavailable else error)
            if unavailable or error:
                continue
            try:
                sent[address] = self._wire.send(address, reply.query, level, query.most_rows)
                self._sent += 1
            except Exception as exc:  # noqa: BLE001 - the driver raises errors of many classes
                replies[address] = replace(reply, error=told(exc))
        until = min(began + self._timeout, self._deadline)
        for address, pending in sent.items():
            is_there = pending.wait(max(0.0, until - self._clock.monotonic()))
            replies[address] = self._taken(replies[address], pending, began, is_there=is_there)
        return replies

    def _hindrance(self, address: str, now: float, *, known: bool) -> str | None:
        """Return why a node is not asked at this moment; None when it is."""
        asked = self._unanswered.get(address)
        if asked is not None and asked[1].wait(0.0):
            del self._unanswered[address]
            asked = None
        if asked is not None:
            self._silent.add(address)
            return f"{ErrorType.TIMEOUT}: not asked, as it has not answered {asked[0]!r} yet"
        if now >= self._deadline:
            return f"{ErrorType.TIMEOUT}: not asked, the poll took {POLL_SECONDS:g} s already"
        if not known:
            why = self._unread.get(address) or "not asked yet"
            kind, _, rest = why.partition(": ")
            return f"{kind}: which tables it has could not be read: {rest}" if rest else why
        return None

    def _taken(self, reply: Reply, pending: Pending, began: float, *, is_there: bool) -> Reply:
        now = self._clock.monotonic()
        reply = replace(reply, seconds=now - began, moment=now)
        if not is_there:
            pending.give_up()
            self._unanswered[reply.node] = (reply.topic, pending)
            self._silent.add(reply.node)
            return replace(reply, error=f"{ErrorType.TIMEOUT}: no answer within {now - began:.1f} s")
        if pending.error is not None:
            return replace(reply, error=told(pending.error))
        return replace(reply, rows=pending.rows, truncated=pending.truncated)
