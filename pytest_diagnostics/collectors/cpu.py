"""The machine's CPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.cgroup import Allowance
from ..system.procfs import Files
from ..system.sampling import FIRST, RESET, Answer, LocalCollector, Monotonic

_PARTS = ("user_percent", "system_percent", "idle_percent", "iowait_percent", "steal_percent")
_PERCENTAGES = ("usage_percent", "per_core", *_PARTS)
_LOADS = ("load_avg_1m", "load_avg_5m", "load_avg_15m")

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
    plain = True
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
        self._before: Mapping[str, Times] | None = None
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
        self._percentages(answer, times)
        content = answer.read(self._load.read, *_LOADS)
        if content is not None:
            averages = parsers.load_averages(content)
            if averages is None:
                answer.absent(f"{self._load.path} has an unknown form", *_LOADS)
            else:
                answer.data.update(zip(_LOADS, averages, strict=True))
        if self.as_of is None:
            self._frequency.fill(answer, now)
            self._temperature.fill(answer, now)
        else:
            answer.absent("read from the second sample on", "frequency_mhz", "temperature_celsius")
        allowance = self._allowance
        if allowance is None:
            allowance = self._allowance = self.allowance()
        allowance.refresh(now)
        answer.put("limit_cores", allowance.cores, "the number of CPUs is not known")
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
        self._percentages(answer, times)
        for name in unknown & {"iowait", "steal"}:
            answer.absent("not counted by this system", f"{name}_percent")
        averages = psutil.getloadavg()
        answer.data.update(
            load_avg_1m=averages[0], load_avg_5m=averages[1], load_avg_15m=averages[2], scope="host"
        )
        answer.absent("read on Linux only", "frequency_mhz", "temperature_celsius")
        answer.put("limit_cores", os.cpu_count(), "the number of CPUs is not known")

    def _percentages(self, answer: Answer, times: Mapping[str, Times]) -> None:
        before, self._before = self._before, times
        if before is None:
            answer.absent(FIRST, *_PERCENTAGES)
            return
        grown = _grown(before.get("cpu"), times["cpu"])
        if isinstance(grown, str):
            answer.absent(grown, *_PERCENTAGES)
            return
        busy, whole, user, system, idle, iowait, steal = grown
        data = answer.data
        data["usage_percent"] = round(100.0 * busy / whole, 2)
        data["per_core"] = [_usage(before.get(name), now) for name, now in times.items() if name != "cpu"]
        data["user_percent"] = round(100.0 * user / whole, 2)
        data["system_percent"] = round(100.0 * system / whole, 2)
        # The kernel says that these two may run backwards by a little, as a CPU's waits are recounted.
        for key, counted in (("idle_percent", idle), ("iowait_percent", iowait)):
            if counted >= 0:
                data[key] = round(100.0 * counted / whole, 2)
            else:
                answer.absent(f"{RESET} by the kernel's recount", key)
        data["steal_percent"] = round(100.0 * steal / whole, 2)


def _grown(before: Times | None, now: Times) -> Times | str:
    """Return what was counted between two ticks: (busy, all, user, system, idle, iowait, steal); or why not.

    None is negative but for idle and iowait, and none is more than all.
    """
    if before is None:
        return FIRST
    user, nice, system, idle, iowait, irq, softirq, steal = now
    user_0, nice_0, system_0, idle_0, iowait_0, irq_0, softirq_0, steal_0 = before
    if (
        user < user_0
        or nice < nice_0
        or system < system_0
        or irq < irq_0
        or softirq < softirq_0
        or steal < steal_0
    ):
        return RESET
    user = user - user_0 + (nice - nice_0)
    system = system - system_0 + (irq - irq_0) + (softirq - softirq_0)
    idle -= idle_0
    iowait -= iowait_0
    steal -= steal_0
    whole = busy = user + system + steal
    if idle > 0:
        whole += idle
    if iowait > 0:
        whole += iowait
    if whole <= 0:
        return "less than one clock tick has passed since the last sample"
    return busy, whole, user, system, idle, iowait, steal


def _usage(before: Times | None, now: Times) -> float | None:
    grown = _grown(before, now)
    return None if isinstance(grown, str) else round(100.0 * grown[0] / grown[1], 2)


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
            self._ask(now)
        answer.put(self._key, self._value, self._reason)

    def _ask(self, now: float) -> None:
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
