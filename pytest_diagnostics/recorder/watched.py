"""A process watched from outside: when it did not run and why, how much it held, and how it ended."""

from __future__ import annotations

import os
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ..core.clock import SystemClock
from ..core.errors import UnavailableError
from ..core.model import JsonValue
from ..storage.alive import start_ticks
from ..system import parsers
from ..system.cgroup import Cgroup
from ..system.procfs import Files, KeptFile
from .follow import Follower
from .lock import InterpreterLock
from .scheduled import Scheduled, counted_between

#: Shorter stretches are not told of.
NOTABLE_SECONDS: dict[str, float] = {"stopped": 0.3, "starved": 1.0, "throttled": 1.0, "gil": 1.0}
#: The share of a stretch for which the main thread must have waited for a CPU.
WAITING_SHARE = 0.5
#: A thread that waits for the interpreter's lock wakes every switch interval to ask for it: measured on
#: CPython 3.10 to 3.13, 180 to 198 times a second, 90 to 170 where neighbours keep it from a CPU.
SWITCH_SECONDS = 0.005
GIL_WAKES = (80.0, 210.0)
#: It ran for 15 to 45 microseconds each time, up to a hundredth of a second altogether. Waiting for 5 ms in
#: ``Event.wait`` (47 to 98) or ``queue.get`` (78 to 130) differs by no more than another machine does.
GIL_RUN_SHARE = 0.1
#: What a stall has begun to look like: so many wakes a second, or this share of the time without a CPU.
ODD_WAKES = 15.0
ODD_SHARE = 0.1
#: Where it cannot be seen what the thread waits for, only what is surely too little for a loop in Python.
GIL_SECONDS_A_WAKE = 30e-6


#: States of a process that has ended.
_ENDED = (b"Z", b"X")
#: No second run, none waited, no CPU given.
_NOTHING = (0.0, 0.0, 0)


class Stall(NamedTuple):
    """A stretch in which a process did not get to run."""

    kind: str
    start: float
    end: float
    evidence: dict[str, JsonValue]


@dataclass
class _Open:
    kind: str
    start: float
    end: float
    wait: float = 0.0
    run: float = 0.0
    throttled: float = 0.0
    wakes: int = 0

    def began(self, wrote: float | None) -> float:
        """Return since when a stretch lasted of which this is the first look."""
        if self.kind == "stopped":
            return self.start if wrote is None else min(wrote, self.end)
        return self.end - (self.wakes * SWITCH_SECONDS if self.kind == "gil" else self.wait)

    def closed(self) -> Stall:
        seconds = self.end - self.start
        evidence: dict[str, JsonValue] = {"start": self.start, "seconds": round(seconds, 6)}
        if self.kind != "stopped":
            evidence.update(wait_seconds=round(self.wait, 6), run_seconds=round(self.run, 6))
        if self.kind == "throttled":
            evidence["throttled_seconds"] = round(self.throttled, 6)
        if self.kind == "gil":
            evidence["wakes_per_second"] = round(self.wakes / seconds, 1) if seconds > 0 else None
        return Stall(self.kind, self.start, self.end, evidence)


def is_odd(seconds: float, wait: float, wakes: int) -> bool:
    """Whether a stall may have begun in a stretch of which it is not the most part yet."""
    if wait >= ODD_SHARE * seconds:
        return True
    return ODD_WAKES * seconds <= wakes <= GIL_WAKES[1] * seconds


class Watched:
    """One process of the run. Linux; elsewhere only whether it is there is known."""

    _PAGE: ClassVar[int] = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

    def __init__(self, pid: int, role: str, started: int | None = None, pidfd: int = -1) -> None:
        """Begin to watch; ProcessLookupError when it is gone, or when its number is another's by now.

        With the ``pidfd`` of a process that is gone, how it ended can be asked all the same.
        """
        self.pid = pid
        self.role = role
        # Held first, compared then: the number cannot be given to another process in between.
        self._pidfd = pidfd if pidfd >= 0 else _pidfd(pid)
        self._started = start_ticks(pid) if pidfd < 0 else started
        if started is not None and self._started != started:
            self._let_go()
            raise ProcessLookupError(f"process {pid} is another one by now")
        self._stat = KeptFile(f"/proc/{pid}/stat", b"%d (" % pid)
        self._scheduled = Scheduled(pid)
        self._groups = Cgroup(pid)
        self._lock = InterpreterLock(pid)
        self._counted = self._scheduled.read()
        self._monotonic = SystemClock().monotonic
        self._looked: float | None = None
        self._open: _Open | None = None
        #: Whether nothing at the last look was like the beginning of a stall.
        self.is_calm = True
        #: The latest two contents of its stat file before it ended, with their moments, the newest last:
        #: it may be read after the process has given its memory back and before it is a zombie.
        self._stats: tuple[tuple[float, bytes], ...] = ()
        self._kills_before = self._oom_kills()
        self.look()  # tells of no stretch, but of the memory held

    @staticmethod
    def missed(pid: int, role: str) -> dict[str, JsonValue]:
        """Return what is told of a process that had ended before anyone watched it."""
        told: dict[str, JsonValue] = {"pid": pid, "worker": role}
        told.update(exit_code=None, signal=None, source=None, last_rss_bytes=None, last_rss_monotonic=None)
        told.update(unknown="it had ended before the recorder could watch it", oom_kills={})
        return told

    def fileno(self) -> int:
        """Return the pidfd, which a poll finds readable once the process ended; -1 where there is none."""
        return self._pidfd

    def is_there(self) -> bool:
        """Whether the process has not ended; for systems without pidfd."""
        if self._started is not None:
            return start_ticks(self.pid) == self._started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped when last looked at."""
        return self._open is not None and self._open.kind == "stopped"

    def look(self, follower: Follower | None = None) -> Stall | None:
        """Compare with the last look; return the stretch that ended, if one did.

        The ``follower`` knows a moment at which the process ran for certain: the start of its test.
        """
        try:
            stat = self._stat.read()
        except (UnavailableError, OSError):
            return None
        # The name may hold anything: fields are counted from behind it. The first is the state.
        at = stat.rfind(b")") + 2
        state = stat[at : at + 1]
        before, self._counted = self._counted, self._scheduled.read()
        # After the read: who looks may have had to wait before it, for the same reason.
        since, self._looked = self._looked, self._monotonic()
        now = self._looked
        if state not in _ENDED:
            self._stats = (*self._stats[-1:], (now, stat))
        if since is None or now <= since:
            return None
        counted = _NOTHING if before == self._counted else counted_between(before, self._counted) or _NOTHING
        self.is_calm = counted is _NOTHING or not is_odd(now - since, *counted[1:])
        latest = self._stretch(state, since, now, counted)
        if latest is None and self._open is None:
            return None  # as nearly always
        if latest is not None and (self._open is None or self._open.kind != latest.kind):
            # It did not begin with the last look, and goes on: what was lost was lost at the end.
            wrote = None if follower is None else follower.began_test(self.pid)
            latest.start = max(since, latest.began(wrote))
        return self._extend(latest)

    def last_words(self) -> Stall | None:
        """Return the stretch that was open when the process ended."""
        return self._extend(None)

    def ending(self) -> dict[str, JsonValue]:
        """Return how the process ended, as far as the kernel tells; call it at once after the end.

        ``exit_code`` or ``signal`` with ``source`` zombie (field 52 of /proc/<pid>/stat, which only the same
        user reads truly) or pidfd (PIDFD_GET_INFO, Linux 6.15); else None, and ``unknown`` says why.
        """
        told = self.missed(self.pid, self.role)
        told["unknown"] = None
        status, source = self._zombie_status(), "zombie"
        if status is None:
            status, source = self._pidfd_status(), "pidfd"
        if status is None:
            told["unknown"] = (
                "its parent had taken its exit status already, and this kernel tells nobody else "
                "(PIDFD_GET_INFO needs Linux 6.15)"
            )
        else:
            told["source"] = source
            number = status & 0x7F
            if number:
                told["signal"] = _signal_name(number)
            else:
                told["exit_code"] = status >> 8 & 0xFF
        told.update(self._last_rss())
        after = self._oom_kills()
        told["oom_kills"] = {
            key: [count, after[key]] for key, count in self._kills_before.items() if key in after
        }
        return told

    def _last_rss(self) -> dict[str, JsonValue]:
        for moment, stat in reversed(self._stats):
            # Field 24, the state being 3.
            fields = stat.rpartition(b")")[2].split(None, 22)
            if len(fields) > 21 and int(fields[21]):
                return {"last_rss_bytes": int(fields[21]) * self._PAGE, "last_rss_monotonic": moment}
        return {"last_rss_bytes": None, "last_rss_monotonic": None}

    def close(self) -> None:
        """Close what is kept open."""
        self._let_go()
        self._stat.close()
        self._scheduled.close()

    # -- inside

    def _let_go(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _stretch(
        self, state: bytes, since: float, now: float, counted: tuple[float, float, int]
    ) -> _Open | None:
        """Return what kept the process from running since the last look; None when nothing did.

        ``counted`` are the seconds its main thread ran and waited for a CPU, and the times it was given one.
        """
        run, wait, wakes = counted
        seconds = now - since
        waited = wait >= WAITING_SHARE * seconds
        throttled = self._scheduled.throttled_until_now
        if waited or throttled:
            throttled = self._scheduled.throttled() - throttled
        if state in (b"T", b"t"):
            kind = "stopped"
        elif waited:
            kind = "throttled" if throttled >= 0.5 * wait else "starved"
        elif (
            GIL_WAKES[0] * seconds <= wakes <= GIL_WAKES[1] * seconds
            and run <= GIL_RUN_SHARE * seconds
            and self._waits_for_lock(run, wakes)
        ):
            kind = "gil"
        else:
            return None
        return _Open(kind, since, now, wait=wait, run=run, throttled=throttled, wakes=wakes)

    def _waits_for_lock(self, run: float, wakes: int) -> bool:
        """Whether the main thread waits for the interpreter's lock, as far as may be seen."""
        awaited = self._lock.is_awaited()
        if awaited is not None:
            return awaited
        if run > GIL_SECONDS_A_WAKE * wakes:
            return False
        try:
            return b"futex" in Files.read_short(f"/proc/{self.pid}/wchan")
        except (UnavailableError, OSError):
            return False

    def _extend(self, latest: _Open | None) -> Stall | None:
        """Go on with the open stretch if ``latest`` is of its kind; else return it, if it was notable."""
        current = self._open
        if current is not None and latest is not None and current.kind == latest.kind:
            current.end = latest.end
            current.run += latest.run
            current.wait += latest.wait
            current.throttled += latest.throttled
            current.wakes += latest.wakes
            return None
        self._open = latest
        if current is not None and current.end - current.start >= NOTABLE_SECONDS[current.kind]:
            return current.closed()
        return None

    def _zombie_status(self) -> int | None:
        try:
            stat = Files.read_short(f"/proc/{self.pid}/stat")
            owner = os.stat(f"/proc/{self.pid}").st_uid
        except (UnavailableError, OSError):
            return None
        fields = stat.rpartition(b")")[2].split()
        if fields[0] not in _ENDED or len(fields) < 50:
            return None
        if self._started is not None and int(fields[19]) != self._started:
            return None
        return int(fields[49]) if os.geteuid() in (owner, 0) else None

    def _pidfd_status(self) -> int | None:
        if self._pidfd < 0:
            return None
        import fcntl

        # struct pidfd_info: mask, cgroup id, eleven ids, exit code.
        info = bytearray(struct.pack("=QQ11Ii", _INFO_EXIT, 0, *[0] * 11, 0))
        try:
            fcntl.ioctl(self._pidfd, _GET_INFO, info)
        except OSError:
            return None
        fields = struct.unpack("=QQ11Ii", info)
        return int(fields[-1]) if fields[0] & _INFO_EXIT else None

    def _oom_kills(self) -> dict[str, int]:
        """Return the counters of processes killed for lack of memory: of the own group, of the machine."""
        found = {}
        path = self._groups.oom_file()
        for key, source, name in (("cgroup", path, b"oom_kill "), ("machine", "/proc/vmstat", b"oom_kill ")):
            if source is not None:
                with suppress(UnavailableError, OSError):
                    count = parsers.field(Files.read(source), name)
                    if count is not None:
                        found[key] = count
        return found


def _pidfd(pid: int) -> int:
    """Return a pidfd, -1 where there is none; ProcessLookupError when the process is gone."""
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        try:
            return os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except OSError:
            pass  # a kernel before 5.3, a filter of system calls, no descriptor left
    return -1


_INFO_EXIT = 1 << 3
#: _IOWR(0xFF, 11, struct pidfd_info), whose first version has 64 bytes.
_GET_INFO = 0xC040FF0B


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
