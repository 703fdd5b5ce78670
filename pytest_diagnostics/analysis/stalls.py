"""Stretches in which a process did not run, or samples were not taken, and why.

A recorder in a process of its own records what befell the processes it watches. A thread inside of them only
notices that it was late. Both together tell more: where the recorder was on time and saw no other cause, the
process ran, but did not let its threads run.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from ..core.recording import Fields, Recording, ShardRecords, mapping, number, text, whole
from .attempts import seconds_from
from .processes import host_of, hosts_of, is_recorder_process, pid_of, recorders_in, worker_of
from .schema import Attempt, Gap, Stall
from .words import span

#: What a recorder saw befall a watched process.
OF_PROCESS = ("stopped", "starved", "throttled", "gil")
#: What befell the recorder itself.
OF_RECORDER = ("recorder_stopped", "recorder_starved", "recorder_throttled")
#: Samples that are missing for a reason that is not the watched process' own.
MISSING = ("gap", "host", *OF_RECORDER)
#: What a test's window may hold.
STALLS = (*OF_PROCESS, "host", "suspend")
#: A cause explains a gap of which it covers this much.
MOST = 0.5
#: A stall that reaches into a test's window by less is its neighbour's: a recorder looks now and then.
NOTABLE_SECONDS = 0.01
#: A recorder was on time if its samples lie no further apart than this many of its intervals.
ON_TIME_INTERVALS = 2.5

_SECONDS = ("seconds", "late_seconds", "step_seconds", "suspended_seconds")
#: The part of a stretch that was lost, where it is not the whole.
_LOST = {"starved": "wait_seconds", "throttled": "throttled_seconds"}


class Spans:
    """Stretches without overlaps, in the order of time."""

    def __init__(self, stretches: Iterable[tuple[float, float, float, str]]) -> None:
        """Each is (start, end, share of it that counts, what to say of it); later overlaps are cut off."""
        self._ends: list[float] = []
        self._stretches: list[tuple[float, float, float, str]] = []
        for first, end, share, detail in sorted(stretches):
            start = max(first, self._ends[-1]) if self._ends else first
            if end > start:
                self._ends.append(end)
                self._stretches.append((start, end, share, detail))

    def within(self, start: float, end: float) -> tuple[float, int, str]:
        """Return the seconds between two moments, in how many stretches, and the longest one's detail."""
        seconds, count, longest, detail = 0.0, 0, 0.0, ""
        for place in range(bisect_left(self._ends, start), len(self._ends)):
            first, last, share, told = self._stretches[place]
            if first >= end:
                break
            part = (min(last, end) - max(first, start)) * share
            if part <= 0:
                continue
            seconds, count = seconds + part, count + 1
            if part > longest:
                longest, detail = part, told
        return seconds, count, detail


def gaps_of(recording: Recording, interval: float) -> list[Gap]:
    """Return all of them in the order of time, gaps with their cause where the recording shows one."""
    found = [_gap(shard, fields) for shard in recording.shards for fields in shard.of_kind("gap")]
    if any(gap["kind"] == "gap" for gap, _ in found):
        for host in {host_of(shard) for shard in recording.shards}:
            # What befell one machine explains nothing on another.
            here = Recording({}, [shard for shard in recording.shards if host_of(shard) == host])
            own = [(gap, shard) for gap, shard in found if host_of(shard) == host]
            causes = _Causes(here, [gap for gap, _ in own], interval)
            for gap, shard in own:
                if gap["kind"] == "gap":
                    causes.explain(gap, shard)
    return sorted((gap for gap, _ in found), key=lambda gap: gap["time_seconds"])


def stalls_of(gaps: Iterable[Gap], attempts: Iterable[tuple[Attempt, float]], recording: Recording) -> None:
    """Tell each attempt, of which the second is the end, what lies within its window, on its host."""
    spans: dict[tuple[str, str, int | None], list[tuple[float, float, float, str]]] = defaultdict(list)
    jumps: dict[str, dict[str, list[Gap]]] = defaultdict(lambda: defaultdict(list))
    hosts, sources = hosts_of(recording), {shard.name: host_of(shard) for shard in recording.shards}
    for gap in gaps:
        start, end, length = gap["start_seconds"], gap["time_seconds"], gap["seconds"]
        if gap["kind"] == "suspend" and end <= start:
            jumps[sources.get(gap["source"], "")][gap["source"]].append(gap)
        elif gap["kind"] in STALLS and end > start and not _twice(gap):
            share = min(1.0, length / (end - start))
            whose = gap["worker"] if gap["worker"] is not None else sources.get(gap["source"], "")
            spans[gap["kind"], whose, gap["pid"]].append((start, end, share, gap["detail"]))
    if not spans and not jumps:
        return
    cut = {key: Spans(stretches) for key, stretches in spans.items()}
    for attempt, end in attempts:
        start = attempt["start_seconds"]
        host = hosts.get((attempt["worker"], attempt["pid"]), "")
        for kind in STALLS:
            keys = [(kind, host, None) if kind == "host" else (kind, attempt["worker"], attempt["pid"])]
            for seconds, count, detail in (cut[key].within(start, end) for key in keys if key in cut):
                if seconds >= NOTABLE_SECONDS:
                    attempt["stalls"].append(
                        Stall(kind=kind, seconds=round(seconds, 6), count=count, detail=detail)
                    )
        suspended = _suspended(jumps.get(host, {}), start, end)
        if suspended is not None:
            attempt["stalls"].append(suspended)


def _twice(gap: Gap) -> bool:
    """Return whether a thread noticed what the recorder had seen more exactly."""
    return gap["kind"] in ("stopped", "starved", "throttled") and gap["source"].endswith(f"-{gap['pid']}")


def _suspended(jumps: dict[str, list[Gap]], start: float, end: float) -> Stall | None:
    """Return the suspends within a window, as the one who saw most of them counted: all see the same."""
    found = []
    for gaps in jumps.values():
        inside = [gap for gap in gaps if start <= gap["time_seconds"] <= end]
        if inside:
            seconds = round(sum(gap["seconds"] for gap in inside), 6)
            found.append(
                Stall(kind="suspend", seconds=seconds, count=len(inside), detail=inside[0]["detail"])
            )
    return max(found, key=lambda stall: stall["seconds"], default=None)


def lost_seconds(gaps: Iterable[Gap], kinds: Iterable[str]) -> float:
    """Return how long gaps of some kinds lasted; where they overlap, once."""
    wanted = frozenset(kinds)
    spans = Spans(
        (gap["start_seconds"], gap["time_seconds"], 1.0, "") for gap in gaps if gap["kind"] in wanted
    )
    return spans.within(-math.inf, math.inf)[0]


def _gap(shard: ShardRecords, fields: Fields) -> tuple[Gap, ShardRecords]:
    details, kind = mapping(fields, "details"), text(fields, "gap", "gap")
    end = seconds_from(shard, fields, "monotonic") or 0.0
    lengths = (number(details, key) for key in (_LOST.get(kind, "seconds"), *_SECONDS))
    seconds = next((length for length in lengths if length is not None), 0.0)
    start = seconds_from(shard, details, "start")
    if start is None:
        start = end if kind in ("clock_step", "suspend") else end - max(0.0, seconds)
    watched = kind in OF_PROCESS
    if kind in _LOST:
        seconds = min(seconds, end - start)  # of several CPUs together, the quota takes more
    ours = not watched and kind not in OF_RECORDER and not is_recorder_process(shard)
    gap = Gap(
        kind=kind,
        source=shard.name,
        worker=text(details, "worker", "main") if watched else worker_of(shard) if ours else None,
        pid=whole(details, "pid") if watched else pid_of(shard) if ours else None,
        collector=text(fields, "collector") or None,
        start_seconds=round(start, 6),
        time_seconds=end,
        seconds=seconds,
        detail=_detail(kind, details, max(0.0, end - start)),
    )
    return gap, shard


def _detail(kind: str, details: Fields, length: float) -> str:
    """Return what the record says, with its source."""

    def told(key: str) -> str:
        value = number(details, key)
        # The scheduler counts a wait when it is over, however long ago it began, and a quota every CPU's.
        return "an unknown time" if value is None else span(min(value, length))

    if kind == "clock_step":
        return f"the wall clock moved by {number(details, 'step_seconds') or 0.0:+.3g} s"
    if kind == "suspend":
        return f"the machine was suspended for {number(details, 'suspended_seconds') or 0.0:.3g} s"
    who = text(details, "worker", "main")
    who = "the pytest process" if who == "main" else f"worker {who}"
    known = {
        "stopped": f"{who} was stopped for {span(length)}, by a signal or a debugger (its state in /proc)",
        "starved": f"{who} waited {told('wait_seconds')} of {span(length)} for a CPU (its schedstat)",
        "throttled": (
            f"the CPU quota of its cgroup kept {who} from running for {told('throttled_seconds')} of "
            f"{span(length)} (cpu.stat)"
        ),
        "gil": (
            f"the main thread of {who} waited {span(length)} for the interpreter's lock: it woke "
            f"{number(details, 'wakes_per_second') or 0:.0f} times a second and ran {told('run_seconds')}"
        ),
        "recorder_stopped": f"the recorder was stopped for {span(length)}",
        "recorder_starved": (
            f"the recorder waited {told('wait_seconds')} of {span(length)} for a CPU (its schedstat)"
        ),
        "recorder_throttled": (
            f"the CPU quota of its cgroup kept the recorder from running for {told('throttled_seconds')} of "
            f"{span(length)} (cpu.stat)"
        ),
    }
    if kind in known:
        return known[kind]
    missed = whole(details, "missed")
    return f"{missed} {'tick' if missed == 1 else 'ticks'} missed"


class _Causes:
    """What a recording knows that can explain a gap."""

    def __init__(self, recording: Recording, gaps: list[Gap], interval: float) -> None:
        self._facts: dict[tuple[str, int | str], Spans] = {}
        facts: dict[tuple[str, int | str], list[tuple[float, float, float, str]]] = defaultdict(list)
        late: list[tuple[float, float, float, str]] = []
        recorders = recorders_in(recording)
        names = {shard.name for shard in recorders}
        self._suspends = [gap for gap in gaps if gap["kind"] == "suspend"]
        for gap in gaps:
            stretch = (gap["start_seconds"], gap["time_seconds"], 1.0, gap["detail"])
            if gap["kind"] in OF_PROCESS:
                facts[gap["kind"], gap["pid"] or 0].append(stretch)
            elif gap["kind"] in OF_RECORDER:
                facts[gap["kind"], gap["source"]].append(stretch)
                late.append(stretch)
            elif gap["kind"] == "gap" and gap["source"] in names:
                late.append(stretch)
        self._facts = {key: Spans(stretches) for key, stretches in facts.items()}
        self._late = Spans(late)
        #: When each recorder took samples, and how far apart they may lie.
        self._ticks = [_ticks(shard, interval) for shard in recorders]

    def explain(self, gap: Gap, shard: ShardRecords) -> None:
        """Give a gap the kind of its cause, and the evidence; leave it where there is none."""
        start, end = gap["start_seconds"], gap["time_seconds"]
        length = end - start
        if length <= 0:
            return
        key, kinds = (gap["source"], OF_RECORDER) if gap["pid"] is None else (gap["pid"], OF_PROCESS)
        covers = [
            (*self._facts[kind, key].within(start, end), kind) for kind in kinds if (kind, key) in self._facts
        ]
        best = max(covers, default=None)
        if best is not None and best[0] >= MOST * length:
            gap["kind"] = best[3]
            gap["detail"] += f"; {best[2]}"
            return
        if is_recorder_process(shard):
            return
        suspend = next((one for one in self._suspends if start <= one["time_seconds"] <= end), None)
        late, _, told = self._late.within(start, end)
        if suspend is not None:
            gap["kind"] = "suspend"
            gap["detail"] += f"; {suspend['detail']}"
        elif late >= MOST * length:
            gap["kind"], gap["worker"], gap["pid"] = "host", None, None
            gap["detail"] += f"; the recorder, a process of its own, was late as well: {told}"
        else:
            self._blame_the_lock(gap, start, end)

    def _blame_the_lock(self, gap: Gap, start: float, end: float) -> None:
        for ticks, allowed in self._ticks:
            low = bisect_left(ticks, start)
            inside = ticks[low : bisect_left(ticks, end)]
            around = ticks[max(0, low - 1) : low + len(inside) + 1]
            if inside and all(after - before <= allowed for before, after in pairwise(around)):
                gap["kind"] = "gil"
                samples = f"{len(inside)} sample{'' if len(inside) == 1 else 's'}"
                gap["detail"] += (
                    f" by a thread of {gap['worker']}, while the recorder took {samples} on time and saw it "
                    "neither stopped nor without a CPU: the interpreter's lock was held"
                )
                return


def _ticks(shard: ShardRecords, interval: float) -> tuple[list[float], float]:
    """Return when a recorder took samples, of its busiest collector, and how far apart they may lie."""
    told = number(mapping(shard.header, "recorder"), "interval_seconds") or interval
    times = max((results.times for results in shard.collectors.values()), key=len, default=())
    return sorted(moment - shard.zero for moment in times), ON_TIME_INTERVALS * told
