"""Pressure: the share of time in which somebody had to wait for a CPU, for memory or for a disk."""

from __future__ import annotations

from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.cgroup import Cgroup
from ..system.procfs import Files, KeptFile, reason_of
from ..system.sampling import Answer, LocalCollector, Monotonic, Rates, share


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
        self._sources: dict[str, KeptFile] = {}
        self._rates: dict[str, Rates] = {}
        self._last: dict[str, object] = {}
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
                self._sources[resource] = self.keep(path)
        cgroup = Cgroup(root=self._root)
        for resource in ("cpu", "memory", "io"):
            found = cgroup.pressure_file(resource)
            if found is not None:
                self._sources[f"cgroup_{resource}"] = self.keep(found.removeprefix(self._root))

    def stop(self) -> object:
        """Close the files."""
        super().stop()
        self._kept.clear()
        self._sources.clear()
        self._rates.clear()
        self._last_time = float("-inf")
        return None

    def fill(self, answer: Answer, now: float) -> None:
        """Read the files, unless that was done less than 20 ms ago."""
        if not self._sources:
            self.start()
        if now - self._last_time < self.MIN_SECONDS and self._last:
            answer.data.update(self._last)
            answer.data["held"] = True
            return
        self._last_time = now
        failures = [self._fill_one(answer, now, name, file) for name, file in self._sources.items()]
        if all(failures):
            raise UnavailableError(str(failures[0]))
        answer.data["held"] = False
        self._last = {**answer.data, "reasons": dict(answer.reasons)} if answer.reasons else dict(answer.data)

    def _fill_one(self, answer: Answer, now: float, name: str, file: KeptFile) -> str | None:
        kinds = {"cpu": ("some",), "irq": ("full",)}.get(name, ("some", "full"))
        rates = self._rates.setdefault(name, Rates())
        try:
            stalls = parsers.pressure(file.read())
        except (UnavailableError, OSError) as exc:
            rates.forget()
            reason = reason_of(exc)
            for kind in kinds:
                answer.absent(reason, f"{name}_{kind}_percent", f"{name}_{kind}_avg10")
            return reason
        totals = {kind: float(stalls[kind].total_us) for kind in kinds if kind in stalls}
        grown, elapsed, reason_none = rates.differences(now, totals)
        for kind in kinds:
            key = f"{name}_{kind}"
            if kind not in stalls:
                answer.absent(f"{file.path} has no such line", f"{key}_percent", f"{key}_avg10")
                continue
            answer.data[f"{key}_avg10"] = stalls[kind].avg10
            if kind in grown:
                answer.data[f"{key}_percent"] = share(grown[kind], elapsed * 1e6)
            else:
                answer.absent(reason_none or "it is new", f"{key}_percent")
        return None
