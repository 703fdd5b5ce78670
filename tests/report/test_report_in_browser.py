"""The page in a real browser: what runs, what is shown, and what hostile names can do (nothing)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pytest_diagnostics.analysis.schema import Attempt, Build, BuildStep, Ending, Gap, Series, Summary
from pytest_diagnostics.report.html import render
from pytest_diagnostics.report.page import key_of
from pytest_diagnostics.report.words import block, figure, line

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Summaries = Callable[..., Summary]
Attempts = Callable[..., Attempt]
SeriesOf = Callable[..., Series]
HOSTILE: list[str] = [
    *json.loads(Path(__file__).with_name("hostile.json").read_text(encoding="utf-8")),
    "A" * 20_000,
]


Show = Callable[..., "Page"]


def shown_ids(page: Page) -> list[str]:
    """The ids of the rows that exist, from the first on."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => [...document.querySelectorAll(".space .trow")].filter((row) => !row.hidden)
        .sort((a, b) => a.getAttribute("aria-rowindex") - b.getAttribute("aria-rowindex"))
        .map((row) => row.querySelector("bdi").textContent)"""
    )


def hostile_endings() -> list[Ending]:
    nobody = {"nodeid": None, "last_rss_bytes": None}
    return [cast("Ending", {"process": t, "sentence": t, "evidence": [t], **nobody}) for t in HOSTILE]


def hostile_builds() -> list[Build]:
    step = BuildStep(time_seconds=0.0, state="failed", percent=1.0)
    texts, times = set(Build.__annotations__) - {"steps"}, {"start_seconds": 0.0, "time_seconds": 1.0}
    return [cast("Build", {**dict.fromkeys(texts, t), **times, "steps": [step]}) for t in HOSTILE]


def test_hostile_texts_are_shown_as_they_are_and_nothing_runs(
    show: Show, summary: Summaries, attempt: Attempts, series: SeriesOf
) -> None:
    tests = []
    for number, text in enumerate(HOSTILE):
        made = attempt(text, "failed", number, 0.5, text, failure=text)
        made["phases"][1]["absent"] = {"oom_kills": text}
        made["subtests"] = [{"name": text, "outcome": text}]
        made["limits"] = [
            {"name": text, "limit": 1, "value": 2, "unit": "bytes", "state": "exceeded", "detail": text}
        ]
        made["stretches"] = [{"name": text, "start_seconds": 0, "wall_seconds": 1, "usage": {}}]
        made["collections"] = [
            {"reason": text, "time_seconds": 0, "data": {text: text}, "errors": {text: text}}
        ]
        made["samples"] = {text: {"min": 0, "max": 1, "mean": 0.5, "last": 1, "count": number}}
        made["stalls"] = [{"kind": text, "seconds": 1, "count": 1, "detail": text}]
        tests.append(made)
    found = summary(tests, [series(text, text, [1.0, 2.0, None, 3.0]) for text in HOSTILE])
    found["environment"] = {text: text for text in HOSTILE}
    found["health"] = {"state": "degraded", "line": HOSTILE[0], "problems": HOSTILE}
    found["run"].update({"end_reason": HOSTILE[0], "started": HOSTILE[1], "workers": HOSTILE})
    for state in found["collectors"]:
        state.update({"reason": HOSTILE[5], "where": HOSTILE[1], "state": HOSTILE[0]})
    texts, figures = set(Gap.__annotations__) - {"pid"}, ("pid", "start_seconds", "time_seconds", "seconds")
    found["gaps"] = [cast("Gap", {**dict.fromkeys(texts, t), **dict.fromkeys(figures, 1)}) for t in HOSTILE]
    found["endings"], found["builds"] = hostile_endings(), hostile_builds()
    found["shards"] = [
        {"name": text, "records": 1, "damaged": 0, "torn": True, "unknown": 0} for text in HOSTILE
    ]
    page = show(found)
    ids = []
    for first in range(0, len(HOSTILE), 12):
        page.evaluate(f"document.querySelector('.window').scrollTop = {first * 26}")
        page.wait_for_timeout(60)
        ids += [shown for shown in shown_ids(page) if shown not in ids]
    assert ids == [line(text) for text in HOSTILE]
    told = page.eval_on_selector_all(".pairs.wide dd bdi", "(nodes) => nodes.map((node) => node.textContent)")
    assert told == [line(text) for text in HOSTILE]
    for made in tests:
        page.evaluate(f"location.hash = '#t={key_of(made)}'")
        page.wait_for_selector(f"#detail a[href='#t={key_of(made)}']")
        failure = page.eval_on_selector_all(
            "#detail .failure bdi", "(nodes) => nodes.map((n) => n.textContent)"
        )
        assert failure == [block(made["failure"] or "")]
        subtest = page.eval_on_selector("#detail .plain li bdi:last-child", "(node) => node.textContent")
        assert subtest == line(made["nodeid"])
    assert page.evaluate(
        "window.PWN === undefined && document.querySelectorAll('img,base,iframe').length === 0"
    )
    assert page.evaluate(
        "[...document.querySelectorAll('a')].every((a) => /^#t=[0-9a-f]{12}$/.test(a.getAttribute('href')))"
    )


def test_the_policy_is_live(show: Show, summary: Summaries, attempt: Attempts, seen: list[str]) -> None:
    text = render(summary([attempt()]))
    mutant = text.replace(
        "</main>",
        "</main><script>window.PWN=1</script><p onclick='window.PWN=2' style='color:red' id='bait'>x</p>"
        "<img src='https://example.invalid/x.png' onerror='window.PWN=3'>",
    )
    page = show(mutant, quiet=False)
    page.click("#bait")
    assert page.evaluate("window.PWN") is None
    assert len([text for text in seen if "Content Security Policy" in text]) >= 4
    refused = "() => { try { document.body.innerHTML = '<b>'; return false } catch (error) { return true } }"
    assert page.evaluate(refused)


def test_search_chips_and_sorting_agree_with_python(show: Show, realistic: Summaries) -> None:
    found = realistic(400, 3, 600.0)
    tests = sorted(found["tests"], key=lambda test: test["start_seconds"])
    page = show(found, width=1400)
    page.fill("#search", "module_3 KS2")
    wanted = [t["nodeid"] for t in tests if "module_3" in t["nodeid"] and "ks2" in t["nodeid"]]
    assert page.inner_text("#matches") == f"{len(wanted)} of 401 attempts"
    assert shown_ids(page)[:10] == wanted[:10]
    page.click("#chips button:has-text('Failed')")
    bad = [t for t in tests if t["outcome"] in ("failed", "error")]
    wanted = [t["nodeid"] for t in bad if t["nodeid"] in wanted]
    assert page.inner_text("#matches") == f"{len(wanted)} of 401 attempts"
    page.fill("#search", "")
    assert page.inner_text("#matches") == f"{len(bad)} of 401 attempts"
    page.click("#chips button:has-text('All')")
    page.click(".thead .c-wall button")
    slowest = sorted(tests, key=lambda test: -(test["wall_seconds"] or 0))
    assert shown_ids(page)[:15] == [t["nodeid"] for t in slowest[:15]]
    page.click(".thead .c-test button")
    assert shown_ids(page)[:15] == sorted(t["nodeid"] for t in tests)[:15]
    assert page.get_attribute(".thead .c-test", "aria-sort") == "ascending"


def test_a_link_opens_its_test_and_garbage_opens_none(show: Show, realistic: Summaries) -> None:
    found = realistic(300, 2, 300.0)
    chosen = next(test for test in found["tests"] if test["outcome"] == "failed")
    page = show(found, f"#t={key_of(chosen)}")
    assert page.inner_text("#detail .whole") == chosen["nodeid"]
    text = page.inner_text("#detail")
    for word in ("exact", "sampled", "Limits", "Subtests", "Stretches", "Collected", "Attempts", "timed out"):
        assert word in text
    assert "No data for Throttled (cgroup): not in a cgroup with a CPU limit" in text
    assert page.inner_text(".trow[aria-current] bdi") == chosen["nodeid"]
    page.click("text=Zoom to this test")
    assert "00:00 –" not in page.inner_text("#range") or chosen["start_seconds"] < 60
    page.keyboard.press("0")
    assert page.inner_text("#range").startswith("00:00 – 05:00")
    page.keyboard.press("Escape")
    assert page.is_hidden("#detail")
    for garbage in ("#t=000000000000", "#t=xyz", "#<img>", "#t=__proto__"):
        page.evaluate("(hash) => { location.hash = hash }", garbage)
        page.wait_for_timeout(30)
        assert page.is_hidden("#detail")


def test_a_short_test_says_that_its_samples_are_not_its_own(
    show: Show, summary: Summaries, attempt: Attempts
) -> None:
    samples = {"cpu.usage_percent": {"min": 1.0, "max": 1.0, "mean": 1.0, "last": 1.0, "count": 0}}
    made = attempt(samples=samples)
    page = show(summary([made]), f"#t={key_of(made)}")
    assert "the nearest sample, not a measurement of this test" in page.inner_text("#detail")


def test_keys_walk_the_table(show: Show, realistic: Summaries) -> None:
    found = realistic(40, 1, 60.0)
    tests = sorted(found["tests"], key=lambda test: test["start_seconds"])
    page = show(found)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.wait_for_selector(f"#detail a[href='#t={key_of(tests[1])}']")
    assert page.inner_text("#detail .whole") == tests[1]["nodeid"]
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"


def test_dragging_over_a_chart_zooms_all_of_them(show: Show, realistic: Summaries) -> None:
    page = show(realistic(100, 2, 600.0))
    page.evaluate("document.querySelector('#charts .chart').scrollIntoView({block: 'center'})")
    box = page.locator("#charts .u-over").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20, steps=4)
    page.mouse.up()
    assert page.inner_text("#range").startswith("05:00 – 07:")
    page.locator("body").press("0")
    assert page.inner_text("#range").startswith("00:00 – 10:00")


def test_pointing_at_one_chart_shows_the_values_of_all(
    show: Show, summary: Summaries, series: SeriesOf
) -> None:
    ramp = [float(value) for value in range(101)]
    names = [("cpu.usage_percent", "percent"), ("memory.used_bytes", "bytes")]
    page = show(summary([], [series(name, unit, ramp) for name, unit in names], seconds=101.0))
    assert page.locator(".entry .num").all_inner_texts() == ["50 %", "50 B"]
    page.evaluate("document.querySelector('#charts .chart').scrollIntoView({block: 'center'})")
    box = page.locator("#charts .u-over").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 61.5 / 101, box["y"] + 20)
    assert page.locator(".entry .num").all_inner_texts() == ["60 %", "60 B"]
    assert page.locator(".legend .when").first.inner_text().startswith("01:01")
    page.mouse.move(5, 5)
    assert page.locator(".entry .num").all_inner_texts() == ["50 %", "50 B"]


def test_a_gap_is_drawn_as_one(show: Show, summary: Summaries, series: SeriesOf) -> None:
    """Where a value is None there is no line: the middle of the canvas holds no ink of the series."""
    values = [50.0, 60.0] * 15 + [None] + [50.0, 60.0] * 15
    made = series("cpu.usage_percent", "percent", values)
    made["times"] = [*range(1, 31), 31, *range(70, 100)]
    page = show(summary([], [made], seconds=100.0))
    colours = page.evaluate(Path(__file__).with_name("ink.js").read_text(encoding="utf-8"))
    assert colours == [True, False, True]


def test_without_scripts_the_lists_are_readable(show: Show, realistic: Summaries) -> None:
    found = realistic(200, 2, 300.0)
    page = show(found, scripts=False)
    text = page.inner_text("body")
    assert "tests failed" in text
    assert "AssertionError: row missing" in text
    assert next(test["nodeid"] for test in found["tests"] if test["outcome"] == "failed") in text
    assert "need JavaScript" in text
    assert page.locator("button:visible, input:visible").count() == 0


@pytest.mark.parametrize("opened", [False, True])
def test_a_phone_scrolls_down_only(show: Show, realistic: Summaries, opened: bool) -> None:
    found = realistic(120, 4, 300.0)
    page = show(found, f"#t={key_of(found['tests'][0])}" if opened else "", width=375)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_light_and_dark_are_readable_and_the_button_switches(show: Show, realistic: Summaries) -> None:
    contrast = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
    found = realistic(300, 2, 300.0)
    grounds = []
    for scheme in ("light", "dark"):
        page = show(found, scheme=scheme)
        for _ in range(2):
            assert page.evaluate(contrast) >= 4.5
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            page.click("#theme")
    assert grounds[0] == grounds[3] != grounds[1] == grounds[2]


def test_twenty_thousand_tests_stay_a_page(show: Show, realistic: Summaries) -> None:
    made = realistic(2000, 8, 7200.0)
    for number in range(18_000):
        copy = made["tests"][number % 2000].copy()
        copy["nodeid"] += f"-{number}"
        made["tests"].append(copy)
    page = show(made)
    assert page.evaluate("document.getElementsByTagName('*').length") < 2500
    page.fill("#search", "]-17999")
    assert page.inner_text("#matches") == "1 of 20,001 attempts"


def test_small_and_broken_runs_are_shown(
    show: Show, summary: Summaries, attempt: Attempts, series: SeriesOf
) -> None:
    empty = show(summary([]))
    assert "No tests ran" in empty.inner_text("h1")
    assert "No samples were recorded" in empty.inner_text("#timeline")
    cut = attempt("t.py::cut", "running")
    cut.update({"wall_seconds": None, "complete": False, "phases": cut["phases"][:1]})
    cut["phases"][0].update({"wall_seconds": None, "outcome": "running", "usage": {}})
    cut["usage"] = {}
    found = summary([cut], [series("cpu.usage_percent", "percent", [5.0, None])], 9.0)
    found["run"]["finished"] = False
    page = show(found, f"#t={key_of(cut)}")
    assert "The run ended without finishing" in page.inner_text("h1")
    assert "Its process ended before its teardown did." in page.inner_text("#detail")
    assert "no data" in page.inner_text(".trow[aria-current]")


def test_both_halves_of_the_page_write_figures_alike(
    show: Show, summary: Summaries, attempt: Attempts
) -> None:
    values = [
        0,
        0.42,
        0.9996,
        3.3,
        59.97,
        65,
        3599.8,
        1e6,
        4.2e-7,
        0.000412,
        999,
        1000,
        1048576,
        2.5e9,
        -40960.0,
    ]
    units = [
        "seconds",
        "bytes",
        "count",
        "percent",
        "bytes_per_second",
        "mhz",
        "page_faults",
        "per_second",
        "kb_per_second",
        "milliseconds",
    ]
    limits = [(value, unit) for value in values for unit in units]
    made = attempt()
    made["limits"] = [
        {"name": "x", "limit": value, "value": None, "unit": unit, "state": "not checked", "detail": ""}
        for value, unit in limits
    ]
    page = show(summary([made]), f"#t={key_of(made)}")
    rows = "#detail section:last-child tbody tr td:nth-child(2)"
    shown = page.eval_on_selector_all(rows, "(cells) => cells.map((cell) => cell.textContent)")
    assert shown == [figure(value, unit) for value, unit in limits]
