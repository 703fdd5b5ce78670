"""The summary of a recording: one pure function, which never raises on what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from ..core.recording import Fields, Recording, mapping, number, text
from .attempts import attempts_of, seconds_from, usage_of
from .builds import builds_of, outages_of
from .curves import series_of
from .endings import ENDED_WITHOUT_FINISHING, close, endings_of
from .health import collectors_of, cost_of, health_of, recorders_of, shards_of
from .processes import main_pid, pid_of
from .schema import SCHEMA, VERSION, Attempt, Ending, Fixture, Run, Summary
from .stalls import gaps_of, stalls_of
from .windows import Windows

DEFAULT_INTERVAL = 1.0
#: A test that passed in less time than this says little about the machine, nor the machine about it.
NOTABLE_SECONDS = 0.05
_UNREMARKABLE = frozenset({"passed", "skipped", "xfailed"})
STILL_RUNNING = "still running"


def summarise(recording: Recording, *, alive: bool = False) -> Summary:
    """Return everything that reports show of a recording; ``alive`` says that its process is still there."""
    interval = _interval(recording)
    windows = Windows(recording, interval)
    attempts, end = attempts_of(recording), _end(recording)
    gone = bool(end) or not alive
    endings = endings_of(recording, [test for test, _ in attempts], finished=bool(end)) if gone else []
    attempts = close(attempts, endings)
    gaps = gaps_of(recording, interval)
    stalls_of(gaps, attempts, recording)
    tests = [attempt for attempt, _ in attempts]
    for (attempt, ended), until in zip(attempts, _next_starts(tests), strict=True):
        attempt["samples"] = windows.cut(
            attempt["pid"],
            attempt["start_seconds"],
            ended,
            until=until,
            worker=attempt["worker"],
            nearest=_deserves_nearest(attempt),
        )
    run = _run(recording, tests, endings, end)
    if not gone:
        run["end_reason"] = STILL_RUNNING
    collectors = collectors_of(recording)
    cost = cost_of(recording, collectors)
    series, beyond = series_of(recording, interval)
    health = health_of(recording, run, (collectors, gaps, endings, cost), tests)
    if beyond:
        # Not a fault of the recording, which has them: it does not spoil the state.
        health["line"] += f"; {beyond} series left out of the charts"
    return Summary(
        schema=SCHEMA,
        version=VERSION,
        run=run,
        environment=_environment(recording.header),
        counts=counts_of(tests),
        tests=tests,
        fixtures=_fixtures(recording),
        series=series,
        collectors=collectors,
        recorders=recorders_of(recording, interval),
        gaps=sorted([*gaps, *outages_of(recording)], key=lambda gap: gap["time_seconds"]),
        builds=builds_of(recording),
        endings=endings,
        shards=shards_of(recording),
        health=health,
        cost=cost,
    )


def _next_starts(attempts: Iterable[Attempt]) -> list[float]:
    """Return for each attempt when the next one of the same process began."""
    starts: list[float] = []
    following: dict[int, float] = {}
    for attempt in reversed(list(attempts)):
        starts.append(following.get(attempt["pid"], math.inf))
        following[attempt["pid"]] = attempt["start_seconds"]
    return starts[::-1]


def _deserves_nearest(attempt: Attempt) -> bool:
    """Return whether to show the nearest samples of a test that has none: not of thousands of tiny ones."""
    return attempt["outcome"] not in _UNREMARKABLE or (attempt["wall_seconds"] or 0.0) >= NOTABLE_SECONDS


def counts_of(tests: Iterable[Attempt]) -> dict[str, int]:
    """Return outcome -> tests: the last attempt of each counts, the earlier ones count as rerun."""
    last: dict[tuple[str, int, str, int], Attempt] = {}
    counts: dict[str, int] = {}
    for attempt in tests:
        key = attempt["worker"], attempt["pid"], attempt["nodeid"], attempt["occurrence"]
        earlier = last.get(key)
        if earlier is not None:
            counts["rerun"] = counts.get("rerun", 0) + 1
        if earlier is None or attempt["attempt"] >= earlier["attempt"]:
            last[key] = attempt
    for attempt in last.values():
        counts[attempt["outcome"]] = counts.get(attempt["outcome"], 0) + 1
    return counts


def _interval(recording: Recording) -> float:
    settings = mapping(recording.header, "settings")
    told = number(settings, "interval_seconds") or number(settings, "interval")
    return told if told is not None and told > 0 else DEFAULT_INTERVAL


def _run(recording: Recording, tests: list[Attempt], endings: list[Ending], end: Fields) -> Run:
    header, settings = recording.header, mapping(recording.header, "settings")
    ending = endings[0] if endings and not end else None
    status = end.get("exit_status")
    workers = sorted({attempt["worker"] for attempt in tests}, key=lambda name: (len(name), name))
    return Run(
        id=text(header, "id") or next((run for s in recording.shards if (run := text(s.header, "run"))), ""),
        started=_iso(recording.started),
        wall_seconds=round(max(_moments(recording), default=0.0), 6),
        finished=bool(end),
        end_reason=text(end, "reason", "finished")
        if end
        else (ending["sentence"] if ending is not None else ENDED_WITHOUT_FINISHING),
        ending=ending,
        exit_status=status if isinstance(status, int) else None,
        scope=text(settings, "scope", "session"),
        interval_seconds=_interval(recording),
        peak=text(settings, "peak", "exact"),
        workers=workers or ["main"],
    )


def _end(recording: Recording) -> Fields:
    """Return the ``end`` record of the process that made the run; empty when there is none."""
    pid = main_pid(recording)
    for shard in recording.shards:
        ends = shard.of_kind("end")
        if ends and pid_of(shard) == pid:
            return ends[-1]
    return {}


def _moments(recording: Recording) -> Iterator[float]:
    """Yield the last moment of each shard, seconds from the run's start."""
    for shard in recording.shards:
        last = -math.inf
        for fields in shard.records:
            for key in ("end", "monotonic"):
                value = fields.get(key)
                if value is not None and not (type(value) is float and value <= last):
                    last = max(last, _or_never(number(fields, key)))
        for results in shard.collectors.values():
            if results.times:
                last = max(last, results.times[-1])
        if last > -math.inf:
            yield last - shard.zero


def _or_never(moment: float | None) -> float:
    return -math.inf if moment is None else moment


def _iso(wall: float | None) -> str:
    if wall is None:
        return ""
    try:
        return datetime.fromtimestamp(wall, tz=timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _environment(header: Fields) -> dict[str, str]:
    """Return what the run's header allows to be known; it was chosen there, name by name."""
    return {
        key: str(value)
        for key, value in mapping(header, "environment").items()
        if isinstance(value, (str, int, float))
    }


def _fixtures(recording: Recording) -> list[Fixture]:
    fixtures = []
    for shard in recording.shards:
        for fields in shard.of_kind("fixture"):
            start, end = seconds_from(shard, fields, "start"), seconds_from(shard, fields, "end")
            if start is None or end is None:
                continue
            fixtures.append(
                Fixture(
                    name=text(fields, "name"),
                    scope=text(fields, "scope"),
                    worker=text(fields, "worker", "main"),
                    phase=text(fields, "phase", "setup"),
                    during=text(fields, "during"),
                    start_seconds=start,
                    wall_seconds=round(end - start, 6),
                    usage=usage_of(fields),
                )
            )
    return sorted(fixtures, key=lambda fixture: fixture["start_seconds"])
