"""How well the recording went: collectors, gaps, shards, cost, and the one honest line about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from ..core.model import HealthState
from ..core.recording import CollectorResults, Fields, Recording, ShardRecords, mapping, number, text, whole
from .attempts import running_phase, seconds_from
from .schema import Attempt, CollectorState, Cost, Gap, HealthSummary, RecorderState, Run, ShardState

#: A collector that fails more often than this is a problem even when its last result was good.
FAILING_SHARE = 0.1
#: Gaps that take more of the run than this are a problem.
GAP_SHARE = 0.05
_GAP_SECONDS = ("seconds", "late_seconds", "step_seconds", "suspended_seconds")
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
        where=_where(shard),
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
                    where=text(details, "where") or _where(shard),
                    interval_seconds=number(details, "interval_seconds") or interval,
                    collectors=[str(name) for name in names] if isinstance(names, list) else [],
                )
            )
    return states


def _where(shard: ShardRecords) -> str:
    told = text(mapping(shard.header, "recorder"), "where")
    if told:
        return told
    role, _, pid = shard.name.rpartition("-")
    return f"{role} (pid {pid})" if role else shard.name


def gaps_of(recording: Recording) -> list[Gap]:
    """Return stretches without samples and jumps of clocks, in the order of time."""
    gaps = []
    for shard in recording.shards:
        for fields in shard.of_kind("gap"):
            details = mapping(fields, "details")
            lengths = (number(details, key) for key in _GAP_SECONDS)
            kind = text(fields, "gap", "gap")
            gaps.append(
                Gap(
                    kind=kind,
                    source=shard.name,
                    collector=text(fields, "collector") or None,
                    time_seconds=seconds_from(shard, fields, "monotonic") or 0.0,
                    seconds=next((length for length in lengths if length is not None), 0.0),
                    detail=_detail(kind, details),
                )
            )
    return sorted(gaps, key=lambda gap: gap["time_seconds"])


def _detail(kind: str, details: Fields) -> str:
    if kind == "clock_step":
        return f"the wall clock moved by {number(details, 'step_seconds') or 0.0:+.3g} s"
    if kind == "suspend":
        return f"the machine was suspended for {number(details, 'suspended_seconds') or 0.0:.3g} s"
    missed = whole(details, "missed")
    return f"{missed} {'tick' if missed == 1 else 'ticks'} missed"


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


def cost_of(recording: Recording, collectors: Iterable[CollectorState]) -> Cost:
    """Return what the recording cost, from what the processes said of it at their ends."""
    cost: dict[str, float] = {
        "collect_seconds": round(sum(state["seconds_total"] for state in collectors), 6),
        "recorded_bytes": sum(shard.size for shard in recording.shards),
    }
    for shard in recording.shards:
        for fields in shard.of_kind("end"):
            told = mapping(fields, "cost")
            for key in told:
                value = number(told, key)
                if value is None or key not in Cost.__annotations__ or key in ("recorded_bytes",):
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
    parts: tuple[list[CollectorState], list[Gap], Cost],
    tests: list[Attempt],
) -> HealthSummary:
    """Return the one line: good with its figures, or degraded with the first problem."""
    collectors, gaps, cost = parts
    problems = [
        *_unfinished(recording, run, tests),
        *_told(recording),  # causes, as the processes knew them; damage is what came of them
        *_damage(recording),
        *recording.problems,
        *_ailing(collectors),
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
    lost = sum(gap["seconds"] for gap in gaps)
    parts.append(f"{_count(len(gaps), 'gap')} of {lost:.1f} s" if gaps else "no gaps")
    parts.append(f"cost {spent:.1f} s")
    return f"good: {', '.join(parts)}"


def _unfinished(recording: Recording, run: Run, tests: list[Attempt]) -> list[str]:
    problems = []
    running = [attempt for attempt in tests if not attempt["complete"]]
    if not run["finished"]:
        where = "".join(
            f", in the {running_phase(attempt)} of {attempt['nodeid']}" for attempt in running[:1]
        )
        problems.append(f"the run ended without finishing{where}")
    elif running:
        first = running[0]
        more = f", nor {len(running) - 1} more" if len(running) > 1 else ""
        where = f"the {running_phase(first)} of {first['nodeid']} on {first['worker']}"
        problems.append(f"{where} did not finish{more}")
    for shard in recording.shards:
        # Of a run that finished, a process without an end died on the way.
        if run["finished"] and not shard.of_kind("end"):
            problems.append(f"{_where(shard)} ended without saying so")
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
                    problems.append(f"{_where(shard)}: {problem}")
            elif fields.get("kind") == "event" and fields.get("event") == "sink_failed":
                details = mapping(fields, "details")
                problems.append(f"sink {text(details, 'sink')} failed: {text(details, 'message')}")
    return problems


def _ailing(collectors: list[CollectorState]) -> list[str]:
    problems = []
    for state in collectors:
        reason = f": {state['reason']}" if state["reason"] else ""
        if state["state"] not in _FINE:
            problems.append(f"collector {state['name']} in {state['where']} is {state['state']}{reason}")
        elif state["errors"] > FAILING_SHARE * state["results"]:
            problems.append(
                f"collector {state['name']} failed {state['errors']} of {state['results']} times{reason}"
            )
    return problems


def _interrupted(gaps: list[Gap], wall: float) -> list[str]:
    problems = [gap["detail"] for gap in gaps if gap["kind"] != "gap"]
    missing = [gap["seconds"] for gap in gaps if gap["kind"] == "gap"]
    if sum(missing) > GAP_SHARE * wall > 0:
        problems.append(f"{_count(len(missing), 'gap')} without samples, {sum(missing):.1f} s together")
    return problems


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
