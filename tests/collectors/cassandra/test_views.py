"""What is said of views, from rows as Cassandra 5.0.8 and 6.0-alpha2 gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from pytest_diagnostics.collectors.cassandra.queries import Answers, Catalog, Node, Reply, Ring
from pytest_diagnostics.collectors.cassandra.shared import SSTABLE_TASKS, THREAD_POOLS
from pytest_diagnostics.collectors.cassandra.view_queries import (
    BUILDS,
    BUILT,
    HINTS,
    LOCAL,
    METRIC_PREFIX,
    PARTITIONS,
    RARE_QUERIES,
    STATUS,
    TOMBSTONES,
    VIEW_METRICS,
    VIEWS,
)
from pytest_diagnostics.collectors.cassandra.views import MANY, ViewsReader

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


def test_percent_is_the_part_of_the_ring_that_is_done() -> None:
    server = Server()
    server.build(EARLIER)
    first = server.view()
    server.build(LATER)
    second = server.view()

    assert (first["state"], first["percent"], first["keys_built"]) == ("building", EARLIER_PERCENT, 9759)
    assert (second["state"], second["percent"], second["keys_built"]) == ("building", LATER_PERCENT, 13759)
    assert of_node(second)["running"] is True
    assert second["status_read_at"] == "QUORUM"


def test_a_build_begins_pending_and_ends_built() -> None:
    server = Server()
    pending = server.view()
    server.build(LATER)
    server.view()
    server.finish()
    built = server.view(2.0)

    assert (pending["state"], pending["percent"], of_node(pending)["status"]) == ("pending", 0.0, None)
    assert (built["state"], built["percent"], of_node(built)["status"]) == ("built", 100.0, "SUCCESS")
    assert str(built["first_seen_built"]).endswith("+00:00")
    assert built["first_seen_built_uncertainty_seconds"] == 2.0
    assert built["verdict"] is None


def test_since_when_a_view_is_built_is_not_guessed() -> None:
    server = Server()
    server.finish()
    view = server.view()

    assert view["first_seen_built"] is None
    assert reasons(view)["first_seen_built"] == "it was built when it was first looked at"


def test_a_view_that_came_and_was_built_between_two_looks_was_seen() -> None:
    server = Server()
    server.rows[VIEWS.topic] = []
    server.poll()
    server.rows[VIEWS.topic] = [VIEW]
    server.finish()
    view = server.view(1.5)

    assert view["first_seen_built"] is not None
    assert view["first_seen_built_uncertainty_seconds"] == 1.5


def test_a_stopped_build_is_interrupted_whatever_the_status_table_says() -> None:
    server = Server()
    server.build(LATER)
    server.view()
    server.stop()
    first, second = server.view(), server.view()

    assert (first["state"], second["state"]) == ("building", "interrupted")
    assert second["percent"] == LATER_PERCENT
    assert of_node(second)["status"] == "STARTED"
    assert "the executor of view builds is idle" in str(second["verdict"])
    assert second["eta_seconds"] is None
    assert reasons(second)["eta_seconds"] == "it is not being built"


def test_an_executor_without_a_row_is_idle() -> None:
    server = Server()
    server.build(LATER)
    server.view()
    server.rows.update({SSTABLE_TASKS.topic: [], THREAD_POOLS.topic: []})
    server.view()

    assert server.view()["state"] == "interrupted"


def test_a_view_in_the_hands_of_a_busy_executor_is_not_interrupted() -> None:
    server = Server()
    server.build(LATER)
    server.rows[SSTABLE_TASKS.topic] = [{**TASK, "table_name": "other"}]

    assert [server.view()["state"] for _ in range(3)] == ["building"] * 3


def test_eta_and_rate() -> None:
    server = Server()
    server.build(EARLIER)
    view = server.view()
    assert view["eta_seconds"] is None
    assert "three different percentages" in reasons(view)["eta_seconds"]
    for last in (-1100000000000000000, -503068074047240477, 100000000000000000):
        server.build([{**LATER[0], "last_token": str(last)}, LATER[1]])
        view = server.view()

    rate, eta = view["rate_percent_per_second"], view["eta_seconds"]
    assert rate == pytest.approx((26.4 - 16.5) / 3, abs=0.1)
    assert eta == pytest.approx((100 - 26.4) / 3.3, abs=0.5)


def test_a_live_node_without_a_status_row_is_pending() -> None:
    server = Server(nodes=2)
    server.rows[(BUILT.topic, ADDRESSES[0])] = [DONE]
    server.rows[STATUS.topic] = [status("SUCCESS")]
    view = server.view()

    assert (of_node(view)["state"], of_node(view, ADDRESSES[1])["state"]) == ("built", "pending")
    assert view["state"] == "pending"
    # The ranges that end at every other token.
    assert view["percent"] == 49.6


def test_a_node_that_is_down_is_unknown_and_not_empty() -> None:
    server = Server(nodes=2)
    server.finish()
    server.rows[STATUS.topic] = [status("SUCCESS"), status("SUCCESS", SECOND)]
    server.view()
    server.down = {ADDRESSES[1]}
    data = server.poll()
    server.moment -= 1.0
    view = server.view()
    server.down = set()
    back = server.view()

    node = of_node(view, ADDRESSES[1])
    assert (view["state"], view["percent"]) == ("unknown", 100.0)
    assert (node["state"], node["percent"], node["locally_built"]) == ("unknown", None, None)
    assert node["status"] == "SUCCESS"
    assert "marked down" in reasons(node)["state"]
    assert data["nodes"][ADDRESSES[1]]["state"] == "down"  # type: ignore[index]
    assert data["errors"][ADDRESSES[1]][BUILT.topic].startswith("connection:")  # type: ignore[index]
    assert back["state"] == "built"


def test_without_a_single_look_at_a_node_the_whole_has_no_percentage() -> None:
    server = Server(nodes=2)
    server.finish()
    server.down = {ADDRESSES[1]}
    view = server.view()

    assert (view["state"], view["percent"]) == ("unknown", None)
    assert reasons(view)["percent"] == "how far it is on 127.0.0.2 is not known"


@pytest.mark.parametrize("topic", [BUILT.topic, BUILDS.topic])
def test_a_failed_query_is_unknown(topic: str) -> None:
    server = Server()
    server.errors[topic] = "permission: no SELECT"
    view = server.view()

    assert view["state"] == "unknown"
    assert "permission: no SELECT" in str(view["verdict"])


def test_a_status_table_that_cannot_be_read_does_not_hide_a_built_view() -> None:
    server = Server()
    server.finish()
    server.errors[STATUS.topic] = "timeout: no answer within 3.0 s"
    view = server.view()

    assert (view["state"], view["status_read_at"]) == ("built", None)
    assert reasons(view)["status_read_at"].startswith("timeout:")
    assert reasons(of_node(view))["status"].startswith("timeout:")


def test_a_status_table_that_contradicts_the_built_views() -> None:
    server = Server()
    server.finish()
    server.rows[STATUS.topic] = [status("STARTED")]

    assert [server.view()["state"] for _ in range(5)] == ["built"] * 3 + ["inconsistent"] * 2


def test_a_status_row_that_vanishes_and_comes_back() -> None:
    server = Server()
    server.finish()
    rows = server.rows[STATUS.topic]
    found = [server.view()["state"]]
    for there in (False, False, True):
        server.rows[STATUS.topic] = rows if there else []
        found.append(server.view()["state"])

    assert found == ["built"] * 4


def test_a_dropped_view_is_told_of_for_a_while() -> None:
    server = Server()
    server.build(LATER)
    server.view()
    server.rows[VIEWS.topic] = []
    dropped = server.view()
    server.view(30.0)

    assert (dropped["state"], dropped["percent"], dropped["nodes"]) == ("dropped", None, {})
    assert "not any more since" in str(dropped["verdict"])
    assert server.poll(31.0)["views"] == []


def test_a_view_that_is_listed_by_nobody_because_nobody_answers_is_not_dropped() -> None:
    server = Server()
    server.build(LATER)
    server.view()
    server.errors[VIEWS.topic] = "timeout: no answer within 3.0 s"

    assert server.view()["state"] == "building"


def test_views_that_cannot_be_listed_are_not_none_at_all() -> None:
    server = Server()
    server.errors[VIEWS.topic] = "permission: no SELECT"
    data = server.poll()

    assert data["views"] is None
    assert reasons(data) == {"views": "permission: no SELECT"}


def test_another_view_of_the_same_name_begins_anew() -> None:
    server = Server()
    server.finish()
    server.view()
    server.rows[VIEWS.topic] = [ANOTHER]
    server.build(EARLIER)
    server.rows[BUILT.topic] = []
    view = server.view()

    assert (view["state"], view["percent"], view["first_seen_built"]) == ("building", EARLIER_PERCENT, None)


def test_a_node_whose_schema_does_not_have_the_view_yet() -> None:
    server = Server(nodes=2)
    server.rows[(VIEWS.topic, ADDRESSES[1])] = []
    view = server.view()

    assert of_node(view, ADDRESSES[1])["state"] == "absent"
    assert view["state"] == "absent"


def test_the_servers_own_views_are_nobodys() -> None:
    server = Server()
    server.rows[VIEWS.topic] = [{**VIEW, "keyspace_name": "system_distributed"}]

    assert server.poll()["views"] == []


def test_a_node_that_has_just_started_is_given_its_time() -> None:
    server = Server()
    server.build(LATER)
    server.stop()
    server.rows[THREAD_POOLS.topic] = []
    now = server.reader._clock.wall(server.moment).timestamp()
    server.rows[LOCAL.topic] = [{**LOCAL_ROW, "gossip_generation": int(now) - 5}]
    found = [server.view()["state"] for _ in range(3)]

    assert found == ["building", "pending", "pending"]
    assert server.view(60.0)["state"] == "interrupted"


def test_what_nodes_say_of_themselves() -> None:
    server = Server()
    mutations = {"name": "ViewMutationStage", "active_tasks": 2, "pending_tasks": 7, "blocked_tasks": 0}
    server.rows[THREAD_POOLS.topic] = [{**mutations, "completed_tasks": 9}]
    server.rows[HINTS.topic] = [
        {"files": 2, "oldest": datetime(2026, 11, 23, 4, 0, 1)},
        {"files": 1, "oldest": datetime(2026, 11, 23, 4, 0, 0)},
    ]
    metric = {"name": f"{METRIC_PREFIX}ViewPendingMutations.ViewWrite", "value": "3"}
    server.rows[VIEW_METRICS.topic] = [metric]
    node = server.poll()["nodes"][ADDRESSES[0]]  # type: ignore[index]

    assert node["view_mutation_stage"] == {"active": 2, "pending": 7, "blocked": 0, "completed": 9}
    assert node["view_build_executor"] is None
    assert "no row ViewBuildExecutor" in node["reasons"]["view_build_executor"]
    assert node["hints"] == {"files": 3, "for_nodes": 2, "oldest": "2026-11-23T04:00:00.000+00:00"}
    assert node["view_writes"]["view_pending_mutations"] == 3
    assert node["view_writes"]["view_replicas_success"] is None


def test_what_a_version_does_not_offer_is_unavailable_and_not_empty() -> None:
    server = Server()
    server.absent = {HINTS.topic: "this version has no table system_views.pending_hints"}
    data = server.poll()
    node = data["nodes"][ADDRESSES[0]]  # type: ignore[index]

    assert node["hints"] is None
    assert node["reasons"]["hints"] == "this version has no table system_views.pending_hints"
    assert data["unavailable"] == {HINTS.topic: "this version has no table system_views.pending_hints"}


def test_sizes_are_those_of_the_worst_node() -> None:
    server = Server(nodes=2)
    size = {"keyspace_name": "k", "table_name": "mv", "mebibytes": 1}
    base = {**size, "table_name": "t", "mebibytes": 3}
    server.rows[PARTITIONS.topic] = [size, base]
    server.rows[(PARTITIONS.topic, ADDRESSES[1])] = [{**size, "mebibytes": 170}]
    # 5.0.8 says max, p50th and p99th.
    server.rows[TOMBSTONES.topic] = [{**size, "count": 9, "max": 12.0, "p50th": 0.0, "p99th": 4.0}]
    view = server.view()

    assert view["largest_partition_mebibytes"] == 170
    assert view["base_largest_partition_mebibytes"] == 3
    assert view["most_tombstones_per_read"] == 12.0


def test_sizes_are_asked_for_rarely() -> None:
    server = Server()
    server.rows[VIEWS.topic] = []
    server.poll()
    topics = [query.topic for query in server.reader.queries(server.moment + 1.0)]
    later = [query.topic for query in server.reader.queries(server.moment + 40.0)]

    assert PARTITIONS.topic not in topics
    assert PARTITIONS.topic in later
    assert VIEWS.topic in topics


def test_many_views_are_listed_anew_when_the_schema_changes() -> None:
    server = Server()
    server.rows[VIEWS.topic] = [{**VIEW, "view_name": f"v{number}"} for number in range(MANY + 1)]
    server.poll()
    assert VIEWS not in server.reader.queries(server.moment + 1.0)
    answers = server.answers()
    answers = replace(answers, replies={t: r for t, r in answers.replies.items() if t != VIEWS.topic})
    assert server.reader.read(answers)["total"] == MANY + 1

    other = {**LOCAL_ROW, "schema_version": UUID("00000000-0000-0000-0000-000000000006")}
    server.rows[LOCAL.topic] = [other]
    server.reader.read(
        replace(server.answers(), replies={LOCAL.topic: server.answers().replies[LOCAL.topic]})
    )

    assert VIEWS in server.reader.queries(server.moment + 1.0)
