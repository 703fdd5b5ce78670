"""Nodes that answer about indexes with rows as live servers sent them: 4.0.18, 4.1.10, 5.0.8, 6.0-alpha2."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pytest_diagnostics.collectors.cassandra.index_rows import (
    GOSSIP,
    INDEX_INFO,
    INDEXES,
    SAI_INDEXES,
    SAI_SSTABLES,
    SAI_TWIN,
)
from pytest_diagnostics.collectors.cassandra.indexes import IndexesReader
from pytest_diagnostics.collectors.cassandra.queries import Answers, Catalog, Node, Query, Reply, Ring, Row
from pytest_diagnostics.collectors.cassandra.shared import SSTABLE_TASKS, THREAD_POOLS
from pytest_diagnostics.core.bounds import bound

#: What a node said to a query: rows, or the reason why there are none: "unavailable: ..." or an error.
Said = Sequence[Row] | str

A, B, C = "127.0.0.1", "127.0.0.2", "127.0.0.3"
NO_SAI = "unavailable: this version has no table system_views.sai_column_indexes"
NO_GOSSIP = "unavailable: system_views.gossip_info has no column index_status"
SASI = "org.apache.cassandra.index.sasi.SASIIndex"


def index(name: str = "ia", class_name: str | None = None, table: str = "t") -> Row:
    options = {"target": "a"} if class_name is None else {"target": "a", "class_name": class_name}
    kind = "COMPOSITES" if class_name is None else "CUSTOM"
    return {
        "keyspace_name": "k",
        "table_name": table,
        "index_name": name,
        "kind": kind,
        "options": options,
    }


def task(
    progress: int, total: int = 1000, name: str = "6deecb00", directory: str | None = "", table: str = "t"
) -> Row:
    row = {
        "keyspace_name": "k",
        "table_name": table,
        "task_id": name,
        "completion_ratio": progress / total,
        "kind": "secondary index build",
        "progress": progress,
        "total": total,
        "unit": "bytes",
    }
    return row if directory is None else {**row, "target_directory": directory, "sstables": 3}


def pools(managing: int = 0, pending: int = 0, executing: int = 0, completed: int = 1) -> list[Row]:
    named = {
        "SecondaryIndexManagement": (managing, pending),
        "SecondaryIndexExecutor": (executing, 0),
        "CompactionExecutor": (1, 0),
    }
    return [
        {"name": name, "active_tasks": active, "pending_tasks": waiting, "completed_tasks": completed}
        for name, (active, waiting) in named.items()
    ]


def listed(*names: str) -> list[Row]:
    found = [{"table_name": "k", "index_name": name} for name in names]
    return [*found, {"table_name": "system", "index_name": "PaxosUncommittedIndex"}]


def flags(name: str, *, building: bool, queryable: bool) -> Row:
    return {"keyspace_name": "k", "index_name": name, "is_building": building, "is_queryable": queryable}


def said(
    schema: Said,
    tasks: Said = (),
    info: Said = (),
    busy: Said | None = None,
    *,
    sai: Said = NO_SAI,
    gossip: Said = NO_GOSSIP,
    coverage: Said | None = None,
) -> dict[Query, Said]:
    """Return what one node says."""
    found: dict[Query, Said] = {
        INDEXES: schema,
        SSTABLE_TASKS: tasks,
        THREAD_POOLS: pools() if busy is None else busy,
        INDEX_INFO: info,
        SAI_INDEXES: sai,
        SAI_TWIN: "unavailable: this version has no table system_views.indexes",
        GOSSIP: gossip,
    }
    return found if coverage is None else {**found, SAI_SSTABLES: coverage}


def heard(**codes: int) -> list[Row]:
    told = json.dumps({"system": {"PaxosUncommittedIndex": 3}, "k": codes})
    return [{"address": A, "index_status": told}]


def answers(
    by_node: Mapping[str, Mapping[Query, Said]],
    moment: float,
    *,
    down: Sequence[str] = (),
    truncated: Sequence[str] = (),
    catalog: Catalog | None = None,
) -> Answers:
    """Return what a poll learned; ``truncated`` names topics."""
    replies: dict[str, dict[str, Reply]] = {}
    for address, told in by_node.items():
        for query, of_query in told.items():
            topic, cql = query.topic, f"SELECT {query.table}"
            if not isinstance(of_query, str):
                is_cut = topic in truncated
                reply = Reply(topic, cql, address, rows=list(of_query), truncated=is_cut, moment=moment)
            elif of_query.startswith("unavailable: "):
                why = of_query.removeprefix("unavailable: ")
                reply = Reply(topic, cql, address, unavailable=why, moment=moment)
            else:
                reply = Reply(topic, cql, address, error=of_query, moment=moment)
            replies.setdefault(topic, {})[address] = reply
    nodes = tuple(
        Node(address, f"host-of-{address}", address not in down, "5.0.8", "dc1")
        for address in dict.fromkeys((*by_node, *down))
    )
    tables = catalog or Catalog({("system", "IndexInfo"): ("table_name", "index_name")})
    return Answers(nodes, replies, Ring(), dict.fromkeys(by_node, tables), moment)


class Reading:
    """A reader that is given one node's rows, once a second."""

    def __init__(self) -> None:
        self.reader = IndexesReader()
        self.moment = 100.0

    def look(
        self,
        schema: Said,
        tasks: Said = (),
        info: Said = (),
        busy: Said | None = None,
        *,
        seconds: float = 1.0,
        sai: Said = NO_SAI,
        gossip: Said = NO_GOSSIP,
        coverage: Said | None = None,
    ) -> dict[str, dict[str, object]]:
        told = said(schema, tasks, info, busy, sai=sai, gossip=gossip, coverage=coverage)
        return self.nodes({A: told}, seconds=seconds)

    def nodes(
        self,
        by_node: Mapping[str, Mapping[Query, Said]],
        *,
        seconds: float = 1.0,
        down: Sequence[str] = (),
        truncated: Sequence[str] = (),
    ) -> dict[str, dict[str, object]]:
        """Return the indexes by their names, after checking that the whole can be recorded as it is."""
        self.moment += seconds
        self.result = self.reader.read(answers(by_node, self.moment, down=down, truncated=truncated))
        bounded = bound(self.result)
        assert (bounded.coerced, bounded.truncated) == (0, False)
        found = self.result["indexes"]
        assert isinstance(found, list)
        return {item["index"]: item for item in found}


def on(item: Mapping[str, object], address: str = A) -> dict[str, object]:
    nodes = item["nodes"]
    assert isinstance(nodes, dict)
    node = nodes[address]
    assert isinstance(node, dict)
    return node


def states(found: Mapping[str, Mapping[str, object]]) -> dict[str, tuple[object, object]]:
    return {name: (item["state"], item["percent"]) for name, item in found.items()}
