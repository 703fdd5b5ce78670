"""What each node says beside its views: how its view writes go, hints, versions; and sizes by table. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from .queries import Answers, Node, Reply, Row
from .shared import THREAD_POOLS
from .telling import missing, node_state, number
from .view_facts import EXECUTOR, MUTATIONS, Key, pools
from .view_queries import (
    HINTS,
    LOCAL,
    METRICS,
    PARTITIONS,
    TOMBSTONES,
    VIEW_METRICS,
)

#: The keys of a pool's data -> the columns.
_POOL = {
    "active": "active_tasks",
    "pending": "pending_tasks",
    "blocked": "blocked_tasks",
    "completed": "completed_tasks",
}


def node_data(answers: Answers, node: Node) -> dict[str, object]:
    """Return what is known of a node; what is not is None, with its reason."""
    reasons: dict[str, str] = {}
    local = answers.reply(LOCAL.topic, node.address)
    row = local.rows[0] if local is not None and local.rows else None
    version = row.get("schema_version") if row is not None else None
    data: dict[str, object] = {
        "host_id": node.host_id,
        "state": node_state(answers, node),
        "version": node.release_version or None,
        "schema_version": None if version is None else str(version),
    }
    if row is None:
        reasons["schema_version"] = missing(local) or "the node's own row is not there"
    found, why = pools(answers.reply(THREAD_POOLS.topic, node.address))
    for key, name in (("view_mutation_stage", MUTATIONS), ("view_build_executor", EXECUTOR)):
        pool = found.get(name)
        data[key] = None if pool is None else _pool(pool)
        if pool is None:
            reasons[key] = why or f"no row {name}: the node has had no such work since it started"
    _put(data, reasons, "hints", answers.reply(HINTS.topic, node.address), _hints)
    _put(data, reasons, "view_writes", answers.reply(VIEW_METRICS.topic, node.address), _metrics)
    if reasons:
        data["reasons"] = reasons
    return data


def _put(
    data: dict[str, object],
    reasons: dict[str, str],
    key: str,
    reply: Reply | None,
    told: Callable[[list[Row]], object],
) -> None:
    why = missing(reply)
    data[key] = None
    if why is not None:
        reasons[key] = why
    elif reply is not None and reply.rows is not None:
        data[key] = told(reply.rows)


def _pool(row: Row) -> dict[str, object]:
    return {key: number(row, column) for key, column in _POOL.items()}


def _hints(rows: list[Row]) -> dict[str, object]:
    """Return the files of hints that wait for other nodes, and the age of the oldest."""
    oldest = [row["oldest"] for row in rows if isinstance(row.get("oldest"), datetime)]
    files = [number(row, "files") for row in rows]
    return {
        "files": sum(int(count) for count in files if count is not None),
        "for_nodes": len(rows),
        "oldest": min(map(_time, oldest), default=None),
    }


def _time(value: object) -> str:
    moment = value if isinstance(value, datetime) else datetime.now(timezone.utc)
    # The driver's times are UTC without saying so.
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc).isoformat(timespec="milliseconds")


def _metrics(rows: list[Row]) -> dict[str, object]:
    """Return the write metrics of views by our names; one that is not there is None."""
    found: dict[str, object] = dict.fromkeys(METRICS.values())
    for row in rows:
        key, value = METRICS.get(str(row.get("name"))), str(row.get("value"))
        if key is not None and value.lstrip("-").isdecimal():
            found[key] = int(value)
    return found


class Sizes:
    """The largest partition and the tombstones read, by table, over all nodes; read rarely and remembered."""

    def __init__(self) -> None:
        self._partitions: dict[Key, float] = {}
        self._tombstones: dict[Key, float] = {}
        self.why_no_partitions: str | None = "it was not asked yet"
        self.why_no_tombstones: str | None = "it was not asked yet"
        #: When they were read, CLOCK_MONOTONIC.
        self.read_at = float("-inf")

    def note(self, answers: Answers) -> None:
        """Remember what the nodes say, if they were asked."""
        for topic, columns in (
            (PARTITIONS.topic, ("mebibytes",)),
            # The maximum by any of its names; a version without it has the 99th percentile.
            (TOMBSTONES.topic, ("max", "max_ms", "p99th", "99th")),
        ):
            replies = answers.replies.get(topic)
            if not replies:
                continue
            self.read_at = answers.moment
            found: dict[Key, float] = {}
            for reply in replies.values():
                for row in reply.rows or []:
                    value = number(row, *columns)
                    if value is not None:
                        key = str(row["keyspace_name"]), str(row["table_name"])
                        found[key] = max(found.get(key, value), value)
            answered = any(reply.rows is not None for reply in replies.values())
            why = None if answered else missing(next(iter(replies.values())))
            if topic == PARTITIONS.topic:
                self._partitions, self.why_no_partitions = found, why
            else:
                self._tombstones, self.why_no_tombstones = found, why

    def put(self, data: dict[str, object], reasons: dict[str, str], key: Key, base: Key) -> None:
        """Add the sizes of a view and of its base table."""
        for name, sizes, why, table in (
            ("largest_partition_mebibytes", self._partitions, self.why_no_partitions, key),
            ("base_largest_partition_mebibytes", self._partitions, self.why_no_partitions, base),
            ("most_tombstones_per_read", self._tombstones, self.why_no_tombstones, key),
        ):
            data[name] = sizes.get(table)
            if data[name] is None:
                reasons[name] = why or "no node has a figure for it yet"
