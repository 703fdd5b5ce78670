"""The exact figures of a window, and how they add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict, cast


class Usage(TypedDict, total=False):
    """Exact figures of one window, of the process that ran it; a key is absent when it could not be read."""

    wall_seconds: float  # CLOCK_MONOTONIC
    cpu_seconds: float  # CLOCK_PROCESS_CPUTIME_ID: all threads of the process
    cpu_user_seconds: float  # getrusage(RUSAGE_SELF) ru_utime
    cpu_system_seconds: float  # getrusage(RUSAGE_SELF) ru_stime
    children_cpu_seconds: float  # getrusage(RUSAGE_CHILDREN): children that were waited for in the window
    cpu_wait_seconds: float  # /proc/thread-self/schedstat field 2: runnable, but waiting for a CPU
    minor_faults: int  # ru_minflt
    major_faults: int  # ru_majflt
    voluntary_switches: int  # ru_nvcsw
    involuntary_switches: int  # ru_nivcsw
    read_bytes: int  # /proc/self/io read_bytes: fetched from storage
    write_bytes: int  # /proc/self/io write_bytes: sent to storage
    read_chars: int  # /proc/self/io rchar, less what our own edges read
    write_chars: int  # /proc/self/io wchar, less what our own edges wrote
    rss_bytes: int  # /proc/self/statm field 2, at the end of the window
    rss_change_bytes: int  # the same, end less start
    peak_rss_bytes: int  # the high-water mark within the window, after a reset by /proc/self/clear_refs
    fds: int  # open descriptors at the end, less those that this package keeps
    fds_change: int
    threads: int  # threads at the end
    threads_change: int
    children: int  # direct children at the end
    children_change: int
    throttled_seconds: float  # the cgroup's cpu.stat throttled time
    oom_kills: int  # the cgroup's memory.events oom_kill


#: Values at the end of a window; of several windows, the last one's count.
POINT = ("rss_bytes", "fds", "threads", "children")
#: Of several windows, the largest counts.
PEAK = ("peak_rss_bytes",)
#: What happened within a window; these add up. The changes may be negative.
CHANGES = ("rss_change_bytes", "fds_change", "threads_change", "children_change")
ADDITIVE = (
    "wall_seconds",
    "cpu_seconds",
    "cpu_user_seconds",
    "cpu_system_seconds",
    "children_cpu_seconds",
    "cpu_wait_seconds",
    "minor_faults",
    "major_faults",
    "voluntary_switches",
    "involuntary_switches",
    "read_bytes",
    "write_bytes",
    "read_chars",
    "write_chars",
    "throttled_seconds",
    "oom_kills",
    *CHANGES,
)
KEYS = (*ADDITIVE, *POINT, *PEAK)

_ADDITIVE = frozenset(ADDITIVE)
_CHANGES = frozenset(CHANGES)
_POINT = frozenset(POINT)


def total(usages: Iterable[Usage]) -> Usage:
    """Return the figures of several windows together, in their order.

    A sum or a peak is absent when one of the windows lacks it: half a sum would be a wrong number. A value
    at the end is the last window's.
    """
    parts = [cast("Mapping[str, float]", usage) for usage in usages]
    if not parts:
        return Usage()
    result: dict[str, float] = {}
    for key in KEYS:
        if key in _POINT:
            if key in parts[-1]:
                result[key] = parts[-1][key]
        elif all(key in part for part in parts):
            values = [part[key] for part in parts]
            result[key] = sum(values) if key in _ADDITIVE else max(values)
    return cast("Usage", result)


def add(first: Usage, second: Usage) -> Usage:
    """Return the figures of a window and of the one after it, together."""
    return total((first, second))


def subtract(usage: Usage, inner: Usage) -> Usage:
    """Return a window's figures without those of a window inside it.

    Sums are reduced, never below zero; values at the end stay; so does the peak, whose owner keeps the two
    apart. A sum that the inner window lacks is absent: what remains cannot be known.
    """
    outer = cast("Mapping[str, float]", usage)
    less = cast("Mapping[str, float]", inner)
    result: dict[str, float] = {}
    for key, value in outer.items():
        if key not in _ADDITIVE:
            result[key] = value
        elif key in less:
            remains = value - less[key]
            result[key] = remains if key in _CHANGES else max(remains, type(remains)(0))
    return cast("Usage", result)
