"""The children of a process on Linux, without a scan of every process of the machine."""

from __future__ import annotations

from ..core.errors import UnavailableError
from . import parsers
from .procfs import Files, KeptFile


class Children:
    """The direct children of one process, those that its other threads started among them."""

    def __init__(self, process: str) -> None:
        """``process`` is its directory: /proc/self or /proc/<pid>.

        The owner of a /proc/self closes this after a fork; the next use opens the child's.
        """
        self._process = process
        self._tasks = KeptFile(f"{process}/task", notice_fork=False)
        self._files: dict[str, KeptFile] = {}

    def threads(self) -> int:
        """Return how many threads the process has: its directory has one link each, besides "." and ".."."""
        threads = self._tasks.stat().st_nlink - 2
        if threads < 1:
            raise UnavailableError(f"{self._tasks.path} does not count threads by its links")
        return threads

    def raw(self, threads: int) -> bytes:
        """Return the pids, each followed by a blank. Costs 3 us a thread, 20 us when threads came or went.

        ``threads`` is how many the process has, as ``threads()`` says, or its stat. Raises UnavailableError
        where the kernel has no such file (CONFIG_PROC_CHILDREN).
        """
        if threads == len(self._files):
            try:
                if threads == 1:
                    for file in self._files.values():
                        return file.read()
                return b"".join([file.read() for file in self._files.values()])
            except UnavailableError:
                pass  # a thread ended and another one began: list them again
        return self._list_again()

    def pids(self, threads: int | None = None) -> list[int]:
        """Return the pids of the children; ``threads`` as for ``raw``, when it is known."""
        return [int(word) for word in self.raw(self.threads() if threads is None else threads).split()]

    def close(self) -> None:
        """Close what was kept."""
        for file in (self._tasks, *self._files.values()):
            file.close()
        self._files.clear()

    def _list_again(self) -> bytes:
        names = Files.names(f"{self._process}/task")
        for gone in self._files.keys() - names:
            self._files.pop(gone).close()
        content, failure = b"", None
        for name in names:
            file = self._files.get(name)
            if file is None:
                path = f"{self._process}/task/{name}/children"
                file = KeptFile(path, chunked=16, notice_fork=False)
            try:
                content += file.read()
            except UnavailableError as exc:
                failure = exc  # a thread that has ended meanwhile, or no such file in this kernel
                continue
            self._files[name] = file
        if not self._files:
            raise failure or UnavailableError(f"{self._process}/task lists no threads")
        return content


def children_of(pid: int, proc: str) -> list[int]:
    """Return a process' direct children without keeping anything; [] when it is gone.

    Other failures, such as a limit of open files, are raised: a tree that was read in part would be wrong.
    """
    found: list[int] = []
    try:
        threads = Files.names(f"{proc}/{pid}/task")
    except UnavailableError:
        return found
    for thread in threads:
        try:
            found += [int(word) for word in Files.read(f"{proc}/{pid}/task/{thread}/children").split()]
        except UnavailableError:
            continue  # the thread ended between the listing and the read
    return found


def parents(proc: str) -> dict[int, list[int]]:
    """Return parent -> children of the whole machine: the way without CONFIG_PROC_CHILDREN."""
    found: dict[int, list[int]] = {}
    for name in Files.names(proc):
        if not name.isdigit():
            continue
        try:
            stat = parsers.process_stat(Files.read_short(f"{proc}/{name}/stat"))
        except UnavailableError:
            continue  # ended meanwhile
        if stat is not None:
            found.setdefault(stat.ppid, []).append(int(name))
    return found
