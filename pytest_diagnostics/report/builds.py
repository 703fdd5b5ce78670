"""Builds of views and indexes, as the page shows them: lanes over the tests, and a table."""

from __future__ import annotations

from ..analysis.builds import progress_words
from ..analysis.schema import Build, Summary
from .words import clock, line, seconds

#: Lanes under the tests: those that went wrong first, then the longest. The table has more.
DRAWN = 12
#: Points of one lane; a line of a few hundred pixels shows no more.
MOST_POINTS = 400
#: How a state looks; any other is one that somebody has to see to.
LOOKS = {
    "built": "built",
    "dropped": "none",
    "absent": "none",
    "pending": "pending",
    "building": "building",
    "unknown": "unknown",
    "stuck": "stuck",
}
BAD = "bad"


def drawn(summary: Summary) -> tuple[list[Build], int]:
    """Return the builds that have a lane, in the order of time, and how many have none."""
    builds = summary.get("builds", [])  # an older summary has none
    ranked = sorted(builds, key=lambda build: (_look(build["state"]) != BAD, -_length(build)))
    chosen = ranked[:DRAWN]
    return sorted(chosen, key=lambda build: build["start_seconds"]), len(builds) - len(chosen)


def lane(build: Build) -> tuple[str, str, str, list[tuple[float, str, float | None]], float]:
    """Return what a lane needs: kind, name, sentence, steps of [time, look, percent], its end."""
    steps = build["steps"]
    if len(steps) > MOST_POINTS:
        places = {round(n * (len(steps) - 1) / (MOST_POINTS - 1)) for n in range(MOST_POINTS)}
        changes = {n for n in range(1, len(steps)) if steps[n]["state"] != steps[n - 1]["state"]}
        steps = [steps[place] for place in sorted(places | changes)]
    points = [(step["time_seconds"], _look(step["state"]), step["percent"]) for step in steps]
    return build["kind"], line(build["name"]), line(sentence(build)), points, build["time_seconds"]


def sentence(build: Build) -> str:
    """Return what became of a build: "built in 6.2 s", "interrupted at 41 %: why"."""
    took = seconds(_length(build))
    if build["state"] in ("built", "dropped"):
        return f"{build['state']} after {took}"
    last = next((s["percent"] for s in reversed(build["steps"]) if s["percent"] is not None), None)
    at = progress_words({"percent": last}) if last is not None else ""
    why = f": {build['verdict']}" if build["verdict"] else ""
    return f"{build['state']}{' at ' if at else ''}{at} at the end{why}"


def rows(summary: Summary, most: int) -> tuple[list[list[str]], int]:
    """Return the rows of the table, and how many builds there are."""
    builds = summary.get("builds", [])
    shown = [
        [build["kind"], build["name"], build["state"], clock(build["start_seconds"]),
         seconds(_length(build)), sentence(build)]
        for build in builds[:most]
    ]  # fmt: skip
    return shown, len(builds)


def _look(state: str) -> str:
    return LOOKS.get(state, BAD)


def _length(build: Build) -> float:
    return max(0.0, build["time_seconds"] - build["start_seconds"])
