"""How the page and the terminal show builds of views and indexes."""

from __future__ import annotations

from collections.abc import Callable

from pytest_diagnostics.analysis.schema import Attempt, Build, BuildStep, Gap, Summary
from pytest_diagnostics.report import builds
from pytest_diagnostics.report.page import page
from pytest_diagnostics.report.payload import meta, series_names
from pytest_diagnostics.report.terminal import MOST_BUILDS, lines
from pytest_diagnostics.report.timeline import timeline

Summaries = Callable[..., Summary]
Attempts = Callable[..., Attempt]


def build(name: str, *steps: tuple[float, str, float | None], end: float, verdict: str = "") -> Build:
    return Build(
        kind="view",
        name=name,
        collector="cassandra_views",
        source="recorder-1",
        state=steps[-1][1],
        verdict=verdict or None,
        start_seconds=steps[0][0],
        time_seconds=end,
        steps=[BuildStep(time_seconds=at, state=state, percent=percent) for at, state, percent in steps],
    )


BUILT = build("ks.a", (1.0, "pending", None), (2.0, "building", 40.0), (5.0, "built", 100.0), end=5.0)
BROKEN = build("ks.b", (2.0, "building", 41.0), (3.0, "interrupted", 41.0), end=9.0, verdict="nobody works")


def test_lanes_have_the_worst_first_and_say_how_many_are_left_out(summary: Summaries) -> None:
    found = summary([])
    many = [build(f"ks.v{n}", (float(n), "built", 100.0), end=float(n)) for n in range(40)]
    found["builds"] = [*many, BROKEN]

    shown, left_out = builds.drawn(found)

    assert (len(shown), left_out) == (builds.DRAWN, 41 - builds.DRAWN)
    assert BROKEN in shown


def test_a_lane_has_looks_in_place_of_states() -> None:
    assert builds.lane(BUILT)[3] == [(1.0, "pending", None), (2.0, "building", 40.0), (5.0, "built", 100.0)]
    assert builds.lane(BROKEN)[2:] == (
        "interrupted at 41 % at the end: nobody works",
        [(2.0, "building", 41.0), (3.0, "bad", 41.0)],
        9.0,
    )


def test_a_long_lane_is_thinned_and_keeps_each_change() -> None:
    steps = [(n / 10, "building" if n != 777 else "stuck", n / 20) for n in range(2000)]
    points = builds.lane(build("ks.a", *steps, end=200.0))[3]

    assert len(points) <= builds.MOST_POINTS + 2
    assert [look for _, look, _ in points].count("stuck") == 1


def test_the_page_has_lanes_and_a_table_only_where_something_was_built(
    summary: Summaries, attempt: Attempts
) -> None:
    found = summary([attempt()])
    drawn = timeline(found)
    assert meta(found, found["tests"], drawn, series_names(found, drawn), 0)["builds"] == []
    assert page(found).builds.rows == []

    found["builds"] = [BUILT, BROKEN]

    told = meta(found, found["tests"], drawn, series_names(found, drawn), 0)["builds"]
    assert isinstance(told, list)
    assert [lane[1] for lane in told if isinstance(lane, list)] == ["ks.a", "ks.b"]
    assert page(found).builds.rows[0] == ["view", "ks.a", "built", "00:01", "4.00 s", "built after 4.00 s"]


def test_a_summary_without_builds_is_of_an_older_version_and_renders(summary: Summaries) -> None:
    found = summary([])
    del found["builds"]  # type: ignore[misc] # as an older file has it

    assert page(found).builds.rows == []


def test_the_terminal_tells_how_a_build_was_when_it_was_looked_at_last(summary: Summaries) -> None:
    found = summary([])
    steps = (1.0, "building", 7.4), (2.0, "unknown", 7.4)
    found["builds"] = [build("ks.c", *steps, end=9.0)]

    told = [row for row in lines(found, show="failed", quiet=False, report=None) if row.startswith("builds")]

    assert told == ["builds  view ks.c could not be looked at in the end, it was building before, at 7 %"]


def test_the_terminal_tells_what_was_not_built_at_the_end_and_outages(summary: Summaries) -> None:
    found = summary([])
    found["builds"] = [BUILT, BROKEN]
    found["gaps"] = [
        Gap(
            kind="unreachable",
            source="recorder-1",
            worker=None,
            pid=None,
            collector="cassandra_views",
            start_seconds=3.0 + n,
            time_seconds=4.0 + n,
            seconds=1.0,
            detail=f"database unreachable 12:00:0{n}–12:00:41 UTC",
        )
        for n in range(4)
    ]

    told = [row for row in lines(found, show="failed", quiet=False, report=None) if row.startswith("builds")]

    assert told == [
        "builds  view ks.b was interrupted at the end: nobody works",
        "builds  database unreachable 12:00:00–12:00:41 UTC",
        "builds  database unreachable 12:00:01–12:00:41 UTC",
        f"builds  {5 - MOST_BUILDS} more of the kind in the report",
    ]
    assert [gap[3] for gap in page(found).gaps.rows] == ["the database: cassandra_views"] * 4
