"""How ScyllaDB tells what it builds: by shard, or, with tablets, by tasks that are not done yet. Pure.

Written after its sources (5.2 to 2026.3); no live server was seen. A shard goes over its part of the base
table from ``first_token`` on, over the end of the ring, until it is at ``first_token`` again. With tablets a
coordinator has one task for each tablet's replica, works on one base table at a time, and keeps those tasks
only that are not done.
"""

from __future__ import annotations

from functools import cached_property

from .queries import Answers, Node, Row
from .telling import missing
from .tokens import RING_WIDTH
from .view_facts import Evidence, Key, NodeFacts, Statuses, View, by_view
from .view_queries import SCYLLA_BUILDS, SCYLLA_PROCESSING, SCYLLA_TABLETS, SCYLLA_TASKS

#: A failed step is tried again within a minute; but the task of one tablet shows nothing before its end.
RETRY_SECONDS = 600.0

NO_TASKS = "ScyllaDB has no table of running build tasks"


def shard_percent(row: Row) -> float | None:
    """Return how far one shard is, in percent; None when its tokens cannot be read."""
    try:
        following, first = row["next_token"], row.get("first_token")
        if following is None:
            return 0.0  # registered, nothing done
        done = (int(str(following)) - int(str(first))) % RING_WIDTH
    except (KeyError, ValueError):
        return None
    # Back at its beginning: the row stays until all shards are.
    return 100.0 * done / RING_WIDTH if done else 100.0


def node_percent(rows: list[Row]) -> tuple[float | None, str | None]:
    """Return the mean over a node's shards, and why there is none."""
    found = [shard_percent(row) for row in rows]
    known = [percent for percent in found if percent is not None]
    if not rows or len(known) < len(found):
        return (None, "a shard's tokens cannot be read") if rows else (0.0, None)
    return sum(known) / len(known), None


class Tablets:
    """The tasks that are left, and how many there were; remembered from poll to poll."""

    def __init__(self) -> None:
        #: (view's id, host id) -> tasks left, and the most that were seen.
        self.left: dict[tuple[str, str], int] = {}
        self.most: dict[tuple[str, str], int] = {}
        #: Base table's id -> host id -> its tablets there.
        self.tablets: dict[str, dict[str, int]] = {}
        #: The base table's id whose views are built now.
        self.processing: str | None = None
        self.why_no_tasks: str | None = None
        #: When the tablets were read, CLOCK_MONOTONIC.
        self.read_at = float("-inf")

    def note(self, answers: Answers) -> None:
        """Take over what the cluster says; every node says the same."""
        tasks = answers.anyone(SCYLLA_TASKS.topic)
        self.why_no_tasks = missing(tasks)
        if tasks is not None and tasks.rows is not None:
            self.left = {}
            for row in tasks.rows:
                # Without a view: rows that came by streaming and wait to be taken over, whatever the view.
                if row.get("view_id") is not None:
                    key = str(row["view_id"]), str(row.get("host_id"))
                    self.left[key] = self.left.get(key, 0) + 1
            for key, count in self.left.items():
                self.most[key] = max(count, self.most.get(key, 0))
        processing = answers.anyone(SCYLLA_PROCESSING.topic)
        if processing is not None and processing.rows is not None:
            value = processing.rows[0].get("value") if processing.rows else None
            self.processing = None if value is None else str(value)
        tablets = answers.anyone(SCYLLA_TABLETS.topic)
        if tablets is not None and tablets.rows is not None:
            self._place(tablets.rows, answers.moment)
        elif tablets is not None:
            self.read_at = answers.moment

    def is_known(self, view: View) -> bool:
        """Return whether there were ever tasks for this view."""
        return any(view_id == view.view_id for view_id, _ in self.most)

    def percent(self, view: View, host_id: str) -> float | None:
        """Return how many of a node's tasks are done, in percent; None when there were none."""
        key = view.view_id, host_id
        most = max(self.most.get(key, 0), self.tablets.get(view.base_id, {}).get(host_id, 0))
        if not most:
            return 100.0 if self.is_known(view) else None
        return 100.0 * (most - self.left.get(key, 0)) / most

    def _place(self, rows: list[Row], moment: float) -> None:
        self.read_at = moment
        self.tablets = {}
        for row in rows:
            replicas = row.get("replicas")
            for replica in replicas if isinstance(replicas, (list, tuple)) else ():
                hosts = self.tablets.setdefault(str(row["table_id"]), {})
                host_id = str(replica[0]) if isinstance(replica, (list, tuple)) else str(replica)
                hosts[host_id] = hosts.get(host_id, 0) + 1


class ScyllaFacts(NodeFacts):
    """The tables of ScyllaDB since 5.2."""

    def __init__(self, answers: Answers, node: Node, statuses: Statuses, tablets: Tablets) -> None:
        """Sort what the node said, and what all say of tablets."""
        super().__init__(answers, node, statuses, 0.0)
        builds = answers.reply(SCYLLA_BUILDS.topic, node.address)
        self.builds, self.why_no_builds = by_view(builds)
        self.moment = builds.moment if builds is not None and builds.moment else answers.moment
        self.tablets = tablets

    def evidence(self, view: View) -> Evidence:
        """Return what the node said of a view."""
        status = self.statuses.of(view, self.node.host_id)
        reasons = {"running": NO_TASKS, "keys_built": "ScyllaDB does not count them"}
        if self.statuses.reason is not None:
            reasons["status"] = self.statuses.reason
        if self.why_silent is not None:
            return Evidence(self.moment, unknown=self.why_silent, status=status, reasons=reasons)
        is_built = self.built_row(view) is not None
        if self.why_not_built is not None:
            reasons["locally_built"] = self.why_not_built
        shards = self.builds.get(view.key, [])
        if shards or not self.tablets.is_known(view):
            percent, why = node_percent(shards)
            begun, running, idle = bool(shards), None, None
            fingerprint: object = sorted(
                (str(row.get("cpu_id")), str(row.get("next_token"))) for row in shards
            )
        else:
            percent, why = self.tablets.percent(view, self.node.host_id), None
            begun, running, idle = self._tasks(view)
            fingerprint = self.tablets.left.get((view.view_id, self.node.host_id), 0)
        if why is not None and not is_built:
            reasons["percent"] = why
        unknown = None if is_built or begun else (self.why_not_built or self.why_no_builds)
        return Evidence(
            moment=self.moment,
            unknown=unknown,
            in_schema=self.in_schema(view),
            status=status,
            locally_built=None if self.why_not_built is not None else is_built,
            # A row of built views is all the announcement that there is.
            announced=True if is_built else None,
            begun=begun,
            fingerprint=fingerprint,
            percent=None if unknown is not None else percent,
            running=running,
            idle=idle,
            work=self._work,
            reasons=reasons,
        )

    def _tasks(self, view: View) -> tuple[bool, bool | None, bool | None]:
        """Return whether its tasks are begun, whether they are worked on, and whether nobody works."""
        left = self.tablets.left.get((view.view_id, self.node.host_id), 0)
        is_its_turn = self.tablets.processing == view.base_id
        begun = is_its_turn or left < self.tablets.most.get((view.view_id, self.node.host_id), 0)
        if self.tablets.processing is None:
            return begun or bool(left), None, None
        # One base table at a time: the others wait, and are not stuck.
        return begun, True if is_its_turn and left else None, None if is_its_turn else False

    @cached_property
    def _work(self) -> object:
        rows: dict[Key, list[str]] = {
            key: sorted(str(row.get("next_token")) for row in shards) for key, shards in self.builds.items()
        }
        return self.tablets.processing, sorted(self.tablets.left.items()), sorted(rows.items())
