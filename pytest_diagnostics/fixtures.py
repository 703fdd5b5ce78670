"""The ``diagnostics`` fixture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

from .core.clock import SystemClock
from .core.collector import DiagnosticCollector
from .core.errors import ConfigurationError
from .core.figures import Usage, subtract, total
from .core.model import DiagnosticResult, JsonValue
from .core.threads import Flag
from .databases import live_session, named_cluster, options_for
from .guard import Guard
from .live import LiveCollectors
from .selection import checked
from .session import SESSION
from .storage.shard import MemoryShard
from .system.usage import UsageReader, open_usage_reader
from .waiting import COLLECTORS, PAUSE_SECONDS, HopelessError, Waiting

if TYPE_CHECKING:
    from .collectors.cassandra.consistency_report import ConsistencyReport
    from .phases import PhaseHooks
    from .recorder.kinds import Recorder
    from .recorder.thread import ThreadRecorder
    from .system.usage import Edge


class Stretch:
    """A named part of a test; its figures are there once it ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: Exact figures, empty until the stretch ends.
        self.usage: Usage = {}
        #: Why a figure is absent.
        self.absent: dict[str, str] = {}


class Diagnostics:
    """What a test can ask of its own diagnostics."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._config = request.config
        session = request.config.stash.get(SESSION, None)
        self._clock = SystemClock()
        self._phases: PhaseHooks | None = session.phases if session is not None else None
        if session is not None and self._phases is not None:
            self._live, self._reader = session.live, self._phases.reader
        else:
            alone = _Alone.of(request.config)
            self._live, self._reader = alone.live, alone.reader
        self._begin: Edge = self._reader.edge()
        self._began = self._clock.monotonic()

    def __enter__(self) -> Diagnostics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.end_added()

    def collect(self, *names: str, timeout: float = 5.0) -> dict[str, JsonValue]:
        """Ask the named collectors (default: all that run here) now.

        Returns ``{"timestamp": ISO 8601 UTC, name: data, …}``; ``{"error": {"type": …, "message": …}}``
        instead of data says why there is none. Where none run yet (without --diagnostics, or in an xdist
        worker), the default collectors are started for this test. Raises ``pytest.UsageError`` for a name
        that no collector has.
        """
        self._ensure(names)
        report = self._asked(names, timeout)
        now = self._clock.monotonic()
        self._record("collection", {"reason": "asked for by the test", "monotonic": now, **_split(report)})
        return {"timestamp": self._clock.wall(now).isoformat(), **report}

    def check_view(
        self,
        view: str,
        *,
        session: object | None = None,
        sample: int | None = None,
        consistency: str | None = None,
        rows_per_second: float | None = None,
        max_seconds: float | None = 5.0,
        settle_seconds: float = 0.5,
        max_examples: int = 20,
    ) -> ConsistencyReport:
        """Compare a materialized view, "keyspace.view", with its base table now, and return the report.

        ``session`` is a live session of the driver; without one, that of the hook
        ``pytest_diagnostics_cassandra_session`` is used, else one that is opened for this check to the
        cluster of --diagnostics-cassandra. The others are those of ``ViewConsistencyCheck``,
        which says what is raised.
        """
        from .collectors.cassandra.consistency import ViewConsistencyCheck
        from .collectors.cassandra.consistency_plan import identifiers

        keyspace, name = identifiers(view)
        with live_session(self._config) if session is None else nullcontext(session) as live:
            report = ViewConsistencyCheck(
                live,
                keyspace,
                name,
                sample=sample,
                consistency=consistency,
                rows_per_second=rows_per_second,
                max_seconds=max_seconds,
                settle_seconds=settle_seconds,
                max_examples=max_examples,
            ).run()
        data = {"cassandra_consistency": {"views": [report.as_dict()]}}
        now = self._clock.monotonic()
        self._record(
            "collection", {"reason": "asked for by the test", "monotonic": now, "data": data, "errors": {}}
        )
        return report

    def add(self, collector: DiagnosticCollector) -> None:
        """Collect from ``collector`` until this test's teardown begins.

        It is asked at once, then at its interval, and finally before any fixture of the test is torn
        down, so it may use what a fixture provides.
        """
        self._live.add(collector)

    @contextmanager
    def collecting(self, collector: DiagnosticCollector) -> Iterator[None]:
        """Collect from ``collector`` within a ``with`` block, for example around a fixture's ``yield``."""
        self._live.add(collector)
        try:
            yield
        finally:
            self._live.end_added(collector.name)

    def wait_until_built(self, name: str, timeout: float = 60.0) -> None:
        """Wait until a materialized view or an index is built on all nodes of the watched cluster.

        ``name`` is ``ks.view``, ``ks.index`` or ``ks.table.index``, quoted as in CQL. It asks the
        collectors of ``--diagnostics-cassandra``, at most every 0.2 s, and opens no session. Fails the test
        when ``timeout`` seconds are over, with the percent, the rate and the node that is behind; at once
        when the build failed or was interrupted, when the view was dropped, and when there is none of that
        name for 5 s.
        """
        __tracebackhide__ = True
        try:
            problem = self._waited(name, timeout)
        except ConfigurationError as exc:
            raise pytest.UsageError(f"diagnostics.wait_until_built: {exc}") from None
        if problem:
            pytest.fail(f"diagnostics.wait_until_built: {problem}", pytrace=False)

    @contextmanager
    def stretch(self, name: str) -> Iterator[Stretch]:
        """Account a part of this test under a name of its own."""
        stretch = Stretch(name)
        window = self._reader.open()
        try:
            yield stretch
        finally:
            stretch.usage, stretch.absent = self._reader.close(window)
            self._record(
                "stretch",
                {"name": name, "start": window.start, "end": window.end, "usage": stretch.usage},
            )

    def usage(self) -> Usage:
        """Return this test's exact figures so far, without fixtures above function scope.

        Without --diagnostics they count from the moment when the fixture was set up.
        """
        now = self._reader.edge()
        attempt = self._phases.attempt if self._phases is not None else None
        window = attempt.window if attempt is not None else None
        if attempt is None or window is None or window.before is None:
            return self._reader.delta(self._begin, now)[0]
        running = self._reader.delta(window.before, now)[0]
        for inner in window.inner:
            running = subtract(running, inner)
        return total([*attempt.usage.values(), running])

    def results(self, name: str | None = None) -> list[DiagnosticResult]:
        """Return what was collected in this process since the fixture was set up, oldest first."""
        found = [
            result
            for recorder in self._live.recorders()
            for result in recorder.results(self._began)
            if name in (None, result.collector_name)
        ]
        return sorted(found, key=lambda result: result.monotonic)

    def _waited(self, name: str, timeout: float) -> str:
        """Return why it is not built; empty when it is."""
        clock = self._clock
        now = clock.monotonic()
        deadline = now + timeout
        waiting = Waiting(name, now)
        if not self._watches_database:
            return "no database is watched; run with --diagnostics-cassandra=HOST[:PORT],..."
        self._ensure(waiting.collectors)
        pause = Flag()  # nobody sets it: a test may have replaced time.sleep
        while True:
            asked = clock.monotonic()
            report = self._asked(waiting.collectors, max(0.5, min(10.0, deadline - asked)), waiting.parts)
            now = clock.monotonic()
            try:
                if waiting.look(report, now):
                    return ""
            except HopelessError as exc:
                return str(exc)
            if now >= deadline:
                return waiting.timed_out(timeout)
            pause.wait(max(0.0, min(PAUSE_SECONDS - (now - asked), deadline - now)))

    def _asked(self, names: Sequence[str], timeout: float, about: Sequence[str] = ()) -> dict[str, JsonValue]:
        """Return what these collectors, or all that run here, tell now, of one thing in any case."""
        report: dict[str, JsonValue] = {}
        for recorder in self._live.recorders():
            here = [name for name in recorder.names if not names or name in names]
            if here:
                report.update(_told(here, recorder.collect_now(here, timeout, about)))
        return report

    @property
    def _watches_database(self) -> bool:
        """Whether a cluster was named, or a session of one given."""
        running = {name for recorder in self._live.recorders() for name in recorder.names}
        return not running.isdisjoint(COLLECTORS) or bool(self._live.options)

    def _ensure(self, names: Iterable[str]) -> None:
        running = {name for recorder in self._live.recorders() for name in recorder.names}
        wanted = [name for name in dict.fromkeys(names) if name not in running]
        if wanted:
            checked(wanted, "diagnostics.collect")
            self._live.add_named(wanted)
        elif not names and not running:
            self._live.add_named(self._live.names)

    def _record(self, kind: str, fields: dict[str, object]) -> None:
        if self._phases is not None:
            self._phases.shard.append(kind, {**self._phases.identity(), **fields})


def _told(names: Iterable[str], results: Mapping[str, DiagnosticResult]) -> dict[str, JsonValue]:
    """Return the data by name, or why there is none."""
    report: dict[str, JsonValue] = {}
    for name in names:
        result = results.get(name)
        if result is not None and result.error is None:
            report[name] = result.data
        elif result is not None and result.error is not None:
            report[name] = {"error": {"type": result.error.type.value, "message": result.error.message}}
        else:
            report[name] = {"error": {"type": "timeout", "message": "no answer in time"}}
    return report


def _split(report: dict[str, JsonValue]) -> dict[str, object]:
    """Part a report into what was collected and why the rest was not."""
    data: dict[str, object] = {}
    errors: dict[str, str] = {}
    for name, value in report.items():
        error = value.get("error") if isinstance(value, dict) and len(value) == 1 else None
        if isinstance(error, dict):
            errors[name] = f"{error.get('type')}: {error.get('message')}"
        else:
            data[name] = value
    return {"data": data, "errors": errors}


class _Threads:
    """Hosts what a test asks for, where nothing else is recorded."""

    process = None

    def __init__(self, worker: str) -> None:
        self._worker = worker

    def session_recorders(self) -> list[Recorder]:
        """Return nothing: nobody collects for the session."""
        return []

    def make_thread(self) -> ThreadRecorder:
        """Return a recorder that keeps its results in memory."""
        from .recorder.thread import ThreadRecorder

        return ThreadRecorder(self._worker, (), 1.0, MemoryShard("fixture", limit_bytes=1 << 20))


class _Alone:
    """What serves the fixture when the run is not recorded: one a session, in memory."""

    _KEY = pytest.StashKey["_Alone"]()

    def __init__(self, config: pytest.Config) -> None:
        from .collectors import DEFAULT

        # Nobody asked for exact peaks, which change what getrusage says to others.
        self.reader: UsageReader = open_usage_reader(peak="off")
        worker = getattr(config, "workerinput", {}).get("workerid", "main")
        guard = Guard()
        self.live = LiveCollectors(config, guard, worker, _Threads(worker))
        self.live.names = DEFAULT
        watched = named_cluster(config)
        if watched is not None:
            self.live.options = options_for(watched)

    @classmethod
    def of(cls, config: pytest.Config) -> _Alone:
        """Return this session's, made and registered when first asked for."""
        found = config.stash.get(cls._KEY, None)
        if found is None:
            found = config.stash[cls._KEY] = cls(config)
            config.pluginmanager.register(found, "diagnostics-fixture")
        return found

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """End what the test added, before its fixtures are torn down."""
        self.live.end_test()

    def pytest_unconfigure(self) -> None:
        """End the thread and close the descriptors."""
        self.live.stop(5.0)
        self.reader.release()
