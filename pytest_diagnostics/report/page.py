"""What the page says, computed from a summary alone: words, figures and short tables.

Every string of a summary passes through `line` or `block` before a template or a script sees it, so that no
file name, failure or collector can change how the page reads.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..analysis.endings import subject
from ..analysis.schema import Attempt, CollectorState, Fixture, Summary
from ..analysis.summary import STILL_RUNNING
from . import builds
from .incidents import Banner, banners, gap_row, recorded_by
from .words import block, clock, counted, line
from .words import seconds as seconds  # also for the texts beside the page
from .words import size as size

#: Rows of each top list, and the most rows of the tables that are written out whole.
TOP = 8
ROWS = 60


@dataclass(frozen=True)
class Outcome:
    """How one outcome looks: never by its colour alone."""

    name: str
    glyph: str
    word: str
    group: str  # the chip that shows it, and the colour: failed, error, passed, skipped, rerun, running


OUTCOMES = (
    Outcome("failed", "✗", "failed", "failed"),
    Outcome("error", "!", "error", "error"),
    Outcome("crashed", "✗", "crashed", "error"),
    Outcome("running", "…", "unfinished", "running"),
    Outcome("xpassed", "✓", "xpassed", "passed"),
    Outcome("passed", "✓", "passed", "passed"),
    Outcome("xfailed", "–", "xfailed", "skipped"),
    Outcome("skipped", "–", "skipped", "skipped"),
    Outcome("rerun", "↻", "rerun", "rerun"),
)
_KNOWN = {outcome.name: outcome for outcome in OUTCOMES}


def key_of(attempt: Attempt) -> str:
    """The stable name of an attempt in a link: twelve hex digits, whatever the node id holds."""
    name = f"{attempt['nodeid']}/{attempt['occurrence']}/{attempt['attempt']}/{attempt['worker']}"
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def outcome_of(name: str) -> Outcome:
    """The look of an outcome; one that we do not know keeps its own word."""
    return _KNOWN.get(name) or Outcome(name, "?", line(name), "running")


@dataclass(frozen=True)
class Count:
    """One outcome and how many tests had it."""

    outcome: Outcome
    tests: int


@dataclass(frozen=True)
class Headline:
    """The first line of the page and what stands under it."""

    glyph: str
    text: str
    title: str
    state: str  # good, bad or neutral
    counts: list[Count]
    facts: list[str]
    started: str


@dataclass(frozen=True)
class TopRow:
    """One test in a top list."""

    key: str
    nodeid: str
    outcome: Outcome
    value: str
    note: str


@dataclass(frozen=True)
class TopList:
    """One of the short lists under the headline."""

    title: str
    column: str
    rows: list[TopRow]


@dataclass(frozen=True)
class Cells:
    """A table that is written out: its columns (and which hold numbers), rows, and how many were left out."""

    columns: list[tuple[str, bool]]
    rows: list[list[str]]
    left_out: int = 0


@dataclass(frozen=True)
class PageView:
    """Everything that a person can read without JavaScript."""

    headline: Headline
    banners: list[Banner]
    health_good: bool
    health_line: str
    problems: list[str]
    recorded_by: str
    cost: str
    tops: list[TopList]
    tests: int
    fixtures: Cells
    collectors: Cells
    gaps: Cells
    builds: Cells
    shards: Cells
    recorders: Cells
    environment: list[tuple[str, str]]


def _total(summary: Summary) -> int:
    return sum(number for name, number in summary["counts"].items() if name != "rerun")


def _verdict(summary: Summary) -> tuple[str, str, str]:
    """(glyph, sentence, state): the one thing that a person came to see."""
    counts, run = summary["counts"], summary["run"]
    total = _total(summary)
    bad = sum(counts.get(name, 0) for name in ("failed", "error", "crashed"))
    if not run["finished"] and run["ending"] is None and run["end_reason"] == STILL_RUNNING:
        return "…", f"The run is still running: {bad:,} of {counted(total, 'test')} failed so far", "neutral"
    if total == 0:
        said = "No tests ran" if run["finished"] else "The run ended without finishing, before any test"
        return ("–", said, "neutral") if run["finished"] else ("✗", said, "bad")
    if total == 1 and counts.get("running", 0) == 0:
        word = (
            "failed" if bad else next((outcome_of(n).word for n, c in counts.items() if c and n != "rerun"))
        )
        said = f"The only test {word if word != 'skipped' else 'was skipped'}"
    elif bad:
        said = f"{bad:,} of {counted(total, 'test')} failed"
    elif counts.get("passed", 0) == total:
        said = f"All {total:,} tests passed"
    else:
        said = f"None of {counted(total, 'test')} failed"
    if not run["finished"]:
        return "✗", f"The run ended without finishing: {said[0].lower()}{said[1:]} until then", "bad"
    if run["end_reason"] != "finished":
        return ("✗" if bad else "!"), f"{said}, then the run was {line(run['end_reason'])}", "bad"
    return ("✗", said, "bad") if bad else ("✓", said, "good")


def headline(summary: Summary) -> Headline:
    """The verdict, counts in a fixed order, and the facts of the run."""
    run, counts = summary["run"], summary["counts"]
    glyph, text, state = _verdict(summary)
    shown = [Count(o, counts[o.name]) for o in OUTCOMES if counts.get(o.name)]
    shown += [Count(outcome_of(name), n) for name, n in counts.items() if name not in _KNOWN and n]
    facts = [seconds(run["wall_seconds"])]
    facts.append(counted(len(run["workers"]), "worker") if run["workers"] != ["main"] else "one process")
    if host := summary["environment"].get("host"):
        facts.append(line(host))
    if run["exit_status"] is not None:
        facts.append(f"exit status {run['exit_status']}")
    started = line(run["started"]).replace("+00:00", "Z")
    moment = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z", started)
    if moment:
        started = f"{moment[1]} {moment[2]} UTC"
    return Headline(glyph, text, f"{glyph} {text}", state, shown, facts, started)


def _first_line(attempt: Attempt) -> str:
    rows = [row for row in block(attempt["failure"] or "").splitlines() if row.strip()]
    return rows[0].strip()[:300] if rows else ""


def _top(tests: Iterable[Attempt], value: Callable[[Attempt], float | None]) -> list[tuple[Attempt, float]]:
    known = [(test, found) for test in tests if (found := value(test)) is not None and math.isfinite(found)]
    return sorted(known, key=lambda pair: -pair[1])[:TOP]


def _row(attempt: Attempt, value: str, note: str = "") -> TopRow:
    return TopRow(key_of(attempt), line(attempt["nodeid"]), outcome_of(attempt["outcome"]), value, note)


def _last_sizes(summary: Summary) -> dict[tuple[str, str], float]:
    """Return what a process held when it ended in the middle of a test, by (worker, node id)."""
    return {
        (ending["process"], ending["nodeid"]): ending["last_rss_bytes"]
        for ending in summary["endings"]
        if ending["nodeid"] is not None and ending["last_rss_bytes"] is not None
    }


def _peak(test: Attempt, lasts: Mapping[tuple[str, str], float]) -> float | None:
    """Return a test's exact peak; of one that did not finish, the largest that anybody saw.

    Its exact figures are those of the phases before the one in which it ended.
    """
    exact = test["usage"].get("peak_rss_bytes")
    if test["complete"]:
        return exact
    worker = test["worker"]
    series = "process.rss_bytes" if worker == "main" else f"process.workers[{worker}].rss_bytes"
    sampled = test["samples"].get(series)
    seen = (exact, None if sampled is None else sampled["max"], lasts.get((worker, test["nodeid"])))
    return max((one for one in seen if one is not None), default=None)


def top_lists(summary: Summary) -> list[TopList]:
    """Failed, slowest, hungriest for memory and for CPU time."""
    tests = summary["tests"]
    bad = [t for t in tests if t["outcome"] in ("failed", "error", "crashed", "running")]
    bad.sort(key=lambda t: (t["outcome"] != "running", t["start_seconds"]))
    failed = [_row(t, seconds(t["wall_seconds"]), _first_line(t)) for t in bad[:TOP]]
    slow = [_row(t, seconds(v)) for t, v in _top(tests, lambda t: t["wall_seconds"])]
    lasts = _last_sizes(summary)
    peak = [
        _row(t, size(v), "" if t["complete"] else "at least: it did not finish")
        for t, v in _top(tests, lambda t: _peak(t, lasts))
    ]
    busy = [_row(t, seconds(v)) for t, v in _top(tests, lambda t: t["usage"].get("cpu_seconds"))]
    of = f" ({TOP} of {len(bad):,})" if len(bad) > TOP else ""
    first = [TopList(f"Failed{of}", "Time", failed)] if failed else []
    return [
        *first,
        TopList("Slowest", "Time", slow),
        TopList("Hungriest: peak RSS", "Peak", peak),
        TopList("Hungriest: CPU time", "CPU", busy),
    ]


def _cells(heads: str, rows: Iterable[list[str]], whole: int = 0) -> Cells:
    """A table from its heads, where ``>`` ends those over numbers; all cells made safe to show."""
    columns = [(head.rstrip(">"), head.endswith(">")) for head in heads.split("|")]
    shown = [[line(cell) for cell in row] for row in rows]
    return Cells(columns, shown, max(0, whole - len(shown)))


def _fixtures(fixtures: list[Fixture]) -> Cells:
    slowest = sorted(fixtures, key=lambda made: -made["wall_seconds"])
    rows = (
        [
            made["name"],
            made["scope"],
            made["phase"],
            made["worker"],
            clock(made["start_seconds"]),
            seconds(made["wall_seconds"]),
            seconds(made["usage"].get("cpu_seconds")),
            size(made["usage"].get("peak_rss_bytes")),
            made["during"],
        ]
        for made in slowest[:ROWS]
    )
    return _cells("Fixture|Scope|Phase|Worker|Start>|Wall>|CPU>|Peak RSS>|During", rows, len(fixtures))


def _collectors(collectors: list[CollectorState]) -> Cells:
    rows = (
        [
            state["name"],
            state["state"],
            *(f"{state[key]:,}" for key in ("results", "errors", "timeouts", "missed")),
            seconds(state["seconds_total"]),
            state["where"],
            block(state["reason"] or "").strip(),
        ]
        for state in collectors
    )
    return _cells("Collector|State|Results>|Errors>|Timeouts>|Missed>|Own time>|Where|Reason", rows)


def _gaps(summary: Summary) -> Cells:
    rows = (gap_row(gap) for gap in summary["gaps"][:ROWS])
    return _cells("Kind|From>|Length>|Befell|Source|Detail", rows, len(summary["gaps"]))


def _builds(summary: Summary) -> Cells:
    rows, whole = builds.rows(summary, ROWS)
    return _cells("Kind|Name|State|From>|Took>|What became of it", rows, whole)


def _shards(summary: Summary) -> Cells:
    rows = (
        [
            shard["name"],
            *(f"{shard[key]:,}" for key in ("records", "damaged", "unknown")),
            "yes" if shard["torn"] else "no",
        ]
        for shard in summary["shards"]
    )
    return _cells("Shard|Records>|Damaged>|Unknown>|Last line torn", rows)


def _recorders(summary: Summary) -> Cells:
    rows = (
        [made["kind"], made["where"], seconds(made["interval_seconds"]), ", ".join(made["collectors"])]
        for made in summary["recorders"]
    )
    return _cells("Recorder|Where|Interval>|Collectors", rows)


def _cost(summary: Summary) -> str:
    cost, said = summary["cost"], []
    if (spent := cost.get("collect_seconds")) is not None:
        said.append(f"{seconds(spent)} inside collectors")
    if (waited := cost.get("waited_seconds")) is not None:
        said.append(f"{seconds(waited)} of waiting for a database")
    if (edges := cost.get("edges")) is not None:
        said.append(f"{seconds(cost.get('edge_seconds'))} at {counted(edges, 'phase edge')}")
    if (written := cost.get("recorded_bytes")) is not None:
        said.append(f"{size(written)} recorded")
    return f"Recording cost {', '.join(said)}." if said else "What recording cost is not known."


def page(summary: Summary) -> PageView:
    """All words and short tables of the page."""
    health = summary["health"]
    good, health_line, problems = health["state"] == "good", health["line"], health["problems"]
    told = {f"{subject(ending)} {ending['sentence']}" for ending in summary["endings"]}
    if told & set(problems):  # the banners say it
        problems = [problem for problem in problems if problem not in told]
        more = (
            f"{counted(len(problems), 'more problem')} beside it:" if problems else "Nothing else is missing."
        )
        health_line = f"Records end as told above. {more}"
    return PageView(
        headline=headline(summary),
        banners=banners(summary),
        health_good=good,
        # The line may begin with the state, which stands before it in bold already.
        health_line=line(health_line.removeprefix(f"{health['state']}: ")),
        problems=[line(problem) for problem in problems],
        recorded_by=recorded_by(summary),
        cost=_cost(summary),
        tops=top_lists(summary),
        tests=len(summary["tests"]),
        fixtures=_fixtures(summary["fixtures"]),
        collectors=_collectors(summary["collectors"]),
        gaps=_gaps(summary),
        builds=_builds(summary),
        shards=_shards(summary),
        recorders=_recorders(summary),
        environment=[(line(name), line(value)) for name, value in summary["environment"].items()],
    )
