"""Follows what the processes of a run write: which tests run, and which process said that it ended."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass

from ..core.model import JsonValue
from ..core.recording import Fields, number, text, whole
from ..storage import records
from ..storage.files import Files

#: Of what was appended since the last look, the end suffices: tests follow each other. Mostly a short one
#: does; the long one is read where that holds nothing that says which test runs.
TAIL_BYTES = 64 * 1024
SHORT_TAIL_BYTES = 8 * 1024
#: File systems note times in ticks of a clock: of milliseconds mostly, of two seconds at worst.
SETTLED_NS = 2_100_000_000
#: Shards of what only collects have no tests.
_NO_TESTS = ("recorder", "live")
_TEST = b'{"v":%d,"kind":"test"' % records.FORMAT_VERSION
_PHASE = b'{"v":%d,"kind":"phase"' % records.FORMAT_VERSION
_END = b'{"v":%d,"kind":"end"' % records.FORMAT_VERSION
_TEARDOWN = b'"when":"teardown"'
_AMENDS = b'"amends":true'


@dataclass
class Followed:
    """What is known of one process that runs tests."""

    path: str
    role: str
    pid: int
    #: The ``test`` record of the test that runs; None between tests.
    running: Fields | None = None
    #: When it began, CLOCK_MONOTONIC.
    running_since: float | None = None
    ended: bool = False
    #: Its shard is gone: what it wrote last, which may have been its end, nobody knows.
    removed: bool = False
    _offset: int = 0
    _inode: int = 0

    def told(self) -> dict[str, JsonValue] | None:
        """Return the running test for a record."""
        if self.running is None:
            return None
        return {
            "nodeid": text(self.running, "nodeid"),
            "worker": text(self.running, "worker", self.role),
            "pid": whole(self.running, "pid"),
            "occurrence": whole(self.running, "occurrence"),
            "attempt": whole(self.running, "attempt"),
            "started_monotonic": self.running_since,
        }

    def read_on(self) -> None:
        """Take in what was appended."""
        try:
            # Mostly nothing was: a look is cheaper than a read.
            status = Files.lstat(self.path)
            if status.st_size == self._offset and status.st_ino == self._inode and not self.removed:
                return
            self._inode = status.st_ino
            fd = Files.open(self.path, Files.READ)
        except FileNotFoundError:
            self.removed = True
            return
        except OSError:
            return
        self.removed = False
        try:
            size = Files.fstat(fd).st_size
            if size < self._offset:
                self._offset = 0  # removed and made again
            offset = self._offset
            for tail in (SHORT_TAIL_BYTES, TAIL_BYTES):
                begin = max(offset, size - tail)
                Files.lseek(fd, begin, os.SEEK_SET)
                data = Files.read(fd, tail)
                end = data.rfind(b"\n")
                if end > 0:
                    self._offset = begin + end + 1
                if self._take(data, end) or begin == offset:
                    return
        except OSError:
            return
        finally:
            Files.close(fd)

    def _take(self, data: bytes, end: int) -> bool:
        """Take in the lines before ``end``, the newest first; return whether one says which test runs."""
        while end > 0:
            start = data.rfind(b"\n", 0, end) + 1
            line, end = data[start:end], start - 1
            if line.startswith(_END):
                self.ended, self.running, self.running_since = True, None, None
                return True
            if line.startswith(_PHASE) and _TEARDOWN in line and _AMENDS not in line:
                self.running = self.running_since = None
                return True
            if line.startswith(_TEST):
                with suppress(records.RecordError):
                    self.running = records.decode(line)
                    self.running_since = number(self.running, "monotonic")
                    return True
        return False


class Follower:
    """All processes of a run that write here."""

    def __init__(self, directory: str) -> None:
        """``directory`` is that of the shards."""
        self._directory = directory
        self._modified = -1
        self._wall_ns = time.time_ns
        self.processes: dict[str, Followed] = {}
        #: Those that have not said that they ended.
        self.running: list[Followed] = []

    def read_on(self) -> list[Followed]:
        """Take in what was appended; return the processes that are new."""
        new: list[Followed] = []
        try:
            modified = os.stat(self._directory).st_mtime_ns
            if modified != self._modified:
                # What is made within the same tick of a coarse clock does not change the time again.
                settled = self._wall_ns() - modified > SETTLED_NS
                self._modified = modified if settled else -1
                new = self._look_around()
        except OSError:
            pass  # removed, or not reachable now: those that are known are read on
        for followed in self.running:
            followed.read_on()
            if followed.ended:
                self.running = [one for one in self.running if not one.ended]
        return new

    def began_test(self, pid: int) -> float | None:
        """Return when a process began its running test; None between tests."""
        for followed in self.running:
            if followed.pid == pid and followed.running_since is not None:
                return followed.running_since
        return None

    def _look_around(self) -> list[Followed]:
        new = []
        for name in os.listdir(self._directory):
            role, _, digits = name.removesuffix(".jsonl").rpartition("-")
            if name in self.processes or not name.endswith(".jsonl") or not digits.isdecimal():
                continue
            if role.endswith(_NO_TESTS):
                continue
            followed = Followed(os.path.join(self._directory, name), role, int(digits))
            self.processes[name] = followed
            self.running.append(followed)
            new.append(followed)
        return new
