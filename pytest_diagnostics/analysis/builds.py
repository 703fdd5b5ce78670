"""Views and indexes: what became of each during a run, and sentences about those that are not built. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from ..core.courses import BUILT, TOPICS, UNDER_WAY, UNKNOWN, Course, named_items, percent_of
from ..core.model import JsonValue
from ..core.recording import Recording, ShardRecords, mapping, number, text
from .processes import host_of
from .schema import Build, BuildStep, Gap
from .words import span

#: Builds in one summary, those that went wrong first.
MAX_BUILDS = 100
#: Sentences about one moment; of more the number is told.
MAX_SENTENCES = 6
#: Nodes that one sentence names.
MAX_NODES = 2
#: The kind of a gap in which the database did not answer.
UNREACHABLE = "unreachable"
#: Where "was" would be no English.
_VERBS = {"failed": "had failed", UNKNOWN: "could not be looked at"}
_WELL = frozenset({BUILT, "dropped", "absent"})


def builds_of(recording: Recording) -> list[Build]:
    """Return every view and index that was seen not built, in the order in which that was seen."""
    found = [
        _build(shard, results.name, course)
        for shard in recording.shards
        for results in shard.collectors.values()
        for course in results.courses.found.values()
        if course.is_worth_telling
    ]
    if len(found) > MAX_BUILDS:
        found.sort(key=lambda build: (build["state"] in _WELL, build["state"] in UNDER_WAY))
        found = found[:MAX_BUILDS]
    return sorted(found, key=lambda build: build["start_seconds"])


def _build(shard: ShardRecords, collector: str, course: Course) -> Build:
    steps = [
        BuildStep(
            time_seconds=round(step.monotonic - shard.zero, 3),
            state=step.state,
            percent=step.percent,
        )
        for step in course.steps
    ]
    if len(steps) > 1 and (steps[-2]["state"], steps[-1]["state"]) == (BUILT, "dropped"):
        steps.pop()  # whatever became of it later, its build had come to its end
    first = next(place for place, step in enumerate(steps) if step["state"] not in (BUILT, UNKNOWN))
    last = steps[-1]
    # What is built or dropped was so from that step on; whatever else, it is until it was last told of.
    over = last["state"] in _WELL
    end = last["time_seconds"] if over else round(course.last - shard.zero, 3)
    return Build(
        kind=course.kind,
        name=course.name,
        collector=collector,
        source=f"{shard.name} on {host_of(shard)}" if host_of(shard) else shard.name,
        state=last["state"],
        verdict=None if last["state"] == BUILT else course.verdict,
        start_seconds=steps[first]["time_seconds"],
        time_seconds=end,
        steps=steps[first:],
    )


def outages_of(recording: Recording) -> Iterator[Gap]:
    """Yield the stretches in which a database did not answer, once for the collectors that share it."""
    told: set[tuple[str, str]] = set()
    for shard in recording.shards:
        for results in shard.collectors.values():
            for begin, outage in results.courses.outages.items():
                reason = text(outage, "reason")
                start, end = _seconds(recording, begin), _seconds(recording, text(outage, "to"))
                if start is None or (begin, reason) in told:
                    continue
                told.add((begin, reason))
                last = results.times[-1] - shard.zero if end is None and results.times else start
                end = max(start, last if end is None else end)
                yield Gap(
                    kind=UNREACHABLE,
                    source=shard.name,
                    worker=None,
                    pid=None,
                    collector=results.name,
                    start_seconds=round(start, 3),
                    time_seconds=round(end, 3),
                    seconds=round(end - start, 3),
                    detail=outage_words(outage),
                )


def _seconds(recording: Recording, moment: str) -> float | None:
    """Return a moment of the wall clock in seconds from the run's start."""
    found = _time(moment)
    if found is None or recording.started is None:
        return None
    return found.timestamp() - recording.started


def outage_words(outage: Mapping[str, JsonValue]) -> str:
    """Return "database unreachable 12:00:03–12:00:41: why", or "since" when it has not ended; UTC.

    One that does not let us in is reached: "database refuses us since 12:00:03 UTC: why".
    """
    begin, end = _clock(text(outage, "from")), _clock(text(outage, "to"))
    when = f"{begin}–{end}" if end else f"since {begin}"
    what = "refuses us" if text(outage, "state") == "refused" else "unreachable"
    return f"database {what} {when} UTC{_because(text(outage, 'reason'))}"


def sentences(found: Mapping[str, object]) -> list[str]:
    """Return one sentence for each view and index that was not built in what collectors returned.

    ``found`` is collector name -> data, of any collectors. A database that did not answer has one, too.
    """
    told: list[str] = []
    more = 0
    for data in found.values():
        if not isinstance(data, dict) or not any(topic in data for topic in TOPICS):
            continue
        told += _of_connection(mapping(data, "connection"))
        for topic, kind in TOPICS.items():
            bad = [(name, item) for name, item in named_items(topic, data.get(topic)) if not _is_well(item)]
            told += [item_words(kind, name, item) for name, item in bad]
        left_out = mapping(data, "left_out_states")
        more += sum(int(number(left_out, state) or 0) for state in left_out if state not in _WELL)
    told = list(dict.fromkeys(told))
    more += max(0, len(told) - MAX_SENTENCES)
    rest = [f"{more:,} more views and indexes were not built"] if more else []
    return told[:MAX_SENTENCES] + rest


def item_words(kind: str, name: str, item: Mapping[str, JsonValue], *, with_rate: bool = False) -> str:
    """Return "view ks.by_email was still building on 127.0.0.2: 63 %, about 4 s to go"."""
    state = text(item, "state", UNKNOWN)
    where = nodes_words(item)
    if state in UNDER_WAY:
        progress = progress_words(item, with_rate=with_rate)
        return f"{kind} {name} was still {state}{where}{': ' if progress else ''}{progress}"
    reasons = mapping(item, "reasons")
    why = text(item, "verdict") or next((str(reason) for reason in reasons.values() if reason), "")
    return f"{kind} {name} {_verb(state)}{where}{_because(why)}"


def progress_words(item: Mapping[str, JsonValue], *, with_rate: bool = False) -> str:
    """Return "63 %, about 4 s to go", of what is known."""
    percent, eta = percent_of(item), number(item, "eta_seconds")
    parts = [] if percent is None else [f"{_whole(percent)} %"]
    rate = number(item, "rate_percent_per_second")
    if with_rate and rate is not None:
        parts.append(f"{rate:.3g} % a second")
    if eta is not None:
        parts.append(f"about {span(max(1.0, eta) if eta >= 1 else 1.0)} to go")
    return ", ".join(parts)


def nodes_words(item: Mapping[str, JsonValue]) -> str:
    """Return " on 127.0.0.2": the nodes that are behind, which have the item's own state."""
    behind = nodes_behind(item)
    shown = " and ".join(behind) if len(behind) <= MAX_NODES else f"{', '.join(behind[:MAX_NODES])}"
    more = f" and {len(behind) - MAX_NODES} more nodes" if len(behind) > MAX_NODES else ""
    return f" on {shown}{more}" if behind else ""


def nodes_behind(item: Mapping[str, JsonValue]) -> list[str]:
    """Return the addresses of the nodes in the item's own state, the least percent first."""
    state, nodes = item.get("state"), mapping(item, "nodes")
    found = [(address, node) for address, node in nodes.items() if isinstance(node, dict)]
    behind = [(address, percent_of(node)) for address, node in found if node.get("state") == state]
    behind.sort(key=lambda pair: (math.inf if pair[1] is None else pair[1], pair[0]))
    return [address for address, _ in behind]


def run_lines(builds: Iterable[Build], gaps: Iterable[Gap]) -> list[str]:
    """Return what the end of a run has to say: builds that did not end well, and outages."""
    told = []
    for build in builds:
        if build["state"] not in _WELL:
            why = _because(build["verdict"] or "")
            # "Looked at at the end" would be no English either.
            when = f" in the end{_last_known(build)}" if build["state"] == UNKNOWN else " at the end"
            told.append(f"{build['kind']} {build['name']} {_verb(build['state'])}{when}{why}")
    told += [gap["detail"] for gap in gaps if gap["kind"] == UNREACHABLE]
    return told


def _last_known(build: Build) -> str:
    """Return ", it was building before, at 7 %": how a build was when it was looked at last."""
    known = [step for step in build["steps"] if step["state"] != UNKNOWN]
    if not known:
        return ""
    state, percent = known[-1]["state"], known[-1]["percent"]
    far = "" if percent is None or state == BUILT else f", at {_whole(percent)} %"
    return f", it was {state} before{far}"


def _of_connection(connection: Mapping[str, JsonValue]) -> list[str]:
    state = text(connection, "state")
    if state == "refused":
        return [f"the database refuses us{_because(text(connection, 'reason'))}"]
    if state != UNREACHABLE:
        return []
    since = {"from": text(connection, "since"), "reason": text(connection, "reason")}
    return [outage_words(since)]


def _verb(state: str) -> str:
    return _VERBS.get(state, f"was {state}")


def _is_well(item: Mapping[str, JsonValue]) -> bool:
    return item.get("state") in _WELL


def _because(reason: str) -> str:
    return f": {reason[:300]}" if reason else ""


def _whole(percent: float) -> int:
    # What is not built is never said to be at 100 %.
    return min(99, math.floor(percent))


def _clock(moment: str) -> str:
    found = _time(moment)
    return "" if found is None else found.strftime("%H:%M:%S")


def _time(moment: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
