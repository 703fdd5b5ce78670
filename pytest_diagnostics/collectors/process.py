"""The watched process and its children."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..core.clock import Pid
from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers, tree
from ..system.family import Seen, Shares, descendants, of_workers
from ..system.glance import Alone, Glance
from ..system.parsers import ProcessStat
from ..system.procfs import Files, reason_of
from ..system.sampling import Answer, LocalCollector, Monotonic, Rates, Speeds

if TYPE_CHECKING:
    import psutil

NOBODY = "no worker is there"
_IO = ("read_bytes", "write_bytes", "read_bytes_per_sec", "write_bytes_per_sec")
_STORAGE = parsers.Fields((b"read_bytes:", b"write_bytes:"))
_TREE = (
    "children",
    "children_rss_bytes",
    "children_cpu_percent",
    "children_left_out",
    "per_child",
    "tree_rss_bytes",
    "tree_cpu_percent",
    "tree_threads",
)


class ProcessCollector(LocalCollector):
    """The watched process and all its descendants, from /proc/<pid>.

    - ``pid``, ``rss_bytes``, ``threads``: stat
    - ``cpu_percent``: CPU since the last tick, in percent of what the process may use (``limit_cores``:
      quota, cpuset, affinity): the process' CPU clock, exact to the nanosecond
    - ``memory_percent``: resident memory in percent of ``limit_bytes`` (the tightest cgroup limit, at most
      the machine's memory)
    - ``fds``: open descriptors, fd
    - ``read_bytes``, ``write_bytes``: fetched from and sent to storage since it began; with ``_per_sec``:
      since the last tick: io
    - ``children``, ``children_rss_bytes``, ``children_cpu_percent``: of all descendants together
    - ``tree_rss_bytes``, ``tree_cpu_percent``, ``tree_threads``: the process and all descendants; memory that
      they share counts for each
    - ``per_child``: {"<name>[<pid>]": {rss_bytes, cpu_percent, threads}} of the twenty largest;
      ``children_left_out``: how many more there were. The name alone, never the command line
    - ``workers``: with pytest-xdist {"gw0": {pid, rss_bytes, cpu_percent, threads, processes}}: each worker
      together with its descendants; ``processes`` counts them all
    - ``scope``: "process"

    Descendants that lived between two ticks only, and those whose parent ended, are not seen. Off Linux,
    psutil. ``pid`` names the watched process (default: the one that collects).
    """

    default_name = "process"
    plain = True
    main_file = "self/stat"
    takes_glance = True
    MAX_CHILDREN = 20
    #: A tree of more processes than this is walked every five seconds only; its members are read each tick.
    LARGE_TREE = 50
    LARGE_TREE_SECONDS = 5.0

    _TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    _PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    if hasattr(time, "clock_gettime"):
        _clock_gettime = staticmethod(time.clock_gettime)

    def __init__(
        self,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
        *,
        pid: int | None = None,
        clock: Monotonic | None = None,
        root: str = "",
    ) -> None:
        """See ``LocalCollector``; ``pid`` is the watched process."""
        super().__init__(name, exception_handler, clock=clock, root=root)
        self._wanted = pid
        self._pid = 0
        self._born: int | None = None
        self._descendants: list[int] = []
        self._walk_again = float("-inf")
        #: What a glance saw of the watched process, for a first collection that has ``as_of``.
        self._alone: Alone | None = None
        self._cpu, self._io_rates = Rates(), Speeds("read_bytes", "write_bytes")
        #: Name -> process id of the workers to tell apart. Whoever sets it may change it at any time.
        self.workers: Mapping[str, int] = MappingProxyType({})

    def try_out(self) -> None:
        """Read the watched process' stat."""
        pid = self._wanted or Pid.current()
        if parsers.process_stat(Files.read_short(f"{self._root}/proc/{pid}/stat")) is None:
            raise UnavailableError(f"/proc/{pid}/stat has an unknown form")

    def start(self) -> None:
        """Open the watched process' files and begin a new series of differences."""
        self.stop()
        self._pid = self._wanted or Pid.current()
        if not self.raw:
            return
        self._proc = f"{self._root}/proc"
        directory = f"/proc/{self._pid}"
        self._stat = self.keep(f"{directory}/stat", b"%d (" % self._pid)
        self._io = self.keep(f"{directory}/io", b"rchar: ")
        self._fd = self.keep(f"{directory}/fd")
        self._children = tree.Children(f"{self._proc}/{self._pid}")
        self._allowance = self.allowance(self._wanted)

    def stop(self) -> object:
        """Close the files."""
        if self._pid and self.raw:
            self._children.close()
        super().stop()
        self._kept.clear()
        self._pid, self._born = 0, None
        self._walk_again = float("-inf")
        self._cpu.forget()
        self._io_rates.forget()
        return None

    def borrow(self, glance: Glance, now: float) -> float | None:
        """Take what was seen of the watched process, if that is all of its tree."""
        self._alone = glance.alone
        if self._alone is None or self._alone.pid != self._pid:
            return None
        return super().borrow(glance, now)

    def fill(self, answer: Answer, now: float) -> None:
        """Read the watched process, then walk its tree."""
        if not self._pid:
            self.start()
        stat = parsers.process_stat(self._stat.read())
        if stat is None:
            raise UnavailableError(f"{self._stat.path} has an unknown form")
        if self._born is None:
            self._born = stat.start_ticks
        elif stat.start_ticks != self._born:
            raise UnavailableError(f"process {self._pid} has ended; its number names another process now")
        self._allowance.refresh(now)
        rss = stat.rss_pages * self._PAGE
        answer.data.update(pid=self._pid, rss_bytes=rss, threads=stat.threads, scope="process")
        answer.put("limit_cores", self._allowance.cores, "the number of CPUs is not known")
        limit = self._allowance.memory_bytes
        answer.put("limit_bytes", limit, "the machine's memory is not known")
        percent = round(100 * rss / limit, 2) if limit else None
        answer.put("memory_percent", percent, "the machine's memory is not known")
        fds = answer.read(self._count_fds, "fds")
        if fds is not None:
            answer.data["fds"] = fds
        self._fill_io(answer, now)
        self._fill_tree(answer, now, Seen(self._pid, stat, self._cpu_seconds(self._pid, stat)))

    def fill_portable(self, answer: Answer, now: float) -> None:
        """Ask psutil, with differences of our own."""
        import psutil

        process = psutil.Process(self._wanted or Pid.current())
        answer.data.update(pid=process.pid, scope="process")
        cores, total = os.cpu_count() or 1, psutil.virtual_memory().total
        answer.data.update(limit_cores=cores, limit_bytes=total)
        family = self._portable_family(process)
        own = family[0].stat
        rss = own.rss_pages * self._PAGE
        answer.data.update(rss_bytes=rss, threads=own.threads, memory_percent=round(100 * rss / total, 2))
        try:
            answer.data["fds"] = process.num_fds()
        except (AttributeError, psutil.Error) as exc:
            answer.absent(f"psutil: {exc}", "fds")
        try:
            io = process.io_counters()  # not on macOS
        except (AttributeError, psutil.Error) as exc:
            answer.absent(f"psutil: {exc}", *_IO)
        else:
            self._put_io(answer, now, {"read_bytes": io.read_bytes, "write_bytes": io.write_bytes})
        self._put_family(answer, now, family, cores)

    def _portable_family(self, process: psutil.Process) -> list[Seen]:
        """Return a process, which has to be there, and its descendants."""
        import psutil

        family = []
        for member in (process, *process.children(recursive=True)):
            try:
                times = member.cpu_times()
                stat = ProcessStat(
                    name=member.name(),
                    ppid=member.ppid(),
                    cpu_ticks=0,
                    threads=member.num_threads(),
                    start_ticks=int(member.create_time() * 1000),
                    rss_pages=member.memory_info().rss // self._PAGE,
                )
            except psutil.Error:
                if member is process:
                    raise
                continue  # a child that ended meanwhile, or one that is none of our business
            family.append(Seen(member.pid, stat, times.user + times.system))
        return family

    def _count_fds(self) -> int:
        if self._fd.early is not None:
            return int(self._fd.early)
        # The directory's size since Linux 6.2, 0 before.
        return self._fd.stat().st_size or len(Files.names(self._fd.path))

    def _fill_io(self, answer: Answer, now: float) -> None:
        content = answer.read(self._io.read, *_IO)
        if content is None:
            self._io_rates.forget()
        else:
            self._put_io(answer, now, _STORAGE.of(content))

    def _put_io(self, answer: Answer, now: float, counters: dict[str, int]) -> None:
        for key in ("read_bytes", "write_bytes"):
            answer.put(key, counters.get(key), "it is not counted here")
        self._io_rates.put(now, counters, answer)

    def _fill_tree(self, answer: Answer, now: float, own: Seen) -> None:
        family = [own]
        try:
            if now >= self._walk_again:
                self._descendants = self._walk(own.stat.threads)
                large = len(self._descendants) > self.LARGE_TREE
                self._walk_again = now + (self.LARGE_TREE_SECONDS if large else 0.0)
            if self._descendants:
                family += self._read(self._descendants)
        except (UnavailableError, OSError) as exc:
            # The process' own figures; those of a tree that could not be read stay absent.
            self._put_family(answer, now, family, self._allowance.cores)
            answer.absent(reason_of(exc), *_TREE)
        else:
            self._put_family(answer, now, family, self._allowance.cores)

    def _read(self, pids: list[int]) -> list[Seen]:
        found = []
        for pid in pids:
            try:
                stat = parsers.process_stat(Files.read_short(f"{self._proc}/{pid}/stat"))
            except UnavailableError:
                continue  # ended since the walk
            if stat is not None:
                found.append(Seen(pid, stat, self._cpu_seconds(pid, stat)))
        return found

    def _walk(self, threads: int) -> list[int]:
        """Return all descendants: over the children of each thread, or over the whole of /proc."""
        if self.as_of is not None:
            return []
        try:
            level = self._children.pids(threads)
        except UnavailableError:
            return descendants(self._pid, self._proc)
        found: list[int] = []
        while level:
            # A process that was reparented during the walk may be met twice.
            level = [pid for pid in level if pid not in found]
            found += level
            level = [child for pid in level for child in tree.children_of(pid, self._proc)]
        return found

    def _cpu_seconds(self, pid: int, stat: ProcessStat) -> float:
        """Return the CPU time of a process: its clock, or its ticks where the clock is not to be had."""
        if self.as_of is not None and self._alone is not None:
            return self._alone.cpu_seconds
        if self._root:
            return stat.cpu_ticks / self._TICKS
        try:
            # clock_getcpuclockid(3): the complement of the pid, and 2 for the scheduler's clock.
            return self._clock_gettime((~pid << 3) | 2)
        except (AttributeError, OSError):
            return stat.cpu_ticks / self._TICKS

    def _put_family(self, answer: Answer, now: float, family: list[Seen], cores: float | None) -> None:
        shares = Shares(self._cpu, now, family, cores)
        why, data = shares.why, answer.data
        own, children = family[0], family[1:]
        alone, pages, threads = shares.of([own]), own.stat.rss_pages, own.stat.threads
        data["children_rss_bytes"] = 0
        per_child: dict[str, dict[str, float | None]] = {}
        if children:
            data["children_rss_bytes"] = sum([child.stat.rss_pages for child in children]) * self._PAGE
            pages = sum([member.stat.rss_pages for member in family])
            threads = sum([member.stat.threads for member in family])
            children.sort(key=lambda child: child.stat.rss_pages, reverse=True)
            for child in children[: self.MAX_CHILDREN]:
                per_child[f"{child.stat.name}[{child.pid}]"] = {
                    "rss_bytes": child.stat.rss_pages * self._PAGE,
                    "cpu_percent": shares.of([child]),
                    "threads": child.stat.threads,
                }
        data["children"] = len(children)
        data["children_left_out"] = max(0, len(children) - self.MAX_CHILDREN)
        data["per_child"] = per_child
        data["tree_rss_bytes"] = pages * self._PAGE
        data["tree_threads"] = threads
        answer.put("cpu_percent", alone, why)
        answer.put("children_cpu_percent", shares.of(children), why)
        answer.put("tree_cpu_percent", shares.of(family) if children else alone, why)
        if self.workers:
            data["workers"] = of_workers(dict(self.workers), family, shares, self._PAGE)


class WorkersCollector(ProcessCollector):
    """What the process collector says of ``workers``, without a process that all of them descend from.

    - ``workers``: as of the process collector
    - ``tree_rss_bytes``, ``tree_cpu_percent``, ``tree_threads``: of all of them together
    - ``limit_cores``, ``limit_bytes``: what the process that collects may use
    """

    default_name = "process"
    plain = True

    def __init__(self, workers: Mapping[str, int]) -> None:
        """``workers`` is name -> process id and may change at any time."""
        super().__init__()
        self.workers = workers

    def start(self) -> None:
        """Begin a new series of differences."""
        self.stop()
        self._pid = Pid.current()
        if self.raw:
            self._proc = f"{self._root}/proc"
            self._allowance = self.allowance()

    def stop(self) -> object:
        """Forget what was counted."""
        self._pid = 0
        self._cpu.forget()
        return None

    def fill(self, answer: Answer, now: float) -> None:
        """Walk the tree of each worker."""
        if not self._pid:
            self.start()
        self._allowance.refresh(now)
        answer.put("limit_cores", self._allowance.cores, "the number of CPUs is not known")
        answer.put("limit_bytes", self._allowance.memory_bytes, "the machine's memory is not known")
        found: list[int] = []
        level = list(dict(self.workers).values())
        while level:
            level = [pid for pid in dict.fromkeys(level) if pid not in found]
            found += level
            level = [child for pid in level for child in tree.children_of(pid, self._proc)]
        family = self._read(found)
        self._put_together(answer, family, Shares(self._cpu, now, family, self._allowance.cores))

    def fill_portable(self, answer: Answer, now: float) -> None:
        """Ask psutil."""
        import psutil

        cores, total = os.cpu_count() or 1, psutil.virtual_memory().total
        answer.data.update(limit_cores=cores, limit_bytes=total)
        found: dict[int, Seen] = {}
        for pid in dict(self.workers).values():
            try:
                found.update((member.pid, member) for member in self._portable_family(psutil.Process(pid)))
            except psutil.Error:
                continue  # it has ended
        family = list(found.values())
        self._put_together(answer, family, Shares(self._cpu, now, family, cores))

    def _put_together(self, answer: Answer, family: list[Seen], shares: Shares) -> None:
        answer.data["scope"] = "process"
        answer.data["tree_rss_bytes"] = sum(member.stat.rss_pages for member in family) * self._PAGE
        total = shares.of(family) if family else None
        answer.put("tree_cpu_percent", total, shares.why if family else NOBODY)
        answer.data["tree_threads"] = sum(member.stat.threads for member in family)
        answer.data["workers"] = of_workers(dict(self.workers), family, shares, self._PAGE)
