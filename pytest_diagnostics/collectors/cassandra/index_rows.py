"""What the server's tables say about indexes, node by node, before anything is concluded from it. Pure.

The tables are those of Cassandra 4.0 to 6.0; ``IndexInfo`` of ScyllaDB has the same columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .queries import SYSTEM_KEYSPACES, Answers, Node, Query, Reply, Row
from .shared import SSTABLE_TASKS, THREAD_POOLS
from .telling import missing, node_state

#: The states of org.apache.cassandra.index.Index$Status by their codes, read from the classes of 5.0.8 and
#: 6.0-alpha2. Up to 5.0.2 gossip has the names, from 5.0.3 on the codes.
GOSSIP_CODES = {
    0: "UNKNOWN",
    1: "FULL_REBUILD_STARTED",
    2: "BUILD_FAILED",
    3: "BUILD_SUCCEEDED",
    4: "DROPPED",
}

#: Every node is asked: one that lags behind does not build what it does not know.
INDEXES = Query(
    "indexes",
    "system_schema",
    "indexes",
    needed=("keyspace_name", "table_name", "index_name", "kind"),
    most_rows=50_000,
)
#: Its ``table_name`` holds the keyspace. A row: the node takes the index for built.
INDEX_INFO = Query(
    "IndexInfo",
    "system",
    "IndexInfo",
    ("table_name", "index_name"),
    needed=("table_name", "index_name"),
    most_rows=50_000,
)
_FLAGS = ("keyspace_name", "index_name", "is_queryable", "is_building")
SAI_INDEXES = Query(
    "sai_column_indexes", "system_views", "sai_column_indexes", _FLAGS, needed=_FLAGS, most_rows=50_000
)
#: The same by its name in DataStax's branch.
SAI_TWIN = Query("sai_indexes", "system_views", "indexes", _FLAGS, needed=_FLAGS, most_rows=50_000)
#: Every node's index states, as the node that is asked has heard of them. Since 5.0.
GOSSIP = Query(
    "gossip_index_status",
    "system_views",
    "gossip_info",
    ("address", "index_status"),
    needed=("index_status",),
    node_local=False,
)
#: One row for each index and sstable that it covers.
SAI_SSTABLES = Query(
    "sai_sstable_indexes",
    "system_views",
    "sai_sstable_indexes",
    ("keyspace_name", "table_name", "index_name", "sstable_name", "cell_count", "per_column_disk_size"),
    needed=("keyspace_name", "table_name", "index_name", "sstable_name"),
    most_rows=5_000,
)

#: The thread that builds new indexes, and the threads that it has build them since 5.0.
MANAGEMENT, EXECUTOR = "SecondaryIndexManagement", "SecondaryIndexExecutor"

Name = tuple[str, str]


@dataclass(frozen=True)
class Index:
    """One index of the schema."""

    keyspace: str
    table: str
    name: str
    #: legacy, sasi, storage-attached, view (ScyllaDB's) or custom.
    kind: str
    #: As the schema has them: with others, it is another index of the same name.
    options: Mapping[object, object]


@dataclass(frozen=True)
class Task:
    """One running build of one or more indexes of a table."""

    id: str
    keyspace: str
    table: str
    done: int
    total: int
    #: Whether it names the directory that it writes to: only SASI's do. None: before 5.0.
    has_directory: bool | None


@dataclass
class Facts:
    """What one node says; None is what could not be read, and ``reasons`` says why."""

    node: Node
    #: When its tasks were read, CLOCK_MONOTONIC.
    moment: float
    is_up: bool = True
    #: (keyspace, index) of those that its schema has.
    schema: set[Name] | None = None
    tasks: dict[Name, list[Task]] | None = None
    #: (keyspace, index) of those that it lists as built.
    listed: set[Name] | None = None
    #: Whether a thread that builds indexes is at work, or has work to do.
    is_busy: bool | None = None
    #: Whether the one is that builds new indexes, one after another; it has no part in a rebuild.
    is_managing: bool | None = None
    #: How many new indexes it is through with, whatever became of them.
    managed: int | None = None
    #: (keyspace, index) -> (is_building, is_queryable).
    flags: dict[Name, tuple[bool, bool]] | None = None
    #: (keyspace, index) -> what it covers; None as well while it is not asked for.
    coverage: dict[Name, Coverage] | None = None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Coverage:
    """What a storage-attached index covers on a node, and what all of its table's indexes cover together."""

    sstables: int
    of_sstables: int
    cells: int
    size_bytes: int

    def told(self) -> dict[str, object]:
        """Return it as data."""
        return {
            "sstables": self.sstables,
            "of_sstables": self.of_sstables,
            "cells": self.cells,
            "size_bytes": self.size_bytes,
        }


def indexes(rows: Iterable[Row], *, is_scylla: bool) -> list[Index]:
    """Return the users' indexes of rows of ``system_schema.indexes``, of one node or of several."""
    found: dict[Name, Index] = {}
    for row in rows:
        keyspace = str(row["keyspace_name"])
        if keyspace in SYSTEM_KEYSPACES or (keyspace, row["index_name"]) in found:
            continue
        options = row.get("options")
        options = dict(options) if isinstance(options, Mapping) else {}
        kind = _kind(str(row["kind"]), str(options.get("class_name", "")), is_scylla=is_scylla)
        index = Index(keyspace, str(row["table_name"]), str(row["index_name"]), kind, options)
        found[keyspace, index.name] = index
    return list(found.values())


def _kind(kind: str, class_name: str, *, is_scylla: bool) -> str:
    if kind != "CUSTOM":
        return "view" if is_scylla else "legacy"
    last = class_name.rpartition(".")[2].lower()
    if last in ("sai", "storageattachedindex"):
        return "storage-attached"
    return "sasi" if last == "sasiindex" else "custom"


def facts(answers: Answers, node: Node) -> Facts:
    """Return what a node said in one poll."""
    tasks = answers.reply(SSTABLE_TASKS.topic, node.address)
    found = Facts(node, tasks.moment if tasks is not None and tasks.moment else answers.moment)
    if node_state(answers, node) == "down":
        found.is_up = False
        return found
    known = _rows(found, answers.reply(INDEXES.topic, node.address), "schema")
    if known is not None:
        found.schema = {_of(row) for row in known}
    running = _rows(found, tasks, "tasks")
    found.tasks = None if running is None else _tasks(running)
    pools = _rows(found, answers.reply(THREAD_POOLS.topic, node.address), "threads")
    if pools is not None:
        busy = {
            str(row["name"]) for row in pools if _number(row["active_tasks"]) + _number(row["pending_tasks"])
        }
        found.is_managing = MANAGEMENT in busy
        completed = [row.get("completed_tasks") for row in pools if row["name"] == MANAGEMENT]
        found.managed = _number(completed[0]) if completed else 0
        found.is_busy = found.is_managing or EXECUTOR in busy
    listed = _rows(found, answers.reply(INDEX_INFO.topic, node.address), "listed_as_built")
    if listed is not None:
        found.listed = {(str(row["table_name"]), str(row["index_name"])) for row in listed}
    flags = _one_of(
        answers.reply(SAI_INDEXES.topic, node.address), answers.reply(SAI_TWIN.topic, node.address)
    )
    flagged = _rows(found, flags, "is_queryable")
    if flagged is not None:
        found.flags = {_of(row): (bool(row["is_building"]), bool(row["is_queryable"])) for row in flagged}
    covered = answers.reply(SAI_SSTABLES.topic, node.address)
    if covered is not None and covered.rows is not None and not covered.truncated:
        found.coverage = coverage(covered.rows)
    elif covered is not None and (covered.error or covered.truncated):
        found.reasons["coverage"] = covered.error or _TRUNCATED
    return found


_TRUNCATED = "there are more rows than are fetched"


def _rows(facts: Facts, reply: Reply | None, what: str) -> list[Row] | None:
    """Return the rows of a reply, or note why there are none; what is cut off proves no absence."""
    reason = missing(reply)
    if reply is not None and reply.truncated:
        reason = _TRUNCATED
    if reason is not None or reply is None:
        facts.reasons[what] = reason or ""
        return None
    return reply.rows


def _one_of(first: Reply | None, twin: Reply | None) -> Reply | None:
    """Return the reply that has rows; without any, the one to the name that Cassandra has."""
    return twin if twin is not None and twin.rows is not None and (not first or not first.rows) else first


def _tasks(rows: Iterable[Row]) -> dict[Name, list[Task]]:
    """Return the index builds by (keyspace, table): 'secondary index build', and what is called like it."""
    found: dict[Name, list[Task]] = {}
    for row in rows:
        if "index" not in str(row["kind"]) or "summary" in str(row["kind"]):
            continue  # index summaries are of sstables, not of what users call an index
        keyspace, table = str(row.get("keyspace_name")), str(row.get("table_name"))
        directory = row.get("target_directory")
        task = Task(
            str(row.get("task_id")),
            keyspace,
            table,
            _number(row["progress"]),
            _number(row["total"]),
            None if directory is None else bool(directory),
        )
        found.setdefault((keyspace, table), []).append(task)
    return found


def coverage(rows: Iterable[Row]) -> dict[Name, Coverage]:
    """Return what each index covers, of rows of ``sai_sstable_indexes``."""
    of_table: dict[Name, set[str]] = {}
    of_index: dict[Name, list[Row]] = {}
    tables: dict[Name, Name] = {}
    for row in rows:
        table = str(row["keyspace_name"]), str(row["table_name"])
        of_table.setdefault(table, set()).add(str(row["sstable_name"]))
        of_index.setdefault(_of(row), []).append(row)
        tables[_of(row)] = table
    return {
        name: Coverage(
            len({str(row["sstable_name"]) for row in found}),
            len(of_table[tables[name]]),
            sum(_number(row.get("cell_count")) for row in found),
            sum(_number(row.get("per_column_disk_size")) for row in found),
        )
        for name, found in of_index.items()
    }


def gossip(rows: Iterable[Row]) -> dict[str, dict[Name, str]]:
    """Return address -> (keyspace, index) -> the name of its state, of rows of ``gossip_info``.

    A state that is not known by name here is told as the server wrote it.
    """
    found: dict[str, dict[Name, str]] = {}
    for row in rows:
        told = row.get("index_status")
        try:
            states = json.loads(str(told)) if told else {}
        except ValueError:
            continue  # cut off, or of another kind: then gossip says nothing of this node
        if isinstance(states, dict):
            found[str(row.get("address"))] = dict(_states(states))
    return found


def _states(states: Mapping[str, object]) -> Iterable[tuple[Name, str]]:
    for name, told in states.items():
        if isinstance(told, Mapping):
            for index, code in told.items():
                yield (name, str(index)), _state_name(code)
        else:
            keyspace, _, index = name.partition(".")
            yield (keyspace, index), _state_name(told)


def _state_name(told: object) -> str:
    return GOSSIP_CODES.get(told, str(told)) if isinstance(told, int) else str(told)


def _of(row: Row) -> Name:
    return str(row["keyspace_name"]), str(row["index_name"])


def _number(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) else 0
