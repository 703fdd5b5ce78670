"""What the page's scripts read: columns for the table, details in chunks, and series by chart.

The bulk is JSON, deflated and base64: a run of 20,000 tests stays a file that a browser opens at once, and
no character of a test's name reaches the HTML parser. Numbers are rounded to what the page can show.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from typing import TypeAlias, cast

from ..analysis.builds import sentences
from ..analysis.schema import Attempt, Build, Collection, Series, Summary, Usage
from . import builds
from .incidents import marks, stall_rows
from .page import OUTCOMES, Outcome, key_of, outcome_of
from .timeline import Timeline
from .words import block, line

#: What JSON can say.
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

#: Details of this many tests are inflated together when one of them is opened.
CHUNK = 200
#: Deflated details beyond this leave the samples of passed tests out; the page says so.
DETAIL_BUDGET = 6 << 20
#: One extra collection's text in the page.
TEXT_LIMIT = 16 << 10

#: What the table of exact figures shows: key, label, unit.
USAGE: tuple[tuple[str, str, str], ...] = (
    ("wall_seconds", "Wall", "seconds"),
    ("cpu_seconds", "CPU, all threads", "seconds"),
    ("cpu_user_seconds", "CPU, user", "seconds"),
    ("cpu_system_seconds", "CPU, system", "seconds"),
    ("children_cpu_seconds", "CPU, ended children", "seconds"),
    ("cpu_wait_seconds", "Waited for a CPU", "seconds"),
    ("throttled_seconds", "Throttled (cgroup)", "seconds"),
    ("peak_rss_bytes", "Peak RSS", "bytes"),
    ("rss_bytes", "RSS at the end", "bytes"),
    ("rss_change_bytes", "RSS change", "bytes"),
    ("read_bytes", "Read from storage", "bytes"),
    ("write_bytes", "Written to storage", "bytes"),
    ("read_chars", "Read, all calls", "bytes"),
    ("write_chars", "Written, all calls", "bytes"),
    ("minor_faults", "Minor faults", "count"),
    ("major_faults", "Major faults", "count"),
    ("voluntary_switches", "Voluntary switches", "count"),
    ("involuntary_switches", "Involuntary switches", "count"),
    ("threads", "Threads at the end", "count"),
    ("threads_change", "Threads change", "count"),
    ("fds", "Descriptors at the end", "count"),
    ("fds_change", "Descriptors change", "count"),
    ("children", "Children at the end", "count"),
    ("children_change", "Children change", "count"),
    ("oom_kills", "OOM kills (cgroup)", "count"),
)


def pack(value: Json) -> str:
    """JSON, deflated, as base64: only letters, digits, ``+``, ``/`` and ``=``."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode("ascii"), 6)).decode("ascii")


def number(value: float | None, places: int = 5) -> float | int | None:
    """A figure with as many significant digits as the page can show; what is no number is None."""
    if value is None or value.__class__ is int:
        return value
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{places}g}")
    return int(rounded) if rounded.is_integer() else rounded


def in_order(tests: list[Attempt]) -> list[Attempt]:
    """Tests by their start, as they happened."""
    return sorted(tests, key=lambda test: test["start_seconds"])


def outcomes(tests: list[Attempt]) -> list[Outcome]:
    """The outcomes that the columns refer to by place: ours, then any that we do not know."""
    known = {outcome.name for outcome in OUTCOMES}
    extra = dict.fromkeys(test["outcome"] for test in tests if test["outcome"] not in known)
    return [*OUTCOMES, *map(outcome_of, extra)]


def waited_percent(test: Attempt) -> float | None:
    """The share of a test's wall time in which its thread could run but had no CPU."""
    waited = test["usage"].get("cpu_wait_seconds")
    wall = test["usage"].get("wall_seconds", test["wall_seconds"])
    if waited is None or not wall:
        return None
    # Both are read one after the other at an edge; a wait that falls between the two counts for one only.
    return min(100.0, 100 * waited / wall)


def columns(tests: list[Attempt]) -> dict[str, Json]:
    """The table, column by column, in the order of the tests' start."""
    places = {outcome.name: place for place, outcome in enumerate(outcomes(tests))}
    workers = {name: place for place, name in enumerate(lanes(tests))}

    def usage(key: str) -> list[Json]:
        return [number(read(test["usage"], key)) for test in tests]

    return {
        "id": [line(test["nodeid"]) for test in tests],
        "key": [key_of(test) for test in tests],
        "outcome": [places[test["outcome"]] for test in tests],
        "attempt": [test["attempt"] for test in tests],
        "worker": [workers[test["worker"]] for test in tests],
        "start": [number(round(test["start_seconds"], 4), 9) for test in tests],
        "wall": [number(test["wall_seconds"]) for test in tests],
        "cpu": usage("cpu_seconds"),
        "wait": [number(waited_percent(test), 4) for test in tests],
        "peak": usage("peak_rss_bytes"),
        "read": usage("read_bytes"),
        "write": usage("write_bytes"),
    }


def lanes(tests: list[Attempt]) -> list[str]:
    """The workers that ran tests: main first, then gw0, gw1, gw2 … gw10."""
    found = {test["worker"] for test in tests}
    return sorted(found, key=lambda name: (name != "main", len(name), name))


def read(usage: Usage, key: str) -> float | None:
    """One figure by its name; the table of figures is walked, not spelled out."""
    found = usage.get(key)
    return found if isinstance(found, (int, float)) else None


_KEYS = tuple(key for key, _, _ in USAGE)


def _figures(usage: Usage) -> list[Json]:
    # Two million figures in a run of 20,000 tests: one call each, and only where there is a figure.
    found = cast("Mapping[str, float]", usage)
    return [number(found[key], 6) if key in found else None for key in _KEYS]


def _collection(extra: Collection) -> dict[str, Json]:
    told: list[Json] = []
    for name, data in extra["data"].items():
        text = block(json.dumps(data, indent=1, ensure_ascii=False, default=str))
        if len(text) > TEXT_LIMIT:
            text = f"{text[:TEXT_LIMIT]}\n… {len(text) - TEXT_LIMIT:,} more characters"
        told.append([line(name), text])
    errors: list[Json] = [[line(name), line(error)] for name, error in extra["errors"].items()]
    return {
        "reason": line(extra["reason"]),
        "time": number(extra["time_seconds"], 9),
        "told": [line(sentence) for sentence in sentences(extra["data"])],
        "data": told,
        "errors": errors,
    }


def detail(test: Attempt, names: dict[str, int], with_samples: bool = True) -> dict[str, Json]:
    """All that the detail panel of one test shows beside its row; empty parts are left out."""
    place = {key: number_ for number_, (key, _, _) in enumerate(USAGE)}
    phases: list[Json] = [
        {
            "when": line(phase["when"]),
            "outcome": line(phase["outcome"]),
            "wall": number(phase["wall_seconds"], 6),
            "usage": _figures(phase["usage"]),
            "absent": [[place[key], line(why)] for key, why in phase["absent"].items() if key in place],
        }
        for phase in test["phases"]
    ]
    sampled: list[Json] = []
    if with_samples:
        for name, seen in test["samples"].items():
            shown = [number(seen["min"], 3), number(seen["mean"], 3), number(seen["max"], 3)]
            sampled.append([names[name], *shown, seen["count"]])
    limits: list[Json] = [
        [
            line(m["name"]),
            number(m["limit"], 6),
            number(m["value"], 6),
            line(m["unit"]),
            line(m["state"]),
            line(m["detail"]),
        ]
        for m in test["limits"]
    ]
    stretches: list[Json] = [
        [
            line(s["name"]),
            number(s["start_seconds"], 9),
            number(s["wall_seconds"], 6),
            *_figures(s["usage"])[1:],
        ]
        for s in test["stretches"]
    ]
    parts: dict[str, Json] = {
        "pid": test["pid"],
        "occurrence": test["occurrence"],
        "complete": test["complete"],
        "failure": block(test["failure"] or ""),
        "phases": phases,
        "usage": _figures(test["usage"]),
        "samples": sampled,
        "subtests": [[line(s["name"]), line(s["outcome"])] for s in test["subtests"]],
        "limits": limits,
        "stretches": stretches,
        "collections": [_collection(extra) for extra in test["collections"]],
        "stalls": [[word, number(spent), count, text] for word, spent, count, text in stall_rows(test)],
    }
    return {key: value for key, value in parts.items() if value not in ([], "")}


def details(tests: list[Attempt], names: dict[str, int]) -> tuple[list[str], int]:
    """Packed chunks of details, and how many passed tests lost their samples to the budget."""
    chunks: list[str] = []
    spent = dropped = 0
    for first in range(0, len(tests), CHUNK):
        part = tests[first : first + CHUNK]
        # The budget is shared out evenly, so that a late failure keeps what an early one has.
        fair = DETAIL_BUDGET * (first + len(part)) / len(tests)
        packed = pack([detail(test, names) for test in part])
        if len(tests) > CHUNK and spent + len(packed) > fair:
            packed = pack([detail(test, names, test["outcome"] != "passed") for test in part])
            dropped += sum(test["outcome"] == "passed" for test in part)
        chunks.append(packed)
        spent += len(packed)
    return chunks, dropped


def series_names(summary: Summary, drawn: Timeline) -> dict[str, int]:
    """Every series' place: those of the charts first, then by name."""
    charted = [one.series["name"] for chart in drawn.charts for one in chart.lines]
    recorded = sorted({series["name"] for series in summary["series"]})
    sampled = sorted({name for test in summary["tests"] for name in test["samples"]})
    return {name: place for place, name in enumerate(dict.fromkeys([*charted, *recorded, *sampled]))}


def _points(one: Series) -> tuple[list[Json], list[Json]]:
    """Times as steps in milliseconds, which deflate to almost nothing where the interval is kept."""
    moments = [round(moment * 1000) for moment in one["times"]]
    steps: list[Json] = [later - earlier for earlier, later in zip([0, *moments[:-1]], moments, strict=True)]
    return steps, [number(value, 4) for value in one["values"]]


def chart_data(drawn: Timeline) -> list[str]:
    """The points of each chart, packed; series read at the same times share them."""
    packed = []
    for chart in drawn.charts:
        times: list[Json] = []
        lines: list[Json] = []
        for one in chart.lines:
            steps, values = _points(one.series)
            if steps not in times:
                times.append(steps)
            lines.append([times.index(steps), values])
        packed.append(pack({"times": times, "lines": lines}))
    return packed


def _lane(build: Build) -> list[Json]:
    kind, name, sentence, steps, end = builds.lane(build)
    points: list[Json] = [[number(time, 9), look, number(percent, 4)] for time, look, percent in steps]
    return [kind, name, sentence, points, number(end, 9)]


def meta(
    summary: Summary, tests: list[Attempt], drawn: Timeline, names: dict[str, int], dropped: int
) -> dict[str, Json]:
    """What the scripts need before anything is inflated."""
    units = {series["name"]: series["unit"] for series in summary["series"]}
    end = max(
        [summary["run"]["wall_seconds"], *(t["start_seconds"] + (t["wall_seconds"] or 0) for t in tests)]
    )
    building, left_out = builds.drawn(summary)
    return {
        "outcomes": [
            {"name": line(o.name), "glyph": o.glyph, "word": o.word, "group": o.group}
            for o in outcomes(tests)
        ],
        "usage": [[label, unit] for _, label, unit in USAGE],
        "workers": [line(name) for name in lanes(tests)],
        "end": number(end, 9) or 1,
        "gaps": [
            [mark.word, mark.ink, number(round(mark.start, 4), 9), number(round(mark.end, 4), 9), mark.text]
            for mark in marks(summary)
        ],
        "builds": [_lane(build) for build in building],
        "buildsLeftOut": left_out,
        "count": len(tests),
        "chunk": CHUNK,
        "dropped": dropped,
        "series": [[line(name), line(units.get(name, ""))] for name in names],
        "charted": len({one.series["name"] for chart in drawn.charts for one in chart.lines}),
        "charts": [
            {
                "title": chart.title,
                "unit": line(chart.unit),
                "note": chart.note,
                "lines": [[one.label, line(one.series["name"])] for one in chart.lines],
            }
            for chart in drawn.charts
        ],
    }
