"""diagnostics.wait_until_built, over what collectors told in a script."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_diagnostics.core.errors import ConfigurationError
from pytest_diagnostics.waiting import GRACE_SECONDS, HopelessError, Waiting, parsed

NODES = {"127.0.0.1": {"state": "built"}, "127.0.0.2": {"state": "building", "percent": 63.0}}


def view(state: str, **more: Any) -> dict[str, Any]:
    return {"keyspace": "ks", "view": "v", "state": state, "percent": None, **more}


def index(state: str, table: str = "t") -> dict[str, Any]:
    return {"keyspace": "ks", "table": table, "index": "i", "state": state, "percent": None}


def look(waiting: Waiting, *views: dict[str, Any], now: float = 0.0, **more: Any) -> bool:
    return waiting.look({"cassandra_views": {"views": list(views), **more}}, now)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ks.view", ("ks", "view")),
        ("KS.View", ("ks", "view")),
        ("ks.t.i", ("ks", "t", "i")),
        ('"My""KS"."select"', ('My"KS', "select")),
        ('ks."a.b"', ("ks", "a.b")),
    ],
)
def test_names_are_read_as_cql_reads_them(name: str, parts: tuple[str, ...]) -> None:
    assert parsed(name) == parts


@pytest.mark.parametrize(
    "name", ["", "view", "a.b.c.d", "ks.", ".v", 'ks."v', "ks v", "ks..v", "ks.1v", 'ks."v".']
)
def test_what_names_nothing_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"give 'keyspace\.view'"):
        parsed(name)


def test_it_is_waited_for_until_it_is_built() -> None:
    waiting = Waiting("ks.v", 0.0)

    assert not look(waiting, view("pending"))
    assert not look(waiting, view("building", percent=10.0))
    assert not look(waiting, view("stuck"))
    assert look(waiting, view("built", percent=100.0))


def test_time_up_has_the_percent_the_rate_and_the_node_that_is_behind() -> None:
    waiting = Waiting("ks.v", 0.0)
    look(waiting, view("building", percent=63.4, rate_percent_per_second=9.05, eta_seconds=4.04, nodes=NODES))

    assert waiting.timed_out(2.5) == (
        "ks.v was not built within 2.5 s: view ks.v was still building on 127.0.0.2: "
        "63 %, 9.05 % a second, about 4.04 s to go"
    )


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_a_build_that_does_not_go_on_is_not_waited_for(state: str) -> None:
    with pytest.raises(HopelessError, match="why it is so"):
        look(Waiting("ks.v", 0.0), view(state, verdict="why it is so"))


def test_two_parts_are_a_view_or_an_index_and_three_an_index() -> None:
    report: dict[str, Any] = {
        "cassandra_views": {"views": [view("building")]},
        "cassandra_indexes": {"indexes": [index("building", "other"), index("built")]},
    }
    assert Waiting("ks.t.i", 0.0).look(report, 0.0)
    assert not Waiting("ks.other.i", 0.0).look(report, 0.0)
    assert not Waiting("ks.v", 0.0).look(report, 0.0)
    assert Waiting("ks.t.i", 0.0).collectors == ["cassandra_indexes"]


def test_what_is_not_there_has_a_moment_to_appear() -> None:
    waiting = Waiting("ks.v", 100.0)

    assert not look(waiting, now=100.0)
    assert not look(waiting, view("dropped"), now=101.0)
    with pytest.raises(HopelessError, match=r"ks\.v: there is no such view or index"):
        look(waiting, now=100.0 + GRACE_SECONDS)


def test_what_was_seen_and_is_gone_was_dropped() -> None:
    for gone in ([], [view("dropped")]):
        waiting = Waiting("ks.v", 0.0)
        look(waiting, view("building"))
        with pytest.raises(HopelessError, match="was dropped while it was waited for"):
            look(waiting, *gone)


def test_a_view_that_one_node_has_not_heard_of_is_there() -> None:
    waiting = Waiting("ks.v", 0.0)
    nodes = {"127.0.0.1": {"state": "building"}, "127.0.0.2": {"state": "absent"}}

    assert not look(waiting, view("building"), now=0.0)
    assert not look(waiting, view("absent", nodes=nodes), now=GRACE_SECONDS + 1.0)
    assert "view ks.v was absent on 127.0.0.2" in waiting.timed_out(9.0)


def test_what_a_large_cluster_does_not_list_was_not_dropped() -> None:
    waiting = Waiting("ks.v", 0.0)
    look(waiting, view("building"))

    assert not look(waiting, view("failed", view="other"), left_out=900)
    assert "900 that are not listed" in waiting.timed_out(9.0)
    with pytest.raises(HopelessError, match="was dropped while it was waited for"):
        look(waiting, view("dropped"), left_out=900)


def test_an_outage_is_waited_out_and_a_refusal_is_not() -> None:
    waiting = Waiting("ks.v", 0.0)
    told: dict[str, Any] = {"views": None, "connection": {"state": "unreachable", "reason": "no answer",
                                                          "since": "2026-11-23T12:00:03Z"}}  # fmt: skip
    assert not waiting.look({"cassandra_views": told}, 0.0)
    assert not waiting.look({"cassandra_views": told}, 60.0)
    assert "unreachable since 12:00:03 UTC: no answer" in waiting.timed_out(60.0)
    told["connection"] = {"state": "refused", "reason": "bad password"}
    with pytest.raises(HopelessError, match="bad password"):
        waiting.look({"cassandra_views": told}, 61.0)
    with pytest.raises(HopelessError, match="no driver"):
        waiting.look({"cassandra_views": {"error": {"type": "unavailable", "message": "no driver"}}}, 0.0)


#: A collector that tells a script, one look after another, and the last of it for good.
CONFTEST = """
    import pytest
    from pytest_diagnostics import DiagnosticCollector

    class Told(DiagnosticCollector):
        interval = 60.0

        def __init__(self):
            super().__init__("cassandra_views")
            self.script = {script}

        def collect(self):
            state = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            return {{"views": [{{"keyspace": "ks", "view": "v", "percent": 40.0, **state}}]}}

    @pytest.fixture
    def told(diagnostics):
        diagnostics.add(Told())
"""


def run(inside: pytest.Pytester, script: list[dict[str, Any]], test: str) -> pytest.RunResult:
    inside.makeconftest(CONFTEST.format(script=json.dumps(script).replace("null", "None")))
    inside.makepyfile(test)
    return inside.runpytest_subprocess("--diagnostics")


def test_the_fixture_asks_until_it_is_built(inside: pytest.Pytester) -> None:
    states = [{"state": "pending"}, {"state": "building"}, {"state": "building"}, {"state": "built"}]
    ran = run(
        inside,
        states,
        """
        def test_waits(told, diagnostics):
            diagnostics.wait_until_built("ks.v", timeout=20)
            last = diagnostics.results("cassandra_views")[-1]
            assert last.data["views"][0]["state"] == "built"
        """,
    )
    ran.assert_outcomes(passed=1)


def test_the_fixture_fails_with_what_was_seen_last_and_so_does_the_section(inside: pytest.Pytester) -> None:
    ran = run(
        inside,
        [{"state": "building", "nodes": {"127.0.0.9": {"state": "building"}}, "eta_seconds": 30}],
        """
        def test_waits(told, diagnostics):
            diagnostics.wait_until_built("ks.v", timeout=0.3)

        def test_misspelt(told, diagnostics):
            diagnostics.wait_until_built("ks")
        """,
    )
    ran.assert_outcomes(failed=2)
    told = ran.stdout.str()
    sentence = "view ks.v was still building on 127.0.0.9: 40 %, about 30 s to go"
    assert f"diagnostics.wait_until_built: ks.v was not built within 0.3 s: {sentence}" in told
    assert f"\n{sentence}\n" in told
    assert "'ks' names no view or index" in told


def test_the_collector_is_told_what_is_waited_for(inside: pytest.Pytester) -> None:
    inside.makeconftest(
        CONFTEST.format(script=[{"state": "built"}])
        + """
    class Large(Told):
        attended = ()

        def attend(self, name):
            self.attended = name

        def collect(self):
            told = super().collect()
            return told if tuple(self.attended) == ("ks", "v") else {"views": [], "left_out": 5000}

    @pytest.fixture
    def large(diagnostics):
        diagnostics.add(Large())
"""
    )
    inside.makepyfile(
        """
        def test_waits(large, diagnostics):
            diagnostics.wait_until_built("ks.v", timeout=20)
        """
    )
    inside.runpytest_subprocess("--diagnostics").assert_outcomes(passed=1)


@pytest.mark.parametrize("options", [["--diagnostics"], []], ids=["recorded", "not recorded"])
def test_without_a_database_it_fails_at_once_and_says_what_to_give(
    inside: pytest.Pytester, options: list[str]
) -> None:
    inside.makepyfile(
        """
        def test_waits(diagnostics):
            diagnostics.wait_until_built("ks.v")
        """
    )
    ran = inside.runpytest_subprocess(*options)
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*no database is watched; run with --diagnostics-cassandra=HOST*"])
