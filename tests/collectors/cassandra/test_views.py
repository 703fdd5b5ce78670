"""The states of views on one node and on several, how far they are, and until when."""

from __future__ import annotations

import pytest

from pytest_diagnostics.collectors.cassandra.shared import SSTABLE_TASKS, THREAD_POOLS
from pytest_diagnostics.collectors.cassandra.view_queries import (
    BUILDS,
    BUILT,
    STATUS,
    VIEWS,
)
from tests.collectors.cassandra.answering import (
    ADDRESSES,
    DONE,
    EARLIER,
    EARLIER_PERCENT,
    LATER,
    LATER_PERCENT,
    SECOND,
    TASK,
    VIEW,
    Server,
    of_node,
    reasons,
    status,
)


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
