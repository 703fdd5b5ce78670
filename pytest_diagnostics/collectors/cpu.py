"""The machine's CPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.cgroup import Allowance
from ..system.procfs import Files
from ..system.sampling import FIRST, RESET, Answer, LocalCollector, Monotonic, share

_PARTS = ("user_percent", "system_percent", "idle_percent", "iowait_percent", "steal_percent")
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)
_BUSY = (_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL)

Times = tuple[float, ...]


class CPUCollector(LocalCollector):
    """How busy the machine's CPUs were since the last tick: the host's, in a container, too.

    - ``usage_percent``, ``user_percent`` (with nice), ``system_percent`` (with interrupts), ``idle_percent``,
      ``iowait_percent``, ``steal_percent``: percent of the time of all CPUs, /proc/stat
    - ``per_core``: the usage of every CPU, in percent, in the order of /proc/stat
    - ``load_avg_1m``, ``load_avg_5m``, ``load_avg_15m``: /proc/loadavg
    - ``frequency_mhz``: mean of all CPUs, cpufreq or /proc/cpuinfo, at most ten seconds old
    - ``temperature_celsius``: the hottest CPU sensor of hwmon or thermal zones, at most ten seconds old
    - ``limit_cores``: how many cores this process may use: quota up the cgroup tree, cpuset, affinity
    - ``scope``: "host"

    Frequency and temperature are read only where reading them took less than 2 ms at the start. Off Linux,
    psutil's ``cpu_times`` stand for /proc/stat.
    """

    default_name = "cpu"
    main_file = "stat"
    takes_glance = True

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
        self._stat = self.keep("/proc/stat", b"cpu ", size=16384)
        self._load = self.keep("/proc/loadavg")
        self._before: dict[str, Times] | None = None
        self._allowance: Allowance | None = None
        self._frequency = _Slow("frequency_mhz", lambda: frequency_mhz(root))
        self._temperature = _Slow("temperature_celsius", lambda: temperature_celsius(root))

    def start(self) -> None:
        """Begin a new series of differences."""
        self._before = None

    def fill(self, answer: Answer, now: float) -> None:
        """Read /proc/stat and /proc/loadavg; the rest is at most ten seconds old."""
        times = parsers.cpu_times(self._stat.read())
        if "cpu" not in times:
            raise UnavailableError(f"{self._stat.path} has no line for all CPUs")
        self._percentages(answer, dict(times), frozenset())
        keys = ("load_avg_1m", "load_avg_5m", "load_avg_15m")
        content = answer.read(self._load.read, *keys)
        if content is not None:
            averages = parsers.load_averages(content)
            for place, key in enumerate(keys):
                answer.put(key, averages and averages[place], f"{self._load.path} has an unknown form")
        if self.as_of is None:
            self._frequency.fill(answer, now)
            self._temperature.fill(answer, now)
        else:
            answer.absent("read from the second sample on", "frequency_mhz", "temperature_celsius")
        if self._allowance is None:
            self._allowance = Allowance(root=self._root)
        self._allowance.refresh(now)
        answer.put("limit_cores", self._allowance.cores, "the number of CPUs is not known")
        answer.data["scope"] = "host"

    def fill_portable(self, answer: Answer, now: float) -> None:  # noqa: ARG002 - the contract's signature
        """Ask psutil; its own percentages are left alone, as their baselines belong to threads."""
        import psutil

        total = psutil.cpu_times()
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        unknown = frozenset(name for name in names if not hasattr(total, name))
        times = {"cpu": tuple(float(getattr(total, name, 0.0)) for name in names)}
        for number, core in enumerate(psutil.cpu_times(percpu=True)):
            times[f"cpu{number}"] = tuple(float(getattr(core, name, 0.0)) for name in names)
        self._percentages(answer, times, unknown)
        averages = psutil.getloadavg()
        answer.data.update(
            load_avg_1m=averages[0], load_avg_5m=averages[1], load_avg_15m=averages[2], scope="host"
        )
        answer.absent("read on Linux only", "frequency_mhz", "temperature_celsius")
        answer.put("limit_cores", os.cpu_count(), "the number of CPUs is not known")

    def _percentages(self, answer: Answer, times: dict[str, Times], unknown: frozenset[str]) -> None:
        before, self._before = self._before, times
        keys = ("usage_percent", "per_core", *_PARTS)
        if before is None:
            answer.absent(FIRST, *keys)
            return
        grown = _grown(before.get("cpu"), times["cpu"])
        if isinstance(grown, str):
            answer.absent(grown, *keys)
            return
        whole = sum(grown[place] for place in _BUSY) + max(0.0, grown[_IDLE]) + max(0.0, grown[_IOWAIT])
        answer.data["usage_percent"] = share(sum(grown[place] for place in _BUSY), whole)
        answer.data["per_core"] = [
            _usage(before.get(name), now) for name, now in times.items() if name != "cpu"
        ]
        answer.data["user_percent"] = share(grown[_USER] + grown[_NICE], whole)
        answer.data["system_percent"] = share(grown[_SYSTEM] + grown[_IRQ] + grown[_SOFTIRQ], whole)
        # The kernel says that these two may run backwards by a little, as a CPU's waits are recounted.
        for key, place in (("idle_percent", _IDLE), ("iowait_percent", _IOWAIT)):
            value = share(grown[place], whole) if grown[place] >= 0 else None
            answer.put(key, value, f"{RESET} by the kernel's recount")
        answer.data["steal_percent"] = share(grown[_STEAL], whole)
        for name in unknown & {"iowait", "steal"}:
            answer.absent("not counted by this system", f"{name}_percent")


def _grown(before: Times | None, now: Times) -> Times | str:
    """Return what was counted between two ticks, or why that is not known."""
    if before is None:
        return FIRST
    grown = tuple(after - earlier for earlier, after in zip(before, now, strict=True))
    if any(grown[place] < 0 for place in _BUSY):
        return RESET
    if sum(grown[place] for place in _BUSY) + max(0.0, grown[_IDLE]) + max(0.0, grown[_IOWAIT]) <= 0:
        return "less than one clock tick has passed since the last sample"
    return grown


def _usage(before: Times | None, now: Times) -> float | None:
    grown = _grown(before, now)
    if isinstance(grown, str):
        return None
    busy = sum(grown[place] for place in _BUSY)
    return share(busy, busy + max(0.0, grown[_IDLE]) + max(0.0, grown[_IOWAIT]))


class _Slow:
    """A value that may be dear: tried once, given up when that took 2 ms, else read every ten seconds."""

    LIMIT_SECONDS = 0.002
    REFRESH_SECONDS = 10.0
    _perf_counter = staticmethod(time.perf_counter)

    def __init__(self, key: str, source: Callable[[], float]) -> None:
        self._key = key
        self._source = source
        self._value: float | None = None
        self._reason = ""
        self._until = float("-inf")

    def fill(self, answer: Answer, now: float) -> None:
        """Put the value, or the reason for None, into the answer."""
        if now >= self._until:
            self._until = now + self.REFRESH_SECONDS
            began = self._perf_counter()
            try:
                self._value = round(self._source(), 1)
            except (UnavailableError, OSError, ValueError) as exc:
                self._value, self._reason = None, str(exc)
            took = self._perf_counter() - began
            if took > self.LIMIT_SECONDS or self._value is None:
                if self._value is not None:
                    self._value, self._reason = None, f"reading it takes {took * 1e3:.1f} ms here"
                # Neither a missing sensor nor a slow one is asked for again.
                self._until = float("inf")
        answer.put(self._key, self._value, self._reason)


def frequency_mhz(root: str = "") -> float:
    """Return the mean frequency of the CPUs. Raises UnavailableError where the kernel does not say."""
    policies = f"{root}/sys/devices/system/cpu/cpufreq"
    values = []
    try:
        names = [name for name in Files.names(policies) if name.startswith("policy")]
    except (UnavailableError, OSError):
        names = []
    for name in names:
        try:
            values.append(int(Files.read_short(f"{policies}/{name}/scaling_cur_freq")) / 1000)
        except (UnavailableError, OSError, ValueError):
            continue
    if not values:
        for line in Files.read(f"{root}/proc/cpuinfo").split(b"\n"):
            if line.startswith(b"cpu MHz"):
                values.append(float(line.rpartition(b":")[2]))
    if not values:
        raise UnavailableError("neither cpufreq nor /proc/cpuinfo tells the frequency")
    return sum(values) / len(values)


_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")
_ZONES = ("x86_pkg_temp", "cpu", "soc")


def temperature_celsius(root: str = "") -> float:
    """Return the hottest CPU sensor. Raises UnavailableError without one."""
    values = [value for path in _sensor_files(root) for value in _millidegrees(path)]
    if not values:
        raise UnavailableError("no CPU temperature sensor")
    return max(values) / 1000


def _sensor_files(root: str) -> list[str]:
    files: list[str] = []
    for top, label, kinds, suffix in (
        ("/sys/class/hwmon", "name", _SENSORS, "_input"),
        ("/sys/class/thermal", "type", _ZONES, "temp"),
    ):
        try:
            devices = Files.names(root + top)
        except (UnavailableError, OSError):
            continue
        for device in devices:
            directory = f"{root}{top}/{device}"
            try:
                kind = Files.read_short(f"{directory}/{label}").decode("utf-8", "replace").strip()
                if kind.startswith(kinds):
                    files += [
                        f"{directory}/{name}"
                        for name in Files.names(directory)
                        if name.startswith("temp") and name.endswith(suffix)
                    ]
            except (UnavailableError, OSError):
                continue
        if files:
            break
    return files


def _millidegrees(path: str) -> list[int]:
    try:
        return [int(Files.read_short(path))]
    except (UnavailableError, OSError, ValueError):
        return []
