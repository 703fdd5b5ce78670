"""How the processes that ran tests ended, those that did not say so themselves.

A recorder in a process of its own sees it and leaves a record. Where it went down together with them, all
that can be said is where the records stop; then the ending is called inferred, and its cause unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..core.recording import Fields, Recording, ShardRecords, mapping, number, text
from .attempts import running_phase, seconds_from
from .processes import Watched, main_pid, recorders_in, watched_of, where
from .schema import Attempt, Ending
from .words import span, weight

ENDED_WITHOUT_FINISHING = "ended without finishing"
CRASHED = "crashed"
#: Signals that a process brings upon itself.
_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS", "SIGTRAP"})
_SOURCES = {
    "zombie": "the exit status in /proc/{pid}/stat, read before its parent took it",
    "pidfd": "PIDFD_GET_INFO of its pidfd",
}
_KILL_SOURCES = {"cgroup": "oom_kill of its cgroup", "machine": "oom_kill in /proc/vmstat"}


@dataclass(frozen=True)
class _Running:
    """The test in which a process ended."""

    nodeid: str
    phase: str | None
    #: Where it ran, when that was another process; how many more ran beside it.
    place: str
    seconds: float | None
    source: str


def endings_of(recording: Recording, tests: list[Attempt], *, finished: bool) -> list[Ending]:
    """Return an ending for each process that did not finish, that of the run's own process first.

    ``finished`` says that this one did. Processes that went down with it are not told apart from it.
    """
    told = dict(_told(recording))
    watched, main = watched_of(recording), ("main", main_pid(recording))
    if not finished:
        watched.setdefault(main, Watched(*main))
    for worker, pid in told:
        watched.setdefault((worker, pid), Watched(worker, pid))
    endings = []
    for key, process in watched.items():
        if process.said_its_end or (key == main and finished):
            continue
        if key in told:
            endings.append(_seen(process, *told[key], tests=tests, alone=key != main))
        elif key == main or finished:
            endings.append(_inferred(recording, process, tests, alone=key != main))
    return sorted(endings, key=lambda end: ((end["process"], end["pid"]) != main, end["time_seconds"]))


def close(attempts: list[tuple[Attempt, float]], endings: Iterable[Ending]) -> list[tuple[Attempt, float]]:
    """Return the attempts, those that a process ended in up to its end, those of a worker as crashed.

    A run goes on when a worker ends, and tells that its test failed. Of a run that ended itself, nobody
    told anything about the test.
    """
    ended = {(ending["process"], ending["pid"]): ending for ending in endings}
    closed = []
    for attempt, last in attempts:
        end, ending = last, ended.get((attempt["worker"], attempt["pid"]))
        if ending is not None and not attempt["complete"]:
            if not ending["inferred"]:
                end = max(ending["time_seconds"], attempt["start_seconds"])
                attempt["wall_seconds"] = round(end - attempt["start_seconds"], 6)
            if ending["process"] != "main":
                _crash(attempt, ending)
        closed.append((attempt, end))
    return closed


def subject(ending: Ending) -> str:
    """Return whose ending it is, as a sentence begins."""
    return "the run" if ending["process"] == "main" else f"worker {ending['process']}"


def _crash(attempt: Attempt, ending: Ending) -> None:
    for phase in attempt["phases"]:
        if phase["outcome"] == "running":
            phase["outcome"] = CRASHED
    if attempt["outcome"] == "running":
        attempt["outcome"] = CRASHED
    if attempt["failure"] is None:
        attempt["failure"] = f"worker {ending['process']} {_how(ending) or 'ended; how is not known'}"


def _how(ending: Ending) -> str:
    if ending["signal"] is not None:
        return f"was ended by {ending['signal']}"
    return f"exited with code {ending['exit_code']}" if ending["exit_code"] is not None else ""


def _told(recording: Recording) -> Iterator[tuple[tuple[str, int], tuple[ShardRecords, Fields]]]:
    for shard in recording.shards:
        for fields in shard.of_kind("event"):
            details = mapping(fields, "details")
            pid = number(details, "pid")
            if fields.get("event") == "process_ended" and pid is not None:
                yield (text(details, "worker", "main"), int(pid)), (shard, fields)


def _seen(
    process: Watched, shard: ShardRecords, fields: Fields, *, tests: list[Attempt], alone: bool
) -> Ending:
    """Return the ending that a recorder saw."""
    details = mapping(fields, "details")
    moment = seconds_from(shard, fields, "monotonic") or 0.0
    code = number(details, "exit_code")
    rss, rss_at = number(details, "last_rss_bytes"), seconds_from(shard, details, "last_rss_monotonic")
    known = text(details, "signal") or code is not None
    running = _running(tests, process, moment, alone=alone) or _running_then(shard, details, moment)
    ending = _blank(process, moment, running)
    ending["signal"] = text(details, "signal") or None
    ending["exit_code"] = None if code is None or ending["signal"] else int(code)
    ending["unknown"] = None if known else text(details, "unknown") or "the recorder does not say why"
    ending["last_rss_bytes"] = None if rss is None else int(rss)
    ending["last_rss_age_seconds"] = None if rss is None or rss_at is None else round(moment - rss_at, 6)
    ending["oom_kills"] = _kills(details)
    ending["evidence"] = list(_evidence(ending, running, text(details, "source"), shard))
    ending["sentence"] = _sentence(ending, _place(running, tests), least=False)
    return ending


def _inferred(recording: Recording, process: Watched, tests: list[Attempt], *, alone: bool) -> Ending:
    """Return what the last signs of life tell."""
    recorders = recorders_in(recording)
    own = [*process.shards, *(recorders if not alone else ())]
    moment = max((last for shard in own if (last := _last(shard)) is not None), default=0.0)
    running = _running(tests, process, moment, alone=alone)
    ending = _blank(process, moment, running)
    ending["inferred"] = True
    ending["unknown"] = _silence(process, recorders)
    for shard in recorders if not alone else process.shards:
        results = shard.collectors.get("process")
        column = results.columns.get("process.rss_bytes") if results is not None else None
        if column is not None and column.values:
            ending["last_rss_bytes"] = int(column.values[-1])
            at = span(column.times[-1] - shard.zero)
            ending["evidence"].append(f"RSS: the last sample in shard {shard.name}, {at} into the run")
    for shard in own:
        last = _last(shard)
        if last is not None and not shard.of_kind("end"):
            ending["evidence"].append(
                f"shard {shard.name} has no end record; its last record is of {span(last)} into the run"
            )
    if running is not None:
        ending["evidence"].append(f"the test: {running.source}")
    ending["sentence"] = _sentence(ending, _place(running, tests), least=True)
    return ending


def _silence(process: Watched, recorders: list[ShardRecords]) -> str:
    """Return what became of whatever could have seen an ending."""
    for shard in recorders[:1]:
        if shard.of_kind("end"):
            return "its recorder had ended before"
        last = max(
            (results.times[-1] for results in shard.collectors.values() if results.times), default=None
        )
        sampled = (
            f", after its last sample {span(last - shard.zero)} into the run" if last is not None else ""
        )
        return f"nothing was left to see it, its recorder stopped at the same time{sampled}"
    for shard in process.shards:
        if text(mapping(shard.header, "recorder"), "kind") == "thread":
            return "nothing was left to see it, its recorder was a thread of it"
    return "no recorder watched it"


def _blank(process: Watched, moment: float, running: _Running | None) -> Ending:
    return Ending(
        process=process.worker,
        pid=process.pid,
        time_seconds=moment,
        inferred=False,
        signal=None,
        exit_code=None,
        unknown=None,
        sentence="",
        nodeid=running.nodeid if running is not None else None,
        phase=running.phase if running is not None else None,
        running_seconds=running.seconds if running is not None else None,
        last_rss_bytes=None,
        last_rss_age_seconds=None,
        oom_kills={},
        evidence=[],
    )


def _running(tests: list[Attempt], process: Watched, moment: float, *, alone: bool) -> _Running | None:
    """Return the test in which a process ended; of one that hands them out, the longest in its workers."""
    found = [test for test in tests if not test["complete"]]
    own = [test for test in found if (test["worker"], test["pid"]) == (process.worker, process.pid)]
    if not own and alone:
        return None
    # A process runs one test at a time: an earlier one lost its end otherwise.
    chosen = own[-1:] or sorted(found, key=lambda test: test["start_seconds"])[:1]
    for test in chosen:
        elsewhere = "" if own else f" on {test['worker']}"
        more = "" if own or len(found) == 1 else f" and {len(found) - 1} more beside it"
        return _Running(
            nodeid=test["nodeid"],
            phase=running_phase(test),
            place=elsewhere + more,
            seconds=round(max(0.0, moment - test["start_seconds"]), 6),
            source="it began and has no end in its process' shard",
        )
    return None


def _running_then(shard: ShardRecords, details: Fields, moment: float) -> _Running | None:
    """Return the test that the recorder had seen begin, should its own process' shard be lost."""
    told = details.get("running")
    for entry in told if isinstance(told, list) else []:
        if isinstance(entry, dict) and text(entry, "nodeid"):
            began = seconds_from(shard, entry, "started_monotonic")
            return _Running(
                nodeid=text(entry, "nodeid"),
                phase=None,
                place="",
                seconds=None if began is None else round(max(0.0, moment - began), 6),
                source=f"the recorder had seen it begin (shard {shard.name})",
            )
    return None


def _place(running: _Running | None, tests: list[Attempt]) -> str:
    if running is None:
        return "before any test" if not tests else "while no test ran"
    phase = f"the {running.phase} of " if running.phase is not None else ""
    return f"in {phase}{running.nodeid}{running.place}"


def _sentence(ending: Ending, place: str, *, least: bool) -> str:
    seconds = ending["running_seconds"]
    if seconds is not None:
        place += f" after {'at least ' if least else ''}{span(seconds)}"
    facts = [place, *_memory(ending)]
    how = _cause(ending)
    if how:
        return f"{ENDED_WITHOUT_FINISHING}: {how} {', '.join(facts)}"
    return f"{ENDED_WITHOUT_FINISHING}, {', '.join(facts)}; how is not known: {ending['unknown']}"


def _cause(ending: Ending) -> str:
    """Return how a process ended, in one word where it has one; never more than the evidence says."""
    signal = ending["signal"]
    if signal is None:
        return "" if ending["exit_code"] is None else f"exited with code {ending['exit_code']}"
    if signal == "SIGKILL":
        lacking = " for lack of memory" if _rise(ending, "cgroup") > 0 else ""
        return f"killed{lacking} ({signal})"
    return f"crashed ({signal})" if signal in _CRASHES else f"ended by {signal}"


def _memory(ending: Ending) -> Iterator[str]:
    size, age = ending["last_rss_bytes"], ending["last_rss_age_seconds"]
    if size is not None:
        yield f"RSS {weight(size)} {'in the last sample' if age is None else f'{span(age)} before'}"
    for key, place in (("cgroup", "in its cgroup"), ("machine", "on the machine")):
        if _rise(ending, key) > 0:
            yield f"oom_kill +{_rise(ending, key)} {place}"
            return  # a kill in the cgroup is one on the machine as well


def _rise(ending: Ending, key: str) -> int:
    kills = ending["oom_kills"].get(key)
    return kills[1] - kills[0] if kills is not None else 0


def _kills(details: Fields) -> dict[str, list[int]]:
    found = {}
    for key, counts in mapping(details, "oom_kills").items():
        if key not in _KILL_SOURCES or not isinstance(counts, list) or len(counts) != 2:
            continue
        whole = [count for count in counts if isinstance(count, int) and not isinstance(count, bool)]
        if len(whole) == 2:
            found[key] = whole
    return found


def _evidence(ending: Ending, running: _Running | None, source: str, shard: ShardRecords) -> Iterator[str]:
    """Yield what each figure of an ending was read from."""
    told = ending["signal"] or (f"exit code {ending['exit_code']}" if ending["exit_code"] is not None else "")
    if told:
        read = _SOURCES.get(source, f"told by the recorder ({where(shard)})").format(pid=ending["pid"])
        yield f"{told}: {read}"
    if running is not None:
        yield f"the test: {running.source}"
    if ending["last_rss_bytes"] is not None:
        yield f"RSS: /proc/{ending['pid']}/stat, as last read by the recorder (shard {shard.name})"
    for key, counts in ending["oom_kills"].items():
        yield f"{_KILL_SOURCES[key]}: {counts[0]} before, {counts[1]} after"


def _last(shard: ShardRecords) -> float | None:
    """Return the moment of a shard's last record, seconds from the run's start."""
    moments = [
        moment
        for fields in shard.records[-9:]  # the odd one has no moment
        for key in ("end", "monotonic")
        if (moment := number(fields, key)) is not None
    ]
    moments += [results.times[-1] for results in shard.collectors.values() if results.times]
    return round(max(moments) - shard.zero, 6) if moments else None
