"""Pressure: the share of time in which somebody had to wait for a CPU, for memory or for a disk."""

from __future__ import annotations

from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.cgroup import Cgroup
from ..system.procfs import Files, KeptFile, printable, reason_of
from ..system.sampling import FIRST, RESET, Answer, LocalCollector, Monotonic, share


class _Source:
    """One pressure file: the names of what it tells, and what it had counted at the tick before."""

    __slots__ = ("before", "file", "keys", "stalls")

    def __init__(self, name: str, file: KeptFile) -> None:
        self.file = file
        kinds = {"cpu": ("some",), "irq": ("full",)}.get(name, ("some", "full"))
        self.keys = tuple((kind, f"{name}_{kind}_percent", f"{name}_{kind}_avg10") for kind in kinds)
        self.stalls = parsers.Memo(parsers.pressure)
        self.before: dict[str, parsers.Stall] | None = None


class PressureCollector(LocalCollector):
    """Pressure stall information: percent of the time since the last tick, from the files' ``total=``.

    - ``cpu_some_percent``: somebody waited for a CPU; ``memory_some_percent``, ``memory_full_percent``,
      ``io_some_percent``, ``io_full_percent``: somebody, or everybody who had something to do, waited for
      memory or for a disk; ``irq_full_percent`` where the kernel counts it: /proc/pressure, the host's
    - ``cpu_some_avg10`` and so on: the kernel's own average of the last ten seconds, percent
    - ``cgroup_cpu_some_percent``, ``cgroup_cpu_full_percent`` and so on: the same of this process' own
      cgroup, on version 2 only
    - ``held``: True when the values are those of the tick before

    The machine's cpu "full" is left out: the kernel defines none, and writes 0. A file that is read faster
    than the kernel adds up (a jiffy for every CPU) loses time for all of its readers: within 20 ms the
    values of the tick before are held. Let only one process of a machine read it fast.
    """

    default_name = "pressure"
    plain = True
    main_file = "pressure/cpu"
    takes_glance = True
    MIN_SECONDS = 0.02

    def __init__(
        self,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
        *,
        clock: Monotonic | None = None,
        root: str = "",
    ) -> None:
        """See ``LocalCollector``."""
        super().__init__(name, exception_handler, clock=clock, root=root)
        self._sources: list[_Source] = []
        self._last: dict[str, object] = {}
        self._reasons: dict[str, str] = {}
        self._last_time = float("-inf")

    def try_out(self) -> None:
        """Read one file: with ``psi=0`` the kernel shows the files but refuses to read them."""
        Files.read_short(f"{self._root}/proc/{self.main_file}")

    def start(self) -> None:
        """Find the files and begin a new series of differences."""
        self.stop()
        for resource in ("cpu", "memory", "io", "irq"):
            path = f"/proc/pressure/{resource}"
            if resource != "irq" or self._exists(self._root + path):
                self._sources.append(_Source(resource, self.keep(path)))
        cgroup = Cgroup(root=self._root)
        for resource in ("cpu", "memory", "io"):
            found = cgroup.pressure_file(resource)
            if found is not None:
                file = self.keep(found.removeprefix(self._root))
                self._sources.append(_Source(f"cgroup_{resource}", file))

    def stop(self) -> object:
        """Close the files."""
        super().stop()
        self._kept.clear()
        self._sources.clear()
        self._last_time = float("-inf")
        return None

    def fill(self, answer: Answer, now: float) -> None:
        """Read the files, unless that was done less than 20 ms ago."""
        if not self._sources:
            self.start()
        if now - self._last_time < self.MIN_SECONDS and self._last:
            answer.data.update(self._last)
            answer.reasons.update(self._reasons)
            answer.data["held"] = True
            return
        elapsed, self._last_time = now - self._last_time, now
        failures = [self._fill_one(answer, elapsed * 1e6, source) for source in self._sources]
        if all(failures):
            raise UnavailableError(str(failures[0]))
        answer.data["held"] = False
        self._last, self._reasons = dict(answer.data), dict(answer.reasons)

    def _fill_one(self, answer: Answer, microseconds: float, source: _Source) -> str | None:
        before, source.before = source.before, None
        try:
            stalls = source.stalls.of(source.file.read())
        except (UnavailableError, OSError) as exc:
            reason = reason_of(exc)
            for _, percent, average in source.keys:
                answer.absent(reason, percent, average)
            return reason
        source.before = stalls
        data, reset = answer.data, None
        for kind, percent, average in source.keys:
            stall = stalls.get(kind)
            if stall is None:
                answer.absent(printable(f"{source.file.path} has no such line"), percent, average)
                continue
            data[average] = stall.avg10
            earlier = None if before is None else before.get(kind)
            if earlier is stall:
                data[percent] = 0.0
            elif earlier is None:
                answer.absent(FIRST if before is None else "it is new", percent)
            elif stall.total_us < earlier.total_us:
                reset = f"{RESET} ({kind})"
            else:
                data[percent] = share(stall.total_us - earlier.total_us, microseconds)
        if reset is not None:
            answer.absent(reset, *[percent for kind, percent, _ in source.keys if kind in stalls])
        return None
