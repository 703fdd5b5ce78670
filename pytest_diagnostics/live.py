"""Collectors that run for one test: at test scope, by a marker, or added by the fixture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from .core.collector import DiagnosticCollector
from .core.errors import ConfigurationError
from .guard import Guard
from .selection import Options, checked, loaded, offered

if TYPE_CHECKING:
    from .core.model import DiagnosticResult
    from .hosting import Hosts
    from .recorder.kinds import Pending, Recorder
    from .recorder.thread import ThreadRecorder

#: How long the end of a test waits for the final collection of each of its collectors.
FINAL_SECONDS = 1.0

_REFUSAL = pytest.StashKey[str]()
_LIMITS = pytest.StashKey[dict[str, float]]()


class LiveCollectors:
    """Adds collectors to a recorder of this process and takes them away again, test by test."""

    def __init__(
        self,
        config: pytest.Config,
        guard: Guard,
        worker: str,
        hosts: Hosts,
    ) -> None:
        self.worker = worker
        #: What collects in this process for single tests, once one needs it.
        self.recorder: ThreadRecorder | None = None
        self._config = config
        self._guard = guard
        self._hosts = hosts
        #: The run's own choice: names, interval and scope.
        self.names: tuple[str, ...] = ()
        self.options: Options = {}
        self.interval = 1.0
        self.scope = "session"
        #: What ends with the test, where it runs, and names of objects that end before its fixtures do.
        self._for_test: list[tuple[Recorder, str]] = []
        self._added: list[str] = []

    # -- markers

    def check_markers(self, items: Iterable[pytest.Item]) -> str:
        """Refuse tests whose markers cannot work; return the first refusal, if any."""
        first = ""
        for item in items:
            try:
                self._check(item)
            except (pytest.UsageError, ConfigurationError) as exc:
                item.stash[_REFUSAL] = f"pytest-diagnostics: {exc}"
                first = first or f"{item.nodeid}: {exc}"
        return first

    def refusal(self, item: pytest.Item) -> str:
        """Return why a test's markers are refused; empty when they are not."""
        return item.stash.get(_REFUSAL, "")

    def limits(self, item: pytest.Item) -> dict[str, float]:
        """Return the limits that a test declares."""
        return item.stash.get(_LIMITS, {})

    def _check(self, item: pytest.Item) -> None:
        marker = item.get_closest_marker("diagnostics")
        if marker is not None:
            unknown = set(marker.kwargs) - {"interval", "scope"}
            if unknown:
                raise pytest.UsageError(
                    f"the diagnostics marker knows interval and scope, not {', '.join(sorted(unknown))}"
                )
            if marker.kwargs.get("scope", "test") not in ("session", "test"):
                raise pytest.UsageError(
                    f"the diagnostics marker's scope is session or test, not {marker.kwargs['scope']!r}"
                )
            checked([str(name) for name in marker.args], "the diagnostics marker")
            if marker.kwargs.get("interval") is not None:
                from .core.schedule import checked_interval

                checked_interval(marker.kwargs["interval"], "the diagnostics marker")
        limits = parsed_limits(item)
        if limits:
            item.stash[_LIMITS] = limits

    # -- the course of a test

    def begin_test(self, item: pytest.Item) -> None:
        """Start what this test asks for."""
        marker = item.get_closest_marker("diagnostics")
        scope = self.scope if marker is None else marker.kwargs.get("scope", "test")
        if scope != "test" or self.refusal(item):
            return
        names = tuple(str(name) for name in marker.args) if marker is not None else ()
        interval = None if marker is None else marker.kwargs.get("interval")
        names = tuple(dict.fromkeys(names)) or self.names
        objects: list[DiagnosticCollector] = []
        if self.scope == "test":
            more, objects = offered(self._config, self._guard, names)
            names = (*names, *more)
        self.add_named(names, interval)
        for collector in objects:
            if self._guard(self._add, collector):
                self._for_test.append((self._thread(), collector.name))

    def add_named(self, names: Iterable[str], interval: float | None = None) -> None:
        """Start collectors by name until the test's end: in the recorder process, if there is one."""
        process = self._hosts.process
        if process is not None and process.is_running:
            names = [*names]
            process.add_named(names, interval)
            self._for_test += [(process, name) for name in names]
            return
        collectors, troubles = loaded(names, self.options)
        for trouble in troubles:
            self._guard.note(trouble)
        for collector in collectors:
            if interval is not None:
                # An instance's own interval: the class keeps its default for other tests.
                setattr(collector, "interval", interval)  # noqa: B010 - a ClassVar to the type checker
            if self._guard(self._add, collector):
                self._for_test.append((self._thread(), collector.name))

    def add(self, collector: DiagnosticCollector) -> None:
        """Start a collector until the test's teardown begins; raises ConfigurationError for a taken name."""
        self._add(collector)
        self._added.append(collector.name)

    @property
    def has_added(self) -> bool:
        """Whether the fixture added collectors that still run."""
        return bool(self._added)

    def end_added(self, name: str | None = None) -> None:
        """End the fixture's collectors, or one of them."""
        for ending in [name] if name is not None else list(self._added):
            if ending in self._added:
                self._added.remove(ending)
                self._guard(self._thread().remove, ending, FINAL_SECONDS)

    def end_test(self) -> None:
        """End what runs for this test, with a final collection."""
        self.end_added()
        ending, self._for_test = self._for_test, []
        for recorder, name in ending:
            self._guard(recorder.remove, name, FINAL_SECONDS)

    def request(self) -> list[Pending]:
        """Ask every collector that runs for this process for a result now, without waiting."""
        demands = [recorder.request() for recorder in self.recorders()]
        return [demand for demand in demands if demand is not None]

    def recorders(self) -> list[Recorder]:
        """Return the recorders that can be asked, of this process and beside it."""
        found = self._hosts.session_recorders()
        if self.recorder is not None and self.recorder.is_running:
            found.append(self.recorder)
        return found

    def collecting(self) -> bool:
        """Return whether a collector is being asked in this process at this moment."""
        return any(recorder.is_collecting for recorder in self.recorders())

    def sampled(self) -> dict[str, DiagnosticResult]:
        """Return the latest result of every collector, without asking any."""
        latest: dict[str, DiagnosticResult] = {}
        for recorder in self.recorders():
            latest.update(recorder.latest())
        return latest

    def stop(self, timeout: float) -> None:
        """End everything."""
        if self.recorder is not None:
            self.recorder.stop(timeout)

    def _thread(self) -> ThreadRecorder:
        if self.recorder is None:
            self.recorder = self._hosts.make_thread()
            self.recorder.start()
        return self.recorder

    def _add(self, collector: DiagnosticCollector) -> bool:
        self._thread().add(collector)
        return True


def parsed_limits(item: pytest.Item) -> dict[str, float]:
    """Return the limits that a test declares, the closest marker's winning; raises ConfigurationError."""
    declared: dict[str, object] = {}
    found = False
    for marker in reversed(list(item.iter_markers("diagnostics_limit"))):
        found = True
        if marker.args:
            raise ConfigurationError(
                f"diagnostics_limit{marker.args!r}: limits have names, as in peak_rss='200 MB'"
            )
        declared.update(marker.kwargs)
    if not found:
        return {}
    from .analysis.limits import parse_limits

    return parse_limits(declared)
