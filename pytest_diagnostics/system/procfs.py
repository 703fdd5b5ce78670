"""Files of the kernel, kept open and read without trusting the descriptor's number.

A kept descriptor makes a read of a /proc file three to ten times cheaper, and it survives what tests do
to ``open``, to the working directory or to the limit of open files. It does not survive a test that closes
descriptors it does not own, and whose number the next ``open`` takes over: every read therefore checks the
identity of what it read, and every close that of what it is about to close.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import ClassVar

from ..core.errors import UnavailableError

if sys.platform != "win32":
    import fcntl
    import resource

#: Where fewer descriptors are allowed none are kept: up to some 25 are, in a recorder.
ROOM = 64

# Functions are kept in class attributes: mocks, freezegun and pyfakefs replace module attributes only.


def explain(path: str, exc: OSError) -> Exception:
    """Return the exception that says what an OSError at ``path`` means, with the path in its message."""
    if exc.errno in (errno.ENOENT, errno.ENOTDIR):
        return UnavailableError(f"{path} does not exist")
    if exc.errno == errno.ESRCH:
        return UnavailableError(f"{path} is gone: its process or thread has ended")
    if exc.errno in (errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL, errno.EIO):
        return UnavailableError(f"{path} is not supported by this kernel ({exc.strerror})")
    # OSError's constructor picks the subclass, PermissionError among them, by the number.
    return OSError(exc.errno, exc.strerror, path)


def printable(text: str) -> str:
    """Return ``text`` so that it can be written: a path that is no UTF-8 shows its bytes as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def reason_of(exc: Exception) -> str:
    """Return an exception's reason in one line, for the ``reasons`` of a result."""
    if isinstance(exc, OSError) and exc.filename is not None:
        return printable(f"{exc.filename}: {exc.strerror}")
    return printable(str(exc) or type(exc).__name__)


class Account:
    """What reading costs those who are watched, to be left out of what is said of them.

    Adding is not atomic over threads: good to a sample of another thread. An object, because a class whose
    attributes change makes the interpreter forget, each time, what it knows of all of them.
    """

    __slots__ = ("chars_read", "chars_written", "kept")

    def __init__(self) -> None:
        #: Characters that this package read and wrote, which the kernel counts in /proc/self/io as
        #: everybody else's.
        self.chars_read = 0
        self.chars_written = 0
        #: How many descriptors are kept in this process, by whomever: a count of open ones leaves them out.
        self.kept = 0


#: The process' one account.
ACCOUNT = Account()


def has_room() -> bool:
    """Return whether this process may have so many descriptors that it does not lack those that are kept."""
    if sys.platform == "win32":
        return True
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft == resource.RLIM_INFINITY or soft >= ROOM


class KeptFile:
    """One kernel file, or directory, that is opened once and read often.

    ``prefix`` is what the content always begins with, and no other file's does: it stands for the identity,
    which costs a call more. ``chunked`` is for files that the kernel hands out record by record, at most a
    page at a time (net/dev, vmstat, diskstats, mountinfo, children): it is the length of the longest record.
    A chunk into which another one would have fitted is the last. The others come whole when the buffer is
    large enough.
    """

    #: False opens each file for each use, for processes whose tests count descriptors: three to ten times
    #: as dear.
    keeps: ClassVar[bool] = True

    #: Above the numbers that ``closerange(3, 256)`` and its like go through.
    _HIGH: ClassVar[int] = 512
    #: The smallest page there is. Where pages are larger, the last chunk costs a read more.
    _PAGE: ClassVar[int] = 4096
    #: What a read says when the number is no longer ours, and a new descriptor helps.
    _LOST: ClassVar[frozenset[int]] = frozenset({errno.EBADF, errno.ESTALE, errno.EISDIR, errno.ESPIPE})

    _open = staticmethod(os.open)
    _close = staticmethod(os.close)
    _fstat = staticmethod(os.fstat)
    _getpid = staticmethod(os.getpid)
    _RDONLY: ClassVar[int] = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    _WRONLY: ClassVar[int] = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0)
    if sys.platform != "win32":
        _pread = staticmethod(os.pread)
        _write = staticmethod(os.write)
        _fcntl = staticmethod(fcntl.fcntl)
        _DUPFD: ClassVar[int] = fcntl.F_DUPFD_CLOEXEC

    __slots__ = (
        "_chunked",
        "_fd",
        "_flags",
        "_full",
        "_identity",
        "_opened_by",
        "_own",
        "_prefix",
        "_size",
        "early",
        "path",
    )

    def __init__(
        self,
        path: str,
        prefix: bytes = b"",
        *,
        chunked: int = 0,
        writable: bool = False,
        notice_fork: bool = True,
        size: int = 4096,
    ) -> None:
        """Remember the file; the first use opens it.

        /proc/self names the process that opened it: after a fork the child would read its parent. Such a
        file notices that itself, unless ``notice_fork`` says that its owner does, and closes it.
        """
        self.path = path
        self._prefix = prefix
        self._chunked = chunked
        self._flags = self._WRONLY if writable else self._RDONLY
        self._size = size
        #: A read of more than this may not have been the last.
        self._full = max(0, self._PAGE - chunked) if chunked else size - 1
        self._own = notice_fork and "self/" in path
        self._opened_by = 0
        self._fd = -1
        self._identity: tuple[int, int] = (0, 0)
        #: What was read of it before, for the next read while it is not open.
        self.early: bytes | None = None

    def read(self) -> bytes:
        """Return the whole content. Raises UnavailableError or OSError, with the path in the message."""
        fd = self._fd
        if fd >= 0 and (not self._own or self._opened_by == self._getpid()):
            try:
                data = self._pread(fd, self._size, 0)
                size = len(data)
                if size > self._full:
                    data = self._read_on(fd, data)
                    size = len(data)
                ACCOUNT.chars_read += size
                if self._prefix:
                    if data.startswith(self._prefix):
                        return data
                else:
                    found = self._fstat(fd)
                    if found.st_ino == self._identity[1] and found.st_dev == self._identity[0]:
                        return data
            except OSError as exc:
                if exc.errno not in self._LOST:
                    raise explain(self.path, exc) from None
        return self._read_anew()

    def stat(self) -> os.stat_result:
        """Return fstat of the kept descriptor: for directories, whose size or links are counts."""
        fd = self._fd
        if fd >= 0 and (not self._own or self._opened_by == self._getpid()):
            try:
                found = self._fstat(fd)
            except OSError as exc:
                if exc.errno not in self._LOST:
                    raise explain(self.path, exc) from None
            else:
                if found.st_ino == self._identity[1] and found.st_dev == self._identity[0]:
                    return found
        found = self.open()
        self._let_go()
        return found

    def write(self, data: bytes) -> None:
        """Write ``data``, after making sure that the descriptor is still ours."""
        if self.keeps:
            self.stat()
        else:
            self.open()
        try:
            ACCOUNT.chars_written += self._write(self._fd, data)
        except OSError as exc:
            raise explain(self.path, exc) from None
        finally:
            self._let_go()

    def open(self) -> os.stat_result:
        """Open the file anew, and return its fstat; what was kept is closed if it is still ours."""
        self.close()
        try:
            fd = self._open(self.path, self._flags)
        except OSError as exc:
            raise explain(self.path, exc) from None
        try:
            high = self._fcntl(fd, self._DUPFD, self._HIGH)
        except OSError:
            high = -1  # the limit of open files is too low: a low number is better than none
        if high >= 0:
            self._close(fd)
            fd = high
        found = self._fstat(fd)
        self._identity = (found.st_dev, found.st_ino)
        self._opened_by = self._getpid()
        self._fd = fd
        ACCOUNT.kept += 1
        return found

    def close(self) -> None:
        """Close the descriptor, unless somebody else closed it and its number now names another file."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        ACCOUNT.kept -= 1
        try:
            found = self._fstat(fd)
            if (found.st_dev, found.st_ino) == self._identity:
                self._close(fd)
        except OSError:
            pass  # closed by somebody else; there is nothing of ours left to close

    def lend(self, content: bytes) -> bool:
        """Have the next read return ``content``; False when that cannot be this file's."""
        if self._fd >= 0 or not content.startswith(self._prefix):
            return False
        self.early = content
        return True

    def _read_anew(self) -> bytes:
        early, self.early = self.early, None
        if early is not None:
            return early
        self.open()
        try:
            data = self._pread(self._fd, self._size, 0)
            if len(data) > self._full:
                data = self._read_on(self._fd, data)
        except OSError as exc:
            self.close()
            raise explain(self.path, exc) from None
        ACCOUNT.chars_read += len(data)
        if not data.startswith(self._prefix):
            self.close()
            raise UnavailableError(f"{self.path} does not begin with {self._prefix.decode()!r}")
        self._let_go()
        return data

    def _let_go(self) -> None:
        """Close what was opened for this use alone."""
        if not self.keeps:
            self.close()

    def _read_on(self, fd: int, data: bytes) -> bytes:
        while True:
            more = self._pread(fd, self._size, len(data))
            data += more
            if len(more) <= self._full if self._chunked else not more:
                break
        if not self._chunked:
            self._size = 2 * len(data)  # so that the next read is one call
            self._full = self._size - 1
        return data

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r} fd={self._fd}>"


class Files:
    """Reads of files that are not worth keeping open, by functions that no mock reaches."""

    _open = staticmethod(os.open)
    _close = staticmethod(os.close)
    _read = staticmethod(os.read)
    _listdir = staticmethod(os.listdir)
    _stat = staticmethod(os.stat)

    @classmethod
    def exists(cls, path: str) -> bool:
        """Return what os.path.exists does, which calls os.stat by a name that a test may have mocked."""
        try:
            cls._stat(path)
        except OSError:
            return False
        return True

    @classmethod
    def read(cls, path: str, size: int = 65536) -> bytes:
        """Return the content of a small file. Raises UnavailableError or OSError with the path."""
        try:
            fd = cls._open(path, KeptFile._RDONLY)
        except OSError as exc:
            raise explain(path, exc) from None
        try:
            data = cls._read(fd, size)
            more = data
            while more:
                more = cls._read(fd, size)
                data += more
        except OSError as exc:
            raise explain(path, exc) from None
        finally:
            cls._close(fd)
        ACCOUNT.chars_read += len(data)
        return data

    @classmethod
    def read_short(cls, path: str) -> bytes:
        """Return the content of a file of one line, with one read."""
        try:
            fd = cls._open(path, KeptFile._RDONLY)
        except OSError as exc:
            raise explain(path, exc) from None
        try:
            data = cls._read(fd, 4096)
        except OSError as exc:
            raise explain(path, exc) from None
        finally:
            cls._close(fd)
        ACCOUNT.chars_read += len(data)
        return data

    @classmethod
    def names(cls, path: str) -> list[str]:
        """Return the names in a directory. Raises UnavailableError or OSError with the path."""
        try:
            return cls._listdir(path)
        except OSError as exc:
            raise explain(path, exc) from None
