"""The registered plugin object: starts what records, stops it, and has the run summarised."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

from .collectors import CASSANDRA_DEFAULT
from .core.clock import Pid
from .core.errors import DiagnosticError, RecordingError
from .databases import named_cluster, options_for
from .guard import Guard
from .hosting import Hosting
from .live import LiveCollectors
from .phases import PhaseHooks
from .selection import names_of
from .settings import Settings
from .storage.runs import create_run, retain, shard_header
from .storage.shard import MemoryShard, Shard, ShardWriter
from .system.peak import session_peak_bytes
from .system.procfs import KeptFile, has_room
from .system.usage import open_usage_reader
from .workers import (
    MAX_BROUGHT_BYTES,
    BroughtShard,
    brought_home,
    given_by_controller,
    name_of,
    take_home,
    tell_worker,
    was_elsewhere,
)

if TYPE_CHECKING:
    from .analysis.schema import Summary
    from .collectors.cassandra.target import Target
    from .remote import HostDirectory
    from .storage.runs import RunDirectory
    from .workers import Errand

#: How long the end of a run may wait for its collectors.
STOP_SECONDS = 5.0

#: A report on its way between processes.
Wire = dict[str, object] | None

SESSION = pytest.StashKey["DiagnosticsSession"]()


def register(config: pytest.Config, settings: Settings) -> None:
    """Record this run; raises ``pytest.UsageError`` for what the user has to mend."""
    watched = named_cluster(config)
    more = CASSANDRA_DEFAULT if watched is not None else ()
    names = names_of(settings.collectors, settings.collectors_source, more)
    if settings.report_named and settings.report is not None and settings.report.is_dir():
        raise pytest.UsageError(
            f"--diagnostics-report: {settings.report} is a directory; give a file's path, or 'none'"
        )
    session = DiagnosticsSession(config, settings, names)
    if watched is not None:
        session.watch(watched)
    config.stash[SESSION] = session
    config.pluginmanager.register(session, "diagnostics-session")


class DiagnosticsSession:
    """One run in one process: alone, as xdist's controller, or as one of its workers."""

    def __init__(self, config: pytest.Config, settings: Settings, names: tuple[str, ...]) -> None:
        self.config = config
        self.settings = settings
        self.names = names
        self.guard = Guard()
        self.given = given_by_controller(config)
        self.worker = self.given.worker
        self.run: RunDirectory | None = None
        self.header: dict[str, object] = {}
        self.shards: list[tuple[str, Shard]] = []
        self.phases: PhaseHooks | None = None
        self.summary: Summary | None = None
        self.report: str | None = None
        #: Where the workers of another host record, when this is one of them.
        self.directory: HostDirectory | None = None
        #: Workers of other hosts that brought nothing home.
        self._empty_handed: list[str] = []
        self._main_shard: Shard | None = None
        #: False before the session starts, as with --markers, and once it was summarised.
        self._open = False
        self.hosting = Hosting(config, settings, self.guard, self.worker, self._shard)
        self.hosting.names = names
        self.live = LiveCollectors(config, self.guard, self.worker, self.hosting)
        self.live.names, self.live.interval, self.live.scope = names, settings.interval, settings.scope

    def watch(self, target: Target) -> None:
        """Have every collector of databases ask this one."""
        self.hosting.variables = target.variables
        self.hosting.options = self.live.options = options_for(target)

    @property
    def is_controller(self) -> bool:
        """Whether the tests run in workers of this process."""
        return self.config.pluginmanager.hasplugin("dsession")

    # -- start

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Make the run's directory; a named one that cannot be written is the user's error."""
        self.guard(self._open_run)
        if self.given.refusal and self.settings.directory_source != "default":
            raise pytest.UsageError(f"{self.settings.directory_source}: {self.given.refusal}")
        self._open = True
        self.guard(self._start_process)
        self.guard(self._watch_tests)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        """Tell an xdist worker where this run is recorded."""
        process = self.hosting.process
        self.guard(tell_worker, node, self.run, process.plan.to_json() if process is not None else "")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take home what a worker could not write to the run's directory."""
        self.guard(self._welcome, node)

    def pytest_report_header(self) -> list[str]:
        """Say in one line what is recorded and where; in another how the run before came to its end."""
        lines = [self.guard(self._header_line), self.guard(self._earlier_line)]
        return [line for line in lines if line]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Sample while tests run. Collection is over: a module that patches threading did so before us."""
        self.guard(self.hosting.start_thread)
        return (yield)

    # -- reports on their way between processes

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, Wire, Wire]:
        """Send ``report.diagnostics`` as one string."""
        data = yield
        if data is not None:
            from .attachment import to_wire

            self.guard(to_wire, data)
        return data

    @pytest.hookimpl(wrapper=True)
    def pytest_report_from_serializable(self) -> Generator[None, object, object]:
        """Receive it as a dict."""
        report = yield
        from .attachment import from_wire

        self.guard(from_wire, report)
        return report

    # -- end

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop recording and summarise; xdist's workers are gone by now."""
        self.guard(self._finish, "finished", int(exitstatus))
        good = self.worker != "main" or (
            self.summary is not None and self.summary["health"]["state"] == "good"
        )
        if self.settings.strict and not good and self.guard.active and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what was slow, what was hungry, where the report is, and how well we did."""
        if self.guard.active and self.worker == "main":  # a worker of another host may have a terminal
            self.guard(self._write_terminal, terminalreporter)

    def pytest_unconfigure(self) -> None:
        """Stop, should the session have ended without finishing."""
        self.guard(self._finish, "unconfigured", None)

    # -- inside

    def _open_run(self) -> None:
        from .environment import environment

        if self.worker != "main":
            self.run = self.given.run
            if self.given.errand is not None and self.hosting.wants_process:
                self._enter(self.given.errand)
            return
        self.header = {
            "environment": environment(self.config),
            "settings": {
                "scope": self.settings.scope,
                "interval_seconds": self.settings.interval,
                "collectors": list(self.names),
                "peak": self.settings.peak,
            },
        }
        try:
            self.run = create_run(self.settings.directory, self.header, self.guard.note)
        except RecordingError as exc:
            self.given.refusal = str(exc)
            self.guard.note(f"nothing is on disk: {exc}")

    def _enter(self, errand: Errand) -> None:
        """Record to a directory of this host, as long as there is a recorder that takes care of it."""
        from .recorder.launch import refusal
        from .remote import HostDirectory

        reason = refusal()
        if reason is not None:
            self.guard.note(f"no recorder process: {reason}")
            return
        self.directory = HostDirectory(errand)
        self.run = self.directory.run

    def _welcome(self, node: object) -> None:
        """Take what a worker brings home; of one of another host that brings nothing, say so at the end."""
        shards, left_out = brought_home(node)
        for name, lines in shards.items():
            self.shards.append((name, BroughtShard(name, lines)))
        if not shards and was_elsewhere(node):
            self._empty_handed.append(name_of(node))
        if left_out:
            limit = MAX_BROUGHT_BYTES // 1024 // 1024
            self.guard.note(f"{left_out} records of a worker left out: more than {limit} MiB to bring home")

    def _start_process(self) -> None:
        if self.worker == "main":
            self.hosting.launch(self.run)
        elif self.directory is not None:
            self.hosting.launch(self.run, self.directory)
            self.given.host = self.directory.host
        elif self.run is not None and self.given.recorder:
            self.hosting.join(self.run, self.given.recorder)

    def _watch_tests(self) -> None:
        self._main_shard = self._shard(self.worker)
        if not self.is_controller:
            KeptFile.keeps = self.settings.descriptors == "kept" and has_room()
            reader = open_usage_reader(peak=self.settings.peak)  # type: ignore[arg-type] # checked by settings
            self.phases = PhaseHooks(self.settings, self.guard, self._main_shard, reader, self.live)
            self.config.pluginmanager.register(self.phases, "diagnostics-phases")

    def _shard(self, role: str, recorder: dict[str, object] | None = None) -> Shard:
        """Open a shard of this process, in memory where the directory cannot be written."""
        shard: Shard
        pid = Pid.current()
        if self.run is None:
            shard = MemoryShard(f"{role}-{pid}")
        else:
            try:
                shard = ShardWriter(self.run.shard(role, pid))
            except DiagnosticError as exc:
                self.guard.note(str(exc))
                shard = MemoryShard(f"{role}-{pid}")
        name = self.run.name if self.run is not None else "in-memory"
        more: dict[str, object] = {} if recorder is None else {"recorder": recorder}
        if self.given.host:
            more["host"] = self.given.host
        shard.append("run", shard_header(name, role, **more))
        self.shards.append((f"{role}-{pid}", shard))
        return shard

    def _header_line(self) -> str | None:
        if self.worker != "main":
            return None
        where = "in memory only" if self.run is None else f"to {_shortest(self.run.path, self.config)}"
        scope = "the whole session" if self.settings.scope == "session" else "test by test"
        return f"diagnostics: {scope}, every {self.settings.interval:g} s, recorded {where}"

    def _earlier_line(self) -> str | None:
        if self.run is None or self.worker != "main":
            return None
        from .endings import previous_ending
        from .report.words import line

        told = previous_ending(self.settings.directory, self.run)
        return None if told is None else f"diagnostics: {line(told)}"

    def _finish(self, reason: str, status: int | None) -> None:
        if not self._open:
            return
        self._open = False
        if self.phases is not None:
            self.guard(self.phases.finish)
        try:
            self.guard(self.live.stop, STOP_SECONDS)
            self.guard(self.hosting.stop, STOP_SECONDS)
        except KeyboardInterrupt:
            # Whoever is impatient with our waiting ends that; the run has its exit code already.
            self.guard.note("the wait for collectors was interrupted; what hung was left behind")
        self._close_shards(reason, status)
        if self.phases is not None:
            self.guard(self.phases.reader.release)
            KeptFile.keeps = True
        if self.worker != "main":
            self.guard(take_home, self.config, self.shards, self.directory, self.hosting.last)
            return
        self._summarise()

    def _summarise(self) -> None:
        from .rendering import admit, recording_of, summary_of, write_report, write_summary

        # pathlib's raises where the file system does not let anybody look.
        if self.run is not None and os.path.islink(self.run.path):
            self.guard.note("a symbolic link took the run directory's place; nothing was written there")
            self.run = None
        shards = [shard for _, shard in self._unstored()]
        recording = recording_of(self.run, self.header, shards, self.hosting.unwritten)
        self.summary = summary_of(recording)
        del recording  # of a long run it is as large as what is written below
        for trouble in self.guard.troubles:
            admit(self.summary, trouble)
        if self.run is not None:
            self.guard(write_summary, self.summary, self.run)
        report = self.settings.report
        if self.settings.report_named and report is not None:
            self.report = self.guard(write_report, self.summary, report)
        elif report is not None and self.run is not None:
            self.report = self.guard(write_report, self.summary, self.run.report)
        if self.run is not None:
            self.guard(retain, self.settings.directory, self.settings.keep, self.guard.note)
        for trouble in self.guard.troubles:  # those of writing
            admit(self.summary, trouble)

    def _unstored(self) -> Iterator[tuple[str, Shard]]:
        """Write what workers brought home to the run's directory; yield all shards but these."""
        roles = {name.rpartition("-")[0] for name, _ in self.shards}
        for worker in self._empty_handed:
            if worker not in roles:  # nor did another worker of its host
                self.guard.note(f"nothing that worker {worker} recorded on its host came home: it is lost")
        for name, shard in self.shards:
            stored = isinstance(shard, BroughtShard) and self.run is not None and shard.store(self.run)
            if not stored:
                yield name, shard

    def _close_shards(self, reason: str, status: int | None) -> None:
        problems = list(self.guard.troubles)
        problems += self.hosting.problems
        problems += self.live.recorder.problems if self.live.recorder is not None else []
        cost: dict[str, object] = {"session_peak_rss_bytes": session_peak_bytes()}
        if self.phases is not None:
            cost.update(edges=self.phases.edges, edge_seconds=self.phases.edge_seconds)
        for _, shard in self.shards:
            end: dict[str, object] = {"reason": reason, "exit_status": status}
            if shard is self._main_shard:
                end.update(problems=problems, cost=cost)
            self.guard(shard.close, end)

    def _write_terminal(self, terminalreporter: pytest.TerminalReporter) -> None:
        verbosity = self.config.get_verbosity()
        if self.summary is None:
            lines = [f"health  degraded: there is no summary: {'; '.join(self.guard.troubles)}"]
        else:
            from .report.terminal import lines as lines_of

            lines = lines_of(self.summary, show=self.settings.show, quiet=verbosity < 0, report=self.report)
        # pytest leaves the line of its progress open in a way that the next line, not a section, closes.
        terminalreporter.ensure_newline()
        if verbosity >= 0:
            terminalreporter.section("diagnostics")
        for line in lines:
            terminalreporter.write_line(line)


def _shortest(path: object, config: pytest.Config) -> str:
    """Return a path as a person would type it here."""
    from pathlib import Path

    try:
        return str(Path(str(path)).relative_to(config.invocation_params.dir))
    except ValueError:
        return str(path)
