"""How long the thread that runs the tests waited for a CPU, as of a moment and not as of the read of it."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from typing import ClassVar

from .edges import Count, Raw

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
    _THREAD_CPU: ClassVar[int] = time.CLOCK_THREAD_CPUTIME_ID
    #: How often it is read again when the thread is switched while it reads.
    _TRIES: ClassVar[int] = 3

    def __init__(self, read: Callable[[], Raw]) -> None:
        """``read`` returns the content of the calling thread's schedstat, or why it has none.

        The thread that makes this is the one whose waits are told.
        """
        self._read_raw = read
        self._thread = self._get_ident()
        self._known_at: Switches | None = None
        self._known: Count = "never read"

    def before(self) -> tuple[Count, resource.struct_rusage]:
        """Return the nanoseconds waited until now, where a window begins, and what getrusage says now."""
        own = self._getrusage(self._SELF)
        for _ in range(self._TRIES):
            switches = self._switches(own)
            if switches is not None and switches == self._known_at:
                break
            self._known, self._known_at = self._read(), switches
            if switches is None:
                break
            own = self._getrusage(self._SELF)
        return self._known, own

    def until(self, own: resource.struct_rusage, wall_ns: int, thread_ns: int) -> Count:
        """Return the nanoseconds waited up to a moment that has just passed.

        For a window that ended then: ``wall_ns`` on CLOCK_MONOTONIC, ``thread_ns`` on the thread's CPU clock;
        ``own`` is what getrusage said right after.
        """
        switches = self._switches(own)
        if switches is not None and switches == self._known_at:
            return self._known
        waited = self._read()
        if switches is None or self._switches(self._getrusage(self._SELF)) == switches:
            self._known, self._known_at = waited, switches
            return waited
        # Switched after the window's end: it does not sleep here, so what it did not run it waited.
        self._known_at = None
        behind = (self._clock_ns(self._MONOTONIC) - wall_ns) - (self._clock_ns(self._THREAD_CPU) - thread_ns)
        return waited if isinstance(waited, str) else waited - max(0, behind)

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
