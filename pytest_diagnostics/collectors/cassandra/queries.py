"""What is asked of a server, and what it answers: rows, or the reason why there are none.

A table that a version does not have is unavailable, a table without rows is empty, and a query that failed is
an error. The three are never taken for each other, neither for a node nor for a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from ...core.errors import ConfigurationError

Row = Mapping[str, object]

#: Keyspaces of the server's own, whose views and indexes are nobody's.
SYSTEM_KEYSPACES = frozenset(
    {
        "system",
        "system_auth",
        "system_distributed",
        "system_distributed_everywhere",
        "system_metrics",
        "system_replicated_keys",
        "system_schema",
        "system_traces",
        "system_views",
        "system_virtual_schema",
        "audit",
    }
)


def quoted(name: str) -> str:
    """Return a CQL identifier as it must be written when it may hold capitals, quotes or reserved words."""
    return '"' + name.replace('"', '""') + '"'


def qualified(keyspace: str, table: str) -> str:
    """Return a table's full name, quoted."""
    return f"{quoted(keyspace)}.{quoted(table)}"


def literal(value: object) -> str:
    """Return a value as CQL writes it; a tuple or list is the list of an IN."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, UUID)):
        return str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(literal(each) for each in value)})"
    raise ConfigurationError(f"{value!r} is nothing that a query of ours may hold")


@dataclass(frozen=True)
class Query:
    """One SELECT over one table of the server's own."""

    #: What it is about, in our words: the key under which its replies are kept.
    topic: str
    keyspace: str
    table: str
    #: The columns that are wanted; those that a version does not have are left out. None: all that there are.
    columns: tuple[str, ...] | None = None
    #: Without these columns the table is of no use.
    needed: tuple[str, ...] = ()
    #: What follows WHERE, with ``%s`` for the parameters, which are hashable.
    where: str = ""
    parameters: tuple[object, ...] = ()
    #: True: every node has rows of its own. False: any node answers for all.
    node_local: bool = True
    #: Rows beyond this are not fetched, and the reply says so.
    most_rows: int = 10_000

    def cql(self, catalog: Catalog) -> str:
        """Return the statement for a server with these tables, its parameters in their places."""
        there = catalog.columns(self.keyspace, self.table)
        wanted = there if self.columns is None else [name for name in self.columns if name in there]
        listed = "*" if self.columns is None or not wanted else ", ".join(quoted(name) for name in wanted)
        where = f" WHERE {self.where}" if self.where else ""
        if self.parameters:
            where %= tuple(literal(value) for value in self.parameters)
        return f"SELECT {listed} FROM {qualified(self.keyspace, self.table)}{where}"

    def refusal(self, catalog: Catalog) -> str | None:
        """Return why a server with these tables cannot be asked this; None when it can."""
        there = catalog.columns(self.keyspace, self.table)
        if not there:
            return f"this version has no table {self.keyspace}.{self.table}"
        missing = [name for name in self.needed if name not in there]
        if missing:
            return f"{self.keyspace}.{self.table} of this version has no column {', '.join(missing)}"
        return None


@dataclass(frozen=True)
class Catalog:
    """The tables and columns that one node offers in the server's own keyspaces."""

    tables: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, rows: Iterable[Row]) -> Catalog:
        """Return the catalog of rows of ``system_schema.columns`` and ``system_virtual_schema.columns``."""
        tables: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            name = str(row["keyspace_name"]), str(row["table_name"])
            tables.setdefault(name, []).append(str(row["column_name"]))
        return cls({name: tuple(columns) for name, columns in tables.items()})

    def columns(self, keyspace: str, table: str) -> tuple[str, ...]:
        """Return a table's columns; empty when there is no such table."""
        return self.tables.get((keyspace, table), ())

    def has(self, keyspace: str, table: str) -> bool:
        """Return whether there is such a table."""
        return (keyspace, table) in self.tables

    @property
    def is_scylla(self) -> bool:
        """Whether the tables are ScyllaDB's: its build progress is kept shard by shard."""
        return self.has("system", "scylla_views_builds_in_progress") or self.has("system", "scylla_local")


@dataclass(frozen=True)
class Reply:
    """What one node said to one query."""

    topic: str
    #: The statement as it was sent, or would have been.
    query: str
    #: The node's address; empty for a query that any node may answer and none did.
    node: str
    #: None unless the query succeeded; then ``unavailable`` or ``error`` says why.
    rows: list[Row] | None = None
    #: The server does not offer this: no such table or column.
    unavailable: str | None = None
    #: The query was sent, or could not be, and failed: "<kind>: <message>", a kind of ``ErrorType``.
    error: str | None = None
    #: The level at which a replicated table was read, and why it was not a quorum if it was not.
    consistency: str | None = None
    #: True when there were more rows than are fetched.
    truncated: bool = False
    #: How long the answer took, and when it came, CLOCK_MONOTONIC.
    seconds: float = 0.0
    moment: float = 0.0

    @property
    def reason(self) -> str | None:
        """Why there are no rows; None when there are, if only zero of them."""
        return self.unavailable or self.error


@dataclass(frozen=True)
class Node:
    """One node as the driver knows it."""

    address: str
    host_id: str
    #: None until the driver has found out.
    is_up: bool | None
    release_version: str
    datacenter: str


@dataclass(frozen=True)
class Ring:
    """Who owns which part of the token ring, keyspace by keyspace."""

    #: The tokens in ascending order.
    tokens: tuple[int, ...] = ()
    #: Keyspace -> for each token, the host ids of the replicas of the range that ends there.
    replicas: Mapping[str, tuple[frozenset[str], ...]] = field(default_factory=dict)
    #: Keyspace -> copies of each row, over all datacenters; 0 for keyspaces that every node holds alone.
    factors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """Everything that one poll learned."""

    nodes: tuple[Node, ...]
    #: Topic -> node's address -> reply. A query that any node may answer has one reply.
    replies: Mapping[str, Mapping[str, Reply]]
    ring: Ring
    #: Address -> its tables.
    catalogs: Mapping[str, Catalog]
    #: When the oldest of these answers was asked for, CLOCK_MONOTONIC.
    moment: float = 0.0
    #: How many statements were sent for it.
    asked: int = 0
    #: How long the servers took for it, all of them together.
    seconds: float = 0.0

    def reply(self, topic: str, node: str) -> Reply | None:
        """Return what a node said on a topic; None when it was not asked."""
        return self.replies.get(topic, {}).get(node)

    def anyone(self, topic: str) -> Reply | None:
        """Return what some node said on a topic that one node answers for all: rows before reasons."""
        replies = list(self.replies.get(topic, {}).values())
        return next((reply for reply in replies if reply.rows is not None), replies[0] if replies else None)
