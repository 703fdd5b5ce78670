"""Writing a shard: one file a process, one write a record, no descriptor kept.

A test may close every descriptor, mock ``os``, fill the disk, remove the directory or kill the process. What
was appended before stays whole, what could not be written is kept in memory for a while, and whatever was
lost is counted and named in ``problems``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Protocol

from ..core.clock import Pid, SystemClock
from ..core.errors import RecordingError
from ..core.model import Record
from . import records
from .files import Files, create_file, error_name, error_text, make_directories
from .journal import Cap, Faults

DEFAULT_CAP_BYTES = 200 * 1024 * 1024


class Shard(Protocol):
    """Takes records: a file or, where no directory can be written, memory."""

    @property
    def problems(self) -> list[str]:
        """Sentences that name every loss and every fault met."""

    @property
    def written(self) -> int:
        """Records that are where they belong."""

    @property
    def bytes(self) -> int:
        """Bytes of these records."""

    def append(self, kind: str, fields: Mapping[str, object]) -> bool:
        """Take one record; True when it is where it belongs. Never raises."""

    def gather(self, kind: str, fields: Mapping[str, object]) -> None:
        """Take one record that is to be written with others, by the next ``flush`` or ``append``."""

    def flush(self) -> None:
        """Write what is gathered, and what had to be kept in memory. Never raises."""

    def close(self, end: Mapping[str, object] | None = None) -> None:
        """Write what is left, then the ``end`` record with these fields if any. Never raises."""


class ShardWriter:
    """Appends records to a file of its own. Safe from threads; inert in a forked child."""

    queue_bytes: ClassVar[int] = 8 * 1024 * 1024
    retry_seconds: ClassVar[float] = 0.25

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        cap_bytes: int = DEFAULT_CAP_BYTES,
        founds_run: bool = True,
    ) -> None:
        """Create the file; RecordingError when it is there already or cannot be created.

        ``founds_run`` says whether a run's directory that was removed is made again: not by a process that
        may outlive the run, which would bring back what somebody cleared away.
        """
        # A test may change the working directory.
        self.path = os.path.abspath(os.fspath(path))
        self.written = 0
        self.bytes = 0
        self._pid = Pid.current()
        self._clock = SystemClock()
        # Re-entrant: a signal handler may append while the thread it interrupted holds the lock.
        self._lock = threading.RLock()
        self._cap = Cap(cap_bytes)
        self._faults = Faults()
        #: What is written together, by one write.
        self._gathered: list[bytes] = []
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._retry_at = 0.0
        self._torn = False
        self._founds_run = founds_run
        self._recreated = False
        self._header = b""
        self._end = b""
        self._closed = False
        try:
            self._refuse_links()
            create_file(self.path)
        except OSError as exc:
            raise RecordingError(f"cannot create {self.path}: {error_text(exc)}") from exc

    @property
    def problems(self) -> list[str]:
        """Sentences that name every loss and every fault met."""
        return self._sentences(closed=self._closed)

    @property
    def unwritten(self) -> list[bytes]:
        """The lines that are in memory only."""
        with self._lock:
            return [*self._queue, *self._gathered]

    @property
    def outline(self) -> list[bytes]:
        """The first and the last line of the file, for whoever finds that it cannot be read."""
        with self._lock:
            return [line for line in (self._header, self._end) if line and line not in self._queue]

    def append(self, kind: str, fields: Mapping[str, object]) -> bool:
        """Write one record; True when the kernel has it. Lets KeyboardInterrupt pass."""
        line = self._line(kind, fields)
        if line is None:
            return False
        with self._lock:
            self._write_gathered()
            if kind == "run" and not self._header:
                self._header = line
            elif kind == "end":
                self._end = line
            if self._queue:
                self._enqueue(line)
                if self._clock.monotonic() >= self._retry_at:
                    self._drain()
                return not self._queue
            return self._put([line]) == 1 or self._enqueue(line)

    def gather(self, kind: str, fields: Mapping[str, object]) -> None:
        """Take one record that is written with others, by whatever writes next."""
        line = self._line(kind, fields)
        if line is not None:
            with self._lock:
                self._gathered.append(line)

    def flush(self) -> None:
        """Write what is gathered, and what had to be kept in memory if that is possible now."""
        if (self._gathered or self._queue) and self._pid == Pid.current():
            with self._lock:
                self._write_gathered()
                self._drain()

    def _line(self, kind: str, fields: Mapping[str, object]) -> bytes | None:
        """Return a record's line; None when it is not to be written, or cannot be."""
        if self._pid != Pid.current() or self._closed:
            return None
        if kind == "result" and not self._cap.admits(str(fields.get("collector")), self.bytes):
            return None
        return _encoded(kind, fields, self._faults)

    def _write_gathered(self) -> None:
        lines, self._gathered = self._gathered, []
        if lines:
            done = 0 if self._queue else self._put(lines)
            for line in lines[done:]:
                self._enqueue(line)

    def close(self, end: Mapping[str, object] | None = None) -> None:
        """Write what is left, then the ``end`` record if one is given; a closed writer takes no more."""
        if self._pid != Pid.current() or self._closed:
            return
        with self._lock:
            self._write_gathered()
            self._drain()
            if end is not None:
                self.append("end", self._told(end))
                self._drain()
                if self._queue:
                    # What it met itself on its way to the file is told by the copy in memory.
                    self._end, _ = records.encode_leniently("end", self._told(end))
                    self._queue[-1] = self._end
            self._closed = True

    def _told(self, end: Mapping[str, object]) -> dict[str, object]:
        return {
            **end,
            "monotonic": self._clock.monotonic(),
            "written": self.written,
            "bytes": self.bytes,
            "problems": _together(end, self._sentences(closed=True)),
        }

    def _sentences(self, *, closed: bool) -> list[str]:
        return self._faults.sentences(waiting=len(self._queue), closed=closed) + self._cap.sentences()

    def _put(self, lines: Sequence[bytes]) -> int:
        """Write lines to the file, which is opened for them and closed at once; return how many are there."""
        # A record that was cut short is left behind as one broken line.
        ended = b"\n" if self._torn else b""
        data = ended + b"".join(lines)
        try:
            fd = Files.open(self.path, Files.APPEND)
        except FileNotFoundError:
            return self._put(lines) if self._recreate() else 0
        except OSError as exc:
            return self._failed(exc)
        try:
            count = Files.write(fd, data)
        except OSError as exc:
            return self._failed(exc)
        finally:
            self._release(fd)
        left, done = count - len(ended), 0
        # A record that lacks only its line end is whole: written again it would be there twice.
        while done < len(lines) and left >= len(lines[done]) - 1:
            self.bytes += len(lines[done])
            left -= len(lines[done])
            done += 1
        self.written += done
        # Nothing but the leading line end may have gone out: the file then still ends in one.
        self._torn = left != 0
        if done < len(lines):
            self._retry_at = self._clock.monotonic() + self.retry_seconds
            self._faults.met("ENOSPC", "only part of a record fitted on the disk", self.written)
        return done

    def _release(self, fd: int) -> None:
        try:
            Files.close(fd)
        except OSError as exc:
            # EBADF: the test closed every descriptor between our two calls. EIO: NFS tells here.
            self._faults.met(error_name(exc), f"closing failed: {exc.strerror}", self.written)

    def _failed(self, exc: OSError) -> bool:
        self._retry_at = self._clock.monotonic() + self.retry_seconds
        self._faults.met(error_name(exc), exc.strerror or str(exc), self.written)
        return False

    def _recreate(self) -> bool:
        """Make the file again, once: whoever removes it twice does not want it."""
        if self._recreated:
            return self._failed(FileNotFoundError(2, "the file was removed again"))
        if not self._founds_run:
            try:
                Files.lstat(Files.parent(Files.parent(self.path)))
            except OSError as exc:
                return self._failed(exc)
        self._recreated = True
        self._faults.removed = self.written - bool(self._header)  # the header is written again
        try:
            self._refuse_links()
            make_directories(Files.parent(self.path))
            create_file(self.path, self._header)
        except OSError as exc:
            return self._failed(exc)
        self.written = 1 if self._header else 0
        self.bytes = len(self._header)
        self._torn = False
        return True

    def _refuse_links(self) -> None:
        """Raise OSError when the run's directory, or its shards', was replaced by a link."""
        shards = Files.parent(self.path)
        for directory in (Files.parent(shards), shards):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISLNK(Files.lstat(directory).st_mode):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _enqueue(self, line: bytes) -> bool:
        self._queue.append(line)
        self._queued_bytes += len(line)
        self._faults.kept += 1
        while self._queued_bytes > self.queue_bytes:
            self._queued_bytes -= len(self._queue.popleft())
            self._faults.dropped += 1
        return False

    def _drain(self) -> None:
        while self._queue and self._put([self._queue[0]]):
            self._queued_bytes -= len(self._queue.popleft())


class MemoryShard:
    """Keeps the encoded lines where no directory can be written, the newest when they are too many."""

    def __init__(self, name: str, *, limit_bytes: int = 64 * 1024 * 1024) -> None:
        """``name`` is what a shard's file would be called, without its ending."""
        self.name = name
        self.written = 0
        self.bytes = 0
        self._limit = limit_bytes
        self._pid = Pid.current()
        self._lock = threading.RLock()
        self._faults = Faults()
        self._header = b""
        self._lines: deque[bytes] = deque()
        self._closed = False

    @property
    def lines(self) -> list[bytes]:
        """The lines as a file would hold them."""
        with self._lock:
            return [self._header, *self._lines] if self._header else list(self._lines)

    @property
    def problems(self) -> list[str]:
        """Sentences that name every loss."""
        sentences = self._faults.sentences(waiting=0, closed=True)
        if self._faults.dropped:
            limit = self._limit / 1024 / 1024
            sentences[0] = (
                f"more than {limit:.0f} MiB recorded in memory: {self._faults.dropped} oldest records dropped"
            )
        return sentences

    def append(self, kind: str, fields: Mapping[str, object]) -> bool:
        """Keep one record."""
        if self._pid != Pid.current() or self._closed:
            return False
        line = _encoded(kind, fields, self._faults)
        if line is None:
            return False
        with self._lock:
            self.written += 1
            self.bytes += len(line)
            if kind == "run" and not self._header:
                self._header = line  # without its clock anchor nothing else could be placed in time
                return True
            self._lines.append(line)
            while self.bytes > self._limit and len(self._lines) > 1:
                self.bytes -= len(self._lines.popleft())
                self.written -= 1
                self._faults.dropped += 1
        return True

    def gather(self, kind: str, fields: Mapping[str, object]) -> None:
        """Keep one record."""
        self.append(kind, fields)

    def flush(self) -> None:
        """Do nothing: every record is where it belongs."""

    def close(self, end: Mapping[str, object] | None = None) -> None:
        """Keep the ``end`` record if one is given, then take no more."""
        if end is not None:
            told: dict[str, object] = {
                "monotonic": SystemClock().monotonic(),
                "written": self.written,
                "bytes": self.bytes,
            }
            told["problems"] = _together(end, self.problems)
            self.append("end", {**end, **told})
        self._closed = True


def _encoded(kind: str, fields: Mapping[str, object], faults: Faults) -> bytes | None:
    """Return a record's line, or None after noting why there is none."""
    try:
        line, replaced = records.encode_leniently(kind, fields)
    except Exception as exc:  # noqa: BLE001 - a value's own __str__ or __iter__ may raise anything
        faults.refused(kind, exc)
        return None
    if replaced:
        faults.replaced += 1
    return line


def _together(end: Mapping[str, object], problems: list[str]) -> list[object]:
    """Return the problems that the owner of a shard tells at its end, and the shard's own."""
    told = end.get("problems")
    return [*(told if isinstance(told, list) else ()), *problems]


class ShardSink:
    """The sink through which a manager writes to a shard, which may be shared and is not closed here."""

    #: A result says when its call began and what it took.
    wants_executions = False

    def __init__(self, shard: Shard) -> None:
        """Write to ``shard``."""
        self._shard = shard
        #: Called in the manager's thread when the results of a tick are written.
        self.settled: Callable[[], None] | None = None

    def write(self, record: Record) -> None:
        """Write one record of a manager, if its kind is worth a line."""
        written = records.from_record(record)
        if written is not None and written[0] == "result":
            self._shard.gather(*written)
        elif written is not None:
            self._shard.append(*written)

    def settle(self) -> None:
        """Write the results of a tick together."""
        self._shard.flush()
        if self.settled is not None:
            self.settled()

    def close(self) -> None:
        """Write what had to be kept in memory; whoever made the shard closes it."""
        self._shard.flush()
