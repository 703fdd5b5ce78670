"""The collector of the consistency check, as far as it needs no server."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_diagnostics.collectors import CASSANDRA_DEFAULT, DEFAULT, load
from pytest_diagnostics.collectors.cassandra.consistency_collector import ConsistencyCollector
from pytest_diagnostics.collectors.cassandra.queries import Answers, Reply, Ring, Row
from pytest_diagnostics.core.errors import ConfigurationError
from tests.collectors.cassandra.test_consistency_report import report

VIEWS: list[Row] = [{"keyspace_name": "ks", "view_name": f"v{number:02}"} for number in range(60)]
SYSTEMS = {"keyspace_name": "system_auth", "view_name": "v"}
HERE, THERE = "127.0.0.1", "127.0.0.2"


def answers(*, built_there: list[Row] | None = None, reason: str | None = None) -> Answers:
    listed = Reply("checked_views", "", HERE, rows=[*VIEWS, SYSTEMS])
    here = Reply("built_here", "", HERE, rows=list(VIEWS))
    there = Reply("built_here", "", THERE, rows=None if reason else built_there, error=reason)
    return Answers(
        (), {"checked_views": {HERE: listed}, "built_here": {HERE: here, THERE: there}}, Ring(), {}
    )


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> ConsistencyCollector:
    """Give one whose checks all find something wrong, with long values."""
    example = long_example()
    wrong = {**report(3).as_dict(), "examples": {"missing": [example] * 5, "ghost": [], "differs": []}}

    def checked(self: ConsistencyCollector, name: tuple[str, str]) -> dict[str, object]:
        return {**wrong, "keyspace": name[0], "view": name[1]}

    monkeypatch.setattr(ConsistencyCollector, "_checked", checked)
    return ConsistencyCollector(session=object())


def long_example() -> dict[str, object]:
    return {"kind": "missing", "key": {"id": 1, "email": "x" * 200, "other": "y" * 200}}


def test_nobody_has_it_who_did_not_ask() -> None:
    assert "cassandra_consistency" not in {*DEFAULT, *CASSANDRA_DEFAULT}
    assert isinstance(load("cassandra_consistency", session=object()), ConsistencyCollector)


def test_views_take_turns_and_a_new_one_comes_last(collector: ConsistencyCollector) -> None:
    built = list(VIEWS)
    for _ in range(len(VIEWS)):
        data = collector.read(answers(built_there=built))

    assert data["total"] == 60
    assert data["left_out"] == 20
    assert next(iter(collector._turns)) == ("ks", "v00")
    assert list(collector._turns)[-1] == ("ks", "v59")


def test_result_of_many_wrong_views_is_never_cut(collector: ConsistencyCollector) -> None:
    for _ in range(len(VIEWS)):
        data = collector.read(answers(built_there=list(VIEWS)))

    views = data["views"]
    assert isinstance(views, list)
    assert len(json.dumps(data)) < 60 << 10
    assert views[0]["examples"]["missing"][0]["key"]["id"] == 1
    assert views[-1]["examples"] is None


def test_view_that_is_not_built_everywhere_is_not_checked(collector: ConsistencyCollector) -> None:
    data = collector.read(answers(built_there=VIEWS[1:2]))

    views, waiting = data["views"], data["not_checked"]
    assert isinstance(views, list)
    assert isinstance(waiting, dict)
    assert [view["view"] for view in views] == ["v01"]
    assert waiting["ks.v00"] == "it is not built on 127.0.0.2"


def test_view_of_which_a_node_tells_nothing_is_not_checked(collector: ConsistencyCollector) -> None:
    data = collector.read(answers(reason="timeout: no answer within 3.0 s"))

    assert data["views"] == []
    waiting = data["not_checked"]
    assert isinstance(waiting, dict)
    assert "whether it is built on 127.0.0.2 is not known: timeout" in waiting["ks.v00"]


def test_without_a_list_of_views_there_is_a_reason(collector: ConsistencyCollector) -> None:
    listed = Reply("checked_views", "", HERE, error="timeout: no answer within 3.0 s")

    data = collector.read(replace(answers(), replies={"checked_views": {HERE: listed}}))

    assert data["views"] is None
    assert data["reasons"] == {"views": "timeout: no answer within 3.0 s"}


def test_names_and_numbers_are_checked_at_once() -> None:
    with pytest.raises(ConfigurationError, match="names no view"):
        ConsistencyCollector(session=object(), views=["by_email"])
    with pytest.raises(ConfigurationError, match="sample=0"):
        ConsistencyCollector(session=object(), sample=0)
