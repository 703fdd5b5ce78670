"""Exact figures on Linux: kept descriptors, raw bytes at an edge, parsing only where a window ends."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from typing import ClassVar, NamedTuple, TypeAlias, cast

from ..core.errors import UnavailableError
from ..core.figures import KEYS, Usage
from . import parsers, peak
from .cgroup import Cgroup, throttled_seconds
from .procfs import Files, KeptFile, reason_of
from .tree import Children
from .usage import NO_PEAK, Edge, PeakKind, Window, Windows, missing

#: The content of a source, or why it could not be read.
Raw: TypeAlias = "bytes | str"
Count: TypeAlias = "int | str"


class LinuxEdge(NamedTuple):
    """What was read at one moment, unparsed."""

    pid: int
    thread: int
    wall_ns: int
    cpu_ns: int
    own: resource.struct_rusage
    children: resource.struct_rusage
    schedstat: Raw
    io: Raw
    chars_read: int  # by this package, before io was read
    chars_written: int
    statm: Raw
    fds: Count
    threads: Count
    child_pids: Raw
    cpu_stat: Raw
    oom: Raw


class LinuxUsageReader:
    """Reads the figures of the calling process. The thread that makes it is the one whose waits it reads."""

    _getpid = staticmethod(os.getpid)
    _get_ident = staticmethod(threading.get_ident)
    _clock_ns = staticmethod(time.clock_gettime_ns)
    _getrusage = staticmethod(resource.getrusage)
    _MONOTONIC: ClassVar[int] = time.CLOCK_MONOTONIC
    _CPU: ClassVar[int] = time.CLOCK_PROCESS_CPUTIME_ID
    _SELF: ClassVar[int] = resource.RUSAGE_SELF
    _CHILDREN: ClassVar[int] = resource.RUSAGE_CHILDREN
    _PAGE: ClassVar[int] = os.sysconf("SC_PAGE_SIZE")
    #: Children of more threads than this are not looked for: 3 us each would spoil the edge.
    _MAX_THREADS: ClassVar[int] = 16

    def __init__(self, peak_kind: PeakKind = "exact") -> None:
        """Open every source once; those that this system does not have are not tried again."""
        self._windows = Windows()
        self._pid = self._getpid()
        self._thread = self._get_ident()
        self._peak_reason = NO_PEAK.get(peak_kind)
        self._owner = peak.owner()
        if self._peak_reason is None:
            self._peak_reason = self._owner.unavailable()
        self._kept: list[KeptFile] = []
        self._schedstat = self._source("/proc/thread-self/schedstat")
        self._io = self._source("/proc/self/io", b"rchar: ")
        self._statm = self._source("/proc/self/statm")
        self._children = Children("/proc/self")
        self._children_reason: str | None = None
        try:
            self._children.pids()
        except (UnavailableError, OSError) as exc:
            self._children_reason = reason_of(exc)
        self._fds = KeptFile("/proc/self/fd", notice_fork=False)
        self._counts_fds = True
        self._cpu_stat, self._oom = self._cgroup_sources()
        self._count_fds()

    def open(self, *, exclude: bool = False) -> Window:
        """Begin a window: the sources first, the clocks last, so that reading them is not charged to it."""
        window = Window(exclude)
        self._windows.push(window)
        if self._peak_reason is None:
            try:
                window.peak = self._owner.open(exclude=exclude)
            except (UnavailableError, OSError) as exc:
                window.peak = reason_of(exc)
        window.before = self._edge(opening=True)
        return window

    def close(self, window: Window) -> tuple[Usage, dict[str, str]]:
        """End a window: the clocks first."""
        after = self.edge()
        size, no_peak = self._close_peak(window)
        if window.before is None:
            return Usage(), dict.fromkeys(KEYS, "the window was never opened")
        usage, reasons = self.delta(window.before, after)
        if size is None:
            reasons["peak_rss_bytes"] = no_peak
        else:
            # The kernel keeps the mark from per-CPU counters that lag by some pages; statm sums them up.
            rss = usage.get("rss_bytes", 0)
            usage["peak_rss_bytes"] = max(size, rss, rss - usage.get("rss_change_bytes", 0))
            reasons.pop("peak_rss_bytes", None)
        usage = self._windows.settle(window, usage)
        return usage, missing(usage, reasons)

    def edge(self) -> Edge:
        """Read everything but the peak now."""
        return self._edge(opening=False)

    def delta(self, before: Edge, after: Edge) -> tuple[Usage, dict[str, str]]:
        """Return the figures between two edges, and the reasons of those that are absent."""
        first, last = cast("LinuxEdge", before), cast("LinuxEdge", after)
        if first.pid != last.pid:
            return Usage(), dict.fromkeys(KEYS, "the process forked inside the window")
        own, was, kids, kids_were = last.own, first.own, last.children, first.children
        usage = Usage(
            wall_seconds=(last.wall_ns - first.wall_ns) / 1e9,
            cpu_seconds=(last.cpu_ns - first.cpu_ns) / 1e9,
            # The kernel tells microseconds; what a difference of floats adds beyond them is no figure.
            cpu_user_seconds=round(own.ru_utime - was.ru_utime, 6),
            cpu_system_seconds=round(own.ru_stime - was.ru_stime, 6),
            children_cpu_seconds=round(
                kids.ru_utime - kids_were.ru_utime + (kids.ru_stime - kids_were.ru_stime), 6
            ),
            minor_faults=own.ru_minflt - was.ru_minflt,
            major_faults=own.ru_majflt - was.ru_majflt,
            voluntary_switches=own.ru_nvcsw - was.ru_nvcsw,
            involuntary_switches=own.ru_nivcsw - was.ru_nivcsw,
        )
        reasons: dict[str, str] = {"peak_rss_bytes": self._peak_reason or "peaks belong to windows"}
        for parse in (_cpu_wait, _io, _memory, _counts, _children, _cgroup):
            parse(first, last, usage, reasons)
        return usage, reasons

    def release(self) -> None:
        """Close the descriptors that were kept."""
        self._close_files()
        self._owner.release()

    def _close_files(self) -> None:
        for file in (*self._kept, self._fds):
            file.close()
        self._children.close()

    def _close_peak(self, window: Window) -> tuple[int | None, str]:
        interval = window.peak
        if not isinstance(interval, peak.Interval):
            return None, self._peak_reason or str(interval)
        try:
            return self._owner.close(interval), "the interval was ended by an outer one, or by a fork"
        except (UnavailableError, OSError) as exc:
            return None, reason_of(exc)

    def _edge(self, *, opening: bool) -> LinuxEdge:
        if not opening:
            wall_ns, cpu_ns = self._clock_ns(self._MONOTONIC), self._clock_ns(self._CPU)
            own, children = self._getrusage(self._SELF), self._getrusage(self._CHILDREN)
        pid, thread = self._getpid(), self._get_ident()
        if pid != self._pid:
            self._pid = pid
            self._close_files()
        schedstat = self._read(self._schedstat) if thread == self._thread else "read on another thread"
        chars_read, chars_written = KeptFile.chars_read, KeptFile.chars_written
        io = self._read(self._io)
        statm = self._read(self._statm)
        fds = self._count_fds()
        threads, child_pids = self._count_threads()
        cpu_stat, oom = self._read(self._cpu_stat), self._read(self._oom)
        if opening:
            own, children = self._getrusage(self._SELF), self._getrusage(self._CHILDREN)
            cpu_ns, wall_ns = self._clock_ns(self._CPU), self._clock_ns(self._MONOTONIC)
        return LinuxEdge(
            pid,
            thread,
            wall_ns,
            cpu_ns,
            own,
            children,
            schedstat,
            io,
            chars_read,
            chars_written,
            statm,
            fds,
            threads,
            child_pids,
            cpu_stat,
            oom,
        )

    def _read(self, source: KeptFile | str) -> Raw:
        if isinstance(source, str):
            return source
        try:
            return source.read()
        except (UnavailableError, OSError) as exc:
            return reason_of(exc)

    def _count_fds(self) -> Count:
        try:
            if self._counts_fds:
                kept = -1
                while kept != KeptFile.kept:  # our threads open theirs meanwhile: once each
                    kept = KeptFile.kept
                    count = self._fds.stat().st_size  # since Linux 6.2; 0 before
                if count:
                    return count - kept
                self._counts_fds = False
            # Without the one that lists them.
            return len(Files.names("/proc/self/fd")) - 1 - KeptFile.kept
        except (UnavailableError, OSError) as exc:
            return reason_of(exc)

    def _count_threads(self) -> tuple[Count, Raw]:
        try:
            threads = self._children.threads()
        except (UnavailableError, OSError) as exc:
            return reason_of(exc), reason_of(exc)
        if self._children_reason is not None:
            return threads, self._children_reason
        if threads > self._MAX_THREADS:
            return threads, f"with {threads} threads it would cost too much to look for their children"
        try:
            return threads, self._children.raw(threads)
        except (UnavailableError, OSError) as exc:
            return threads, reason_of(exc)

    def _cgroup_sources(self) -> tuple[KeptFile | str, KeptFile | str]:
        cgroup = Cgroup()
        nothing = cgroup.reason or "no cgroup controller counts this here"
        try:
            cpu_stat, oom = cgroup.throttling_file() or nothing, cgroup.oom_file() or nothing
        except OSError as exc:
            return reason_of(exc), reason_of(exc)
        return self._source(cpu_stat, cgroup.throttling_prefix()), self._source(oom, cgroup.oom_prefix())

    def _source(self, path: str, prefix: bytes = b"") -> KeptFile | str:
        """Return a kept file, or the lasting reason why there is none. EMFILE and the like may pass."""
        if not path.startswith("/"):
            return path
        file = KeptFile(path, prefix, notice_fork=False)
        try:
            file.read()
        except (UnavailableError, PermissionError) as exc:
            return reason_of(exc)
        except OSError:
            pass
        self._kept.append(file)
        return file


_Parse = Callable[[LinuxEdge, LinuxEdge, Usage, "dict[str, str]"], None]


def _cpu_wait(first: LinuxEdge, last: LinuxEdge, usage: Usage, reasons: dict[str, str]) -> None:
    if isinstance(first.schedstat, str) or isinstance(last.schedstat, str):
        reasons["cpu_wait_seconds"] = _why(first.schedstat, last.schedstat)
        return
    try:
        waited = int(last.schedstat.split()[1]) - int(first.schedstat.split()[1])
    except (IndexError, ValueError):
        reasons["cpu_wait_seconds"] = "/proc/thread-self/schedstat has no second number"
        return
    usage["cpu_wait_seconds"] = waited / 1e9


def _io(first: LinuxEdge, last: LinuxEdge, usage: Usage, reasons: dict[str, str]) -> None:
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


def _memory(first: LinuxEdge, last: LinuxEdge, usage: Usage, reasons: dict[str, str]) -> None:
    page = LinuxUsageReader._PAGE
    try:
        if isinstance(last.statm, str):
            reasons["rss_bytes"] = reasons["rss_change_bytes"] = last.statm
            return
        rss = usage["rss_bytes"] = int(last.statm.split(None, 2)[1]) * page
        if isinstance(first.statm, str):
            reasons["rss_change_bytes"] = first.statm
            return
        usage["rss_change_bytes"] = rss - int(first.statm.split(None, 2)[1]) * page
    except (IndexError, ValueError):
        reasons["rss_bytes"] = reasons["rss_change_bytes"] = "/proc/self/statm has no second number"


def _counts(first: LinuxEdge, last: LinuxEdge, usage: Usage, reasons: dict[str, str]) -> None:
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


def _children(first: LinuxEdge, last: LinuxEdge, usage: Usage, reasons: dict[str, str]) -> None:
    if isinstance(last.child_pids, str):
        reasons["children"] = reasons["children_change"] = last.child_pids
        return
    usage["children"] = last.child_pids.count(b" ")
    if isinstance(first.child_pids, str):
        reasons["children_change"] = first.child_pids
    else:
        usage["children_change"] = usage["children"] - first.child_pids.count(b" ")


def _cgroup(first: LinuxEdge, last: LinuxEdge, usage: Usage, reasons: dict[str, str]) -> None:
    if isinstance(first.cpu_stat, str) or isinstance(last.cpu_stat, str):
        reasons["throttled_seconds"] = _why(first.cpu_stat, last.cpu_stat)
    else:
        now = throttled_seconds(last.cpu_stat)
        # Mostly nothing has happened: then there is one content to parse.
        was = now if first.cpu_stat == last.cpu_stat else throttled_seconds(first.cpu_stat)
        if was is None or now is None:
            reasons["throttled_seconds"] = "cpu.stat counts no throttling in this group"
        else:
            usage["throttled_seconds"] = now - was
    if isinstance(first.oom, str) or isinstance(last.oom, str):
        reasons["oom_kills"] = _why(first.oom, last.oom)
        return
    kills = parsers.field(last.oom, b"oom_kill ")
    before = kills if first.oom == last.oom else parsers.field(first.oom, b"oom_kill ")
    if kills is None or before is None:
        reasons["oom_kills"] = "this kernel's cgroup counts no OOM kills"
    else:
        usage["oom_kills"] = kills - before


def _why(first: object, last: object) -> str:
    return last if isinstance(last, str) else str(first)
