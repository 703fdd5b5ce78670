"""How long the thread that runs the tests waited for a CPU, as of a moment and not as of the read of it."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from typing import ClassVar

from .edges import Clocks, Count, Raw

#: Process, thread, and how often the process' threads gave up a CPU or were taken off one.
Switches = tuple[int, int, int, int]


class Waits:
    """Reads /proc/thread-self/schedstat when it may have changed: a thread waits only when it was switched.

    Where the CPUs are busy, most waiting falls on whatever runs most, and among short tests these are our own
    edges. That is no test's: neither what is waited before a window's first clock nor after its last one.
    """

    _getpid = staticmethod(os.getpid)
    _get_ident = staticmethod(threading.get_ident)
    _clock_ns = staticmethod(time.clock_gettime_ns)
    _getrusage = staticmethod(resource.getrusage)
    _SELF: ClassVar[int] = resource.RUSAGE_SELF
    _MONOTONIC: ClassVar[int] = time.CLOCK_MONOTONIC
    _CPU: ClassVar[int] = time.CLOCK_PROCESS_CPUTIME_ID
    _THREAD_CPU: ClassVar[int] = time.CLOCK_THREAD_CPUTIME_ID
    #: How often it is read again when the thread is switched while it reads.
    _TRIES: ClassVar[int] = 4
    #: Reading a few clocks takes less, even on a machine that others share; being switched, more. Where a
    #: sandbox answers system calls it may take more: so many times as long as it takes there.
    _UNDISTURBED_NS: ClassVar[int] = 30_000
    _UNDISTURBED_TIMES: ClassVar[int] = 8

    def __init__(self, read: Callable[[], Raw]) -> None:
        """``read`` returns the content of the calling thread's schedstat, or why it has none.

        The thread that makes this is the one whose waits are told.
        """
        self._read_raw = read
        self._thread = self._get_ident()
        self._known_at: Switches | None = None
        self._known: Count = "never read"
        self._undisturbed_ns = max(self._UNDISTURBED_NS, self._UNDISTURBED_TIMES * self._least_ns())

    def begin(self) -> tuple[Count, resource.struct_rusage, Clocks]:
        """Return the nanoseconds waited until a window begins, what getrusage says, and when that is: now."""
        for _ in range(self._TRIES):
            since_ns = self._clock_ns(self._MONOTONIC)
            own = self._getrusage(self._SELF)
            switches = self._switches(own)
            fresh = switches is None or switches != self._known_at
            if fresh:
                self._known, self._known_at = self._read(), switches
            cpu_ns, thread_ns = self._clock_ns(self._CPU), self._clock_ns(self._THREAD_CPU)
            clocks = Clocks(self._clock_ns(self._MONOTONIC), cpu_ns, thread_ns)
            # A switch behind the count of switches shows in the time that has passed since.
            if switches is None or (not fresh and clocks.wall_ns - since_ns < self._undisturbed_ns):
                break
        return self._known, own, clocks

    def end(self) -> Clocks:
        """Return when a window ends, which is now."""
        wall_ns = self._clock_ns(self._MONOTONIC)
        return Clocks(wall_ns, self._clock_ns(self._CPU), self._clock_ns(self._THREAD_CPU))

    def until(self, clocks: Clocks, own: resource.struct_rusage) -> Count:
        """Return the nanoseconds waited up to a moment that ``end`` has just told.

        ``own`` is what getrusage said right after.
        """
        switches = self._switches(own)
        if switches is not None and switches == self._known_at:
            return self._known
        waited = self._read()
        ran = self._clock_ns(self._THREAD_CPU) - clocks.thread_ns
        behind = self._clock_ns(self._MONOTONIC) - clocks.wall_ns - ran
        if behind < self._undisturbed_ns:
            self._known, self._known_at = waited, switches
            return waited
        # Taken off its CPU after the window's end. It does not sleep here: what it did not run, it waited.
        self._known_at = None
        return waited if isinstance(waited, str) else waited - behind

    def _least_ns(self) -> int:
        """Return what getrusage and the clocks take at least."""
        taken = []
        for _ in range(5):
            since_ns = self._clock_ns(self._MONOTONIC)
            self._getrusage(self._SELF)
            self.end()
            taken.append(self._clock_ns(self._MONOTONIC) - since_ns)
        return min(taken)

    def _switches(self, own: resource.struct_rusage) -> Switches | None:
        """Return what changes with every switch; None where it is not counted, as in some sandboxes."""
        if not own.ru_nvcsw:
            return None
        return self._getpid(), self._get_ident(), own.ru_nvcsw, own.ru_nivcsw

    def _read(self) -> Count:
        if self._get_ident() != self._thread:
            return "read on another thread"
        raw = self._read_raw()
        if isinstance(raw, str):
            return raw
        try:
            return int(raw.split()[1])
        except (IndexError, ValueError):
            return "/proc/thread-self/schedstat has no second number"
