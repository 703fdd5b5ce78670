"""What a node's answers say of a view, whatever the server: the evidence for its state. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from .queries import Answers, Node, Reply, Row
from .shared import SSTABLE_TASKS, THREAD_POOLS
from .telling import missing, number
from .tokens import gone_through, shares
from .view_queries import BUILDS, BUILT, LOCAL, SCYLLA_STATUS, STATUS, VIEWS

EXECUTOR, MUTATIONS = "ViewBuildExecutor", "ViewMutationStage"
STARTED, SUCCESS = "STARTED", "SUCCESS"

Key = tuple[str, str]


@dataclass(frozen=True)
class View:
    """A view of the schema."""

    keyspace: str
    name: str
    base: str
    view_id: str
    base_id: str
    #: The id as the driver gave it: to write it as text takes its time, with thousands of views.
    raw_id: object = None

    @classmethod
    def of_row(cls, row: Row) -> View:
        """Return the view of a row of ``system_schema.views``."""
        return cls(
            str(row["keyspace_name"]),
            str(row["view_name"]),
            str(row.get("base_table_name")),
            str(row.get("id")),
            str(row.get("base_table_id")),
            row.get("id"),
        )

    @property
    def key(self) -> Key:
        """What tells it from the others; a view of the same name that is made later has another id."""
        return self.keyspace, self.name


@dataclass(frozen=True)
class Evidence:
    """What one node said of one view in one poll."""

    #: When its progress was read, CLOCK_MONOTONIC.
    moment: float
    #: Why nothing can be told; None when something can.
    unknown: str | None = None
    #: Whether the node's own schema has the view; None when it could not be read.
    in_schema: bool | None = None
    #: The word of the replicated status table, for this node.
    status: str | None = None
    #: Whether the node's own table of built views has it; None when it could not be read.
    locally_built: bool | None = None
    #: Whether the node believes that it has announced this to the others; None where it does not say.
    announced: bool | None = None
    #: Whether there are rows of progress, and what they say: it changes whenever something was done.
    begun: bool = False
    fingerprint: object = ()
    #: Not rounded; None with a reason.
    percent: float | None = None
    keys_built: int | None = None
    #: Whether a build task of its base table runs; None where that cannot be read.
    running: bool | None = None
    #: Whether whoever builds views on this node has nothing to do; None where that cannot be read.
    idle: bool | None = None
    #: What whoever builds views on this node has done so far, over all views: it changes while others go on.
    work: object = ()
    #: The node has started so lately that builds may not have been taken up again.
    just_started: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)


class Statuses:
    """The replicated status table: (keyspace, view) -> host id -> STARTED or SUCCESS."""

    def __init__(self, answers: Answers) -> None:
        replies = [answers.anyone(SCYLLA_STATUS.topic), answers.anyone(STATUS.topic)]
        reply = next((one for one in replies if one is not None and one.rows is not None), replies[-1])
        self.reason = missing(reply)
        #: The level at which it was read, and why it was no quorum.
        self.read_at = reply.consistency if reply is not None and self.reason is None else None
        self._rows: dict[Key, dict[str, str]] = {}
        for row in (reply.rows or []) if reply is not None else []:
            key = str(row["keyspace_name"]), str(row["view_name"])
            self._rows.setdefault(key, {})[str(row["host_id"])] = str(row["status"])

    def of(self, view: View, host_id: str) -> str | None:
        """Return what it says of a view on a node; None without a row."""
        return self._rows.get(view.key, {}).get(host_id)


class NodeFacts(ABC):
    """One node's answers, sorted by view: what every kind of server has."""

    #: Seconds after its start in which a node has not taken up its builds again yet.
    LATE_SECONDS = 0.0

    def __init__(self, answers: Answers, node: Node, statuses: Statuses, wall_seconds: float) -> None:
        """``wall_seconds`` is the time of day, to compare the node's start with."""
        self.answers, self.node, self.statuses = answers, node, statuses
        self.built, self.why_not_built = by_view(answers.reply(BUILT.topic, node.address))
        views = answers.reply(VIEWS.topic, node.address)
        self.why_no_schema = missing(views)
        #: The ids of the views that the node's own schema has.
        self.schema = {row.get("id") for row in (views.rows or [])} if views is not None else set()
        local = answers.reply(LOCAL.topic, node.address)
        generation = number(local.rows[0], "gossip_generation") if local is not None and local.rows else None
        age = None if generation is None else wall_seconds - generation
        self.just_started = age is not None and -1.0 <= age < self.LATE_SECONDS
        self._shares: dict[str, dict[str, int]] = {}

    @abstractmethod
    def evidence(self, view: View) -> Evidence:
        """Return what the node said of a view."""

    @cached_property
    def why_silent(self) -> str | None:
        """Why the node said nothing at all; None when it answered something."""
        replies = [of[self.node.address] for of in self.answers.replies.values() if self.node.address in of]
        if any(reply.rows is not None for reply in replies):
            return None
        why = next((reply.error for reply in replies if reply.error is not None), None)
        return why or "the node is down" if self.node.is_up is False else why or "it was not asked"

    def share(self, keyspace: str) -> int | None:
        """Return the width of what this node holds of a keyspace; None when that is not known."""
        if keyspace not in self._shares:
            self._shares[keyspace] = shares(self.answers.ring, keyspace)
        widths = self._shares[keyspace]
        return widths.get(self.node.host_id, 0) if widths else None

    def in_schema(self, view: View) -> bool | None:
        """Return whether the node's own schema has this very view."""
        if self.why_no_schema is not None:
            return None
        return view.raw_id in self.schema

    def built_row(self, view: View) -> Row | None:
        """Return the node's row of built views."""
        return next(iter(self.built.get(view.key, ())), None)


class CassandraFacts(NodeFacts):
    """The tables of Cassandra since 4.0."""

    #: RING_DELAY of the server is 30 s: so long after its start it begins its builds.
    LATE_SECONDS = 45.0

    def __init__(self, answers: Answers, node: Node, statuses: Statuses, wall_seconds: float) -> None:
        """Sort what the node said."""
        super().__init__(answers, node, statuses, wall_seconds)
        builds = answers.reply(BUILDS.topic, node.address)
        self.builds, self.why_no_builds = by_view(builds)
        self.moment = builds.moment if builds is not None and builds.moment else answers.moment
        tasks = answers.reply(SSTABLE_TASKS.topic, node.address)
        self.why_no_tasks = missing(tasks)
        #: (keyspace, base table) -> (task, how far) of each build of a view over it.
        self.tasks: dict[Key, list[tuple[str, str]]] = {}
        for row in (tasks.rows or []) if tasks is not None else []:
            if "view build" in str(row.get("kind")).lower():
                key = str(row.get("keyspace_name")), str(row.get("table_name"))
                self.tasks.setdefault(key, []).append((str(row.get("task_id")), str(row.get("progress"))))
        self.pools, self.why_no_pools = pools(answers.reply(THREAD_POOLS.topic, node.address))
        if number(self.pools.get(EXECUTOR), "completed_tasks"):
            self.just_started = False  # it has begun its builds

    @cached_property
    def idle(self) -> bool | None:
        """Whether the executor of view builds has nothing to do: it has no row before its first build."""
        if self.why_no_pools is not None:
            return None
        row = self.pools.get(EXECUTOR)
        return not ((number(row, "active_tasks") or 0) + (number(row, "pending_tasks") or 0))

    @cached_property
    def work(self) -> object:
        """What was done on this node for any view."""
        done = number(self.pools.get(EXECUTOR), "completed_tasks")
        return done, sorted((key, sorted(tasks)) for key, tasks in self.tasks.items())

    def evidence(self, view: View) -> Evidence:
        """Return what the node said of a view."""
        silent = self.why_silent
        status = self.statuses.of(view, self.node.host_id)
        if silent is not None:
            return Evidence(self.moment, unknown=silent, status=status, reasons=self._reasons())
        rows, built = self.builds.get(view.key, []), self.built_row(view)
        unknown = self._unknown(bool(rows), built is not None)
        tasks = self.tasks.get((view.keyspace, view.base), [])
        percent, why = self._percent(view, rows)
        return Evidence(
            moment=self.moment,
            unknown=unknown,
            in_schema=self.in_schema(view),
            status=status,
            locally_built=None if self.why_not_built is not None else built is not None,
            announced=_flag(built, "status_replicated"),
            begun=bool(rows),
            fingerprint=(sorted(map(_told, rows)), sorted(tasks)),
            percent=None if unknown is not None else percent,
            keys_built=sum(int(number(row, "keys_built") or 0) for row in rows) if rows else None,
            running=None if self.why_no_tasks is not None else bool(tasks),
            idle=self.idle,
            work=self.work,
            just_started=self.just_started,
            reasons=self._reasons(percent=why if built is None else None),
        )

    def _unknown(self, begun: bool, built: bool) -> str | None:
        if built or (begun and self.why_no_builds is None):
            return None
        if self.why_not_built is not None:
            return f"{BUILT.keyspace}.{BUILT.table}: {self.why_not_built}"
        if self.why_no_builds is not None:
            return f"{BUILDS.keyspace}.{BUILDS.table}: {self.why_no_builds}"
        return None

    def _percent(self, view: View, rows: list[Row]) -> tuple[float | None, str | None]:
        share = self.share(view.keyspace)
        if share is None:
            return None, "which ranges of the ring the node holds is not known"
        if not share:
            return None, "the node holds nothing of this keyspace"
        done = gone_through(rows)
        if done is None:
            return None, "its tokens are not those of the Murmur3 partitioner"
        return min(100.0, 100.0 * done / share), None

    def _reasons(self, **more: str | None) -> dict[str, str]:
        if not any((self.statuses.reason, self.why_not_built, self.why_no_tasks, *more.values())):
            return {}
        found = {
            "status": self.statuses.reason,
            "locally_built": self.why_not_built,
            "running": self.why_no_tasks,
            **more,
        }
        return {key: reason for key, reason in found.items() if reason is not None}


def by_view(reply: Reply | None) -> tuple[dict[Key, list[Row]], str | None]:
    """Return a reply's rows by keyspace and view, and why there are none."""
    found: dict[Key, list[Row]] = {}
    for row in (reply.rows or []) if reply is not None else []:
        found.setdefault((str(row["keyspace_name"]), str(row["view_name"])), []).append(row)
    return found, missing(reply)


def pools(reply: Reply | None) -> tuple[dict[str, Row], str | None]:
    """Return a node's thread pools by name, and why they cannot be told."""
    rows = (reply.rows or []) if reply is not None else []
    return {str(row["name"]): row for row in rows}, missing(reply)


def _told(row: Row) -> tuple[str, str, str]:
    return str(row.get("start_token")), str(row.get("last_token")), str(row.get("keys_built"))


def _flag(row: Row | None, column: str) -> bool | None:
    value = row.get(column) if row is not None else None
    return value if isinstance(value, bool) else None
