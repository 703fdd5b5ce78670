"""What befell a run, as the page shows it: how processes ended, and stretches in which they did not run."""

from __future__ import annotations

from dataclasses import dataclass

from ..analysis.builds import UNREACHABLE
from ..analysis.endings import subject
from ..analysis.schema import Attempt, Gap, Summary
from .sentences import GAPS, STALLS
from .words import clock, line, seconds

#: Gaps on the timeline; the longest are the ones that a person can see there.
DRAWN = 500
#: The page's colours of kinds, by what its styles call them; samples that are missing are hatched.
_INKS = {"stopped": "s3", "starved": "s1", "throttled": "s4", "gil": "s0", "host": "s2", "suspend": "s5"}


@dataclass(frozen=True)
class Banner:
    """How one process ended: what a person has to know before anything else on the page."""

    subject: str
    sentence: str
    evidence: list[str]


@dataclass(frozen=True)
class Mark:
    """One gap on the timeline."""

    word: str
    ink: str
    start: float
    end: float
    text: str


def banners(summary: Summary) -> list[Banner]:
    """Return the endings, the run's own first."""
    return [
        Banner(
            subject=line(f"{subject(ending)[0].upper()}{subject(ending)[1:]}"),
            sentence=line(ending["sentence"]),
            evidence=[line(told) for told in ending["evidence"]],
        )
        for ending in summary["endings"]
    ]


def recorded_by(summary: Summary) -> str:
    """Return where collectors ran, in one line."""
    told = [
        f"{line(made['where'])}, every {seconds(made['interval_seconds'])}"
        for made in summary["recorders"]
        if made["collectors"]
    ]
    return f"Collected in {'; '.join(dict.fromkeys(told))}." if told else ""


def word_of(kind: str) -> str:
    """Return what a kind of gap is called."""
    return GAPS.get(kind) or line(kind)


def gap_row(gap: Gap) -> list[str]:
    """Return one row of the table of gaps."""
    if gap["kind"].startswith("recorder_"):
        whose = gap["worker"] or "the recorder"
    else:
        whose = gap["worker"] or ("the database" if gap["kind"] == UNREACHABLE else "the machine")
    return [
        word_of(gap["kind"]),
        clock(gap["start_seconds"]),
        seconds(gap["seconds"]),
        whose if gap["collector"] is None else f"{whose}: {gap['collector']}",
        gap["source"],
        gap["detail"],
    ]


def marks(summary: Summary) -> list[Mark]:
    """Return what the timeline draws, in the order of time."""
    longest = sorted(summary["gaps"], key=lambda gap: -abs(gap["seconds"]))[:DRAWN]
    return [
        Mark(
            word=word_of(gap["kind"]),
            ink=_INKS.get(gap["kind"], "hatch"),
            start=gap["start_seconds"],
            end=gap["time_seconds"],
            text=line(gap["detail"]),
        )
        for gap in sorted(longest, key=lambda gap: gap["start_seconds"])
    ]


def stall_rows(test: Attempt) -> list[tuple[str, float, int, str]]:
    """Return what kept a test from running: word, seconds, stretches, the longest's detail."""
    return [
        (
            STALLS[stall["kind"]][0] if stall["kind"] in STALLS else line(stall["kind"]),
            stall["seconds"],
            stall["count"],
            line(stall["detail"]),
        )
        for stall in test["stalls"]
    ]
