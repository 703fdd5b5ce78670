"""How well the recording went: collectors, gaps, shards, cost, and the one honest line about them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import cast

from ..core.errors import ErrorType
from ..core.model import HealthState
from ..core.recording import CollectorResults, Fields, Recording, ShardRecords, mapping, number, text, whole
from .attempts import running_phase
from .endings import subject
from .processes import host_of, is_recorder_process, pid_of, where, worker_of
from .schema import Attempt, CollectorState, Cost, Ending, Gap, HealthSummary, RecorderState, Run, ShardState
from .stalls import MISSING, OF_RECORDER, lost_seconds
from .words import span

#: A collector that fails more often than this is a problem even when its last result was good.
FAILING_SHARE = 0.1
#: Gaps that take more of the run than this are a problem.
GAP_SHARE = 0.05
_FINE = frozenset({HealthState.HEALTHY.value, HealthState.UNKNOWN.value, HealthState.UNAVAILABLE.value})


def collectors_of(recording: Recording) -> list[CollectorState]:
    """Return the state of every collector in every place where it ran."""
    states = []
    for shard in recording.shards:
        records: dict[str, list[Fields]] = {name: [] for name in shard.collectors}
        for fields in shard.of_kind("health"):
            records.setdefault(text(fields, "collector"), []).append(fields)
        for name, found in records.items():
            results = shard.collectors.get(name) or CollectorResults(name)
            states.append(_collector(shard, results, found))
    return states


def _collector(shard: ShardRecords, results: CollectorResults, health: list[Fields]) -> CollectorState:
    account: Fields = {}
    state, reason = HealthState.UNKNOWN.value, None
    if results.results > results.errors:
        state = HealthState.HEALTHY.value
    for fields in health:  # the last one holds
        state = text(fields, "state", state)
        reason = text(fields, "reason") or None
        account = mapping(fields, "account") or account
    failure = results.failures[-1] if results.failures else None
    if reason is None and failure is not None:
        reason = f"{failure.type}: {failure.message}"
    return CollectorState(
        name=results.name,
        where=where(shard),
        state=state,
        reason=reason,
        results=results.results,
        errors=results.errors,
        timeouts=max(results.timeouts, whole(account, "timeouts")),
        missed=whole(account, "missed"),
        truncated=results.truncated,
        coerced=results.coerced,
        seconds_total=round(number(account, "seconds_total") or results.seconds_total, 6),
    )


def recorders_of(recording: Recording, interval: float) -> list[RecorderState]:
    """Return where collectors ran: what the recorders said of themselves, else what their results show."""
    states = []
    for shard in recording.shards:
        told = [mapping(shard.header, "recorder")]
        told += [
            mapping(fields, "details")
            for fields in shard.of_kind("event")
            if fields.get("event") == "recorder"
        ]
        told = [details for details in told if details]
        if not told and shard.collectors:
            told = [{"collectors": list(shard.collectors)}]
        for details in told:
            names = details.get("collectors")
            states.append(
                RecorderState(
                    kind=text(details, "kind", "thread"),
                    where=_told_where(details, shard),
                    interval_seconds=number(details, "interval_seconds") or interval,
                    collectors=[str(name) for name in names] if isinstance(names, list) else [],
                )
            )
    return states


def _told_where(details: Fields, shard: ShardRecords) -> str:
    told = text(details, "where")
    return f"{told} on {host_of(shard)}" if told and host_of(shard) else told or where(shard)


def shards_of(recording: Recording) -> list[ShardState]:
    """Return what survived of every shard."""
    return [
        ShardState(
            name=shard.name,
            records=shard.count,
            damaged=shard.damaged,
            torn=shard.torn,
            unknown=shard.unknown,
        )
        for shard in recording.shards
    ]


#: Collectors that wait for a server's answers: their time is not ours.
WAITING = frozenset({"cassandra_views", "cassandra_indexes", "cassandra_consistency"})


def cost_of(recording: Recording, collectors: Iterable[CollectorState]) -> Cost:
    """Return what the recording cost, from what the processes said of it at their ends."""
    collectors = list(collectors)
    waiting = sum(state["seconds_total"] for state in collectors if state["name"] in WAITING)
    inside = sum(state["seconds_total"] for state in collectors) - waiting
    cost: dict[str, float] = {
        "collect_seconds": round(inside, 6),
        "recorded_bytes": sum(shard.size for shard in recording.shards),
    }
    if waiting:
        cost["waited_seconds"] = round(waiting, 6)
    for shard in recording.shards:
        for fields in shard.of_kind("end"):
            told = mapping(fields, "cost")
            for key in told:
                value = number(told, key)
                if (
                    value is None
                    or key not in Cost.__annotations__
                    or key in ("recorded_bytes", "waited_seconds")
                ):
                    continue
                if key == "session_peak_rss_bytes":
                    cost[key] = max(cost.get(key, 0), value)
                elif key != "collect_seconds":
                    cost[key] = cost.get(key, 0) + value
    for key in ("edges", "session_peak_rss_bytes"):
        if key in cost:
            cost[key] = int(cost[key])
    return cast("Cost", cost)


def health_of(
    recording: Recording,
    run: Run,
    parts: tuple[list[CollectorState], list[Gap], list[Ending], Cost],
    tests: list[Attempt],
) -> HealthSummary:
    """Return the one line: good with its figures, or degraded with the first problem."""
    collectors, gaps, endings, cost = parts
    problems = [
        *_unfinished(recording, run, endings, tests),
        *_told(recording),  # causes, as the processes knew them; damage is what came of them
        *_damage(recording),
        *recording.problems,
        *_ailing(collectors, _last_looks(recording, endings)),
        *_interrupted(gaps, run["wall_seconds"]),
    ]
    problems = list(dict.fromkeys(problems))
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        return HealthSummary(state="degraded", line=f"degraded: {problems[0]}{more}", problems=problems)
    return HealthSummary(state="good", line=_good(collectors, gaps, cost), problems=[])


def _good(collectors: list[CollectorState], gaps: list[Gap], cost: Cost) -> str:
    samples = sum(state["results"] for state in collectors)
    failed = sum(state["errors"] for state in collectors)
    names = {state["name"] for state in collectors if state["state"] != HealthState.UNAVAILABLE.value}
    away = {state["name"] for state in collectors} - names
    spent = cost.get("collect_seconds", 0.0) + cost.get("edge_seconds", 0.0)
    parts = [f"{_count(samples, 'sample')} of {_count(len(names), 'collector')}"]
    if failed:
        parts.append(f"{failed} failed")
    if away:
        parts.append(f"{len(away)} not available here")
    missing = [gap for gap in gaps if gap["kind"] in MISSING]
    lost = lost_seconds(gaps, MISSING)
    parts.append(f"{_count(len(missing), 'gap')} of {lost:.1f} s" if missing else "no gaps")
    parts.append(f"cost {spent:.1f} s")
    return f"good: {', '.join(parts)}"


def _unfinished(recording: Recording, run: Run, endings: list[Ending], tests: list[Attempt]) -> list[str]:
    problems = [f"{subject(ending)} {ending['sentence']}" for ending in endings]
    told = {(ending["process"], ending["pid"]) for ending in endings}
    open_ones = [test for test in tests if not test["complete"] and (test["worker"], test["pid"]) not in told]
    if run["finished"] and open_ones:
        first = open_ones[0]
        more = f", nor {len(open_ones) - 1} more" if len(open_ones) > 1 else ""
        place = f"the {running_phase(first)} of {first['nodeid']} on {first['worker']}"
        problems.append(f"{place} did not finish{more}")
    for shard in recording.shards:
        # Of a run that finished, a process without an end died on the way.
        if run["finished"] and not shard.of_kind("end") and (worker_of(shard), pid_of(shard)) not in told:
            what = "the recorder, " if is_recorder_process(shard) else ""
            problems.append(f"{what}{where(shard)}, ended without saying so")
    return problems


def _damage(recording: Recording) -> list[str]:
    problems = []
    for shard in recording.shards:
        parts = []
        if shard.damaged:
            parts.append(f"{_count(shard.damaged, 'record')} damaged")
        if shard.torn:
            parts.append("1 torn record ignored")
        if shard.unknown:
            parts.append(f"{_count(shard.unknown, 'record')} of a newer version or unknown kind ignored")
        if parts:
            problems.append(f"shard {shard.name}: {', '.join(parts)}")
        beyond = sum(results.beyond for results in shard.collectors.values())
        if beyond:
            problems.append(
                f"shard {shard.name}: {_count(beyond, 'number')} beyond the series' bound left out"
            )
    return problems


def _told(recording: Recording) -> list[str]:
    """Return what the processes themselves reported."""
    problems: list[str] = []
    for shard in recording.shards:
        for fields in shard.records:
            if fields.get("kind") == "end":
                told = fields.get("problems")
                for problem in told if isinstance(told, list) else []:
                    problems.append(f"{where(shard)}: {problem}")
            elif fields.get("kind") == "event" and fields.get("event") == "sink_failed":
                details = mapping(fields, "details")
                problems.append(f"sink {text(details, 'sink')} failed: {text(details, 'message')}")
    return problems


def _last_looks(recording: Recording, endings: list[Ending]) -> Counter[tuple[str, str]]:
    """Return how often collectors (where, name) failed after the end of what they looked at."""
    found: Counter[tuple[str, str]] = Counter()
    gone = min((ending["time_seconds"] for ending in endings if not ending["inferred"]), default=math.inf)
    for shard in recording.shards:
        for results in shard.collectors.values():
            late = (failure for failure in results.failures if failure.monotonic - shard.zero >= gone)
            found[where(shard), results.name] += sum(
                failure.type == ErrorType.UNAVAILABLE.value for failure in late
            )
    return found


def _ailing(collectors: list[CollectorState], excused: Counter[tuple[str, str]]) -> list[str]:
    problems = []
    for state in collectors:
        reason = f": {state['reason']}" if state["reason"] else ""
        if state["state"] not in _FINE:
            problems.append(f"collector {state['name']} in {state['where']} is {state['state']}{reason}")
        elif state["errors"] - excused[state["where"], state["name"]] > FAILING_SHARE * state["results"]:
            problems.append(
                f"collector {state['name']} failed {state['errors']} of {state['results']} times{reason}"
            )
    return problems


def _interrupted(gaps: list[Gap], wall: float) -> list[str]:
    """Return jumps of clocks, and missing samples; what befell the watched processes is no fault of ours."""
    problems = [gap["detail"] for gap in gaps if gap["kind"] in ("clock_step", "suspend")]
    missing = [gap["seconds"] for gap in gaps if gap["kind"] in ("gap", "host")]
    if sum(missing) > GAP_SHARE * wall > 0:
        problems.append(f"{_count(len(missing), 'gap')} without samples, {sum(missing):.1f} s together")
    still = lost_seconds(gaps, OF_RECORDER)
    if still > GAP_SHARE * wall > 0:
        kinds = [kind for kind in OF_RECORDER if any(gap["kind"] == kind for gap in gaps)]
        parts = (f"{kind.removeprefix('recorder_')} {span(lost_seconds(gaps, [kind]))}" for kind in kinds)
        problems.append(f"the recorder did not run for {span(still)} of {span(wall)}: {', '.join(parts)}")
    return problems


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
