"""What a process may use: the limits of its cgroups, and what they have counted.

Version 1 (every controller has a tree of its own), version 2 and both at once are found from
/proc/<pid>/cgroup and its mountinfo. A limit of any ancestor binds, so every walk goes up to the mount's
root and the tightest one counts. In a container the root is usually the container's own group; limits above
it cannot be seen from inside.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar, NamedTuple
from weakref import WeakValueDictionary

from ..core.errors import UnavailableError
from . import parsers
from .procfs import Files

#: Version 1 writes the largest page-aligned number for "no limit"; nobody has an exbibyte.
_NO_LIMIT = 1 << 60


class Limited(NamedTuple):
    """A limit and the directory of the group that sets it."""

    value: float
    directory: str


@dataclass(frozen=True)
class Tree:
    """One controller's branch: the process' own group first, then its ancestors."""

    version: int
    directories: tuple[str, ...]

    @property
    def own(self) -> str:
        """The directory of the process' own group."""
        return self.directories[0]


class Cgroup:
    """The cgroups of one process. ``root`` is a prefix for every path, so that tests can lay out trees."""

    _exists = staticmethod(Files.exists)

    def __init__(self, pid: int | None = None, *, root: str = "") -> None:
        """Find the groups of ``pid`` (default: of the calling process)."""
        self._root = root
        self._process = f"{root}/proc/{'self' if pid is None else pid}"
        self._trees: dict[str, Tree] = {}
        self._v2: Tree | None = None
        self._groups = b""
        self.reason: str | None = None
        self._discover()

    def moved(self) -> bool:
        """Return whether the process is in other groups now than those that were found."""
        try:
            return Files.read(f"{self._process}/cgroup") != self._groups
        except UnavailableError:
            return False  # it has ended; what is known of its groups holds

    def tree(self, controller: str) -> Tree | None:
        """Return the branch of a controller (cpu, memory, pids, cpuset …), or None when there is none."""
        return self._trees.get(controller, self._v2)

    def cpu_quota(self) -> Limited | None:
        """Return the tightest quota up the tree, in cores, and the group that sets it."""
        tree = self.tree("cpu")
        if tree is None:
            return None
        limits = []
        for directory in tree.directories:
            cores = _v2_cores(directory) if tree.version == 2 else _v1_cores(directory)
            if cores is not None:
                limits.append(Limited(cores, directory))
        return min(limits, default=None, key=lambda limit: limit.value)

    def cpuset_count(self) -> int | None:
        """Return how many CPUs the cpuset leaves, or None without one."""
        tree = self.tree("cpuset")
        if tree is None:
            return None
        names = ("cpuset.cpus.effective",) if tree.version == 2 else ("cpuset.effective_cpus", "cpuset.cpus")
        for directory in tree.directories:
            for name in names:
                data = _read(f"{directory}/{name}")
                count = None if data is None else parsers.cpu_list_count(data)
                if count is not None:
                    return count
        return None

    def memory_limit(self) -> Limited | None:
        """Return the tightest limit up the tree, in bytes, and the group that sets it."""
        tree = self.tree("memory")
        if tree is None:
            return None
        limits = _limits(tree, "memory.max" if tree.version == 2 else "memory.limit_in_bytes")
        if tree.version == 1:
            # The only word of a limit above a container's root.
            data = _read(f"{tree.own}/memory.stat")
            above = None if data is None else parsers.field(data, b"hierarchical_memory_limit ")
            if above is not None and above < _NO_LIMIT:
                limits.append(Limited(above, tree.own))
        return min(limits, default=None, key=lambda limit: limit.value)

    def pids_limit(self) -> Limited | None:
        """Return the tightest limit of processes and threads up the tree."""
        tree = self.tree("pids")
        return None if tree is None else min(_limits(tree, "pids.max"), default=None, key=lambda x: x.value)

    def file(self, controller: str, v2: str, v1: str) -> str | None:
        """Return the path of a file of the own group, named as in its version; None if there is none."""
        tree = self.tree(controller)
        return None if tree is None else f"{tree.own}/{v2 if tree.version == 2 else v1}"

    def throttling_file(self) -> str | None:
        """Return the cpu.stat to watch: of the group whose quota binds, since throttling is counted there."""
        quota = self.cpu_quota()
        if quota is not None:
            return f"{quota.directory}/cpu.stat"
        return self.file("cpu", "cpu.stat", "cpu.stat")

    def throttling_prefix(self) -> bytes:
        """Return what that cpu.stat begins with."""
        tree = self.tree("cpu")
        return b"usage_usec " if tree is not None and tree.version == 2 else b"nr_periods "

    def oom_file(self) -> str | None:
        """Return the file that counts OOM kills in the own group."""
        return self.file("memory", "memory.events", "memory.oom_control")

    def oom_prefix(self) -> bytes:
        """Return what that file begins with."""
        tree = self.tree("memory")
        return b"low " if tree is not None and tree.version == 2 else b"oom_kill_disable "

    def pressure_file(self, resource: str) -> str | None:
        """Return the own group's pressure file (cpu, memory, io); None where version 2 is not in use.

        Nor in the root group, which alone has no type: its pressure is the machine's.
        """
        if self._v2 is None or not self._exists(f"{self._v2.own}/cgroup.type"):
            return None
        path = f"{self._v2.own}/{resource}.pressure"
        return path if self._exists(path) else None

    def _discover(self) -> None:
        try:
            self._groups = groups = Files.read(f"{self._process}/cgroup")
            mounts = parsers.mounts(Files.read(f"{self._process}/mountinfo"))
        except (UnavailableError, OSError) as exc:
            self.reason = f"the cgroup cannot be found: {exc}"
            return
        for line in groups.decode("utf-8", "surrogateescape").split("\n"):
            number, _, rest = line.partition(":")
            controllers, colon, path = rest.partition(":")
            if not colon:
                continue
            if number == "0" and not controllers:
                self._v2 = self._branch(2, path, [mount for mount in mounts if mount.kind == "cgroup2"])
                continue
            for controller in controllers.split(","):
                mounted = [
                    mount
                    for mount in mounts
                    if mount.kind == "cgroup" and controller in mount.options.split(",")
                ]
                tree = self._branch(1, path, mounted)
                if tree is not None:
                    self._trees[controller] = tree
        if self._v2 is None and not self._trees:
            self.reason = "no cgroup file system is mounted here"

    def _branch(self, version: int, path: str, mounts: list[parsers.Mount]) -> Tree | None:
        for mount in mounts:
            top = self._root + mount.point
            inside = _below(path, mount.root)
            if inside is None or not self._exists(top + inside):
                # The path names a place outside of what is mounted here, as it does in a container
                # without a cgroup namespace: what is mounted is then the group itself.
                inside = ""
            if self._exists(top):
                return Tree(version, _walk_up(top, inside))
        return None


def _below(path: str, root: str) -> str | None:
    if root == "/":
        return "" if path == "/" else path
    if path == root:
        return ""
    return path[len(root) :] if path.startswith(root + "/") else None


def _walk_up(top: str, inside: str) -> tuple[str, ...]:
    parts = [part for part in inside.split("/") if part]
    return tuple("/".join([top, *parts[:depth]]) for depth in range(len(parts), -1, -1))


def _read(path: str) -> bytes | None:
    """Return a file's content; None where the group has no such file, which the walk takes as no limit.

    A failure that may pass, such as a limit of open files, is raised: it is not the absence of a limit.
    """
    try:
        return Files.read(path)
    except (UnavailableError, PermissionError):
        return None


def _limits(tree: Tree, name: str) -> list[Limited]:
    limits = []
    for directory in tree.directories:
        data = _read(f"{directory}/{name}")
        text = b"" if data is None else data.strip()
        if text.isdigit() and int(text) < _NO_LIMIT:
            limits.append(Limited(int(text), directory))
    return limits


def _v2_cores(directory: str) -> float | None:
    words = (_read(f"{directory}/cpu.max") or b"").split()
    if len(words) != 2 or not (words[0].isdigit() and words[1].isdigit()) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _v1_cores(directory: str) -> float | None:
    quota = (_read(f"{directory}/cpu.cfs_quota_us") or b"").strip()
    period = (_read(f"{directory}/cpu.cfs_period_us") or b"").strip()
    if not (quota.isdigit() and period.isdigit()) or int(quota) == 0 or int(period) == 0:
        return None  # -1 is no quota
    return int(quota) / int(period)


class Throttling(NamedTuple):
    """What cpu.stat has counted; None for what it does not say."""

    seconds: float | None
    periods: int | None
    throttled_periods: int | None


_THROTTLING = parsers.Fields((b"nr_periods ", b"nr_throttled ", b"throttled_time ", b"throttled_usec "))


def throttled_seconds(cpu_stat: bytes) -> float | None:
    """Return the throttled time of a cpu.stat: version 1 counts in nanoseconds, 2 in microseconds."""
    nanoseconds = parsers.field(cpu_stat, b"throttled_time ")
    if nanoseconds is not None:
        return nanoseconds / 1e9
    microseconds = parsers.field(cpu_stat, b"throttled_usec ")
    return None if microseconds is None else microseconds / 1e6


def throttling(cpu_stat: bytes) -> Throttling:
    """Return everything that a cpu.stat of either version says of throttling."""
    found = _THROTTLING.of(cpu_stat)
    seconds: float | None = None
    if "throttled_time" in found:
        seconds = found["throttled_time"] / 1e9
    elif "throttled_usec" in found:
        seconds = found["throttled_usec"] / 1e6
    return Throttling(seconds, found.get("nr_periods"), found.get("nr_throttled"))


class Allowance:
    """How much of the machine a process may use, read anew every ten seconds: limits change at run time."""

    if hasattr(os, "sched_getaffinity"):
        _affinity = staticmethod(os.sched_getaffinity)
    _cpu_count = staticmethod(os.cpu_count)
    REFRESH_SECONDS = 10.0
    _all: ClassVar[WeakValueDictionary[tuple[int | None, str], Allowance]] = WeakValueDictionary()

    def __init__(self, pid: int | None = None, *, root: str = "") -> None:
        """Watch the limits of ``pid`` (default: of the calling process)."""
        self._pid = pid
        self._root = root
        self.cgroup = Cgroup(pid, root=root)
        self._until = float("-inf")
        self.cores: float | None = None
        self.memory_bytes: int | None = None
        self.quota: Limited | None = None
        self.memory_limit: Limited | None = None
        self.pids_limit: Limited | None = None
        #: How often the limits were read: what is derived from them is good until this changes.
        self.readings = 0

    @classmethod
    def shared(cls, pid: int | None, root: str) -> Allowance:
        """Return the one that somebody holds already, or a new one. All holders must go by one clock."""
        found = cls._all.get((pid, root))
        if found is None:
            found = cls._all[pid, root] = cls(pid, root=root)
        else:
            found._until = float("-inf")  # who begins to watch begins with what holds now
        return found

    def refresh(self, now: float) -> None:
        """Read the limits again when they are older than ten seconds of the monotonic clock ``now``."""
        if now < self._until:
            return
        try:
            if self.cgroup.reason is not None or self.cgroup.moved():
                self.cgroup = Cgroup(self._pid, root=self._root)
            self._read_limits()
        except OSError:
            return  # what was read the last time holds until the next tick
        self._until = now + self.REFRESH_SECONDS
        self.readings += 1

    def _read_limits(self) -> None:
        quota = self.cgroup.cpu_quota()
        memory_limit = self.cgroup.memory_limit()
        pids_limit = self.cgroup.pids_limit()
        cores = self._cores(quota)
        total = memory_total(self._root)
        bounds = [] if memory_limit is None else [int(memory_limit.value)]
        if total is not None:
            bounds.append(total)
        self.quota, self.memory_limit, self.pids_limit = quota, memory_limit, pids_limit
        self.cores, self.memory_bytes = cores, min(bounds, default=None)

    def _cores(self, quota: Limited | None) -> float | None:
        bounds: list[float] = [] if quota is None else [quota.value]
        cpuset = self.cgroup.cpuset_count()
        if cpuset is not None:
            bounds.append(cpuset)
        try:
            bounds.append(len(self._affinity(self._pid or 0)))
        except (AttributeError, OSError):  # not on this system, or the process is gone
            count = self._cpu_count()
            if count is not None:
                bounds.append(count)
        return min(bounds, default=None)


def memory_total(root: str = "") -> int | None:
    """Return the machine's memory in bytes, or None where /proc/meminfo cannot be read."""
    data = _read(f"{root}/proc/meminfo")
    kilobytes = None if data is None else parsers.field(data, b"MemTotal:")
    return None if kilobytes is None else kilobytes * 1024


def available_cpus(pid: int | None = None, *, root: str = "") -> float | None:
    """Return how many cores a process may use: the least of quota up the tree, cpuset and affinity."""
    allowance = Allowance(pid, root=root)
    allowance.refresh(0.0)
    return allowance.cores
