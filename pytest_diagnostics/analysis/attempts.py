"""Attempts at tests, joined from the records that their processes wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from ..core.figures import ADDITIVE, KEYS, PEAK, POINT, total
from ..core.model import JsonValue
from ..core.recording import Fields, Recording, ShardRecords, mapping, number, text, whole
from .schema import Attempt, Collection, Limit, Phase, Stretch, Subtest, Usage

#: worker, pid, nodeid, occurrence, attempt
Identity = tuple[str, int, str, int, int]

MAX_FAILURE = 2000
#: The outcome of a phase that an interruption left without a report.
INTERRUPTED = "interrupted"
_ORDER = ("setup", "call", "teardown")
_EXTRAS = frozenset({"failure", "limits", "subtests"})
#: Records that need the attempt they belong to.
_LATER = frozenset({"stretch", "collection"})
_NUMBERS = frozenset({int, float})
_SECONDS = tuple(key for key in KEYS if key.endswith("_seconds"))


def seconds_from(shard: ShardRecords, fields: Fields, key: str) -> float | None:
    """Return a moment of a record in seconds from the run's start, rounded to microseconds."""
    moment = number(fields, key)
    return None if moment is None else round(moment - shard.zero, 6)


def usage_of(fields: Fields) -> Usage:
    """Return the figures of a record; whatever is no number is left out."""
    figures = mapping(fields, "usage")
    if not _NUMBERS.issuperset(map(type, figures.values())) or not _is_finite(figures):
        # A recording may come from anywhere; of a run of 20,000 tests this is not worth a copy each.
        figures = {name: figures[name] for name in figures if number(figures, name) is not None}
    for key in _SECONDS:
        value = figures.get(key)
        if value:
            # A test cannot tell less than a microsecond; digits beyond would be half of a summary's size.
            figures[key] = round(cast("float", value), 6)
    return cast("Usage", figures)


def _is_finite(figures: Mapping[str, JsonValue]) -> bool:
    try:
        return math.isfinite(sum(cast("Mapping[str, float]", figures).values()))
    except OverflowError:  # of an integer that is no float
        return False


@dataclass
class _Draft:
    """What is known of one attempt while its records are read."""

    identity: Identity
    order: int
    begun: float | None = None
    #: The last moment known, seconds from the run's start: wall times may leave out what was not the test's.
    ended: float = -math.inf
    phases: dict[str, Phase] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    subtests: list[Subtest] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    collections: list[Collection] = field(default_factory=list)


def identity_of(fields: Fields) -> Identity:
    """Return what a record says about the attempt it belongs to."""
    get = fields.get
    worker, pid, nodeid, occurrence, attempt = (
        get("worker"),
        get("pid"),
        get("nodeid"),
        get("occurrence"),
        get("attempt"),
    )
    if type(pid) is type(occurrence) is type(attempt) is int and type(worker) is type(nodeid) is str:
        # As our own shards have it, four times a test.
        return worker, pid, nodeid, occurrence, attempt if attempt > 0 else 1
    return (
        text(fields, "worker", "main"),
        whole(fields, "pid"),
        text(fields, "nodeid"),
        whole(fields, "occurrence"),
        max(1, whole(fields, "attempt")),
    )


def attempts_of(recording: Recording) -> list[tuple[Attempt, float]]:
    """Return all attempts in the order in which they began, without their samples, and when each ended.

    The end of one that did not end is infinite: whatever was sampled from its beginning on is its own.
    """
    drafts: dict[Identity, _Draft] = {}
    later: list[tuple[ShardRecords, Fields]] = []
    for shard in recording.shards:
        for fields in shard.records:
            kind = fields.get("kind")
            if kind in _LATER or (kind == "phase" and fields.get("amends") is True):
                later.append((shard, fields))
            if kind != "phase" and kind != "test":
                continue
            identity = identity_of(fields)
            draft = drafts.get(identity)
            if draft is None:
                draft = drafts[identity] = _Draft(identity, len(drafts))
            if kind == "test":
                draft.begun = seconds_from(shard, fields, "monotonic")
            elif fields.get("amends") is not True:
                _add_phase(draft, shard, fields)
    # Whoever amends may write to another shard than the test's own, which is read earlier or later.
    for shard, fields in later:
        found = drafts.get(identity_of(fields))
        if found is None:
            continue
        kind = fields.get("kind")
        if kind == "stretch":
            _add_stretch(found, shard, fields)
        elif kind == "collection":
            _add_collection(found, shard, fields)
        else:
            _amend(found, fields)
    attempts = [(_finished(draft), draft) for draft in drafts.values()]
    attempts.sort(key=lambda pair: (pair[0]["start_seconds"], pair[1].order))
    return [(attempt, draft.ended if attempt["complete"] else math.inf) for attempt, draft in attempts]


def running_phase(attempt: Attempt) -> str | None:
    """Return the phase in which the run ended, None for a complete attempt."""
    for phase in attempt["phases"]:
        if phase["wall_seconds"] is None or phase["outcome"] == INTERRUPTED:
            return phase["when"]
    return None


def _add_phase(draft: _Draft, shard: ShardRecords, fields: Fields) -> None:
    when = text(fields, "when")
    if when not in _ORDER:
        return
    start, end = seconds_from(shard, fields, "start"), seconds_from(shard, fields, "end")
    draft.ended = max(draft.ended, end if end is not None else start or 0.0)
    usage = usage_of(fields)
    wall = usage.get("wall_seconds")
    if wall is None:
        wall = end - start if start is not None and end is not None else 0.0
    draft.phases[when] = Phase(
        when=when,
        outcome=text(fields, "outcome", "passed"),
        start_seconds=start if start is not None else draft.begun or 0.0,
        wall_seconds=round(wall, 6),
        usage=usage,
        absent={key: str(reason) for key, reason in mapping(fields, "absent").items()},
    )
    if not _EXTRAS.isdisjoint(fields):
        _add_extras(draft, when, fields)


def _add_extras(draft: _Draft, when: str, fields: Fields) -> None:
    failure = text(fields, "failure")
    if failure:
        draft.failures[when] = failure[:MAX_FAILURE]
    limits = _limits(fields.get("limits"))
    if limits:
        draft.limits = limits
    subtests = fields.get("subtests")
    for subtest in subtests if isinstance(subtests, list) else []:
        if isinstance(subtest, dict):
            draft.subtests.append(Subtest(name=text(subtest, "name"), outcome=text(subtest, "outcome")))


def _limits(value: JsonValue) -> list[Limit]:
    return [
        Limit(
            name=text(limit, "name"),
            limit=number(limit, "limit") or 0.0,
            value=number(limit, "value"),
            unit=text(limit, "unit"),
            state=text(limit, "state", "not checked"),
            detail=text(limit, "detail"),
        )
        for limit in (value if isinstance(value, list) else [])
        if isinstance(limit, dict)
    ]


def _amend(draft: _Draft, fields: Fields) -> None:
    """Change the outcome of a phase; one that was never finished, by a crash, gets one at last."""
    when = text(fields, "when")
    if when in draft.phases:
        draft.phases[when]["outcome"] = text(fields, "outcome", draft.phases[when]["outcome"])
    elif when in _ORDER:
        draft.phases[when] = Phase(
            when=when,
            outcome=text(fields, "outcome", "running"),
            start_seconds=_reached(draft),
            wall_seconds=None,
            usage={},
            absent={},
        )
    _add_extras(draft, when, fields)


def _add_stretch(draft: _Draft, shard: ShardRecords, fields: Fields) -> None:
    start, end = seconds_from(shard, fields, "start"), seconds_from(shard, fields, "end")
    if start is not None and end is not None:
        draft.stretches.append(
            Stretch(
                name=text(fields, "name"),
                start_seconds=start,
                wall_seconds=round(end - start, 6),
                usage=usage_of(fields),
            )
        )


def _add_collection(draft: _Draft, shard: ShardRecords, fields: Fields) -> None:
    draft.collections.append(
        Collection(
            reason=text(fields, "reason"),
            time_seconds=seconds_from(shard, fields, "monotonic") or 0.0,
            data=dict(mapping(fields, "data")),
            errors={key: str(reason) for key, reason in mapping(fields, "errors").items()},
        )
    )


def _reached(draft: _Draft) -> float:
    """Return the last moment known of an attempt."""
    return max(draft.ended, draft.begun or 0.0)


def _finished(draft: _Draft) -> Attempt:
    complete = "teardown" in draft.phases and draft.phases["teardown"]["wall_seconds"] is not None
    open_ones = [
        phase
        for phase in draft.phases.values()
        if phase["wall_seconds"] is None or phase["outcome"] == INTERRUPTED
    ]
    if not complete and not open_ones:
        when = _next_phase(draft)
        draft.phases[when] = Phase(
            when=when,
            outcome="running",
            start_seconds=_reached(draft),
            wall_seconds=None,
            usage={},
            absent={},
        )
    phases = [draft.phases[when] for when in _ORDER if when in draft.phases]
    walls = [phase["wall_seconds"] for phase in phases if phase["wall_seconds"] is not None]
    starts = [phase["start_seconds"] for phase in phases]
    worker, pid, nodeid, occurrence, attempt = draft.identity
    return Attempt(
        nodeid=nodeid,
        occurrence=occurrence,
        attempt=attempt,
        worker=worker,
        pid=pid,
        outcome=_outcome({phase["when"]: phase["outcome"] for phase in phases}, complete=complete),
        complete=complete,
        start_seconds=min([*starts, draft.begun]) if draft.begun is not None else min(starts),
        wall_seconds=round(sum(walls), 6) if complete else None,
        phases=phases,
        usage=_together([phase["usage"] for phase in phases if phase["usage"]]),
        samples={},
        failure=next((draft.failures[when] for when in _ORDER if when in draft.failures), None),
        subtests=draft.subtests,
        limits=draft.limits,
        stretches=draft.stretches,
        collections=draft.collections,
        stalls=[],
    )


def _together(usages: list[Usage]) -> Usage:
    """Return what ``total`` does, in less time for the three phases that most attempts have."""
    if len(usages) != 3 or any(len(usage) != len(KEYS) for usage in usages):
        return total(usages)
    first, second, third = cast("list[dict[str, float]]", usages)
    try:
        together = {key: first[key] + second[key] + third[key] for key in ADDITIVE}
        together |= {key: third[key] for key in POINT}
        together |= {key: max(first[key], second[key], third[key]) for key in PEAK}
        return cast("Usage", together)
    except KeyError:  # as many keys, but others
        return total(usages)


def _next_phase(draft: _Draft) -> str:
    setup = draft.phases.get("setup")
    if setup is None:
        return "call" if "call" in draft.phases else "setup"
    return "call" if setup["outcome"] == "passed" and "call" not in draft.phases else "teardown"


def _outcome(outcomes: dict[str, str], *, complete: bool) -> str:
    """Return what a person calls the outcome; what is known before a run's end in the midst of it stays."""
    if "rerun" in outcomes.values():
        return "rerun"
    if outcomes.get("setup") == "failed":
        return "error"
    if outcomes.get("call") == "failed":
        return "failed"
    if outcomes.get("teardown") == "failed":
        return "error"
    if not complete:
        return next((outcome for outcome in outcomes.values() if outcome == "crashed"), "running")
    for outcome in (outcomes.get("setup"), outcomes.get("call")):
        if outcome not in (None, "passed"):
            return str(outcome)
    return "passed"
