"""Opening files where others may interfere: tests that mock ``os``, odd umasks, planted symlinks."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import ClassVar

from ..core.errors import RecordingError

_PLAIN = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOINHERIT", 0)
    | getattr(os, "O_BINARY", 0)
)


class Files:
    """The system calls, bound when this module was imported: a test's mock of ``os`` cannot reach them."""

    open = staticmethod(os.open)
    write = staticmethod(os.write)
    close = staticmethod(os.close)
    fstat = staticmethod(os.fstat)
    lstat = staticmethod(os.lstat)
    mkdir = staticmethod(os.mkdir)
    replace = staticmethod(os.replace)
    unlink = staticmethod(os.unlink)
    urandom = staticmethod(os.urandom)
    read = staticmethod(os.read)
    lseek = staticmethod(os.lseek)
    names = staticmethod(os.listdir)
    _SEPARATOR: ClassVar[str] = os.sep
    # Not on Windows before Python 3.13, where modes mean little.
    _fchmod = getattr(os, "fchmod", None)

    CREATE: ClassVar[int] = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN
    APPEND: ClassVar[int] = os.O_WRONLY | os.O_APPEND | _PLAIN
    # A FIFO in the place of a file must not block whoever reads the run.
    READ: ClassVar[int] = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _PLAIN

    @classmethod
    def parent(cls, path: str) -> str:
        """Return the directory that an absolute path is in."""
        return path.rpartition(cls._SEPARATOR)[0] or cls._SEPARATOR

    @classmethod
    def set_mode(cls, fd: int, mode: int) -> None:
        """Set the mode of an open file, where there are modes."""
        if cls._fchmod is not None:
            cls._fchmod(fd, mode)


def create_file(path: str, data: bytes | bytearray = b"", mode: int = 0o600) -> None:
    """Create a file exclusively and write ``data``; the mode is what was asked for, whatever the umask."""
    fd = Files.open(path, Files.CREATE, mode)
    try:
        try:
            Files.set_mode(fd, mode)
            view = memoryview(data)
            while view:
                view = view[Files.write(fd, view) :]
        finally:
            Files.close(fd)
    except BaseException:
        # What is there in part would be read as a part: of a shard, as a process that died.
        with contextlib.suppress(OSError):
            Files.unlink(path)
        raise


def make_directory(path: str, mode: int = 0o700) -> bool:
    """Create one directory with exactly this mode; False when a directory is there already.

    Whatever else is there, a symlink to a directory included, is an OSError that says so.
    """
    try:
        Files.mkdir(path, mode)
    except FileExistsError:
        found = Files.lstat(path).st_mode
        if stat.S_ISDIR(found):
            return False
        if stat.S_ISLNK(found):
            raise OSError(errno.ELOOP, "is a symbolic link", path) from None
        raise NotADirectoryError(errno.ENOTDIR, "is not a directory", path) from None
    # mkdir obeys the umask: 0777 would leave a directory that its owner cannot enter.
    fd = Files.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _PLAIN) if os.name == "posix" else -1
    if fd >= 0:
        try:
            Files.set_mode(fd, mode)
        finally:
            Files.close(fd)
    return True


def make_directories(path: str) -> None:
    """Create a directory and those above it that are missing, each private to its owner."""
    try:
        make_directory(path)
    except FileNotFoundError:
        parent = Files.parent(path)
        if parent == path:
            raise
        make_directories(parent)
        make_directory(path)


def read_file(path: str, limit: int) -> bytes:
    """Return a regular file's content, at most ``limit`` bytes; follows no symlink and waits for no FIFO."""
    fd = Files.open(path, Files.READ)
    try:
        if not stat.S_ISREG(Files.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        parts = []
        while limit > 0 and (part := Files.read(fd, min(limit, 1 << 20))):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        Files.close(fd)


def write_atomically(path: str | os.PathLike[str], data: bytes | bytearray) -> None:
    """Write a file so that a reader sees the old content or the new, never a part; RecordingError if not.

    Nothing is synced to the disk: the promise is to survive the death of a process, not a loss of power.
    """
    target = os.fspath(path)
    temporary = f"{target}.{Files.urandom(6).hex()}.tmp"
    try:
        try:
            create_file(temporary, data)
            Files.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                Files.unlink(temporary)
            raise
    except OSError as exc:
        raise RecordingError(f"cannot write {target}: {error_text(exc)}") from exc


def error_name(exc: OSError) -> str:
    """Return the symbolic name of an error, such as ENOSPC."""
    return errno.errorcode.get(exc.errno or 0, "unknown error")


def error_text(exc: OSError) -> str:
    """Return an error in words, with its symbolic name."""
    return f"{exc.strerror or exc} ({error_name(exc)})"
