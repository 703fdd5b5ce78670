"""What befell a run, on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_diagnostics.analysis.schema import Attempt, Ending, Gap, Stall, Summary
from pytest_diagnostics.report import terminal
from pytest_diagnostics.report.html import render
from pytest_diagnostics.report.incidents import DRAWN, marks, recorded_by
from pytest_diagnostics.report.page import headline, page, top_lists
from pytest_diagnostics.report.payload import detail
from pytest_diagnostics.report.sentences import GAPS, STALLS

Summaries = Callable[..., Summary]
Attempts = Callable[..., Attempt]

SENTENCE = "ended without finishing: killed (SIGKILL) in the call of t.py::<cut> after 41 s"


def ending(process: str = "main") -> Ending:
    return {
        "process": process,
        "pid": 4711,
        "time_seconds": 42.0,
        "inferred": False,
        "signal": "SIGKILL",
        "exit_code": None,
        "unknown": None,
        "sentence": SENTENCE,
        "nodeid": "t.py::<cut>",
        "phase": "call",
        "running_seconds": 41.0,
        "last_rss_bytes": None,
        "last_rss_age_seconds": None,
        "oom_kills": {},
        "evidence": ["SIGKILL: the exit status in /proc/4711/stat"],
    }


def gap(kind: str, start: float = 1.0, seconds: float = 2.0, worker: str | None = "main") -> Gap:
    return {
        "kind": kind,
        "source": "recorder-77",
        "worker": worker,
        "pid": 4711,
        "collector": None,
        "start_seconds": start,
        "time_seconds": start + seconds,
        "seconds": seconds,
        "detail": f"why {kind}",
    }


def cut_short(summary: Summaries, attempt: Attempts) -> Summary:
    """Return the summary of a run that was killed in its second test."""
    cut = attempt("t.py::<cut>", "running", start=1.0)
    cut.update({"complete": False, "wall_seconds": 41.0})
    found = summary([attempt(), cut], None, 42.0)
    found["run"].update({"finished": False, "end_reason": SENTENCE, "ending": ending()})
    found["endings"] = [ending()]
    found["health"] = {
        "state": "degraded",
        "line": f"degraded: the run {SENTENCE}, and 1 more",
        "problems": [f"the run {SENTENCE}", "shard main-1: 1 torn record ignored"],
    }
    return found


def test_the_page_begins_with_how_the_run_ended_and_says_it_once(
    summary: Summaries, attempt: Attempts
) -> None:
    found = cut_short(summary, attempt)

    view = page(found)

    assert [(banner.subject, banner.sentence) for banner in view.banners] == [("The run", SENTENCE)]
    assert view.health_line == "Records end as told above. 1 more problem beside it:"
    assert view.problems == ["shard main-1: 1 torn record ignored"]
    text = render(found)
    shown = SENTENCE.replace("<", "&lt;").replace(">", "&gt;")
    assert text.count(shown) == 1
    assert text.index("</header>") < text.index(shown) < text.index("Recording degraded")
    assert "<li><bdi>SIGKILL: the exit status in /proc/4711/stat</bdi></li>" in text


def test_a_workers_ending_is_told_of_a_run_that_went_on(summary: Summaries, attempt: Attempts) -> None:
    lost = attempt("t.py::lost", "crashed", worker="gw0", failure="worker gw0 was ended by SIGKILL")
    found = summary([attempt(), lost])
    found["endings"] = [ending("gw0")]

    view = page(found)

    assert view.banners[0].subject == "Worker gw0"
    assert view.headline.text == "1 of 2 tests failed"
    assert view.tops[0].rows[0].note == "worker gw0 was ended by SIGKILL"
    assert view.tops[0].rows[0].outcome.word == "crashed"


def test_a_run_that_still_runs_is_not_said_to_have_ended(summary: Summaries, attempt: Attempts) -> None:
    found = summary([attempt(), attempt("t.py::now", "running")])
    found["run"].update({"finished": False, "end_reason": "still running"})

    head = headline(found)

    assert (head.text, head.state) == ("The run is still running: 0 of 2 tests failed so far", "neutral")


def test_a_run_without_incidents_has_no_banner_and_no_row_of_gaps(
    summary: Summaries, attempt: Attempts
) -> None:
    found = summary([attempt()])

    assert page(found).banners == []
    assert marks(found) == []
    assert '<section class="ending"' not in render(found)


def test_where_collectors_ran_is_said_beside_the_recordings_health(
    summary: Summaries, attempt: Attempts
) -> None:
    found = summary([attempt()])
    found["recorders"] = [
        {"kind": "process", "where": "process 77", "interval_seconds": 1.0, "collectors": ["cpu"]},
        {"kind": "thread", "where": "thread in main (pid 1)", "interval_seconds": 0.5, "collectors": ["own"]},
        {"kind": "thread", "where": "thread in gw0 (pid 2)", "interval_seconds": 0.5, "collectors": []},
    ]

    assert (
        recorded_by(found) == "Collected in process 77, every 1.00 s; thread in main (pid 1), every 500 ms."
    )
    assert recorded_by(found) in render(found)


def test_gaps_are_told_in_words_with_whom_they_befell(summary: Summaries, attempt: Attempts) -> None:
    found = summary([attempt()])
    found["gaps"] = [gap("gil"), gap("recorder_starved", worker=None), gap("host", worker=None)]

    rows = page(found).gaps.rows

    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("interpreter's lock held", "00:01", "main"),
        ("recorder waited for a CPU", "00:01", "the recorder"),
        ("machine stalled", "00:01", "the machine"),
    ]


def test_every_kind_has_a_word() -> None:
    from pytest_diagnostics.analysis import builds, stalls

    kinds = {"gap", "clock_step", builds.UNREACHABLE, *stalls.OF_PROCESS, *stalls.OF_RECORDER, *stalls.STALLS}
    assert kinds == set(GAPS)
    assert set(stalls.STALLS) == set(STALLS)


def test_of_many_gaps_the_longest_are_drawn(summary: Summaries, attempt: Attempts) -> None:
    found = summary([attempt()])
    found["gaps"] = [gap("stopped", start=float(n), seconds=0.001 * n) for n in range(DRAWN + 100)]

    drawn = marks(found)

    assert len(drawn) == DRAWN
    assert drawn[0].start == 100.0
    assert (drawn[0].word, drawn[0].ink, drawn[0].text) == ("stopped", "s3", "why stopped")


def stalled(made: Attempt, kind: str, seconds: float) -> None:
    made["stalls"].append(Stall(kind=kind, seconds=seconds, count=1, detail=f"why {kind}"))


def test_a_tests_panel_has_what_kept_it_from_running(attempt: Attempts) -> None:
    made = attempt()
    stalled(made, "stopped", 2.0)

    assert detail(made, {})["stalls"] == [["stopped", 2, 1, "why stopped"]]


@pytest.mark.parametrize(
    ("kind", "seconds", "told"),
    [
        ("stopped", 2.0, "stopped for 2.00 s (20 %)"),
        ("gil", 1.2, "the interpreter's lock was held for 1.20 s (12 %)"),
        ("host", 5.0, "the machine stalled for 5.00 s (50 %)"),
        ("stopped", 0.9, None),
        ("starved", 5.0, None),  # the exact figure was told before
    ],
)
def test_the_terminal_tells_what_explains_a_test(
    summary: Summaries, attempt: Attempts, kind: str, seconds: float, told: str | None
) -> None:
    made = attempt(wall=10.0)
    stalled(made, kind, seconds)

    (slow,) = terminal.lines(summary([made]), show="slow", quiet=False, report=None)[:1]

    if told is None:
        assert slow.endswith("on a CPU (60 %)")
    else:
        assert slow.endswith(f"on a CPU (60 %), {told}")


def test_a_wait_that_was_not_read_exactly_is_told_as_it_was_seen(
    summary: Summaries, attempt: Attempts
) -> None:
    made = attempt(wall=10.0)
    del made["usage"]["cpu_wait_seconds"]
    stalled(made, "starved", 1.3)

    (slow,) = terminal.lines(summary([made]), show="slow", quiet=False, report=None)[:1]

    assert slow.endswith(", waited 1.30 s for a CPU (13 %)")


def test_a_test_that_did_not_finish_has_no_figures_of_the_phase_it_ended_in(
    summary: Summaries, attempt: Attempts
) -> None:
    found = cut_short(summary, attempt)

    lines = terminal.lines(found, show="all", quiet=False, report=None)

    assert "running t.py::<cut>: did not finish: its process ended after 41.0 s" in lines


def test_the_peak_of_a_test_that_was_cut_off_is_the_largest_that_was_seen(
    summary: Summaries, attempt: Attempts
) -> None:
    whole, cut = attempt("t.py::whole", peak=60 << 20), attempt("t.py::cut", "running", 2, peak=50 << 20)
    cut["complete"] = False
    cut["samples"] = {
        "process.rss_bytes": {"min": 1.0, "max": 80 << 20, "mean": 2.0, "last": 3.0, "count": 4},
    }
    found = summary([whole, cut])
    assert [(row.nodeid, row.value) for row in top_lists(found)[2].rows] == [
        ("t.py::cut", "80.0 MiB"),
        ("t.py::whole", "60.0 MiB"),
    ]

    found["endings"] = [{**ending(), "nodeid": "t.py::cut", "last_rss_bytes": 262 << 20}]
    hungriest = top_lists(found)[2]
    assert hungriest.rows[0].value == "262 MiB"
    assert hungriest.rows[0].note == "at least: it did not finish"
    assert hungriest.rows[1].note == ""
