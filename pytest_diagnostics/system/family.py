"""A process and its descendants at one moment, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.model import JsonValue
from .parsers import ProcessStat
from .sampling import FIRST, Rates
from .tree import parents


class Seen:
    """One process at one tick. A pid alone is no identity: numbers are given out again."""

    __slots__ = ("cpu_seconds", "identity", "pid", "stat")

    def __init__(self, pid: int, stat: ProcessStat, cpu_seconds: float) -> None:
        self.pid = pid
        self.stat = stat
        self.cpu_seconds = cpu_seconds
        self.identity = f"{pid} {stat.start_ticks}"


class Shares:
    """The CPU that members of a family used since the last tick, in percent of what they may use."""

    __slots__ = ("_cores", "_elapsed", "_grown", "reason")

    def __init__(self, rates: Rates, now: float, family: list[Seen], cores: float | None) -> None:
        """``rates`` holds what the members had used at the last tick."""
        self._grown, self._elapsed, self.reason = rates.differences(
            now, {member.identity: member.cpu_seconds for member in family}
        )
        self._cores = cores or 0.0
        if not cores and self.reason is None:
            self.reason = "the number of CPUs is not known"

    @property
    def why(self) -> str:
        """Why there is no figure where there is none."""
        return self.reason or FIRST

    def of(self, members: list[Seen]) -> float | None:
        """Return the share of some members together; None when that is not known of any."""
        if self.reason is not None:
            return None
        seconds, known = 0.0, not members
        for member in members:
            used = self._grown.get(member.identity)
            if used is not None:
                seconds += used
                known = True
        return round(100 * seconds / self._elapsed / self._cores, 2) if known else None


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
    shares: Shares,
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
            "cpu_percent": shares.of(found),
            "threads": sum(member.stat.threads for member in found),
            "processes": len(found),
        }
        for name, found in members.items()
        if any(member.pid == workers[name] and member.stat.rss_pages for member in found)
    }
