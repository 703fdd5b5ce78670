"""Exact figures off Linux: what the standard library's ``resource`` and psutil can say at an edge."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, cast

from ..core.clock import SystemClock
from ..core.figures import KEYS, Usage
from .usage import NO_PEAK, Edge, PeakKind, Window, Windows, missing

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    import psutil


class PortableEdge:
    """What was read at one moment: totals and values, by the key that they will have."""

    __slots__ = ("pid", "reasons", "totals", "values")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        #: Counters, of which a window has the difference.
        self.totals: dict[str, float] = {}
        #: Values, of which a window has the last and the change.
        self.values: dict[str, int] = {}
        self.reasons: dict[str, str] = {}


class PortableUsageReader:
    """Reads the figures of the calling process with ``resource`` where there is one, else with psutil."""

    _getpid = staticmethod(os.getpid)
    _perf_counter = staticmethod(time.perf_counter)
    _process_time = staticmethod(time.process_time)
    if sys.platform != "win32":
        _getrusage = staticmethod(resource.getrusage)

    def __init__(self, peak_kind: PeakKind = "exact") -> None:
        """Open the process in psutil; without psutil its figures are absent."""
        self._windows = Windows()
        self._clock = SystemClock()
        self._peak_reason = NO_PEAK.get(peak_kind, "exact peaks need Linux's /proc/self/clear_refs")
        self._process: psutil.Process | None = None
        self._no_process = "psutil is not installed"
        self._pid = 0
        self._attach()

    def open(self, *, exclude: bool = False) -> Window:
        """Begin a window."""
        window = Window(exclude)
        self._windows.push(window)
        window.before = self.edge()
        window.start = self._clock.monotonic()
        return window

    def close(self, window: Window) -> tuple[Usage, dict[str, str]]:
        """End a window and return its figures, and the reasons of those that are absent."""
        window.end = self._clock.monotonic()
        after = self.edge()
        if window.before is None:
            return Usage(), dict.fromkeys(KEYS, "the window was never opened")
        usage, reasons = self.delta(window.before, after)
        usage = self._windows.settle(window, usage)
        return usage, missing(usage, reasons)

    def edge(self) -> Edge:
        """Read everything now."""
        pid = self._getpid()
        if pid != self._pid:
            self._attach()
        edge = PortableEdge(pid)
        edge.totals["wall_seconds"] = self._perf_counter()
        edge.totals["cpu_seconds"] = self._process_time()
        if sys.platform != "win32":
            self._read_rusage(edge)
        self._read_process(edge)
        return edge

    def delta(self, before: Edge, after: Edge) -> tuple[Usage, dict[str, str]]:
        """Return the figures between two edges, and the reasons of those that are absent."""
        first, last = cast("PortableEdge", before), cast("PortableEdge", after)
        if first.pid != last.pid:
            return Usage(), dict.fromkeys(KEYS, "the process forked inside the window")
        found: dict[str, float] = {}
        for key, value in last.totals.items():
            if key in first.totals:
                found[key] = value - first.totals[key]
        for key, value in last.values.items():
            found[key] = value
            change = "rss_change_bytes" if key == "rss_bytes" else f"{key}_change"
            if key in first.values:
                found[change] = value - first.values[key]
        reasons = dict.fromkeys(KEYS, f"not known on {sys.platform}")
        reasons["peak_rss_bytes"] = self._peak_reason
        reasons.update(first.reasons)
        reasons.update(last.reasons)
        return cast("Usage", found), {key: why for key, why in reasons.items() if key not in found}

    def release(self) -> None:
        """Nothing is kept open."""

    def _attach(self) -> None:
        self._pid = self._getpid()
        try:
            import psutil

            self._process = psutil.Process(self._pid)
        except ImportError:
            self._process = None
        except Exception as exc:  # noqa: BLE001 - psutil raises its own errors and the system's: all mean absent
            self._process, self._no_process = None, f"psutil cannot read this process: {exc}"

    def _read_rusage(self, edge: PortableEdge) -> None:
        own = self._getrusage(resource.RUSAGE_SELF)
        children = self._getrusage(resource.RUSAGE_CHILDREN)
        edge.totals.update(
            cpu_user_seconds=own.ru_utime,
            cpu_system_seconds=own.ru_stime,
            children_cpu_seconds=children.ru_utime + children.ru_stime,
            minor_faults=own.ru_minflt,
            major_faults=own.ru_majflt,
            voluntary_switches=own.ru_nvcsw,
            involuntary_switches=own.ru_nivcsw,
        )

    def _read_process(self, edge: PortableEdge) -> None:
        keys = ("rss_bytes", "rss_change_bytes", "threads", "threads_change", "fds", "fds_change")
        process = self._process
        if process is None:
            edge.reasons.update(dict.fromkeys(keys, self._no_process))
            return
        try:
            edge.values["rss_bytes"] = process.memory_info().rss
            edge.values["threads"] = process.num_threads()
            if sys.platform != "win32":
                edge.values["fds"] = process.num_fds()
            else:
                edge.values["fds"] = process.num_handles()
                times = process.cpu_times()
                edge.totals["cpu_user_seconds"] = times.user
                edge.totals["cpu_system_seconds"] = times.system
                counters = process.io_counters()
                edge.totals["read_bytes"] = counters.read_bytes
                edge.totals["write_bytes"] = counters.write_bytes
        except Exception as exc:  # noqa: BLE001 - psutil raises its own errors and the system's: all mean absent
            edge.reasons.update({key: f"psutil: {exc}" for key in keys if key not in edge.values})
