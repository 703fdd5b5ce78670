"""The workers of a host on which nothing is their common parent: xdist's on another machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..system import tree
from ..system.cgroup import Allowance
from ..system.sampling import Answer
from .process import ProcessCollector, Seen, of_workers

NOBODY = "no worker is there"


class WorkersCollector(ProcessCollector):
    """What the process collector says of ``workers``, without a process that all of them descend from.

    - ``workers``: as of the process collector
    - ``tree_rss_bytes``, ``tree_cpu_percent``, ``tree_threads``: of all of them together
    - ``limit_cores``, ``limit_bytes``: what the process that collects may use
    """

    default_name = "process"

    def __init__(self, workers: Mapping[str, int]) -> None:
        """``workers`` is name -> process id and may change at any time."""
        super().__init__()
        self.workers = workers

    def start(self) -> None:
        """Begin a new series of differences."""
        self.stop()
        self._pid = os.getpid()
        if self.raw:
            self._proc = f"{self._root}/proc"
            self._allowance = Allowance(None, root=self._root)

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
        percent, why = self._shares(now, family, self._allowance.cores)
        self._put_together(answer, family, percent, why)

    def fill_portable(self, answer: Answer, now: float) -> None:
        """Ask psutil."""
        import psutil

        cores, total = os.cpu_count() or 1, psutil.virtual_memory().total
        answer.data.update(limit_cores=cores, limit_bytes=total)
        family: list[Seen] = []
        for pid in dict(self.workers).values():
            try:
                family += self._portable_family(psutil.Process(pid))
            except psutil.Error:
                continue  # it has ended
        percent, why = self._shares(now, family, cores)
        self._put_together(answer, family, percent, why)

    def _put_together(
        self, answer: Answer, family: list[Seen], percent: Callable[[list[Seen]], float | None], why: str
    ) -> None:
        answer.data["scope"] = "process"
        answer.data["tree_rss_bytes"] = sum(member.stat.rss_pages for member in family) * self._PAGE
        answer.put("tree_cpu_percent", percent(family) if family else None, why if family else NOBODY)
        answer.data["tree_threads"] = sum(member.stat.threads for member in family)
        answer.data["workers"] = of_workers(dict(self.workers), family, percent, self._PAGE)
