"""Views that come and go, nodes that say what they do beside, and what is asked how often."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from pytest_diagnostics.collectors.cassandra.shared import THREAD_POOLS
from pytest_diagnostics.collectors.cassandra.view_queries import (
    BUILT,
    HINTS,
    LOCAL,
    METRIC_PREFIX,
    PARTITIONS,
    TOMBSTONES,
    VIEW_METRICS,
    VIEWS,
)
from pytest_diagnostics.collectors.cassandra.views import MANY
from tests.collectors.cassandra.answering import (
    ADDRESSES,
    ANOTHER,
    EARLIER,
    EARLIER_PERCENT,
    LATER,
    LOCAL_ROW,
    VIEW,
    Server,
    of_node,
    reasons,
)


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
