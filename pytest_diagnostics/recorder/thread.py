"""A manager hosted by a thread of this process, writing to a shard of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from ..core.clock import Pid, SystemClock
from ..core.collector import DiagnosticCollector
from ..core.entry import Demand
from ..core.errors import ManagerError
from ..core.handlers import ExceptionHandler
from ..core.manager import DiagnosticManager
from ..core.model import DiagnosticResult, HealthState, Record
from ..core.protocols import Processor, Sink
from ..storage.records import from_health
from ..storage.shard import Shard, ShardSink

#: Results kept in memory for fixtures and attachments; the shard has all of them.
KEPT_RESULTS = 200
#: How long the start of a run waits for the first tick; it takes some milliseconds.
FIRST_SECONDS = 0.05


class ThreadRecorder:
    """The recorder in a thread of the process that runs the tests."""

    kind = "thread"

    def __init__(
        self,
        role: str,
        collectors: Iterable[DiagnosticCollector],
        interval: float,
        shard: Shard,
        *,
        handler: ExceptionHandler | None = None,
        processors: Iterable[Processor] = (),
        sinks: Iterable[Sink] = (),
    ) -> None:
        """Prepare to collect; ``shard`` stays the caller's to close."""
        self.interval = interval
        self.where = f"thread in {role} (pid {Pid.current()})"
        self._shard = shard
        self._problems: list[str] = []
        chosen = list(collectors)
        self._collectors = {collector.name: collector for collector in chosen}
        #: Collectors that never wait for anything.
        self.quick = [collector.name for collector in chosen if not collector.blocking]
        self.sink = ShardSink(shard)
        self.manager = DiagnosticManager(
            chosen,
            interval,
            handler,
            sinks=(self.sink, *sinks),
            processors=processors,
            name="diagnostics",
            max_history=KEPT_RESULTS,
        )

    def start(self) -> None:
        """Start the thread; where the system refuses it, the tests are still accounted without samples.

        Waits, for a moment at most, until the collectors that read kernel files have read them once: they
        open what they keep before the first test, which may close descriptors as it likes.
        """
        waiting = set(self.quick)
        opened = threading.Event()

        def first(record: Record) -> None:
            if isinstance(record, DiagnosticResult):
                waiting.discard(record.collector_name)
                if not waiting:
                    opened.set()

        unsubscribe = self.manager.subscribe(first)
        try:
            self.manager.start_collecting()
            if waiting:
                opened.wait(FIRST_SECONDS)
        except ManagerError as exc:
            self._problems.append(f"sampling is off: {exc}")
        finally:
            unsubscribe()

    def request(self, names: Iterable[str] | None = None) -> Demand | None:
        """Ask for a collection now without waiting for it."""
        return self.manager.request(names)

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""
        return self.manager.is_running

    @property
    def is_collecting(self) -> bool:
        """Whether a collector is being asked at this moment."""
        return self.manager.is_collecting

    @property
    def names(self) -> list[str]:
        """The collectors that run here."""
        return self.manager.collectors

    def collect_now(
        self, names: Iterable[str], timeout: float, about: Sequence[str] = ()
    ) -> dict[str, DiagnosticResult]:
        """Ask the named collectors and wait for the results."""
        names = list(names)
        self.attend(names, about)
        return self.manager.collect_now(names, timeout)

    def attend(self, names: Iterable[str], about: Sequence[str]) -> None:
        """Have these collectors tell of the thing whose name has these parts, if it has any."""
        for name in names if about else ():
            collector = self._collectors.get(name)
            try:
                if collector is not None:
                    collector.attend(about)
            except Exception as exc:  # noqa: BLE001 - a collector of the user's may raise anything
                self._problems.append(f"{name}: attend failed: {type(exc).__name__}: {exc}")

    def latest(self) -> dict[str, DiagnosticResult]:
        """Return the newest result of every collector."""
        found = {name: self.manager.latest(name) for name in self.manager.collectors}
        return {name: result for name, result in found.items() if result is not None}

    def results(self, since: float) -> list[DiagnosticResult]:
        """Return the kept results since a moment on CLOCK_MONOTONIC, oldest first."""
        return [result for result in self.manager.get_results() if result.monotonic >= since]

    def add(self, collector: DiagnosticCollector) -> None:
        """Collect from one more collector."""
        self.manager.add_collector(collector)
        self._collectors[collector.name] = collector
        if not collector.blocking:
            self.quick.append(collector.name)

    def remove(self, name: str, timeout: float) -> None:
        """Make a collector's final collection and let it go."""
        self._collectors.pop(name, None)
        if not self.manager.remove_collector(name, timeout):
            self._problems.append(f"{name} did not end within {timeout:g} s")

    def stop(self, timeout: float) -> None:
        """Stop the manager and write every collector's account."""
        try:
            self.manager.stop_collecting(timeout)
        except ManagerError as exc:
            self._problems.append(str(exc))
        finally:
            for name in self.manager.collectors:
                self._account(name)

    @property
    def problems(self) -> list[str]:
        """Sentences about what went wrong, for the health line."""
        failures = self.manager.sink_failures()
        return [*self._problems, *(f"{name} failed {account}" for name, account in failures.items())]

    @property
    def working(self) -> list[str]:
        """The names of the collectors that are neither unavailable nor disabled."""
        out = (HealthState.UNAVAILABLE, HealthState.DISABLED)
        return [name for name in self.manager.collectors if self.manager.health(name).state not in out]

    def _account(self, name: str) -> None:
        self._shard.append(*from_health(self.manager.health(name), SystemClock().monotonic()))
