"""What the collectors of local kernel files have in common: reasons, rates, and the clock."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import ClassVar, Protocol, TypeVar

from ..core.clock import SystemClock
from ..core.collector import DiagnosticCollector
from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from .cgroup import Allowance
from .glance import Glance
from .procfs import Files, KeptFile, reason_of

T = TypeVar("T")

FIRST = "a rate needs two samples; this is the first"
RESET = "the counter was reset"
NO_TIME = "no time has passed since the last sample"


class Monotonic(Protocol):
    """The part of a clock that a collector needs."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""


class Answer:
    """One tick's data, in which a value that is not there is None and has its reason."""

    __slots__ = ("data", "reasons")

    def __init__(self) -> None:
        self.data: dict[str, object] = {}
        self.reasons: dict[str, str] = {}

    def absent(self, reason: str, *keys: str) -> None:
        """Set ``keys`` to None and say why."""
        for key in keys:
            self.data[key] = None
            self.reasons[key] = reason

    def put(self, key: str, value: object, reason: str) -> None:
        """Set ``key``; when the value is None, ``reason`` says why."""
        self.data[key] = value
        if value is None:
            self.reasons[key] = reason

    def read(self, source: Callable[[], T], *keys: str) -> T | None:
        """Return what ``source`` reads, or None after marking ``keys`` as absent."""
        try:
            return source()
        except (UnavailableError, OSError) as exc:
            self.absent(reason_of(exc), *keys)
            return None

    def finish(self) -> dict[str, object]:
        """Return the data, with ``reasons`` when there are any."""
        if self.reasons:
            self.data["reasons"] = self.reasons
        return self.data


class Rates:
    """Differences between two ticks, on baselines of its own."""

    __slots__ = ("_before", "_when")

    def __init__(self) -> None:
        self._before: Mapping[str, float] | None = None
        self._when = 0.0

    def forget(self) -> None:
        """Drop the baseline: the counters could not be read, or a new run begins."""
        self._before = None

    def differences(
        self, now: float, counters: Mapping[str, float]
    ) -> tuple[dict[str, float], float, str | None]:
        """Return what the counters grew, the seconds it took, and why there is nothing when there is not.

        A name that was not there the last time is a new series and has no difference yet; one that
        vanished is dropped. When any counter went backwards, nothing of this tick can be trusted.
        """
        before, elapsed = self._before, now - self._when
        self._before, self._when = counters, now
        if before is None:
            return {}, 0.0, FIRST
        if elapsed <= 0:
            return {}, 0.0, NO_TIME
        grown: dict[str, float] = {}
        for name, value in counters.items():
            earlier = before.get(name)
            if earlier is not None:
                if value < earlier:
                    return {}, elapsed, f"{RESET} ({name})"
                grown[name] = value - earlier
        return grown, elapsed, None


class Speeds:
    """What the counters of some names grew in a second, as "<name>_per_sec"."""

    __slots__ = ("_before", "_keys", "_when")

    def __init__(self, *names: str) -> None:
        self._keys = tuple((name, f"{name}_per_sec") for name in names)
        self._before: Mapping[str, float] | None = None
        self._when = 0.0

    def forget(self) -> None:
        """Drop the baseline: the counters could not be read, or a new run begins."""
        self._before = None

    def put(self, now: float, counters: Mapping[str, float], answer: Answer) -> None:
        """Put the rate of each name into the answer, or why it has none: as ``Rates`` does it."""
        before, elapsed = self._before, now - self._when
        self._before, self._when = counters, now
        if before is None or elapsed <= 0:
            answer.absent(FIRST if before is None else NO_TIME, *[key for _, key in self._keys])
            return
        data = answer.data
        for name, key in self._keys:
            value, earlier = counters.get(name), before.get(name)
            if value is None or earlier is None:
                answer.absent("it is not counted here" if value is None else FIRST, key)
            elif value > earlier:
                data[key] = round((value - earlier) / elapsed, 3)
            elif value == earlier:
                data[key] = 0.0
            else:
                answer.absent(f"{RESET} ({name})", *[key for _, key in self._keys])
                return


def share(part: float, whole: float) -> float:
    """Return ``part`` in percent of ``whole``, between 0 and 100."""
    percent = 100.0 * part / whole
    if percent <= 0.0:
        return 0.0
    return 100.0 if percent >= 100.0 else round(percent, 2)


class LocalCollector(DiagnosticCollector):
    """A collector that only reads local kernel files: it never waits and may share the manager's thread."""

    blocking = False
    aligned = True
    plain = True
    #: The name that results carry unless the constructor is given another.
    default_name = ""
    #: The file, below /proc, without which the collector has nothing to say.
    main_file = "stat"
    #: True where whatever changes with time comes from kept files, or stays out of the result while ``as_of``
    #: is set. Limits may be younger. Of this very class: one that is derived from it may read more.
    takes_glance: ClassVar[bool] = False
    #: What was read before this collector could be imported: the data of its first collection, all or none.
    glance: Glance | None = None

    _exists = staticmethod(Files.exists)

    def __init__(
        self,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
        *,
        clock: Monotonic | None = None,
        root: str = "",
    ) -> None:
        """``clock`` measures intervals; ``root`` is a prefix of /proc and /sys."""
        super().__init__(name or self.default_name, exception_handler)
        self._clock = clock if clock is not None else SystemClock()
        self._root = root
        self._kept: list[KeptFile] = []

    def keep(self, path: str, prefix: bytes = b"", *, chunked: int = 0, size: int = 4096) -> KeptFile:
        """Return a kept file that ``stop`` closes."""
        file = KeptFile(self._root + path, prefix, chunked=chunked, size=size)
        self._kept.append(file)
        return file

    def allowance(self, pid: int | None = None) -> Allowance:
        """Return what a process may use, read once for all collectors that go by the machine's clock."""
        if isinstance(self._clock, SystemClock):
            return Allowance.shared(pid, self._root)
        return Allowance(pid, root=self._root)

    @cached_property
    def raw(self) -> bool:
        """True where the kernel's files are there; what is not raw asks psutil, if it can."""
        return bool(self._root) or (sys.platform == "linux" and self._exists(f"/proc/{self.main_file}"))

    def probe(self) -> str | None:
        """Return why this collector cannot work here, after reading its main source once."""
        try:
            if self.raw:
                self.try_out()
            else:
                self.fill_portable(Answer(), self._clock.monotonic())
        except Exception as exc:  # noqa: BLE001 - a probe answers; psutil raises errors of its own classes
            return reason_of(exc)
        return None

    def try_out(self) -> None:
        """Read the main source once; raises what makes the collector useless."""
        file = KeptFile(f"{self._root}/proc/{self.main_file}")
        try:
            file.read()
        finally:
            file.close()

    def collect(self) -> dict[str, object]:
        """Return this tick's data; the class says which keys, in which units and from where."""
        answer = Answer()
        self.as_of = None
        if self.glance is not None:
            self._fill_once(self.glance, answer)
        elif self.raw:
            self.fill(answer, self._clock.monotonic())
        else:
            self.fill_portable(answer, self._clock.monotonic())
        return answer.finish()

    def _fill_once(self, glance: Glance, answer: Answer) -> None:
        """Put what was read at the glance into ``answer`` if that is all it needs; else what is now."""
        self.glance = None
        if not self.raw:
            self.fill_portable(answer, self._clock.monotonic())
            return
        now = self._clock.monotonic()
        try:
            if vars(type(self)).get("takes_glance"):
                self.as_of = self.borrow(glance, now)
            if self.as_of is None:
                self._give_back()
            self.fill(answer, now if self.as_of is None else self.as_of)
        finally:
            self._give_back()

    def borrow(self, glance: Glance, now: float) -> float | None:
        """Have the kept files return what they held at the glance. Return when that was; None: read anew."""
        moment = glance.read_at([file.path for file in self._kept], now)
        if moment is not None and all(file.lend(glance.files[file.path][1]) for file in self._kept):
            return moment
        return None

    def _give_back(self) -> None:
        for file in self._kept:
            file.early = None

    @abstractmethod
    def fill(self, answer: Answer, now: float) -> None:
        """Put this tick's data, read from kernel files, into ``answer``."""

    def fill_portable(self, answer: Answer, now: float) -> None:  # noqa: ARG002 - for those that can
        """Put this tick's data, asked from psutil, into ``answer``."""
        raise UnavailableError(f"{self.name} needs Linux's /proc/{self.main_file}, which is not there")

    def stop(self) -> object:
        """Close what is kept open; the next collection opens it again."""
        for file in self._kept:
            file.close()
        return None
