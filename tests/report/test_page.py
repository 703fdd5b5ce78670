"""The page's arithmetic and words, without a template or a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_diagnostics.analysis.schema import Attempt, Series, Summary
from pytest_diagnostics.report.page import headline, key_of, page, top_lists
from pytest_diagnostics.report.payload import columns, details, number, pack, waited_percent
from pytest_diagnostics.report.timeline import MOST, timeline
from pytest_diagnostics.report.words import block, clock, figure, line, seconds, size

Attempts = Callable[..., Attempt]
Summaries = Callable[..., Summary]
SeriesOf = Callable[..., Series]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no data"),
        (float("nan"), "no data"),
        (0, "0 s"),
        (4.2e-7, "0.420 µs"),
        (0.000412, "412 µs"),
        (0.0009999, "1.00 ms"),
        (0.412, "412 ms"),
        (0.9996, "1.00 s"),
        (38.87, "38.9 s"),
        (59.97, "1 m 00 s"),
        (65.2, "1 m 05 s"),
        (3599.8, "1 h 00 m"),
        (86400, "24 h 00 m"),
        (-1.5, "-1.50 s"),
    ],
)
def test_lengths_of_time_read_in_their_own_unit(value: float | None, said: str) -> None:
    assert seconds(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no data"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (1 << 20, "1.00 MiB"),
        (231 << 20, "231 MiB"),
        (-40960, "-40.0 KiB"),
    ],
)
def test_bytes_read_in_binary_units_of_three_digits(value: float | None, said: str) -> None:
    assert size(value) == said


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (28.61, "percent", "28.6 %"),
        (2800, "mhz", "2,800 MHz"),
        (51.2, "celsius", "51.2 °C"),
        (2048, "bytes_per_second", "2.00 KiB/s"),
        (12345, "count", "12,345"),
        (3.3, "per_second", "3.30/s"),
        (2048, "kb_per_second", "2.00 MiB/s"),
        (5, "milliseconds", "5.00 ms"),
        (7, "page_faults", "7 page faults"),
        (None, "bytes_per_second", "no data/s"),
    ],
)
def test_figures_carry_their_unit(value: float | None, unit: str, said: str) -> None:
    assert figure(value, unit) == ("no data" if value is None else said)


def test_moments_within_the_run() -> None:
    assert [clock(0), clock(75.9), clock(3601)] == ["00:00", "01:15", "1:00:01"]


def test_text_without_a_shape_of_its_own_is_written_out() -> None:
    assert (
        line("a\x00b\r\n\tc\x1b[31m\ud800\u202e\u2028") == "a\\x00b\\r\\n\\tc\\x1b[31m\\ud800\\u202e\\u2028"
    )


def test_a_line_beyond_measure_is_cut_and_says_so() -> None:
    assert line("A" * 20_000) == "A" * 4000 + "… 16,000 more characters"


def test_a_failure_keeps_its_lines_and_loses_terminal_colours() -> None:
    told = "\x1b[31mE  boom\x1b[0m\r\n\tat \x1b]8;;http://x\x07link\x1b]8;;\x07\x00"
    assert block(told) == "E  boom\n\tat link\\x00"


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([], "No tests ran"),
        (["passed"], "The only test passed"),
        (["failed"], "The only test failed"),
        (["skipped"], "The only test was skipped"),
        (["passed", "passed"], "All 2 tests passed"),
        (["passed", "skipped"], "None of 2 tests failed"),
        (["failed", "error", "passed"], "2 of 3 tests failed"),
        (["rerun", "passed"], "The only test passed"),
    ],
)
def test_the_headline_counts_each_test_once(
    summary: Summaries, attempt: Attempts, outcomes: list[str], said: str
) -> None:
    tests = [attempt(f"t.py::t{place}", outcome) for place, outcome in enumerate(outcomes)]
    assert headline(summary(tests)).text == said


def test_a_run_that_did_not_finish_says_so_first(summary: Summaries, attempt: Attempts) -> None:
    found = summary([attempt(), attempt("t.py::cut", "running")])
    found["run"].update({"finished": False, "end_reason": "ended without finishing", "exit_status": None})
    head = headline(found)
    assert head.text == "The run ended without finishing: none of 2 tests failed until then"
    assert (head.glyph, head.state) == ("✗", "bad")
    assert [count.outcome.word for count in head.counts] == ["unfinished", "passed"]


def test_an_interrupted_run_is_not_called_good(summary: Summaries, attempt: Attempts) -> None:
    found = summary([attempt(), attempt("t.py::b")])
    found["run"]["end_reason"] = "interrupted"
    assert headline(found).text == "All 2 tests passed, then the run was interrupted"
    assert headline(found).state == "bad"


def test_top_lists_are_sorted_bounded_and_silent_about_what_was_not_read(
    summary: Summaries, attempt: Attempts
) -> None:
    tests = [
        attempt(f"t.py::t{n}", "failed" if n % 2 else "passed", n, 1 + n, peak=n << 20) for n in range(20)
    ]
    del tests[19]["usage"]["peak_rss_bytes"]
    failed, slowest, hungriest, _ = top_lists(summary(tests))
    assert failed.title == "Failed (8 of 10)"
    assert [row.nodeid for row in slowest.rows] == [f"t.py::t{n}" for n in range(19, 11, -1)]
    assert hungriest.rows[0].nodeid == "t.py::t18"
    assert hungriest.rows[0].value == "18.0 MiB"


def test_a_key_tells_attempts_and_workers_apart(attempt: Attempts) -> None:
    keys = {key_of(attempt(worker=worker, attempt=number)) for worker in ("main", "gw0") for number in (1, 2)}
    assert len(keys) == 4
    assert all(len(key) == 12 and set(key) <= set("0123456789abcdef") for key in keys)
    assert key_of(attempt("t.py::\ud800"))


def test_waiting_is_a_share_of_the_wall_time(attempt: Attempts) -> None:
    test = attempt(wall=2.0)
    assert waited_percent(test) == pytest.approx(5)
    test["usage"]["cpu_wait_seconds"] = 2.1
    assert waited_percent(test) == 100
    del test["usage"]["cpu_wait_seconds"]
    assert waited_percent(test) is None


def test_columns_say_null_for_what_was_not_read(attempt: Attempts) -> None:
    test = attempt()
    del test["usage"]["read_bytes"]
    found = columns([test])
    assert found["read"] == [None]
    assert found["write"] == [20480]


def test_numbers_are_rounded_and_never_infinite() -> None:
    assert [number(1.23456789), number(2.0), number(float("inf")), number(None), number(7)] == [
        1.2346,
        2,
        None,
        None,
        7,
    ]
    with pytest.raises(ValueError, match="JSON"):
        pack([float("nan")])


def test_details_beyond_the_budget_lose_the_samples_of_passed_tests_only(
    attempt: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_diagnostics.report.payload.DETAIL_BUDGET", 1)
    tests = [attempt(f"t{n}", "failed" if n == 3 else "passed") for n in range(250)]
    _, dropped = details(tests, {})
    assert dropped == 249


def test_charts_have_one_unit_and_few_series(summary: Summaries, series: SeriesOf) -> None:
    many = [series(f"custom.core{n}", "percent", [0.0, n + 1.0]) for n in range(20)]
    known = [
        series("cpu.user_percent", "percent", [1.0, 2.0]),
        series("cpu.usage_percent", "percent", [1.0, 3.0]),
        series("disk.busy_percent", "percent", [1.0]),
        series("disk.read_bytes_per_sec", "bytes_per_second", [5.0]),
    ]
    found = timeline(summary([], [*many, *known]))
    assert [one.label for one in found.charts[0].lines] == ["usage", "user"]
    for chart in found.charts:
        assert {one.series["unit"] for one in chart.lines} == {chart.unit}
        assert len(chart.lines) <= MOST
    assert found.charts[-1].note == "the 6 highest of 20 series"
    assert len(found.left_out) == 14


def test_a_series_of_several_processes_names_them(summary: Summaries, series: SeriesOf) -> None:
    both = [series("process.rss_bytes", "bytes", [1.0, 2.0], source=name) for name in ("gw0", "gw1")]
    assert [one.label for one in timeline(summary([], both)).charts[0].lines] == ["rss · gw0", "rss · gw1"]


def test_what_never_changed_is_said_and_not_drawn(summary: Summaries, series: SeriesOf) -> None:
    found = timeline(summary([], [series("memory.total_bytes", "bytes", [2.0**30, 2.0**30])]))
    assert found.charts == []
    assert found.still == [("memory.total_bytes", "1.00 GiB")]
    assert found.empty == "No series changed during the run, so there is nothing to draw."


def test_no_samples_say_why(summary: Summaries, series: SeriesOf) -> None:
    assert timeline(summary([])).empty == "No samples were recorded: no collector ran."
    found = summary([], [series("cpu.usage_percent", "percent", [1.0])])
    found["series"] = []
    found["collectors"][0].update({"state": "unavailable", "reason": "no /proc here"})
    assert timeline(found).empty == "No samples were recorded: cpu is unavailable (no /proc here)."


def test_an_unknown_outcome_keeps_its_word(summary: Summaries, attempt: Attempts) -> None:
    view = page(summary([attempt(outcome="<weird>"), attempt("b")]))
    assert [count.outcome.word for count in view.headline.counts] == ["passed", "<weird>"]
