"""What this process' cgroups allow, and what they have counted."""

from __future__ import annotations

from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.cgroup import Allowance, Limited, Tree, throttling
from ..system.procfs import KeptFile, printable, reason_of
from ..system.sampling import FIRST, Answer, LocalCollector, Monotonic, Rates, share

_MEMORY = ("usage_bytes", "percent", "oom_kills", "limit_hits")
_EVENTS = parsers.Fields((b"max ", b"oom_kill "))
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

    Limits are read every ten seconds, and what the group had no file for is looked for again then.
    ``pid`` names the watched process (default: the calling one).
    """

    default_name = "cgroup"
    plain = True
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
        self._readings = -1
        self._files: dict[str, KeptFile] = {}
        self._missing: dict[str, str] = {}
        self._fixed = Answer()
        self._watched: dict[str, KeptFile] = {}
        self._throttling, self._events = parsers.Memo(throttling), parsers.Memo(_EVENTS.of)
        self._rates = Rates()

    def try_out(self) -> None:
        """Find the groups."""
        reason = Allowance(self._pid, root=self._root).cgroup.reason
        if reason is not None:
            raise UnavailableError(reason)

    def start(self) -> None:
        """Find the groups and begin a new series of differences."""
        self.stop()
        self._allowance = self.allowance(self._pid)

    def stop(self) -> object:
        """Close the files."""
        super().stop()
        self._kept.clear()
        self._files.clear()
        self._watched = {}
        self._rates.forget()
        self._allowance = None
        self._readings = -1
        return None

    def fill(self, answer: Answer, now: float) -> None:
        """Read the counters; the limits are at most ten seconds old."""
        if self._allowance is None:
            self.start()
        allowance = self._allowance or self.allowance(self._pid)
        allowance.refresh(now)
        if allowance.cgroup.reason is not None:
            raise UnavailableError(allowance.cgroup.reason)
        if allowance.readings != self._readings:
            self._readings = allowance.readings
            self._choose(allowance)
        answer.data.update(self._fixed.data)
        answer.reasons.update(self._fixed.reasons)
        watched = self._watched
        if "throttling" in watched:
            self._fill_throttling(answer, now)
        if "usage_bytes" in watched:
            self._fill_memory(answer, allowance.memory_limit)
        if "pids" in watched:
            self._fill_number(answer, "pids", watched["pids"])

    def _choose(self, allowance: Allowance) -> None:
        """Choose the files to read until the limits are read again: of the groups that set them."""
        cgroup, quota, limit = allowance.cgroup, allowance.quota, allowance.memory_limit
        cpu, memory = cgroup.tree("cpu"), cgroup.tree("memory")
        before = self._watched.get("throttling")
        fixed = _fixed(allowance, memory)
        watched: dict[str, KeptFile] = {}
        if cpu is None:
            fixed.absent("there is no cpu controller", *_THROTTLE)
        else:
            directory = cpu.own if quota is None else quota.directory
            watched["throttling"] = self._file(f"{directory}/cpu.stat", cgroup.throttling_prefix())
        if memory is None:
            fixed.absent("there is no memory controller", *_MEMORY)
        else:
            directory = memory.own if limit is None else limit.directory
            usage = "memory.current" if memory.version == 2 else "memory.usage_in_bytes"
            watched["usage_bytes"] = self._file(f"{directory}/{usage}")
            watched["oom_kills"] = self._file(cgroup.oom_file() or "", cgroup.oom_prefix())
            if memory.version == 1:
                watched["limit_hits"] = self._file(f"{memory.own}/memory.failcnt")
        pids = cgroup.file("pids", "pids.current", "pids.current")
        if pids is None:
            fixed.absent("there is no pids controller", "pids")
        else:
            watched["pids"] = self._file(pids)
        if before is not watched.get("throttling"):
            self._rates.forget()  # another group's counters are another series
        self._watched, self._fixed = watched, fixed
        self._missing.clear()

    def _fill_throttling(self, answer: Answer, now: float) -> None:
        content = self._read(answer, self._watched["throttling"], *_THROTTLE)
        if content is None:
            self._rates.forget()
            return
        counted = self._throttling.of(content)
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

    def _fill_memory(self, answer: Answer, limit: Limited | None) -> None:
        usage = self._fill_number(answer, "usage_bytes", self._watched["usage_bytes"])
        if usage is None or limit is None:
            why = "no memory limit is set" if limit is None else answer.reasons["usage_bytes"]
            answer.absent(why, "percent")
        else:
            answer.data["percent"] = share(usage, limit.value)
        kills = self._read(answer, self._watched["oom_kills"], "oom_kills")
        counted = {} if kills is None else self._events.of(kills)
        if kills is not None:
            answer.put("oom_kills", counted.get("oom_kill"), "this kernel's cgroup counts no OOM kills")
        if "limit_hits" in self._watched:
            self._fill_number(answer, "limit_hits", self._watched["limit_hits"])
        elif kills is None:
            answer.absent(answer.reasons["oom_kills"], "limit_hits")
        else:
            answer.put("limit_hits", counted.get("max"), "memory.events does not count it")

    def _fill_number(self, answer: Answer, key: str, file: KeptFile) -> int | None:
        content = self._read(answer, file, key)
        if content is None:
            return None
        try:
            answer.data[key] = value = int(content)
        except ValueError:
            answer.absent(printable(f"{file.path} holds no number"), key)
            return None
        return value

    def _read(self, answer: Answer, file: KeptFile, *keys: str) -> bytes | None:
        """Return a file's content. What a group does not have is asked for again with the limits only."""
        why = self._missing.get(file.path)
        if why is None:
            try:
                return file.read()
            except UnavailableError as exc:
                why = self._missing[file.path] = reason_of(exc)
            except OSError as exc:
                why = reason_of(exc)
        answer.absent(why, *keys)
        return None

    def _file(self, path: str, prefix: bytes = b"") -> KeptFile:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = self.keep(path.removeprefix(self._root), prefix)
        return file


def _fixed(allowance: Allowance, memory: Tree | None) -> Answer:
    """Return what holds until the limits are read again."""
    quota, limit, pids = allowance.quota, allowance.memory_limit, allowance.pids_limit
    fixed = Answer()
    fixed.put("version", None if memory is None else memory.version, "there is no memory controller")
    if not allowance.readings:
        fixed.absent("the limits could not be read yet", "limit_cores", "limit_bytes", "pids_limit")
        return fixed
    fixed.put("limit_cores", None if quota is None else quota.value, "no CPU quota is set")
    fixed.put("limit_bytes", None if limit is None else int(limit.value), "no memory limit is set")
    fixed.put("pids_limit", None if pids is None else int(pids.value), "no limit of pids is set")
    return fixed
