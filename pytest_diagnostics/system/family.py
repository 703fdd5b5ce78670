"""A process and its descendants at one moment, and whose they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..core.model import JsonValue
from .parsers import ProcessStat
from .tree import parents


class Seen(NamedTuple):
    """One process at one tick. A pid alone is no identity: numbers are given out again."""

    pid: int
    stat: ProcessStat
    cpu_seconds: float

    @property
    def identity(self) -> str:
        return f"{self.pid} {self.stat.start_ticks}"


def descendants(pid: int, proc: str) -> list[int]:
    """Return all descendants: some ten microseconds for every process of the machine.

    The way of kernels without CONFIG_PROC_CHILDREN.
    """
    children = parents(proc)
    found: list[int] = []
    level = children.get(pid, [])
    while level:
        found += level
        level = [child for parent in level for child in children.get(parent, [])]
    return found


def of_workers(
    workers: Mapping[str, int],
    family: list[Seen],
    percent: Callable[[list[Seen]], float | None],
    page: int,
) -> dict[str, JsonValue]:
    """Return the figures of each worker and its descendants; one that is not there is left out.

    So is one that has ended, but was not waited for: it holds no memory any more.
    """
    names = {pid: name for name, pid in workers.items()}
    parents = {member.pid: member.stat.ppid for member in family}
    members: dict[str, list[Seen]] = {}
    for member in family:
        pid, met = member.pid, set[int]()
        while pid not in names and pid in parents and pid not in met:
            met.add(pid)  # numbers given out again during the walk could lead in a circle
            pid = parents[pid]
        if pid in names and pid in parents:
            members.setdefault(names[pid], []).append(member)
    return {
        name: {
            "pid": workers[name],
            "rss_bytes": sum(member.stat.rss_pages for member in found) * page,
            "cpu_percent": percent(found),
            "threads": sum(member.stat.threads for member in found),
            "processes": len(found),
        }
        for name, found in members.items()
        if any(member.pid == workers[name] and member.stat.rss_pages for member in found)
    }
