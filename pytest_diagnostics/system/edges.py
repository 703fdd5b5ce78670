"""What is read at the edge of a window on Linux, and the figures between two of them.

An edge keeps raw bytes; they are parsed where a window ends.
"""

from __future__ import annotations

import resource
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from ..core.figures import Usage
from . import parsers
from .cgroup import throttled_seconds

#: The content of a source, or why it could not be read.
Raw: TypeAlias = "bytes | str"
Count: TypeAlias = "int | str"


class Present(NamedTuple):
    """What is read at every edge, unparsed."""

    pid: int
    thread: int
    io: Raw
    chars_read: int  # by this package, before io was read
    chars_written: int
    statm: Raw
    fds: Count
    threads: Count


class Rare(NamedTuple):
    """What changes seldom, unparsed."""

    child_pids: Raw
    cpu_stat: Raw
    oom: Raw


class Clocks(NamedTuple):
    """One moment, in nanoseconds.

    The CPU's clocks lie outside the wall's: for them the kernel brings the thread's account up to date, and
    who has had his share of the CPU is taken off it there.
    """

    wall_ns: int  # CLOCK_MONOTONIC
    cpu_ns: int  # CLOCK_PROCESS_CPUTIME_ID
    thread_ns: int  # CLOCK_THREAD_CPUTIME_ID


class LinuxEdge(NamedTuple):
    """What was read at one moment, mostly unparsed."""

    clocks: Clocks
    #: How long the thread waited for a CPU up to this moment.
    waited_ns: Count
    own: resource.struct_rusage
    children: resource.struct_rusage
    present: Present
    rare: Rare

    @property
    def pid(self) -> int:
        """The process that read it."""
        return self.present.pid


_PAGE = resource.getpagesize()


def figures(first: LinuxEdge, last: LinuxEdge) -> tuple[Usage, dict[str, str]]:
    """Return the figures between two edges of one process, but for the peak, and why others are absent."""
    own, was, kids, kids_were = last.own, first.own, last.children, first.children
    usage: Usage = {
        "wall_seconds": (last.clocks.wall_ns - first.clocks.wall_ns) / 1e9,
        "cpu_seconds": (last.clocks.cpu_ns - first.clocks.cpu_ns) / 1e9,
        # The kernel tells microseconds; what a difference of floats adds beyond them is no figure.
        "cpu_user_seconds": round(own.ru_utime - was.ru_utime, 6),
        "cpu_system_seconds": round(own.ru_stime - was.ru_stime, 6),
        "children_cpu_seconds": round(
            kids.ru_utime - kids_were.ru_utime + (kids.ru_stime - kids_were.ru_stime), 6
        ),
        "minor_faults": own.ru_minflt - was.ru_minflt,
        "major_faults": own.ru_majflt - was.ru_majflt,
        "voluntary_switches": own.ru_nvcsw - was.ru_nvcsw,
        "involuntary_switches": own.ru_nivcsw - was.ru_nivcsw,
    }
    reasons: dict[str, str] = {}
    for parse in (_io, _memory, _counts):
        parse(first.present, last.present, usage, reasons)
    _cpu_wait(first, last, usage, reasons)
    for parse_rare in (_children, _cgroup):
        parse_rare(first.rare, last.rare, usage, reasons)
    return usage, reasons


def _cpu_wait(first: LinuxEdge, last: LinuxEdge, usage: Usage, reasons: dict[str, str]) -> None:
    was, now = first.waited_ns, last.waited_ns
    if isinstance(was, str) or isinstance(now, str):
        reasons["cpu_wait_seconds"] = _why(was, now)
        return
    # A switch between a clock and the look at it is not seen; but who runs does not wait.
    ran_ns = last.clocks.thread_ns - first.clocks.thread_ns
    idle_ns = last.clocks.wall_ns - first.clocks.wall_ns - ran_ns
    usage["cpu_wait_seconds"] = max(0, min(now - was, idle_ns)) / 1e9


def _io(first: Present, last: Present, usage: Usage, reasons: dict[str, str]) -> None:
    keys = ("read_bytes", "write_bytes", "read_chars", "write_chars")
    if isinstance(first.io, str) or isinstance(last.io, str):
        reasons.update(dict.fromkeys(keys, _why(first.io, last.io)))
        return
    # rchar, wchar, syscr, syscw, read_bytes, write_bytes: seven bytes of a name, a number, and so on.
    was, now = first.io.split(), last.io.split()
    try:
        usage["read_chars"] = max(0, int(now[1]) - int(was[1]) - (last.chars_read - first.chars_read))
        usage["write_chars"] = max(0, int(now[3]) - int(was[3]) - (last.chars_written - first.chars_written))
        usage["read_bytes"] = int(now[9]) - int(was[9])
        usage["write_bytes"] = int(now[11]) - int(was[11])
    except (IndexError, ValueError):
        for key in keys:
            reasons[key] = "/proc/self/io has an unknown form"


def rss_of(statm: bytes) -> int | None:
    """Return the resident bytes that /proc/self/statm tells."""
    try:
        return int(statm.split(None, 2)[1]) * _PAGE
    except (IndexError, ValueError):
        return None


def _memory(first: Present, last: Present, usage: Usage, reasons: dict[str, str]) -> None:
    if isinstance(last.statm, str):
        reasons["rss_bytes"] = reasons["rss_change_bytes"] = last.statm
        return
    rss = rss_of(last.statm)
    was = rss_of(first.statm) if isinstance(first.statm, bytes) else None
    if rss is not None:
        usage["rss_bytes"] = rss
    if rss is not None and was is not None:
        usage["rss_change_bytes"] = rss - was
    elif isinstance(first.statm, str):
        reasons["rss_change_bytes"] = first.statm
    else:
        reasons["rss_bytes"] = reasons["rss_change_bytes"] = "/proc/self/statm has no second number"


def _counts(first: Present, last: Present, usage: Usage, reasons: dict[str, str]) -> None:
    if isinstance(last.fds, int):
        usage["fds"] = last.fds
    if isinstance(last.threads, int):
        usage["threads"] = last.threads
    if isinstance(first.fds, int) and isinstance(last.fds, int):
        usage["fds_change"] = last.fds - first.fds
    else:
        reasons["fds"] = reasons["fds_change"] = _why(first.fds, last.fds)
    if isinstance(first.threads, int) and isinstance(last.threads, int):
        usage["threads_change"] = last.threads - first.threads
    else:
        reasons["threads"] = reasons["threads_change"] = _why(first.threads, last.threads)


def _children(first: Rare, last: Rare, usage: Usage, reasons: dict[str, str]) -> None:
    if isinstance(last.child_pids, str):
        reasons["children"] = reasons["children_change"] = last.child_pids
        return
    usage["children"] = last.child_pids.count(b" ")
    if isinstance(first.child_pids, str):
        reasons["children_change"] = first.child_pids
    else:
        usage["children_change"] = usage["children"] - first.child_pids.count(b" ")


def _cgroup(first: Rare, last: Rare, usage: Usage, reasons: dict[str, str]) -> None:
    if isinstance(first.cpu_stat, str) or isinstance(last.cpu_stat, str):
        reasons["throttled_seconds"] = _why(first.cpu_stat, last.cpu_stat)
    else:
        was, now = _throttled(first.cpu_stat), _throttled(last.cpu_stat)
        if was is None or now is None:
            reasons["throttled_seconds"] = "cpu.stat counts no throttling in this group"
        else:
            usage["throttled_seconds"] = now - was
    if isinstance(first.oom, str) or isinstance(last.oom, str):
        reasons["oom_kills"] = _why(first.oom, last.oom)
        return
    before, kills = _kills(first.oom), _kills(last.oom)
    if kills is None or before is None:
        reasons["oom_kills"] = "this kernel's cgroup counts no OOM kills"
    else:
        usage["oom_kills"] = kills - before


_throttled = lru_cache(maxsize=4)(throttled_seconds)


@lru_cache(maxsize=4)
def _kills(oom: bytes) -> int | None:
    return parsers.field(oom, b"oom_kill ")


def _why(first: object, last: object) -> str:
    return last if isinstance(last, str) else str(first)
