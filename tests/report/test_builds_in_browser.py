"""Lanes of builds in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.analysis.schema import Attempt, Build, BuildStep, Summary

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Summaries = Callable[..., Summary]
Attempts = Callable[..., Attempt]
Show = Callable[..., "Page"]

#: The colours at moments and heights within the first build's lane, from one read: of more the browser warns.
PIXELS = """(places) => {
  const canvas = document.querySelector("#lanes canvas");
  const ratio = canvas.width / canvas.clientWidth;
  const left = innerWidth < 700 ? 64 : 84;
  const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return places.map(([share, height]) => {
    const x = Math.round((left + share * (canvas.clientWidth - left - 14)) * ratio);
    const y = Math.round((18 + 4 + 14 * (1 - height)) * ratio);
    return all.data.slice((y * all.width + x) * 4, (y * all.width + x) * 4 + 3).join(" ");
  });
}"""


def build(name: str, *steps: tuple[float, str, float | None], end: float) -> Build:
    return Build(
        kind="view",
        name=name,
        collector="cassandra_views",
        source="recorder-1",
        state=steps[-1][1],
        verdict=None,
        start_seconds=steps[0][0],
        time_seconds=end,
        steps=[BuildStep(time_seconds=at, state=state, percent=percent) for at, state, percent in steps],
    )


def made(summary: Summaries, attempt: Attempts, *builds: Build) -> Summary:
    found = summary([attempt("t.py::test_one", start=0.0, wall=10.0)], seconds=10.0)
    found["builds"] = list(builds)
    return found


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (375, "light"), (375, "dark")]
)
def test_a_lane_is_filled_by_the_percent(
    show: Show, summary: Summaries, attempt: Attempts, width: int, scheme: str
) -> None:
    rising = build("ks.by_email", (0.0, "building", 0.0), (8.0, "built", 100.0), end=8.0)
    page = show(made(summary, attempt, rising), width=width, scheme=scheme)

    places = [(0.6, 0.2), (0.6, 0.6), (0.2, 0.8), (0.3, 0.6)]
    filled, also_filled, empty, also_empty = page.evaluate(PIXELS, places)
    assert filled == also_filled != empty == also_empty
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_pointing_at_a_lane_tells_the_state_at_that_moment(
    show: Show, summary: Summaries, attempt: Attempts
) -> None:
    steps = ((0.0, "building", 20.0), (4.0, "building", 60.0), (8.0, "interrupted", 70.0))
    page = show(made(summary, attempt, build("ks.</script><b>", *steps, end=10.0)))
    page.locator("#lanes").scroll_into_view_if_needed()
    box = page.locator("#lanes canvas").bounding_box()
    assert box is not None
    told = []
    for share in (0.2, 0.5, 0.9):
        page.mouse.move(box["x"] + 84 + share * (box["width"] - 98), box["y"] + 18 + 4 + 7)
        told.append(page.inner_text("#under"))

    assert told == [
        "view ks.</script><b> · building 20 % at 00:02.0",
        "view ks.</script><b> · building 60 % at 00:05.0",
        "view ks.</script><b> · interrupted at 70 % at the end",
    ]
    assert "interrupted or failed" in page.inner_text("#lanes .legend")


def test_a_run_without_builds_has_no_trace_of_them(show: Show, summary: Summaries, attempt: Attempts) -> None:
    page = show(made(summary, attempt))

    assert "build" not in page.inner_text("body").lower()


def test_without_scripts_the_table_tells_what_became_of_each(
    show: Show, summary: Summaries, attempt: Attempts
) -> None:
    rising = build("ks.by_email", (0.0, "building", 0.0), (8.0, "built", 100.0), end=8.0)
    page = show(made(summary, attempt, rising), scripts=False)

    assert "built after 8.00 s" in page.inner_text("body")
