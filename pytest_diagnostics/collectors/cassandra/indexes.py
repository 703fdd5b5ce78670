"""Secondary indexes: whether each is built, how far, and on which node it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.clock import SystemClock
from .brief import Brief
from .index_rows import (
    GOSSIP,
    INDEX_INFO,
    INDEXES,
    SAI_INDEXES,
    SAI_SSTABLES,
    SAI_TWIN,
    Facts,
    Index,
    Name,
    facts,
    gossip,
    indexes,
)
from .index_tasks import Owners
from .index_verdicts import IndexOnNode, Verdict
from .progress import Progress
from .queries import Answers, Query
from .reading import ReadingCollector
from .shared import SSTABLE_TASKS, THREAD_POOLS
from .states import State, worst
from .telling import errors, kind, node_state, server, unavailable
from .view_queries import SCYLLA_QUERIES
from .views import ViewsReader

#: In this order: what runs before what is done, so that a build that ends in between is not one that failed.
INDEX_QUERIES = (INDEXES, SSTABLE_TASKS, THREAD_POOLS, INDEX_INFO, SAI_INDEXES, SAI_TWIN, GOSSIP)
#: The topics that a result tells of when they are not offered, or failed.
TOPICS = frozenset(query.topic for query in (*INDEX_QUERIES, SAI_SSTABLES)) - {SAI_TWIN.topic}
#: One row an index and sstable: asked so seldom.
COVERAGE_SECONDS = 10.0
#: An index that is gone from the schema is told as dropped for so long, and of so many at most.
DROPPED_SECONDS, MOST_DROPPED = 60.0, 20
#: So many indexes cannot all be listed: those that are built, and were before, are counted only.
MANY = 300
#: Why it is not known when an index was built first, by whether it is built.
_NOT_SEEN = {
    True: "it was built when it was first looked at",
    False: "it was not seen built on every node yet",
}


class _Known:
    """One index, from look to look."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.table: Name = (index.keyspace, index.table)
        self.nodes: dict[str, IndexOnNode] = {}
        self.progress = Progress()
        self.was_seen_built = False
        #: When it was first seen built on all nodes, and for how long it may have been so; None when that
        #: was the first look that there was.
        self.first_seen_built: str | None = None
        self.unsure_seconds: float | None = None
        self.dropped_at: float | None = None

    def on(self, address: str) -> IndexOnNode:
        node = self.nodes.get(address)
        if node is None:
            node = self.nodes[address] = IndexOnNode()
        return node

    def note_built(self, moment: float, before: float | None, clock: SystemClock) -> None:
        """Note that all nodes have it, as seen at a moment, and not at the look before, if there was one."""
        if self.was_seen_built:
            return
        self.was_seen_built = True
        if before is not None:
            self.first_seen_built = str(clock.wall(moment).isoformat(timespec="milliseconds"))
            self.unsure_seconds = round(moment - before, 3)


class IndexesReader:
    """Makes data of what the nodes answer; it remembers earlier looks at the same cluster."""

    def __init__(self, clock: SystemClock | None = None) -> None:
        """``clock`` tells the time of day of a moment."""
        self._clock = clock or SystemClock()
        self._kind: str | None = None
        #: Of ScyllaDB's indexes: the views behind them.
        self._views = ViewsReader(self._clock)
        self._covered_at = float("-inf")
        #: (keyspace, index) -> what is known of it.
        self._known: dict[Name, _Known] = {}
        #: Address -> whose tasks run there.
        self._owners: dict[str, Owners] = {}
        #: When the look before this one was.
        self._polled_at: float | None = None
        self._brief = Brief("indexes", lambda item: f"{item['keyspace']}.{item['index']}")

    def queries(self, moment: float) -> Sequence[Query]:
        """Return what to ask now: what has a row for each sstable is asked seldom."""
        if self._kind is None:
            return tuple(dict.fromkeys((*INDEX_QUERIES, SAI_SSTABLES, *SCYLLA_QUERIES)))
        if self._kind == "scylla":
            return (INDEXES, *self._views.queries(moment))
        if moment - self._covered_at < COVERAGE_SECONDS:
            return INDEX_QUERIES
        self._covered_at = moment
        return (*INDEX_QUERIES, SAI_SSTABLES)

    def attend(self, keyspace: str, name: str) -> None:
        """Tell of it in any case from now on."""
        self._brief.attend(f"{keyspace}.{name}")

    def read(self, answers: Answers) -> dict[str, object]:
        """Return the data of one poll."""
        self._kind = kind(answers) or self._kind
        replies = list(answers.replies.get(INDEXES.topic, {}).values())
        rows = [row for reply in replies for row in reply.rows or ()]
        result: dict[str, object] = {
            "server": server(answers),
            "nodes": {
                node.address: {
                    "host_id": node.host_id,
                    "state": node_state(answers, node),
                    "version": node.release_version or None,
                }
                for node in answers.nodes
            },
            "unavailable": unavailable(answers, TOPICS),
            "errors": errors(answers, TOPICS),
        }
        if all(reply.rows is None for reply in replies):
            why = next((reply.reason for reply in replies if reply.reason), "no node was asked")
            return {**result, "indexes": None, "reasons": {"indexes": why}}
        current = indexes(rows, is_scylla=self._kind == "scylla")
        self._update(current, answers.moment, is_complete=not any(reply.truncated for reply in replies))
        behind = [index for index in current if index.kind == "view"]
        told, calm = self._read([index for index in current if index.kind != "view"], answers)
        self._polled_at = answers.moment
        # ScyllaDB's indexes are views: the same tables tell of them.
        told += of_views(behind, self._views.read_all(answers)) if self._kind == "scylla" else []
        told += [_dropped(known) for known in self._known.values() if known.dropped_at is not None]
        told.sort(key=lambda item: (str(item["keyspace"]), str(item["index"])))
        return self._brief.shorten({**result, "indexes": told}, calm)

    def _update(self, current: Sequence[Index], moment: float, *, is_complete: bool) -> None:
        """Learn which indexes there are: new, re-created under the same name, gone."""
        for index in current:
            known = self._known.get((index.keyspace, index.name))
            if known is None or known.dropped_at is not None or known.index != index:
                self._known[index.keyspace, index.name] = _Known(index)
        there = {(index.keyspace, index.name) for index in current}
        for name, known in list(self._known.items()):
            if name in there or not is_complete:
                continue
            if known.dropped_at is None:
                known.dropped_at = moment
            elif moment - known.dropped_at >= DROPPED_SECONDS:
                del self._known[name]
        dropped = [(known.dropped_at, name) for name, known in self._known.items() if known.dropped_at]
        for _, name in sorted(dropped)[:-MOST_DROPPED]:
            del self._known[name]

    def _read(
        self, current: Sequence[Index], answers: Answers
    ) -> tuple[list[dict[str, object]], dict[str, str]]:
        """Return what is told of each index, and the names of those of very many that are as they were."""
        nodes = [facts(answers, node) for node in answers.nodes]
        by_table: dict[Name, list[Index]] = {}
        for index in current:
            by_table.setdefault((index.keyspace, index.table), []).append(index)
        owned = {}
        for each in nodes:
            address = each.node.address
            busy = {name for name, known in self._known.items() if known.table in (each.tasks or {})}
            on_node = {name: self._known[name].on(address) for name in busy}
            owned[address] = self._owners.setdefault(address, Owners()).find(each, by_table, on_node)
        reply = answers.anyone(GOSSIP.topic)
        told = gossip(reply.rows) if reply is not None and reply.rows is not None else {}
        items = []
        calm: dict[str, str] = {}
        nobody: dict[Name, str] = {}
        heard_of = [(each, told.get(each.node.address, nobody)) for each in nodes]
        for index in current:
            name = index.keyspace, index.name
            known = self._known[name]
            told_as = f"{index.keyspace}.{index.name}"
            if (
                len(current) > MANY
                and not self._brief.attends(told_as)
                and all(
                    known.on(each.node.address).is_calm(index, each, heard.get(name))
                    for each, heard in heard_of
                )
            ):
                calm[told_as] = State.BUILT.value
                continue
            verdicts = {}
            for each in nodes:
                address = each.node.address
                tasks, shared = owned[address]
                heard = told.get(address, {}).get(name)
                look = known.on(address).look
                verdict = look(index, each, tasks.get(name, ()), heard, shared=name in shared)
                verdicts[address] = verdict, _on_node(verdict, index, each, heard)
            if verdicts and all(verdict.state is State.BUILT for verdict, _ in verdicts.values()):
                known.note_built(answers.moment, self._polled_at, self._clock)
            items.append(_item(known, verdicts, answers.moment))
        return items, calm


class IndexesCollector(ReadingCollector):
    """Secondary indexes of Cassandra and ScyllaDB, index by index and node by node.

    - ``indexes``: ``keyspace``, ``table``, ``index``, ``kind`` (legacy, sasi, storage-attached, view,
      custom), ``state`` (that of the node that is worst), ``percent`` (mean of the nodes), its rate and ETA,
      ``queryable`` where every node says so, ``verdict`` (a sentence when something is wrong), ``nodes``
    - each node: ``state``, ``percent``, ``listed_as_built``, ``gossip`` (what the cluster was told of it),
      ``running`` (a build task of it), ``is_building``, ``is_queryable``, ``coverage``
    - ``total``, ``states``, ``changed``, ``left_out``, ``digest``: of all, also when a large cluster's are
      not all listed
    """

    default_name = "cassandra_indexes"
    queries = INDEX_QUERIES
    topics = ("indexes",)
    plain = True

    def make_reader(self, clock: SystemClock) -> IndexesReader:
        """Return a reader of indexes."""
        return IndexesReader(clock)


def _names(index: Index) -> dict[str, object]:
    return {"keyspace": index.keyspace, "table": index.table, "index": index.name, "kind": index.kind}


def _item(
    known: _Known,
    verdicts: dict[str, tuple[Verdict, dict[str, object]]],
    moment: float,
) -> dict[str, object]:
    """Return one index of the whole cluster: as bad as its worst node, as far as the nodes' mean."""
    found = [verdict for verdict, _ in verdicts.values()]
    state = worst(verdict.state for verdict in found)
    percents = [verdict.percent for verdict in found if verdict.percent is not None]
    percent = sum(percents) / len(percents) if percents and len(percents) == len(found) else None
    if state is State.BUILT:
        known.progress.forget()
    elif percent and state in (State.BUILDING, State.PENDING):
        percent = known.progress.add(moment, percent)
    elif state is State.FAILED:
        known.progress.forget()
    reasons = {}
    if percent is None:
        why = next((verdict for verdict in found if verdict.percent is None), None)
        reasons["percent"] = (
            (why.reasons.get("percent") or why.verdict or str(why.state)) if why else "no node"
        )
    queryable = [verdict.is_queryable for verdict in found]
    if None in queryable or not queryable:
        reasons["queryable"] = "the server says so of storage-attached and of built indexes only"
    rate, eta = known.progress.rate_percent_per_second, known.progress.eta_seconds
    goes_on = state is State.BUILDING
    for key, value in (("rate_percent_per_second", rate), ("eta_seconds", eta)):
        if value is None or not goes_on:
            reasons[key] = "it takes three different percentages" if goes_on else "it is not being built"
    unsure = {}
    if known.first_seen_built is not None:
        unsure["first_seen_built_uncertainty_seconds"] = known.unsure_seconds
    else:
        reasons["first_seen_built"] = _NOT_SEEN[known.was_seen_built]
    return {
        **_names(known.index),
        "state": state.value,
        "percent": None if percent is None else round(percent, 1),
        "rate_percent_per_second": round(rate, 2) if rate is not None and goes_on else None,
        "eta_seconds": round(eta, 1) if eta is not None and goes_on else None,
        "queryable": False if False in queryable else None if "queryable" in reasons else True,
        "first_seen_built": known.first_seen_built,
        **unsure,
        "verdict": _sentence(state, {address: verdict for address, (verdict, _) in verdicts.items()}),
        "nodes": {address: told for address, (_, told) in verdicts.items()},
        "reasons": reasons,
    }


def _sentence(state: State, verdicts: dict[str, Verdict]) -> str | None:
    """Return the verdict of the nodes that the state is of, with their addresses where there are several."""
    told = {address: one.verdict for address, one in verdicts.items() if one.state is state and one.verdict}
    if not told:
        return None
    sentence = next(iter(told.values()))
    return sentence if len(verdicts) == 1 else f"on {', '.join(told)}: {sentence}"


def _on_node(verdict: Verdict, index: Index, facts: Facts, heard: str | None) -> dict[str, object]:
    name = index.keyspace, index.name
    told: dict[str, object] = {
        "state": verdict.state.value,
        "percent": None if verdict.percent is None else round(verdict.percent, 1),
        "listed_as_built": None if facts.listed is None else name in facts.listed,
        "gossip": heard,
        "running": verdict.is_running,
    }
    if index.kind == "storage-attached":
        flags = (facts.flags or {}).get(name)
        told["is_building"], told["is_queryable"] = flags if flags is not None else (None, None)
        if facts.coverage is not None:
            covered = facts.coverage.get(name)
            told["coverage"] = None if covered is None else covered.told()
    return {**told, "reasons": verdict.reasons}


def of_views(found: Sequence[Index], told: Mapping[str, object]) -> list[dict[str, object]]:
    """Return ScyllaDB's indexes from what is told of its views: the one behind an index is <index>_index."""
    views = told.get("views")
    listed = {(item["keyspace"], item["view"]): item for item in views} if isinstance(views, list) else {}
    items = []
    for index in found:
        view = listed.get((index.keyspace, f"{index.name}_index"))
        if view is None:
            view = {"state": State.UNKNOWN.value, "percent": None, "nodes": {}}
            view["reasons"] = {"state": "the view behind it is not told of"}
        more = {key: value for key, value in view.items() if key not in ("keyspace", "view", "base")}
        more["queryable"] = True if view["state"] == State.BUILT.value else None
        items.append({**_names(index), **more})
    return items


def _dropped(known: _Known) -> dict[str, object]:
    return {
        **_names(known.index),
        "state": State.DROPPED.value,
        "percent": None,
        "rate_percent_per_second": None,
        "eta_seconds": None,
        "queryable": False,
        "first_seen_built": known.first_seen_built,
        "verdict": None,
        "nodes": {},
        "reasons": {"percent": "it is not in the schema any more"},
    }
