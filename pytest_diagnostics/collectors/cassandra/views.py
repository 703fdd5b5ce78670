"""Materialized views: what state each is in, on each node and on all of them, how far, and until when."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...core.clock import SystemClock
from . import telling
from .brief import Brief
from .progress import Progress
from .queries import SYSTEM_KEYSPACES, Answers, Node, Query
from .reading import ReadingCollector
from .scylla import RETRY_SECONDS as SCYLLA_RETRY_SECONDS
from .scylla import ScyllaFacts, Tablets
from .states import State, worst
from .view_build import RETRY_SECONDS, Build, Judged
from .view_facts import CassandraFacts, Evidence, Key, NodeFacts, Statuses, View
from .view_nodes import Sizes, node_data
from .view_queries import (
    CASSANDRA_QUERIES,
    CASSANDRA_TOPICS,
    LOCAL,
    NEW_SECONDS,
    RARE_QUERIES,
    RARELY_SECONDS,
    SCYLLA_QUERIES,
    SCYLLA_RARE_QUERIES,
    SCYLLA_TOPICS,
    VIEW_QUERIES,
    VIEWS,
)

#: A view that was dropped is told of for so long, and of so many at most.
DROPPED_SECONDS, MOST_DROPPED = 60.0, 20
#: More views than this are listed anew only when a node's schema has changed.
MANY = 300


@dataclass
class _Followed:
    """One view, and what was seen of it so far."""

    view: View
    #: Address -> its build there.
    builds: dict[str, Build] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    state: State | None = None
    #: When it was first seen built on all nodes, CLOCK_MONOTONIC, and since when it may have been so.
    built_at: float | None = None
    unsure_seconds: float | None = None
    #: It was built at the first look that there was.
    was_built: bool = False
    dropped_at: float | None = None


class ViewsReader:
    """Makes data of a cluster's answers; it remembers earlier polls, so give it each of them, in order."""

    def __init__(self, clock: SystemClock | None = None) -> None:
        """``clock`` tells the time of day of a moment."""
        self._clock = clock or SystemClock()
        self._followed: dict[Key, _Followed] = {}
        self._sizes = Sizes()
        #: There are views since the sizes were read.
        self._has_news = False
        self._brief = Brief("views", lambda item: f"{item['keyspace']}.{item['view']}")
        self._kind: str | None = None
        self._polled_at: float | None = None
        #: Address -> the version of its schema when its views were listed last, and when that was.
        self._listed: dict[str, str] = {}
        self._listed_at = float("-inf")
        self._versions: dict[str, str] = {}
        self._tablets = Tablets()

    def queries(self, moment: float) -> Sequence[Query]:
        """Return what to ask now: what is known not to change, or changes slowly, is asked more rarely."""
        if self._kind is None:
            return VIEW_QUERIES
        if self._kind == "scylla":
            is_due = moment - self._tablets.read_at >= RARELY_SECONDS
            return (*SCYLLA_QUERIES, *(SCYLLA_RARE_QUERIES if is_due else ()))
        wanted = list(CASSANDRA_QUERIES)
        is_fresh = self._listed == self._versions and moment - self._listed_at < RARELY_SECONDS
        if len(self._followed) > MANY and is_fresh:
            wanted.remove(VIEWS)
        pause = NEW_SECONDS if self._has_news else RARELY_SECONDS
        if moment - self._sizes.read_at >= pause:
            wanted += RARE_QUERIES
            self._has_news = False
        return wanted

    def attend(self, keyspace: str, name: str) -> None:
        """Tell of it in any case from now on."""
        self._brief.attend(f"{keyspace}.{name}")

    def read(self, answers: Answers) -> dict[str, object]:
        """Return the data of one poll."""
        result = self.read_all(answers)
        return result if result["views"] is None else self._brief.shorten(result)

    def read_all(self, answers: Answers) -> dict[str, object]:
        """Return the data of one poll with every view, however many there are."""
        self._kind = telling.kind(answers) or self._kind
        self._sizes.note(answers)
        self._note_versions(answers)
        self._list(answers)
        statuses = Statuses(answers)
        facts = self._facts(answers, statuses)
        items = [self._item(one, facts, statuses, answers.moment) for one in self._followed.values()]
        self._polled_at = answers.moment
        others = SCYLLA_TOPICS if self._kind == "cassandra" else CASSANDRA_TOPICS
        topics = frozenset(query.topic for query in VIEW_QUERIES) - others
        result: dict[str, object] = {
            "server": telling.server(answers),
            "nodes": {node.address: node_data(answers, node) for node in answers.nodes},
            "views": sorted(items, key=lambda item: (str(item["keyspace"]), str(item["view"]))),
            "unavailable": telling.unavailable(answers, topics),
            "errors": telling.errors(answers, topics),
        }
        why = self._why_no_views(answers)
        if why is None:
            return result
        return {**result, "views": None, "reasons": {"views": why}}

    # -- the schema

    def _why_no_views(self, answers: Answers) -> str | None:
        """Return why the views are not known; None when they are."""
        replies = answers.replies.get(VIEWS.topic, {})
        if not replies or self._followed or any(reply.rows is not None for reply in replies.values()):
            return None
        return next((reply.reason for reply in replies.values() if reply.reason), "no node was asked")

    def _note_versions(self, answers: Answers) -> None:
        for address, reply in answers.replies.get(LOCAL.topic, {}).items():
            if reply.rows:
                self._versions[address] = str(reply.rows[0].get("schema_version"))

    def _list(self, answers: Answers) -> None:
        """Take over the schema's views; those that no node has any more are dropped."""
        replies = [reply for reply in answers.replies.get(VIEWS.topic, {}).values() if reply.rows is not None]
        if not replies:
            return
        self._listed, self._listed_at = dict(self._versions), answers.moment
        there: dict[Key, set[object]] = {}
        for row in (row for reply in replies for row in reply.rows or []):
            if row["keyspace_name"] in SYSTEM_KEYSPACES:
                continue
            key = str(row["keyspace_name"]), str(row["view_name"])
            there.setdefault(key, set()).add(row.get("id"))
            known = self._followed.get(key)
            if known is None or known.dropped_at is not None:
                self._followed[key] = _Followed(View.of_row(row))
                self._has_news = True
        for row in (row for reply in replies for row in reply.rows or []):
            key = str(row["keyspace_name"]), str(row["view_name"])
            known = self._followed.get(key)
            # Another view of the same name: the one that was followed is gone from every node.
            if known is not None and known.view.raw_id not in there.get(key, ()):
                self._followed[key] = _Followed(View.of_row(row))
        for key, one in self._followed.items():
            if key not in there and one.dropped_at is None:
                one.dropped_at = answers.moment
        self._forget_dropped(answers.moment)

    def _forget_dropped(self, moment: float) -> None:
        dropped = sorted(
            ((one.dropped_at, key) for key, one in self._followed.items() if one.dropped_at is not None),
            reverse=True,
        )
        for place, (at, key) in enumerate(dropped):
            if place >= MOST_DROPPED or moment - at > DROPPED_SECONDS:
                del self._followed[key]

    # -- the nodes

    def _facts(self, answers: Answers, statuses: Statuses) -> dict[str, tuple[Node, NodeFacts]]:
        wall_seconds = self._clock.wall(answers.moment).timestamp()
        if self._kind == "scylla":
            self._tablets.note(answers)
            return {
                node.address: (node, ScyllaFacts(answers, node, statuses, self._tablets))
                for node in answers.nodes
            }
        return {
            node.address: (node, CassandraFacts(answers, node, statuses, wall_seconds))
            for node in answers.nodes
        }

    def _item(
        self,
        one: _Followed,
        facts: Mapping[str, tuple[Node, NodeFacts]],
        statuses: Statuses,
        moment: float,
    ) -> dict[str, object]:
        view = one.view
        reasons: dict[str, str] = {}
        data: dict[str, object] = {"keyspace": view.keyspace, "view": view.name, "base": view.base}
        if one.dropped_at is not None:
            at = self._time(one.dropped_at)
            data.update(state=State.DROPPED.value, percent=None, nodes={})
            data["verdict"] = f"it was in the schema, and is not any more since {at}"
            data["reasons"] = {"percent": "the view was dropped"}
            return data
        retry = SCYLLA_RETRY_SECONDS if self._kind == "scylla" else RETRY_SECONDS
        evidences = {address: known.evidence(view) for address, (_, known) in facts.items()}
        judged: dict[str, Judged] = {}
        for address, evidence in evidences.items():
            build = one.builds.get(address)
            if build is None:
                build = one.builds[address] = Build(retry)
            judged[address] = build.judge(evidence)
        state = worst(each.state for each in judged.values())
        self._follow(one, state, judged, moment)
        percent, why = _together(one, {a: known.share(view.keyspace) for a, (_, known) in facts.items()})
        if state is State.BUILT:
            percent = 100.0
        percent = one.progress.add(moment, percent) if percent is not None else None
        data.update(state=state.value, percent=_floored(percent))
        if percent is None:
            reasons["percent"] = why or "it cannot be told"
        self._put_pace(data, reasons, one, judged.values())
        self._put_built(data, reasons, one)
        keys = [evidence.keys_built for evidence in evidences.values() if evidence.keys_built is not None]
        data["keys_built"] = sum(keys) if keys else None
        if not keys:
            reasons["keys_built"] = "the server counts them only while it builds"
        data["status_read_at"] = statuses.read_at
        if statuses.reason is not None:
            reasons["status_read_at"] = statuses.reason
        data["verdict"] = _verdict(state, judged)
        data["nodes"] = {a: _node_item(evidences[a], judged[a]) for a in judged}
        self._sizes.put(data, reasons, view.key, (view.keyspace, view.base))
        data["reasons"] = reasons
        return data

    def _follow(self, one: _Followed, state: State, judged: Mapping[str, Judged], moment: float) -> None:
        """Note when it was first seen built, and when it began anew."""
        if any(each.is_new for each in judged.values()) or (one.state is State.BUILT and state.is_begun):
            one.progress.forget()
            one.built_at, one.was_built = None, False
        if state is State.BUILT and one.built_at is None and not one.was_built:
            if self._polled_at is None:
                one.was_built = True
            else:
                one.built_at, one.unsure_seconds = moment, moment - self._polled_at
        one.state = state

    def _put_built(self, data: dict[str, object], reasons: dict[str, str], one: _Followed) -> None:
        data["first_seen_built"] = None if one.built_at is None else self._time(one.built_at)
        if one.built_at is not None and one.unsure_seconds is not None:
            # It may have been built at any time since the look before.
            data["first_seen_built_uncertainty_seconds"] = round(one.unsure_seconds, 3)
        elif one.was_built:
            reasons["first_seen_built"] = "it was built when it was first looked at"
        else:
            reasons["first_seen_built"] = "it was not seen built on every node yet"

    @staticmethod
    def _put_pace(
        data: dict[str, object], reasons: dict[str, str], one: _Followed, judged: Iterable[Judged]
    ) -> None:
        data["rate_percent_per_second"] = data["eta_seconds"] = None
        if one.state is not State.BUILDING:
            reasons["rate_percent_per_second"] = reasons["eta_seconds"] = "it is not being built"
            return
        rate = one.progress.rate_percent_per_second
        etas = [each.eta_seconds for each in judged if each.state is State.BUILDING]
        known = [eta for eta in etas if eta is not None]
        if rate is None:
            reasons["rate_percent_per_second"] = "it takes three different percentages"
        else:
            data["rate_percent_per_second"] = round(rate, 3)
        if known and len(known) == len(etas):
            # The nodes build side by side: the slowest decides.
            data["eta_seconds"] = round(max(known), 1)
        else:
            reasons["eta_seconds"] = "it takes three different percentages of each node that builds"

    def _time(self, moment: float) -> str:
        return str(self._clock.wall(moment).isoformat(timespec="milliseconds"))


def _together(one: _Followed, widths: Mapping[str, int | None]) -> tuple[float | None, str | None]:
    """Return the percentage over all nodes, weighed by what each holds, and why there is none."""
    total, done = 0, 0.0
    for address, width in widths.items():
        # Where the ring is not known, the nodes count alike.
        weight = 1 if width is None else width
        percent = one.builds[address].at_least
        if not weight:
            continue
        if percent is None:
            return None, f"how far it is on {address} is not known"
        total, done = total + weight, done + weight * percent
    return (done / total, None) if total else (None, "no node holds anything of this keyspace")


def _node_item(evidence: Evidence, judged: Judged) -> dict[str, object]:
    """Return what is told of a view on one node."""
    reasons = dict(evidence.reasons)
    data: dict[str, object] = {
        "state": judged.state.value,
        "percent": _floored(judged.percent),
        "keys_built": evidence.keys_built,
        "status": evidence.status,
        "locally_built": evidence.locally_built,
        "running": evidence.running,
    }
    if judged.eta_seconds is not None:
        data["eta_seconds"] = round(judged.eta_seconds, 1)
    if judged.percent is None:
        reasons.setdefault("percent", evidence.unknown or "it cannot be told")
    if evidence.unknown is not None:
        reasons["state"] = evidence.unknown
    if judged.sentence is not None and evidence.unknown is None:
        data["sentence"] = judged.sentence
    if reasons:
        data["reasons"] = reasons
    return data


def _verdict(state: State, judged: Mapping[str, Judged]) -> str | None:
    """Return a sentence on the worst nodes; None when there is nothing to say."""
    concerned = {address: each for address, each in judged.items() if each.state is state}
    sentences = {each.sentence for each in concerned.values() if each.sentence is not None}
    if not sentences:
        return None
    where = ", ".join(sorted(address for address, each in concerned.items() if each.sentence))
    return f"{state} on {where}: {min(sentences)}"


def _floored(percent: float | None) -> float | None:
    """Return a percentage with one decimal place, never more than there is."""
    return None if percent is None else math.floor(percent * 10.0 + 1e-6) / 10.0


class ViewsCollector(ReadingCollector):
    """The materialized views of a cluster of Cassandra or ScyllaDB, asked of every node.

    See docs/cassandra.md for what each state means and what it rests on.
    """

    default_name = "cassandra_views"
    queries = VIEW_QUERIES
    topics = ("views",)

    def make_reader(self, clock: SystemClock) -> ViewsReader:
        """Return a reader of views."""
        return ViewsReader(clock)
