"""What is said of views and indexes that were not built."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pytest_diagnostics.analysis.builds import MAX_SENTENCES, outage_words, progress_words, sentences
from pytest_diagnostics.core.courses import Courses
from pytest_diagnostics.core.model import JsonValue
from pytest_diagnostics.core.series import numeric_leaves

NODES: dict[str, JsonValue] = {
    "127.0.0.1": {"state": "built", "percent": 100.0},
    "127.0.0.2": {"state": "building", "percent": 63.4},
}


def view(state: str, percent: float | None = None, **more: JsonValue) -> dict[str, JsonValue]:
    return {"keyspace": "ks", "view": "by_email", "state": state, "percent": percent, **more}


def index(state: str, **more: JsonValue) -> dict[str, JsonValue]:
    return {"keyspace": "ks", "table": "users", "index": "By Age", "state": state, "percent": None, **more}


def test_a_build_is_told_with_its_node_its_percent_and_what_is_to_go() -> None:
    data = {"views": [view("building", 63.4, eta_seconds=4.2, nodes=NODES), view("built", 100.0)]}

    assert sentences({"cassandra_views": data}) == [
        "view ks.by_email was still building on 127.0.0.2: 63 %, about 4.2 s to go"
    ]


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (view("pending", None), "view ks.by_email was still pending"),
        (view("building", 100.0), "view ks.by_email was still building: 99 %"),
        (
            view("interrupted", 41.0, verdict="nobody works on it", nodes={"a": {"state": "interrupted"}}),
            "view ks.by_email was interrupted on a: nobody works on it",
        ),
        (
            view("unknown", None, reasons={"percent": "timeout: 3 s"}),
            "view ks.by_email could not be looked at: timeout: 3 s",
        ),
        (
            view("stuck", 3.0, nodes={name: {"state": "stuck", "percent": 3.0} for name in "cab"}),
            "view ks.by_email was stuck on a, b and 1 more nodes",
        ),
    ],
)  # fmt: skip
def test_each_state_has_its_sentence(item: dict[str, JsonValue], told: str) -> None:
    assert sentences({"any": {"views": [item]}}) == [told]


def test_an_index_is_named_as_cql_would() -> None:
    told = sentences({"any": {"indexes": [index("failed", verdict="rebuild it")]}})

    assert told == ['index ks.users."By Age" had failed: rebuild it']


def test_what_is_built_dropped_or_of_another_collector_is_not_told() -> None:
    found: dict[str, object] = {
        "cassandra_views": {"views": [view("built", 100.0), view("dropped")]},
        "cpu": {"usage_percent": 3.0},
        "own": None,
        "other": {"views": 17},
    }
    assert sentences(found) == []


def test_an_outage_is_told_once_for_the_collectors_that_share_it() -> None:
    connection = {"state": "unreachable", "since": "2026-11-23T12:00:03.250+00:00", "reason": "refused"}
    found: dict[str, object] = {
        "cassandra_views": {"views": None, "connection": connection},
        "cassandra_indexes": {"indexes": None, "connection": connection},
    }
    assert sentences(found) == ["database unreachable since 12:00:03 UTC: refused"]


def test_of_many_the_first_are_told_and_the_rest_is_counted() -> None:
    views: list[JsonValue] = [{**view("pending"), "view": f"v{number}"} for number in range(20)]
    told = sentences({"any": {"views": views, "left_out_states": {"built": 4000, "building": 30}}})

    assert len(told) == MAX_SENTENCES + 1
    assert told[-1] == f"{20 - MAX_SENTENCES + 30} more views and indexes were not built"


def test_an_ended_outage_has_both_its_ends() -> None:
    outage: dict[str, JsonValue] = {"from": "2026-11-23T12:00:03Z", "to": "2026-11-23T12:00:41+00:00"}

    assert outage_words(outage) == "database unreachable 12:00:03–12:00:41 UTC"


def test_progress_has_what_is_known() -> None:
    assert progress_words({}) == ""
    assert progress_words({"percent": 12.5, "eta_seconds": None}) == "12 %"
    full: dict[str, JsonValue] = {"percent": 12.5, "rate_percent_per_second": 2.5, "eta_seconds": 0.2}
    assert progress_words(full, with_rate=True) == "12 %, 2.5 % a second, about 1 s to go"


def test_a_builds_course_goes_from_the_first_sight_of_it_to_built(recorded: Any) -> None:
    main = recorded.process()
    for moment, item in (
        (1.0, view("pending")),
        (2.0, view("building", 10.0)),
        (3.0, view("building", 10.0)),
        (4.0, view("building", 60.0)),
        (5.0, view("built", 100.0)),
        (9.0, view("built", 100.0)),
    ):
        always = {"keyspace": "ks", "view": "old", "state": "built", "percent": 100.0}
        recorded.add(main, "result", collector="cassandra_views", monotonic=moment, seconds=0.01,
                     data={"views": [item, always]})  # fmt: skip
    recorded.end(main)

    (build,) = recorded.summary()["builds"]

    assert (build["kind"], build["name"], build["state"]) == ("view", "ks.by_email", "built")
    assert (build["start_seconds"], build["time_seconds"]) == (1.0, 5.0)
    assert [(step["time_seconds"], step["state"], step["percent"]) for step in build["steps"]] == [
        (1.0, "pending", None),
        (2.0, "building", 10.0),
        (4.0, "building", 60.0),
        (5.0, "built", 100.0),
    ]


def test_what_is_dropped_after_it_was_built_was_built(recorded: Any) -> None:
    main = recorded.process()
    told = ((1.0, "building"), (2.0, "built"), (7.0, "dropped"), (8.0, "dropped"))
    for moment, state in told:
        recorded.add(main, "result", collector="cassandra_views", monotonic=moment, seconds=0.01,
                     data={"views": [view(state, verdict="it is not there any more")]})  # fmt: skip
    recorded.end(main)

    (build,) = recorded.summary()["builds"]

    assert (build["state"], build["time_seconds"], build["verdict"]) == ("built", 2.0, None)


def test_a_build_that_is_lost_sight_of_is_unknown_and_not_built(recorded: Any) -> None:
    main = recorded.process()
    for moment, views in ((1.0, [view("building", 10.0)]), (2.0, None), (4.0, None)):
        recorded.add(main, "result", collector="cassandra_views", monotonic=moment, seconds=0.01,
                     data={"views": views})  # fmt: skip
    recorded.end(main)

    (build,) = recorded.summary()["builds"]

    assert [step["state"] for step in build["steps"]] == ["building", "unknown"]
    assert (build["state"], build["time_seconds"]) == ("unknown", 4.0)


def test_outages_are_gaps_that_leave_the_recording_good(recorded: Any) -> None:
    main = recorded.process()
    recorded.test(main, "t.py::t", 0.0, "setup", "call", "teardown")
    begun = datetime.fromisoformat(recorded.summary()["run"]["started"])
    times = [(begun + timedelta(seconds=at)).astimezone(timezone.utc).isoformat() for at in (3.0, 5.0)]
    outage = {"from": times[0], "to": times[1], "reason": "no answer"}
    for collector in ("cassandra_views", "cassandra_indexes"):
        data = {"views": [], "connection": {"state": "connected", "outages": [outage]}}
        recorded.add(main, "result", collector=collector, monotonic=6.0, seconds=0.01, data=data)
    recorded.end(main)

    summary = recorded.summary()

    (gap,) = summary["gaps"]
    assert (gap["kind"], gap["worker"]) == ("unreachable", None)
    assert (gap["start_seconds"], gap["seconds"]) == pytest.approx((3.0, 2.0), abs=0.01)
    assert "database unreachable" in gap["detail"]
    assert summary["health"]["state"] == "good"


@pytest.mark.parametrize(
    ("state", "told"),
    [({}, "unreachable"), ({"state": "unreachable"}, "unreachable"), ({"state": "refused"}, "refuses us")],
)
def test_a_database_that_says_no_is_not_called_unreachable(state: dict[str, str], told: str) -> None:
    outage = {"from": "2026-11-23T12:00:03Z", "to": None, "reason": "bad password", **state}

    assert outage_words(outage) == f"database {told} since 12:00:03 UTC: bad password"


def test_what_a_recording_from_anywhere_may_hold_is_no_course() -> None:
    courses = Courses()
    courses.add(1.0, {"views": ["x", {"state": 3}, {"state": "built"}], "connection": {"outages": [1, {}]}})

    assert not courses.found
    assert not courses.outages


def test_series_of_views_keep_their_name_when_their_place_changes() -> None:
    data: JsonValue = {"views": [view("building", 10.0), 5]}

    assert dict(numeric_leaves("cassandra_views", data)) == {
        "cassandra_views.views[ks.by_email].percent": 10.0,
        "cassandra_views.views[1]": 5.0,
    }
