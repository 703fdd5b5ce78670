"""Whether the main thread of another process waits for the interpreter's lock (the GIL)."""

from __future__ import annotations

import os
import random

from ..core.errors import UnavailableError
from ..core.threads import Flag
from ..system.procfs import Files

#: How often a thread is looked at, and how far apart: one that waits for the lock every other time only, as
#: a poll beside a busy thread does, is seen elsewhere in one of them.
LOOKS = 8
LOOK_SECONDS = 0.004
#: A thread that runs while it is looked at tells nothing; it does for some microseconds of 5 ms.
RUNNING_LOOKS = 4


class InterpreterLock:
    """The lock is known by where it lies: in the data of the interpreter, not in memory that was allocated.

    A thread that waits for it sleeps in a futex of that place; one that waits for an event, a queue or
    another thread sleeps in one on the heap, as often, and uses little more of the CPU.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._places: list[tuple[int, int]] | None = None
        self._pause = Flag()

    def is_awaited(self) -> bool | None:
        """Return whether the thread waits whenever it is looked at; None where that may not be read.

        Reading where a thread sleeps takes the right to trace its process: that of root, or of the same
        user where Yama does not restrict it.
        """
        running = 0
        for look in range(LOOKS):
            if look:
                self._pause.wait(random.uniform(0.5, 1.5) * LOOK_SECONDS)
            try:
                word = Files.read_short(f"/proc/{self._pid}/syscall").split()
                places = self._interpreter()
            except (UnavailableError, OSError):
                return None
            if not places or not word:
                return None
            if len(word) < 2:
                running += 1
                continue
            address = int(word[1], 16)
            if not any(start <= address < end for start, end in places):
                return False
        return running <= RUNNING_LOOKS

    def _interpreter(self) -> list[tuple[int, int]]:
        """Return where the program or library that holds the interpreter lies, with its data."""
        if self._places is None:
            self._places = places_in(Files.read(f"/proc/{self._pid}/maps"))
        return self._places


def places_in(maps: bytes) -> list[tuple[int, int]]:
    """Return the mappings of an interpreter in /proc/<pid>/maps, and the nameless ones right behind them.

    These hold the part of the data that begins as zeros.
    """
    found: list[tuple[int, int]] = []
    for line in maps.splitlines():
        fields = line.split(None, 5)
        start, end = (int(part, 16) for part in fields[0].split(b"-"))
        if len(fields) > 5:
            name = os.path.basename(fields[5])
            ours = name.startswith((b"python", b"libpython"))
        else:
            ours = bool(found) and found[-1][1] == start
        if ours:
            found.append((start, end))
    return found
