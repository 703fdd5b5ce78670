"""Which series share a chart, and in which order the charts stand.

A chart has one unit and at most `MOST` series; what was recorded but not drawn is said, with the reason.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass

from ..analysis.schema import Series, Summary
from .words import block, figure, line

#: Ends of names that repeat the unit, which stands beside every value anyway.
_UNIT_WORDS = re.compile(r"_(percent|bytes|bytes_per_sec|per_sec|mhz|celsius|seconds)$")

#: Series that one chart can hold before colours and dashes stop telling them apart.
MOST = 6


@dataclass(frozen=True)
class Group:
    """A chart that is worth having on every run: its title and the series it takes, in order."""

    title: str
    patterns: tuple[str, ...]


GROUPS = (
    Group("CPU", tuple(rf"cpu\.{kind}_percent" for kind in ("usage", "user", "system", "iowait", "steal"))),
    Group("Load", (r"cpu\.load_avg_1m",)),
    Group(
        "Pressure",
        tuple(rf"pressure\.{kind}_percent" for kind in ("cpu_some", "(memory|io)_some", "(memory|io)_full")),
    ),
    Group(
        "Pressure in the cgroup", (r"pressure\.cgroup_.*_some_percent", r"pressure\.cgroup_.*_full_percent")
    ),
    Group("Memory", (r"memory\.(used|available)_bytes", r"process\.rss_bytes", r"process\.tree_rss_bytes")),
    Group("Swap", (r"memory\.swap_used_bytes",)),
    Group("Network", (r"network\.bytes_recv_per_sec", r"network\.bytes_sent_per_sec")),
    Group("Retransmits", (r"network\.tcp_retransmits_per_sec",)),
    Group("Disk", (r"disk\.read_bytes_per_sec", r"disk\.write_bytes_per_sec")),
    Group("Disk busy", (r"disk\.busy_percent",)),
    Group("Process CPU", (r"process\.cpu_percent", r"process\.tree_cpu_percent")),
    Group("Workers' CPU", (r"process\.workers\[[^]]*\]\.cpu_percent",)),
    Group("Workers' memory", (r"process\.workers\[[^]]*\]\.rss_bytes",)),
    Group("Process", (r"process\.threads", r"process\.fds", r"process\.children")),
    Group("Process disk", (r"process\.read_bytes_per_sec", r"process\.write_bytes_per_sec")),
    Group("Paging", (r"memory_bandwidth\.pgpgin_per_sec", r"memory_bandwidth\.pgpgout_per_sec")),
    Group("Swapping, major faults", (r"memory_bandwidth\.(pswpin|pswpout|pgmajfault)_per_sec",)),
    Group("Page faults", (r"memory_bandwidth\.pgfault_per_sec",)),
    Group("View builds", (r"cassandra_views\.views\[.*\]\.percent",)),
    Group("Index builds", (r"cassandra_indexes\.indexes\[.*\]\.percent",)),
    Group(
        "View mutations", (r"cassandra_views\.nodes\[.*\]\.view_mutation_stage\.(active|pending|blocked)",)
    ),
    Group("Hints", (r"cassandra_views\.nodes\[.*\]\.hints\.files",)),
    Group("Throttling", (r"cgroup\.throttled_percent", r"cgroup\.throttled_periods_percent")),
)
#: Collectors whose telling series are the ones above; the rest of theirs is named, not drawn.
CURATED = frozenset(("cpu", "pressure", "memory", "network", "disk", "process", "memory_bandwidth", "cgroup",
                      "cassandra_views", "cassandra_indexes"))  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """One line of a chart."""

    label: str
    series: Series


@dataclass(frozen=True)
class Chart:
    """One chart: one unit, one axis."""

    title: str
    unit: str
    lines: list[Drawn]
    note: str = ""


@dataclass(frozen=True)
class Timeline:
    """The charts of a run, and what was recorded without being drawn."""

    charts: list[Chart]
    still: list[tuple[str, str]]  # series that never changed, and their value
    left_out: list[str]
    empty: str  # why there is no chart at all


def _values(series: Series) -> list[float]:
    return [v for v in series["values"] if v is not None and math.isfinite(v)]


def _movement(series: Series) -> float:
    """How much a series moved, against its own size: what a person would want to see first."""
    values = _values(series)
    if not values:
        return 0.0
    top = max(abs(v) for v in values)
    return (max(values) - min(values)) / top if top else 0.0


def _place(name: str) -> tuple[int, int]:
    for number, group in enumerate(GROUPS):
        for place, pattern in enumerate(group.patterns):
            if re.fullmatch(pattern, name):
                return number, place
    return len(GROUPS), 0


def _labels(chosen: list[Series], shared: bool) -> list[Drawn]:
    """Names without the collector where all are of one; with the source where a name repeats."""
    names = [series["name"] for series in chosen]
    drawn = []
    for series in chosen:
        name = _UNIT_WORDS.sub("", series["name"])
        if shared:
            name = name.removeprefix(f"{series['collector']}.")
        if names.count(series["name"]) > 1:
            name = f"{name} · {series['source']}"
        drawn.append(Drawn(line(name), series))
    return drawn


def _words(unit: str) -> str:
    return "per second" if unit == "per_second" else unit.replace("_per_second", "/s").replace("_", " ")


def _chart(title: str, unit: str, found: list[Series]) -> Chart:
    kept = found
    if len(found) > MOST:
        kept = sorted(found, key=lambda s: -max(_values(s), default=0.0))[:MOST]
        kept.sort(key=found.index)
    shared = len({series["collector"] for series in kept}) == 1
    note = f"the {MOST} highest of {len(found):,} series" if len(found) > MOST else ""
    return Chart(line(title), unit, _labels(kept, shared), note)


def _known(series: list[Series]) -> tuple[list[Chart], list[Series]]:
    rest, taken = [], defaultdict(list)
    for one in series:
        number, place = _place(one["name"])
        if number == len(GROUPS):
            rest.append(one)
        else:
            taken[number, one["unit"]].append((place, one))
    units = defaultdict(list)
    for number, unit in taken:
        units[number].append(unit)
    charts = []
    for number in sorted(units):
        for unit in units[number]:
            found = [one for _, one in sorted(taken[number, unit], key=lambda pair: pair[0])]
            title = GROUPS[number].title
            charts.append(
                _chart(title if len(units[number]) == 1 else f"{title} · {_words(unit)}", unit, found)
            )
    return charts, rest


def timeline(summary: Summary) -> Timeline:
    """Sort every series into a chart, the unchanged, or the rest."""
    series = [s for s in summary["series"] if _values(s)]
    charts, rest = _known(series)
    # A chart of flat lines says in a hundred pixels what a word says as well.
    charts = [chart for chart in charts if any(_movement(one.series) for one in chart.lines)]
    others: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in rest:
        if _movement(one) and one["collector"] not in CURATED:
            others[one["collector"], one["unit"]].append(one)
    for (collector, unit), found in others.items():
        found.sort(key=_movement, reverse=True)
        charts.append(_chart(f"{collector} · {_words(unit)}", unit, found))
    drawn = {id(one.series) for chart in charts for one in chart.lines}
    still = [s for s in series if id(s) not in drawn and not _movement(s)]
    unchanged = {id(s) for s in still}
    left_out = [line(s["name"]) for s in series if id(s) not in drawn and id(s) not in unchanged]
    left_out += [line(s["name"]) + " (no value)" for s in summary["series"] if not _values(s)]
    values = [(line(s["name"]), figure(_values(s)[0], s["unit"])) for s in still]
    return Timeline(charts, values, list(dict.fromkeys(left_out)), "" if charts else _why_empty(summary))


def _why_empty(summary: Summary) -> str:
    if summary["series"]:
        return "No series changed during the run, so there is nothing to draw."
    if not summary["collectors"]:
        reason = "no collector ran."
    else:
        told = (f"{c['name']} is {c['state']}" + (f" ({c['reason']})" if c["reason"] else "")
                for c in summary["collectors"])  # fmt: skip
        reason = line(block("; ".join(told))) + "."
    return f"No samples were recorded: {reason}"
