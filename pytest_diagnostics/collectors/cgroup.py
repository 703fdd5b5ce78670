"""What this process' cgroups allow, and what they have counted."""

from __future__ import annotations

from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.cgroup import Allowance, throttling
from ..system.procfs import KeptFile
from ..system.sampling import FIRST, Answer, LocalCollector, Monotonic, Rates, share

_ABSENT_MEMORY = ("usage_bytes", "percent")
_THROTTLE = ("throttled_percent", "throttled_seconds", "throttled_periods_percent")


class CgroupCollector(LocalCollector):
    """Limits and counters of the cgroups of the watched process, of version 1, 2 or both.

    - ``version``: 1 or 2, of the memory controller
    - ``limit_cores``: the tightest CPU quota up the tree; None without one
    - ``throttled_percent``: percent of the time since the last tick in which the group that sets the quota
      was throttled; ``throttled_seconds``: the same in total; ``throttled_periods_percent``: percent of the
      quota's periods since the last tick that ran out: cpu.stat
    - ``limit_bytes``: the tightest memory limit up the tree; None without one
    - ``usage_bytes``, ``percent``: memory of the group that sets the limit (without one: of the own
      group), page cache included, in bytes and in percent of the limit: memory.current or
      memory.usage_in_bytes
    - ``oom_kills``: processes of the own group killed for want of memory, in total: memory.events or
      memory.oom_control
    - ``limit_hits``: how often the limit was hit: memory.events ``max`` or memory.failcnt
    - ``pids``, ``pids_limit``: processes and threads in the own group

    Limits are read every ten seconds. ``pid`` names the watched process (default: the calling one).
    """

    default_name = "cgroup"
    main_file = "self/cgroup"

    def __init__(
        self,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
        *,
        pid: int | None = None,
        clock: Monotonic | None = None,
        root: str = "",
    ) -> None:
        """See ``LocalCollector``; ``pid`` is the process whose groups are watched."""
        super().__init__(name, exception_handler, clock=clock, root=root)
        self._pid = pid
        self._allowance: Allowance | None = None
        self._files: dict[str, KeptFile] = {}
        self._rates = Rates()

    def try_out(self) -> None:
        """Find the groups."""
        reason = Allowance(self._pid, root=self._root).cgroup.reason
        if reason is not None:
            raise UnavailableError(reason)

    def start(self) -> None:
        """Find the groups and begin a new series of differences."""
        self.stop()
        self._allowance = Allowance(self._pid, root=self._root)

    def stop(self) -> object:
        """Close the files."""
        super().stop()
        self._kept.clear()
        self._files.clear()
        self._rates.forget()
        self._allowance = None
        return None

    def fill(self, answer: Answer, now: float) -> None:
        """Read the counters; the limits are at most ten seconds old."""
        if self._allowance is None:
            self.start()
        allowance = self._allowance or Allowance(self._pid, root=self._root)
        if allowance.cgroup.reason is not None:
            raise UnavailableError(allowance.cgroup.reason)
        allowance.refresh(now)
        memory = allowance.cgroup.tree("memory")
        answer.put("version", None if memory is None else memory.version, "there is no memory controller")
        quota, pids = allowance.quota, allowance.pids_limit
        answer.put("limit_cores", None if quota is None else quota.value, "no CPU quota is set")
        self._fill_throttling(answer, now, allowance)
        self._fill_memory(answer, allowance)
        self._fill_number(answer, "pids", allowance.cgroup.file("pids", "pids.current", "pids.current"))
        answer.put("pids_limit", None if pids is None else int(pids.value), "no limit of pids is set")

    def _fill_throttling(self, answer: Answer, now: float, allowance: Allowance) -> None:
        tree = allowance.cgroup.tree("cpu")
        if tree is None:
            answer.absent("there is no cpu controller", *_THROTTLE)
            return
        directory = tree.own if allowance.quota is None else allowance.quota.directory
        content = answer.read(self._file(f"{directory}/cpu.stat").read, *_THROTTLE)
        if content is None:
            self._rates.forget()
            return
        counted = throttling(content)
        answer.put("throttled_seconds", counted.seconds, "cpu.stat counts no throttling in this group")
        counters = {
            "seconds": counted.seconds,
            "periods": counted.periods,
            "throttled": counted.throttled_periods,
        }
        known = {name: float(value) for name, value in counters.items() if value is not None}
        grown, elapsed, reason = self._rates.differences(now, known)
        why = reason or ("cpu.stat counts no throttling in this group" if not known else FIRST)
        seconds = grown.get("seconds")
        answer.put("throttled_percent", None if seconds is None else share(seconds, elapsed), why)
        periods, throttled = grown.get("periods"), grown.get("throttled")
        if periods and throttled is not None:
            answer.data["throttled_periods_percent"] = share(throttled, periods)
        else:
            answer.absent("no period of a quota has passed" if grown else why, "throttled_periods_percent")

    def _fill_memory(self, answer: Answer, allowance: Allowance) -> None:
        limit, cgroup = allowance.memory_limit, allowance.cgroup
        answer.put("limit_bytes", None if limit is None else int(limit.value), "no memory limit is set")
        tree = cgroup.tree("memory")
        if tree is None:
            answer.absent("there is no memory controller", *_ABSENT_MEMORY, "oom_kills", "limit_hits")
            return
        directory = tree.own if limit is None else limit.directory
        name = "memory.current" if tree.version == 2 else "memory.usage_in_bytes"
        usage = self._fill_number(answer, "usage_bytes", f"{directory}/{name}")
        if usage is None or limit is None:
            why = "no memory limit is set" if limit is None else answer.reasons["usage_bytes"]
            answer.absent(why, "percent")
        else:
            answer.data["percent"] = share(usage, limit.value)
        kills = answer.read(self._file(cgroup.oom_file() or "").read, "oom_kills")
        if kills is not None:
            count = parsers.field(kills, b"oom_kill ")
            answer.put("oom_kills", count, "this kernel's cgroup counts no OOM kills")
        if tree.version == 1:
            self._fill_number(answer, "limit_hits", f"{tree.own}/memory.failcnt")
        elif kills is None:
            answer.absent(answer.reasons["oom_kills"], "limit_hits")
        else:
            answer.put("limit_hits", parsers.field(kills, b"max "), "memory.events does not count it")

    def _fill_number(self, answer: Answer, key: str, path: str | None) -> int | None:
        if path is None:
            answer.absent(f"there is no {key} controller", key)
            return None
        content = answer.read(self._file(path).read, key)
        if content is None:
            return None
        text = content.strip()
        value = int(text) if text.isdigit() else None
        answer.put(key, value, f"{path} holds no number")
        return value

    def _file(self, path: str) -> KeptFile:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = self.keep(path.removeprefix(self._root))
        return file
