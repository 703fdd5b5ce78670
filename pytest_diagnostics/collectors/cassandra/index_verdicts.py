"""In which state an index is on one node, whatever the server's tables say about it. Pure but for its memory.

What was seen of Cassandra 4.0.18, 4.1.10, 5.0.8 and 6.0-alpha2, and decides here:

- A build removes the index from ``IndexInfo`` and puts it back at its end. One that was stopped or failed is
  not put back, has no task, and its executor is idle; gossip goes on saying FULL_REBUILD_STARTED.
- SASI is listed in ``IndexInfo``, and BUILD_SUCCEEDED in gossip, from the first moment on.
- A storage-attached index whose build was stopped is neither building nor queryable.
- New indexes of a node are built one after another; all but the first have no task yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .index_rows import Facts, Index, Task
from .progress import Progress
from .states import State

#: Looks without any work on it, so many seconds apart, after which a build that did not end has failed. With
#: nodetool rebuild_index, half a second passed between the row's removal and the task.
IDLE_LOOKS = 2
IDLE_SECONDS = 0.8
#: The same for a rebuild that may have come to its end: before that is noted, its tables are flushed, and
#: nobody can be seen at it.
FLUSH_SECONDS = 5.0
#: A task that did not move for so long is stuck; it is far above what a large partition takes.
STUCK_SECONDS = 300.0
#: How long a node's state may be another one than gossip's, which is told once a second.
GOSSIP_SECONDS = 15.0

#: A task that is gone has not come to its end if it would have had to go more than so many times as fast as
#: before.
HURRY = 3.0

#: The server's own sentence (SecondaryIndexManager), and what it asks for.
FAILED_SENTENCE = "Index build of {0} failed. Please run full index rebuild to fix it."
REBUILD = "nodetool rebuild_index {1} {2} {0}"

SEVERAL = "several indexes of {0} wait for their build, and the server does not say whose task runs"


@dataclass
class Verdict:
    """An index on one node, as it is told."""

    state: State
    percent: float | None = None
    is_queryable: bool | None = None
    #: Whether a build task of it runs; None: its table has one, which may be another index'.
    is_running: bool | None = None
    verdict: str | None = None
    reasons: dict[str, str] = field(default_factory=dict)


class IndexOnNode:
    """One index on one node, from look to look."""

    def __init__(self) -> None:
        """Begin without knowing anything."""
        self._progress = Progress()
        #: The tasks of the present build: done and total.
        self._tasks: dict[str, tuple[int, int]] = {}
        #: How far its build was when it was last seen under way, percent.
        self._last_percent: float | None = None
        self._last_at = 0.0
        #: How many new indexes the node was through with when its last task was seen.
        self._managed = 0
        self._begun_at: float | None = None
        #: A task of its own was seen, and its end was not.
        self._is_building = False
        #: When it was first seen not to be listed, CLOCK_MONOTONIC; None while it is.
        self.unlisted_since: float | None = None
        self.is_failed = False
        self._was_clear = False
        self._idle_looks = 0
        self._idle_since = 0.0
        self._disputed_since: float | None = None
        #: Why it may not be what it says since its last build; None when there is no doubt.
        self._doubt: str | None = None
        #: Seen listed, without a task that could be its own: a later task of its table may be another's.
        self.is_settled = False

    def is_calm(self, index: Index, facts: Facts, gossip: str | None) -> bool:
        """Return whether it was built at the last look, without a doubt, and every table says so still."""
        name = index.keyspace, index.name
        return (
            self._was_clear
            and facts.listed is not None
            and name in facts.listed
            and facts.schema is not None
            and name in facts.schema
            and facts.tasks is not None
            and (index.keyspace, index.table) not in facts.tasks
            and gossip in (None, "UNKNOWN", "BUILD_SUCCEEDED")
            and (index.kind != "storage-attached" or (facts.flags or {}).get(name) == (False, True))
        )

    def look(
        self, index: Index, facts: Facts, tasks: Sequence[Task], gossip: str | None, *, shared: bool
    ) -> Verdict:
        """Return its state; ``tasks`` are its own, ``shared`` is whether some may be its or another's."""
        if not facts.is_up:
            return _unread("the node is down", facts)
        percent = self._advance(facts, tasks)
        # A new index' build is none of one that has failed.
        shared = shared and not (self.is_failed and facts.is_managing)
        if tasks or shared or (facts.is_busy and not self._is_overtaken(facts)):
            self._idle_looks = 0
        found = self._state(index, facts, bool(tasks or shared))
        found.is_running = True if tasks else None if shared or facts.tasks is None else False
        self._remember(found, index, percent, facts.moment)
        self.is_failed = found.state is State.FAILED
        if facts.listed is not None:
            is_listed = (index.keyspace, index.name) in facts.listed
            since = facts.moment if self.unlisted_since is None else self.unlisted_since
            self.unlisted_since = None if is_listed else since
        if found.state is State.BUILDING and percent is None:
            several = SEVERAL.format(f"{index.keyspace}.{index.table}")
            found.reasons["percent"] = several if shared else "no build task of it was seen yet"
        self._compare(found, gossip, facts.moment)
        self._was_clear = found.state is State.BUILT and found.verdict is None and not self._disputed_since
        for what, why in facts.reasons.items():
            if what in ("schema", "tasks", "threads", "listed_as_built", "coverage"):
                found.reasons.setdefault(what, why)
        return found

    # -- the kinds

    def _state(self, index: Index, facts: Facts, has_task: bool) -> Verdict:
        name = index.keyspace, index.name
        if facts.schema is not None and name not in facts.schema:
            return Verdict(State.PENDING, verdict="this node's schema does not have it")
        listed = None if facts.listed is None else name in facts.listed
        if index.kind == "storage-attached" and facts.flags is not None:
            if name in facts.flags:
                return self._storage_attached(index, facts, facts.flags[name], has_task)
            if listed:
                told = "it is listed as built, but the node does not know it as a storage-attached index"
                return Verdict(State.INCONSISTENT, verdict=told)
            told = "this node has the schema, and has not made the index yet"
            return Verdict(State.PENDING, is_queryable=False, verdict=told)
        if listed is None:
            return _unread("whether it is built could not be read", facts)
        if not listed:
            return self._unlisted(index, facts, has_task)
        if index.kind == "sasi" and has_task and not self.is_settled:
            told = "it is listed as built, but its build still runs: what it answers is incomplete"
            return Verdict(State.BUILDING, verdict=told)
        return Verdict(State.BUILT, is_queryable=True)

    def _unlisted(self, index: Index, facts: Facts, has_task: bool) -> Verdict:
        if has_task:
            return Verdict(State.BUILDING)
        if facts.tasks is None or facts.is_busy is None or facts.schema is None:
            return _unread(
                "it is not listed as built, and whether it is being built could not be read", facts
            )
        if self.is_failed:
            return _failed(index)
        if facts.is_busy and not self._is_overtaken(facts):
            # Between its task and the note that it is built, or in the queue.
            return Verdict(State.BUILDING if self._is_building else State.PENDING)
        may_end = self._is_building and not self._is_overtaken(facts)
        since = self._idle_since if self._idle_looks else facts.moment
        return self._idle(
            index, facts, FLUSH_SECONDS if may_end and self._may_have_ended(since) else IDLE_SECONDS
        )

    def _is_overtaken(self, facts: Facts) -> bool:
        """Return whether the thread that builds new indexes has gone on since a task of this one was seen.

        It does so after it has noted an index as built: one that it left, and that is not listed, has failed.
        """
        return self._is_building and (facts.managed or 0) > self._managed

    def _storage_attached(
        self, index: Index, facts: Facts, flags: tuple[bool, bool], has_task: bool
    ) -> Verdict:
        is_building, is_queryable = flags
        is_idle = not has_task and facts.tasks is not None and facts.is_busy is False
        if is_building and (is_queryable or not is_idle):
            waits = not (has_task or is_queryable or self._is_building)
            found = Verdict(State.PENDING if waits else State.BUILDING)
        elif is_queryable:
            found = Verdict(State.BUILT)
        else:
            found = self._idle(index, facts)
        found.is_queryable = is_queryable
        return found

    def _idle(self, index: Index, facts: Facts, seconds: float = IDLE_SECONDS) -> Verdict:
        """Nobody works on it, and it is not built: just about to begin or to end, or given up."""
        if not self._idle_looks:
            self._idle_since = facts.moment
        self._idle_looks += 1
        if self._idle_looks >= IDLE_LOOKS and facts.moment - self._idle_since >= seconds:
            return _failed(index)
        return Verdict(State.BUILDING if self._is_building else State.PENDING)

    # -- the memory

    def _advance(self, facts: Facts, tasks: Sequence[Task]) -> float | None:
        """Return how far the present build is, percent."""
        moment = facts.moment
        if tasks or (facts.is_busy and not self._is_overtaken(facts)):
            # While its build goes on, a task that is gone has done its part.
            for name, (_, total) in self._tasks.items():
                self._tasks[name] = (total, total)
        self._tasks.update({task.id: (task.done, task.total) for task in tasks})
        total = sum(total for _, total in self._tasks.values())
        done = sum(min(done, total) for done, total in self._tasks.values())
        # Its last step, to be noted as built, is still to come.
        percent = self._progress.add(moment, min(99.9, 100.0 * done / total) if total else None)
        if tasks:
            self._last_percent, self._last_at = percent, moment
            self._managed = self._managed if facts.managed is None else facts.managed
            self._begun_at = moment if self._begun_at is None else self._begun_at
        return percent

    def _remember(self, found: Verdict, index: Index, percent: float | None, moment: float) -> None:
        """Give the state its percentage, and note what the next look needs."""
        if found.state is State.PENDING:
            found.percent = 0.0
        elif found.state is State.BUILDING:
            self._is_building = self._is_building or found.is_running is True
            self.is_settled, self._doubt = False, None
            found.percent = percent
            changed_at = self._progress.changed_at
            if found.is_running and changed_at is not None and moment - changed_at >= STUCK_SECONDS:
                found.state = State.STUCK
                found.verdict = f"its build task has not moved for {moment - changed_at:.0f} s"
        elif found.state in (State.BUILT, State.FAILED):
            if found.state is State.FAILED:
                found.percent = self._last_percent
            else:
                found.percent = 100.0
                self._settle(index, moment, has_no_task=found.is_running is False)
                found.verdict = self._doubt
            self._is_building, self._begun_at = False, None
            self._tasks.clear()
            self._progress.forget()

    def _settle(self, index: Index, moment: float, *, has_no_task: bool) -> None:
        """Note that it is built; of SASI's word for it there may be a doubt."""
        last = self._last_percent
        if index.kind == "sasi" and last is not None and not self._may_have_ended(moment):
            self._doubt = (
                f"its build was last seen at {last:.0f} %, too far from its end to have come there by"
                " now: SASI lists an index as built even when its build was stopped"
            )
        self._last_percent = None
        self.is_settled = self.is_settled or has_no_task

    def _may_have_ended(self, moment: float) -> bool:
        """Return whether its tasks, at the speed that they had, can have come to their end by then."""
        last, begun_at = self._last_percent, self._begun_at
        if last is None or begun_at is None:
            return True
        rate = last / max(self._last_at - begun_at, moment - self._last_at, 0.001)
        return last + HURRY * rate * (moment - self._last_at) >= 100.0

    def _compare(self, found: Verdict, gossip: str | None, moment: float) -> None:
        """Check what gossip says of this node: the others ask it, or do not, by that."""
        agrees = gossip in (None, "UNKNOWN", "BUILD_SUCCEEDED" if found.state is State.BUILT else gossip)
        if found.state is State.FAILED and gossip == "FULL_REBUILD_STARTED":
            found.reasons["gossip"] = "it goes on saying FULL_REBUILD_STARTED of a build that was given up"
        if agrees:
            self._disputed_since = None
            return
        if self._disputed_since is None:
            self._disputed_since = moment
        if moment - self._disputed_since >= GOSSIP_SECONDS:
            found.state = State.INCONSISTENT
            found.verdict = f"it is built on this node, but gossip says {gossip}"


def _failed(index: Index) -> Verdict:
    names = index.name, index.keyspace, index.table
    return Verdict(State.FAILED, verdict=f"{FAILED_SENTENCE.format(*names)} ({REBUILD.format(*names)})")


def _unread(why: str, facts: Facts) -> Verdict:
    """Return that nobody knows, and why."""
    return Verdict(State.UNKNOWN, verdict=why, reasons={"state": why, **facts.reasons})
