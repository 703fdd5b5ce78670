"""Whose build a task is: the server says the table, not the index. Pure but for its memory.

New indexes of a node are built one after another, in the order of their creation; a storage-attached index
has several tasks at a time, one for a group of sstables. SASI's builds run beside them, and are told apart
from 5.0 on, where their tasks alone name a directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .index_rows import Facts, Index, Name, Task
from .index_verdicts import IndexOnNode

Owned = tuple[dict[Name, list[Task]], set[Name]]


class Owners:
    """The tasks of one node, from look to look: whose a task is does not change while it runs."""

    def __init__(self) -> None:
        """Begin without knowing any task."""
        #: Task -> its index; None when it may be of several.
        self._owners: dict[str, Name | None] = {}

    def find(
        self, facts: Facts, by_table: Mapping[Name, Sequence[Index]], known: Mapping[Name, IndexOnNode]
    ) -> Owned:
        """Return the tasks of each index, and the indexes of which one, it is not known which, has a task."""
        owned: dict[Name, list[Task]] = {}
        shared: set[Name] = set()
        running = facts.tasks or {}
        ids = {task.id for tasks in running.values() for task in tasks}
        self._owners = {task: owner for task, owner in self._owners.items() if task in ids}
        for table, tasks in running.items():
            for task in tasks:
                of_table = by_table.get(table, ())
                candidates = _candidates(facts, of_table, task, known)
                owner = self._owners.get(task.id) or self._choose(candidates, of_table, facts, known)
                self._owners[task.id] = owner
                if owner is not None:
                    owned.setdefault(owner, []).append(task)
                else:
                    shared.update(candidates)
        return owned, shared - owned.keys()

    def _choose(
        self,
        candidates: Sequence[Name],
        of_table: Iterable[Index],
        facts: Facts,
        known: Mapping[Name, IndexOnNode],
    ) -> Name | None:
        """Return the one index that a task can be of; None when there are several, or none."""
        if len(candidates) < 2:
            return next(iter(candidates), None)
        owners = set(self._owners.values())
        if any(
            (index.keyspace, index.name) in owners and index.kind == "storage-attached" for index in of_table
        ):
            return None  # it may be one more of its, or the first of the next index
        left = [name for name in candidates if name not in owners]
        failed = [name for name in left if known[name].is_failed]
        if facts.is_managing:
            left = [name for name in left if name not in failed]
        elif facts.is_managing is False and failed:
            left = failed
        if len(left) < 2:
            return next(iter(left), None)
        since = [(known[name].unlisted_since or facts.moment, name) for name in left]
        since.sort()
        return since[0][1] if since[0][0] < since[1][0] else None


def _candidates(
    facts: Facts, of_table: Iterable[Index], task: Task, known: Mapping[Name, IndexOnNode]
) -> list[Name]:
    """Return the indexes of its table that a task can be of, by what is not built yet."""
    others: list[Name] = []
    sasi: list[Name] = []
    settled: list[Name] = []
    listed = facts.listed or set()
    for index in of_table:
        name = index.keyspace, index.name
        if index.kind == "sasi":
            (settled if known[name].is_settled and name in listed else sasi).append(name)
        elif index.kind == "storage-attached" and facts.flags is not None:
            if facts.flags.get(name, (False, False))[0]:
                others.append(name)
        elif name not in listed:
            others.append(name)
    if task.has_directory:
        return sasi or settled
    if task.has_directory is None:
        return [*others, *sasi] or settled
    return others
