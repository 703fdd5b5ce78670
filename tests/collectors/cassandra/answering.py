"""A server that answers with rows as Cassandra 5.0.8 and 6.0-alpha2 gave them, for readers of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from pytest_diagnostics.collectors.cassandra.queries import Answers, Catalog, Node, Reply, Ring
from pytest_diagnostics.collectors.cassandra.shared import SSTABLE_TASKS, THREAD_POOLS
from pytest_diagnostics.collectors.cassandra.view_queries import (
    BUILDS,
    BUILT,
    HINTS,
    LOCAL,
    RARE_QUERIES,
    STATUS,
    VIEW_METRICS,
    VIEWS,
)
from pytest_diagnostics.collectors.cassandra.views import ViewsReader

Rows = Sequence[Mapping[str, object]]

FIRST = "11e9a490-c74f-43c3-8419-88d7b05f031f"
SECOND = "6d194555-f6eb-41d0-c000-000000000002"
ADDRESSES = ("127.0.0.1", "127.0.0.2")
HOSTS = dict(zip(ADDRESSES, (FIRST, SECOND), strict=True))
#: Seen on 5.0.8, one node, num_tokens 4.
TOKENS = (-5613817627765285519, 2141980624888489618, 5217213256156953602, 6752173345216052412)
VIEW = {
    "keyspace_name": "k",
    "view_name": "mv",
    "base_table_name": "t",
    "base_table_id": UUID("a2b561f0-e6f8-11f1-a153-cf67210ded50"),
    "id": UUID("c0f9f2c0-e6f8-11f1-a153-cf67210ded50"),
}
ANOTHER = {**VIEW, "id": UUID("1b255f4d-ef25-40a6-0000-000000000005")}
TASK = {
    "keyspace_name": "k",
    "table_name": "t",
    "task_id": UUID("c1418310-e6f8-11f1-a153-cf67210ded50"),
    "completion_ratio": 0.347,
    "kind": "view build",
    "progress": 347,
    "total": 1000,
    "unit": "token range parts",
}
COMPACTION = {**TASK, "kind": "compaction", "unit": "bytes"}
BUSY = {
    "name": "ViewBuildExecutor",
    "active_tasks": 1,
    "blocked_tasks": 0,
    "completed_tasks": 1,
    "pending_tasks": 6,
}
IDLE = {**BUSY, "active_tasks": 0, "pending_tasks": 0}
DONE = {"keyspace_name": "k", "view_name": "mv", "status_replicated": True}
LOCAL_ROW = {
    "schema_version": UUID("c32de7ce-144f-3697-8974-94a1fee127a7"),
    "gossip_generation": 1795409521,
    "release_version": "5.0.8",
}


def range_row(start: int, end: int, last: int, keys: int) -> dict[str, object]:
    tokens = {"start_token": str(start), "end_token": str(end), "last_token": str(last)}
    return {"keyspace_name": "k", "view_name": "mv", **tokens, "keys_built": keys}


#: 5.0 s and 5.5 s into a build of 60,000 rows on 5.0.8: the second range has begun, the others have no row.
EARLIER = [
    range_row(-1735918501438397950, 2141980624888489618, -1735881529361710116, 1),
    range_row(-8654194178129392361, -5613817627765285519, -5613817627765285519, 9758),
]
LATER = [
    range_row(-1735918501438397950, 2141980624888489618, -503068074047240477, 4001),
    range_row(-8654194178129392361, -5613817627765285519, -5613817627765285519, 9758),
]
EARLIER_PERCENT, LATER_PERCENT = 16.4, 23.1


def status(word: str, host: str = FIRST) -> dict[str, object]:
    return {"keyspace_name": "k", "view_name": "mv", "host_id": UUID(host), "status": word}


class Server:
    """Nodes that answer what they are told to; a topic that was not told has no rows."""

    def __init__(self, nodes: int = 1) -> None:
        self.moment = 100.0
        self.reader = ViewsReader()
        self.addresses = ADDRESSES[:nodes]
        self.down: set[str] = set()
        #: Topic -> rows; or (topic, address) -> rows of one node.
        self.rows: dict[object, Rows] = {VIEWS.topic: [VIEW], LOCAL.topic: [LOCAL_ROW]}
        self.errors: dict[object, str] = {}
        self.absent: dict[str, str] = {}

    def poll(self, seconds: float = 1.0) -> dict[str, object]:
        self.moment += seconds
        return self.reader.read(self.answers())

    def view(self, seconds: float = 1.0) -> dict[str, object]:
        """Poll, and return the only view."""
        views = self.poll(seconds)["views"]
        assert isinstance(views, list)
        (view,) = views
        assert isinstance(view, dict)
        return view

    def answers(self) -> Answers:
        queries = (
            LOCAL,
            VIEWS,
            BUILDS,
            SSTABLE_TASKS,
            THREAD_POOLS,
            BUILT,
            HINTS,
            VIEW_METRICS,
            *RARE_QUERIES,
        )
        replies: dict[str, dict[str, Reply]] = {}
        for query in queries:
            replies[query.topic] = {a: self.reply(query.topic, a) for a in self.addresses}
        everywhere = replace(self.reply(STATUS.topic, self.addresses[0]), consistency="QUORUM")
        replies[STATUS.topic] = {everywhere.node: everywhere}
        everyone = frozenset(HOSTS[address] for address in self.addresses)
        # With two nodes, each holds one half: every other range.
        owners = [everyone] * 4 if len(everyone) == 1 else [frozenset({FIRST}), frozenset({SECOND})] * 2
        ring = Ring(TOKENS, {"k": tuple(owners)}, {"k": 1})
        nodes = tuple(Node(a, HOSTS[a], a not in self.down, "5.0.8", "dc1") for a in self.addresses)
        catalogs = {a: Catalog({("system", "built_views"): ("view_name",)}) for a in self.addresses}
        return Answers(nodes, replies, ring, catalogs, self.moment)

    def reply(self, topic: str, address: str) -> Reply:
        reply = Reply(topic, "SELECT", address, moment=self.moment)
        error = self.errors.get((topic, address)) or self.errors.get(topic)
        if address in self.down:
            error = "connection: Host has been marked down or removed"
        if error is not None:
            return replace(reply, error=error)
        if topic in self.absent:
            return replace(reply, unavailable=self.absent[topic])
        rows = self.rows.get((topic, address), self.rows.get(topic, []))
        return replace(reply, rows=list(rows))

    def build(self, rows: Rows) -> None:
        """Let it be in the midst of a build."""
        self.rows.update({BUILDS.topic: rows, SSTABLE_TASKS.topic: [TASK], THREAD_POOLS.topic: [BUSY]})
        self.rows[STATUS.topic] = [status("STARTED")]

    def stop(self) -> None:
        """Let the build be stopped: ``nodetool stop VIEW_BUILD`` leaves this."""
        self.rows.update({SSTABLE_TASKS.topic: [COMPACTION], THREAD_POOLS.topic: [IDLE]})

    def finish(self) -> None:
        self.stop()
        self.rows.update({BUILDS.topic: [], BUILT.topic: [DONE], STATUS.topic: [status("SUCCESS")]})


def of_node(view: Mapping[str, object], address: str = ADDRESSES[0]) -> dict[str, object]:
    nodes = view["nodes"]
    assert isinstance(nodes, dict)
    node = nodes[address]
    assert isinstance(node, dict)
    return node


def reasons(data: Mapping[str, object]) -> dict[str, str]:
    found = data.get("reasons", {})
    assert isinstance(found, dict)
    return found
