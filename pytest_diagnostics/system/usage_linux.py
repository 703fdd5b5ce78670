"""Exact figures on Linux: kept descriptors, raw bytes at an edge, parsing only where a window ends."""

from __future__ import annotations

import os
import resource
import threading
import time
from typing import ClassVar, cast

from ..core.errors import UnavailableError
from ..core.figures import KEYS, Usage
from . import peak
from .cgroup import Cgroup
from .edges import Count, LinuxEdge, Present, Rare, Raw, figures, rss_of
from .procfs import ACCOUNT, Files, KeptFile, reason_of
from .tree import Children
from .usage import NO_PEAK, Edge, PeakKind, Window, Windows, missing
from .waits import Switches, Waits

#: Process, its threads, its faults and waits, and the faults of the children that it reaped.
Births = tuple[int, "int | str", int, int, int]


class _Nothing:
    """Stands for a source that this system does not have: what is read of it is the reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def read(self) -> Raw:
        return self._reason


class LinuxUsageReader:
    """Reads the figures of the calling process. The thread that makes it is the one whose waits it reads."""

    _getpid = staticmethod(os.getpid)
    _get_ident = staticmethod(threading.get_ident)
    _clock_ns = staticmethod(time.clock_gettime_ns)
    _getrusage = staticmethod(resource.getrusage)
    _MONOTONIC: ClassVar[int] = time.CLOCK_MONOTONIC
    _SELF: ClassVar[int] = resource.RUSAGE_SELF
    _CHILDREN: ClassVar[int] = resource.RUSAGE_CHILDREN
    #: How long what no count of the process vouches for is taken for unchanged.
    _FRESH_NS: ClassVar[int] = 1_000_000
    #: Children of more threads than this are not looked for: 3 us each would spoil the edge.
    _MAX_THREADS: ClassVar[int] = 16

    def __init__(self, peak_kind: PeakKind = "exact") -> None:
        """Open every source once; those that this system does not have are not tried again."""
        self._windows = Windows()
        self._pid = self._getpid()
        self._peak_reason = NO_PEAK.get(peak_kind)
        self._owner = peak.owner()
        if self._peak_reason is None:
            self._peak_reason = self._owner.unavailable()
        #: What changes seldom, and what stood where when it was read: while that stands still, so does it.
        self._rare = Rare("never read", "never read", "never read")
        self._throttled_at: Switches | None = None
        self._throttled_ns = 0
        self._children_at: Births | None = None
        self._children_ns = 0
        self._kept: list[KeptFile] = []
        schedstat = self._source("/proc/thread-self/schedstat", notice_fork=True)
        self._waits = Waits(lambda: self._read(schedstat))
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
        window.before = edge = self._opening_edge(window)
        window.start = edge.clocks.wall_ns / 1e9
        return window

    def close(self, window: Window) -> tuple[Usage, dict[str, str]]:
        """End a window: the clocks first."""
        after = self._closing_edge()
        window.end = after.clocks.wall_ns / 1e9
        size, no_peak = self._close_peak(window, after.own.ru_maxrss)
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
        return self._closing_edge()

    def delta(self, before: Edge, after: Edge) -> tuple[Usage, dict[str, str]]:
        """Return the figures between two edges, and the reasons of those that are absent."""
        first, last = cast("LinuxEdge", before), cast("LinuxEdge", after)
        if first.present.pid != last.present.pid:
            return Usage(), dict.fromkeys(KEYS, "the process forked inside the window")
        usage, reasons = figures(first, last)
        reasons["peak_rss_bytes"] = self._peak_reason or "peaks belong to windows"
        return usage, reasons

    def release(self) -> None:
        """Close the descriptors that were kept."""
        self._close_files()
        self._owner.release()

    def _close_files(self) -> None:
        for file in (*self._kept, self._fds):
            file.close()
        self._children.close()

    def _close_peak(self, window: Window, maxrss: int) -> tuple[int | None, str]:
        interval = window.peak
        if not isinstance(interval, peak.Interval):
            return None, self._peak_reason or str(interval)
        try:
            return self._owner.close(interval, maxrss), "the interval was ended by an outer one, or by a fork"
        except (UnavailableError, OSError) as exc:
            return None, reason_of(exc)

    def _closing_edge(self) -> LinuxEdge:
        """Read the clocks first, so that reading the rest is not charged to what ends."""
        clocks = self._waits.end()
        own, children = self._getrusage(self._SELF), self._getrusage(self._CHILDREN)
        waited_ns = self._waits.until(clocks, own)
        present = self._present()
        rare = self._read_rare(clocks.wall_ns, own, children, present)
        return LinuxEdge(clocks, waited_ns, own, children, present, rare)

    def _opening_edge(self, window: Window) -> LinuxEdge:
        """Read the clocks last."""
        present = self._present()
        own, children = self._getrusage(self._SELF), self._getrusage(self._CHILDREN)
        was = self._rare
        rare = self._read_rare(self._clock_ns(self._MONOTONIC), own, children, present)
        reset = self._peak_reason is None and self._open_peak(window, own.ru_maxrss, present.statm)
        if reset or rare is not was:
            children = self._getrusage(self._CHILDREN)
        waited_ns, own, clocks = self._waits.begin()
        return LinuxEdge(clocks, waited_ns, own, children, present, rare)

    def _open_peak(self, window: Window, maxrss: int, statm: Raw) -> bool:
        """Begin the interval of a window's peak; return whether the mark had to be reset for it."""
        rss = rss_of(statm) if isinstance(statm, bytes) else None
        try:
            window.peak, reset = self._owner.begin(exclude=window.exclude, maxrss=maxrss, rss=rss)
        except (UnavailableError, OSError) as exc:
            window.peak, reset = reason_of(exc), True
        return reset

    def _read_rare(
        self, wall_ns: int, own: resource.struct_rusage, children: resource.struct_rusage, present: Present
    ) -> Rare:
        """Return what changes seldom, and read of it what may have changed.

        What vouches for it was read before it. A process that starts another one faults a page in (fork) or
        waits for it (vfork, posix_spawn); one that reaps a child is charged with its faults. A throttled
        process is away for longer than _FRESH_NS; what other processes of the cgroup make it count may come
        at any moment.
        """
        faults, waits = own.ru_minflt, own.ru_nvcsw
        counts = faults > 0 < waits  # some sandboxes count nothing
        switches = (present.pid, present.thread, waits, own.ru_nivcsw)
        births = (present.pid, present.threads, faults, waits, children.ru_minflt)
        child_pids, cpu_stat, oom = rare = self._rare
        if self._children_at != births or wall_ns - self._children_ns >= self._FRESH_NS or not counts:
            child_pids = self._child_pids(present.threads)
            self._children_at, self._children_ns = births, wall_ns
        if self._throttled_at != switches or wall_ns - self._throttled_ns >= self._FRESH_NS or not counts:
            cpu_stat, oom = self._read(self._cpu_stat), self._read(self._oom)
            self._throttled_at, self._throttled_ns = switches, wall_ns
        elif child_pids is rare.child_pids:
            return rare
        rare = self._rare = Rare(child_pids, cpu_stat, oom)
        return rare

    def _present(self) -> Present:
        """Read what is different at every edge."""
        pid, thread = self._getpid(), self._get_ident()
        if pid != self._pid:
            self._pid = pid
            self._close_files()
        chars_read, chars_written = ACCOUNT.chars_read, ACCOUNT.chars_written
        return Present(
            pid,
            thread,
            self._read(self._io),
            chars_read,
            chars_written,
            self._read(self._statm),
            self._count_fds(),
            self._count_threads(),
        )

    def _read(self, source: KeptFile | _Nothing) -> Raw:
        try:
            return source.read()
        except (UnavailableError, OSError) as exc:
            return reason_of(exc)

    def _count_fds(self) -> Count:
        try:
            if self._counts_fds:
                kept = -1
                while kept != ACCOUNT.kept:  # our threads open theirs meanwhile: once each
                    kept = ACCOUNT.kept
                    count = self._fds.stat().st_size  # since Linux 6.2; 0 before
                if count:
                    return count - kept - (not KeptFile.keeps)  # the directory's own is open then
                self._counts_fds = False
            # Without the one that lists them.
            return len(Files.names("/proc/self/fd")) - 1 - ACCOUNT.kept
        except (UnavailableError, OSError) as exc:
            return reason_of(exc)

    def _count_threads(self) -> Count:
        try:
            return self._children.threads()
        except (UnavailableError, OSError) as exc:
            return reason_of(exc)

    def _child_pids(self, threads: Count) -> Raw:
        if isinstance(threads, str):
            return threads
        if self._children_reason is not None:
            return self._children_reason
        if threads > self._MAX_THREADS:
            return f"with {threads} threads it would cost too much to look for their children"
        try:
            return self._children.raw(threads)
        except (UnavailableError, OSError) as exc:
            return reason_of(exc)

    def _cgroup_sources(self) -> tuple[KeptFile | _Nothing, KeptFile | _Nothing]:
        cgroup = Cgroup()
        nothing = cgroup.reason or "no cgroup controller counts this here"
        try:
            cpu_stat, oom = cgroup.throttling_file() or nothing, cgroup.oom_file() or nothing
        except OSError as exc:
            return _Nothing(reason_of(exc)), _Nothing(reason_of(exc))
        return self._source(cpu_stat, cgroup.throttling_prefix()), self._source(oom, cgroup.oom_prefix())

    def _source(self, path: str, prefix: bytes = b"", *, notice_fork: bool = False) -> KeptFile | _Nothing:
        """Return a kept file, or the lasting reason why there is none. EMFILE and the like may pass.

        Of most of them this reader itself notices a fork, with each edge.
        """
        if not path.startswith("/"):
            return _Nothing(path)
        file = KeptFile(path, prefix, notice_fork=notice_fork)
        try:
            file.read()
        except (UnavailableError, PermissionError) as exc:
            return _Nothing(reason_of(exc))
        except OSError:
            pass
        self._kept.append(file)
        return file
