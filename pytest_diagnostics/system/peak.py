"""The peak of resident memory within an interval, exactly, on Linux.

The kernel keeps one high-water mark a process. Writing "5" to /proc/self/clear_refs sets it to the present
size at no cost (1 to 4 walk all page tables: never those). Two users of the mark would destroy each other's
intervals, pytest sessions nested in one process among them: so there is one owner a process, with a stack
of open intervals into which the mark is folded before every reset. As the reset also lowers ``ru_maxrss``,
the owner keeps the session's maximum.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import ClassVar

from ..core.errors import UnavailableError
from . import parsers
from .procfs import Files, KeptFile, reason_of

if sys.platform != "win32":
    import resource


class Interval:
    """An open stretch of time and the largest size seen in it so far."""

    __slots__ = ("exclude", "peak", "pid")

    def __init__(self, pid: int, exclude: bool) -> None:
        self.pid = pid
        #: True keeps this interval's peak out of the intervals around it.
        self.exclude = exclude
        self.peak = 0


class PeakOwner:
    """Owns the process' high-water mark. Use ``owner()``: there must never be two."""

    _getpid = staticmethod(os.getpid)
    _mmap = staticmethod(mmap.mmap)
    if sys.platform != "win32":
        _getrusage = staticmethod(resource.getrusage)
        _SELF: ClassVar[int] = resource.RUSAGE_SELF
    _TRIAL_BYTES: ClassVar[int] = 4 << 20

    def __init__(self) -> None:
        self._clear = KeptFile("/proc/self/clear_refs", writable=True, notice_fork=False)
        self._status = KeptFile("/proc/self/status", b"Name:", notice_fork=False)
        self._pid = 0
        self._open: list[Interval] = []
        self._session_peak = 0
        self._reason: str | None = None
        #: getrusage counts in what the process was before its last exec, which no reset lowers: it follows
        #: the mark above this size only. None: it does not follow at all.
        self._rusage_floor: int | None = None

    def unavailable(self) -> str | None:
        """Return why exact peaks cannot be had here, after one trial a process, or None."""
        pid = self._getpid()
        if pid != self._pid:
            self._pid = pid
            self._open = []  # intervals of the process that forked are not ours
            self._clear.close()
            self._status.close()
            self._reason = self._try_out()
        return self._reason

    def open(self, *, exclude: bool = False) -> Interval | None:
        """Begin an interval; None where ``unavailable`` says why."""
        return self.begin(exclude=exclude)[0]

    def begin(
        self, *, exclude: bool = False, maxrss: int | None = None, rss: int | None = None
    ) -> tuple[Interval | None, bool]:
        """Begin an interval; return it, and whether the mark was reset for it.

        ``maxrss`` is what getrusage says now, in KiB, and ``rss`` the present size in bytes, if the caller
        asked for them already. A mark that is not above the present size needs no reset: the interval's peak
        is at least that size, which the caller knows.
        """
        if self.unavailable() is not None:
            return None, False
        mark = self._mark() if maxrss is None else self._mark_from(maxrss)
        self._fold(mark)
        interval = Interval(self._pid, exclude)
        reset = rss is None or mark > rss
        if reset:
            self._reset()
        self._open.append(interval)
        return interval, reset

    def close(self, interval: Interval, maxrss: int | None = None) -> int | None:
        """End an interval and return its peak in bytes; None in a process that forked since.

        ``maxrss`` is what getrusage said at its end, in KiB, if the caller asked it already.
        """
        if self._getpid() != interval.pid or interval not in self._open:
            return None
        self._fold(self._mark() if maxrss is None else self._mark_from(maxrss))
        # Intervals are closed in reverse order, unless somebody forgot one inside: it ends here, too.
        del self._open[self._open.index(interval) :]
        if interval.exclude and self._open:
            self._reset()
        return interval.peak

    def session_peak_bytes(self) -> int | None:
        """Return the largest size that the process ever had, as ``ru_maxrss`` would say without resets."""
        if self.unavailable() is not None:
            return None
        mark = self._mark()
        self._session_peak = max(self._session_peak, mark)
        return self._session_peak

    def release(self) -> None:
        """Close the kept descriptors when no interval is open; the next use opens them again."""
        if not self._open:
            self._clear.close()
            self._status.close()

    def _fold(self, mark: int) -> None:
        if mark > self._session_peak:
            self._session_peak = mark
        for interval in reversed(self._open):
            if mark > interval.peak:
                interval.peak = mark
            if interval.exclude:
                break

    def _reset(self) -> None:
        self._clear.write(b"5")

    def _mark(self) -> int:
        return self._mark_from(self._getrusage(self._SELF).ru_maxrss)

    def _mark_from(self, maxrss: int) -> int:
        size = maxrss * 1024
        if self._rusage_floor is not None and size >= self._rusage_floor:
            return size
        return self._status_mark()

    def _status_mark(self) -> int:
        kilobytes = parsers.field(self._status.read(), b"VmHWM:")
        if kilobytes is None:
            raise UnavailableError("/proc/self/status has no VmHWM")
        return kilobytes * 1024

    def _try_out(self) -> str | None:
        """Trust the reset only after seeing the mark fall: some sandboxes take the write and do nothing."""
        if sys.platform != "linux":
            return "exact peaks need Linux's /proc/self/clear_refs"
        try:
            self._session_peak = self._status_mark()
            self._reset()
            low = self._status_mark()
            with self._mmap(-1, self._TRIAL_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
                for page in range(0, self._TRIAL_BYTES, mmap.PAGESIZE):
                    block[page] = 1
                high = self._status_mark()
            self._reset()
            after = self._status_mark()
            claimed = self._getrusage(self._SELF).ru_maxrss * 1024
        except (UnavailableError, OSError, ValueError) as exc:
            return f"exact peaks are not available: {reason_of(exc)}"
        if high - low < self._TRIAL_BYTES // 2 or high - after < self._TRIAL_BYTES // 2:
            return "the kernel's high-water mark does not follow resets here"
        # Equal: the mark speaks, now and whenever it is larger. A little more: only above it.
        little_more = claimed + 1 if claimed > after else claimed
        self._rusage_floor = little_more if claimed - after < 1 << 20 else None
        return None


class _Process:
    """The one owner. Pytest sessions nested in this process share it, whatever imported this module."""

    owner: ClassVar[PeakOwner | None] = None


def owner() -> PeakOwner:
    """Return the process' one owner."""
    if _Process.owner is None:
        _Process.owner = PeakOwner()
    return _Process.owner


def session_peak_bytes() -> int | None:
    """Return the largest resident size that this process ever had, in bytes, None where it is not known."""
    if _Process.owner is not None:
        return _Process.owner.session_peak_bytes()
    try:
        kilobytes = parsers.field(Files.read("/proc/self/status"), b"VmHWM:")
    except (UnavailableError, OSError):
        return None
    return None if kilobytes is None else kilobytes * 1024
