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

#: Of what was appended since the last look, the end suffices: tests follow each other.
TAIL_BYTES = 64 * 1024
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
    ended: bool = False
    #: Its shard is gone: what it wrote last, which may have been its end, nobody knows.
    removed: bool = False
    _offset: int = 0
    _inode: int = 0

    @property
    def running_since(self) -> float | None:
        """When the running test began, CLOCK_MONOTONIC."""
        return None if self.running is None else number(self.running, "monotonic")

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
            if not self.removed and (status.st_ino, status.st_size) == (self._inode, self._offset):
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
            begin = max(self._offset, size - TAIL_BYTES)
            Files.lseek(fd, begin, os.SEEK_SET)
            data = Files.read(fd, TAIL_BYTES)
        except OSError:
            return
        finally:
            Files.close(fd)
        whole_lines = data.rpartition(b"\n")[0]
        if whole_lines:
            self._offset = begin + len(whole_lines) + 1
            self._take(whole_lines)

    def _take(self, data: bytes) -> None:
        for line in reversed(data.split(b"\n")):
            if line.startswith(_END):
                self.ended, self.running = True, None
                return
            if line.startswith(_PHASE) and _TEARDOWN in line and _AMENDS not in line:
                self.running = None
                return
            if line.startswith(_TEST):
                with suppress(records.RecordError):
                    self.running = records.decode(line)
                    return


class Follower:
    """All processes of a run that write here."""

    def __init__(self, directory: str) -> None:
        """``directory`` is that of the shards."""
        self._directory = directory
        self._modified = -1
        self._wall_ns = time.time_ns
        self.processes: dict[str, Followed] = {}

    def read_on(self) -> list[Followed]:
        """Take in what was appended; return the processes that are new."""
        new = []
        with suppress(OSError):
            modified = os.stat(self._directory).st_mtime_ns
            if modified != self._modified:
                # What is made within the same tick of a coarse clock does not change the time again.
                settled = self._wall_ns() - modified > SETTLED_NS
                self._modified = modified if settled else -1
                new = self._look_around()
        for followed in self.processes.values():
            if not followed.ended:
                followed.read_on()
        return new

    def began_test(self, pid: int) -> float | None:
        """Return when a process began its running test; None between tests."""
        for followed in self.processes.values():
            if followed.pid == pid and followed.running is not None:
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
            new.append(followed)
        return new
