"""Where this run's collectors run: in a process beside pytest, in a thread of it, or some in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from .collectors import CASSANDRA
from .core.clock import Pid, SystemClock
from .core.errors import RecordingError
from .databases import of_session
from .guard import Guard
from .selection import Options, loaded, offered

if TYPE_CHECKING:
    from .core.collector import DiagnosticCollector
    from .core.protocols import Processor, Sink
    from .recorder.kinds import Recorder
    from .recorder.process import ProcessRecorder
    from .recorder.thread import ThreadRecorder
    from .remote import HostDirectory
    from .settings import Settings
    from .storage.runs import RunDirectory
    from .storage.shard import Shard

T = TypeVar("T")

#: Opens a shard of this process: its role, and what its header says of the recorder.
OpenShard = Callable[[str, "dict[str, object]"], "Shard"]


class Hosts(Protocol):
    """What single tests need to know of it."""

    @property
    def process(self) -> ProcessRecorder | None:
        """The recorder process, if there is one."""

    def session_recorders(self) -> list[Recorder]:
        """Return what collects for the whole session, the process included."""

    def make_thread(self) -> ThreadRecorder:
        """Return a new recorder in this process for what runs for single tests."""


class Hosting:
    """Decides once a run; the session tells it when."""

    def __init__(
        self, config: pytest.Config, settings: Settings, guard: Guard, worker: str, open_shard: OpenShard
    ) -> None:
        self._config = config
        self._settings = settings
        self._guard = guard
        self._worker = worker
        self._open_shard = open_shard
        self.names: tuple[str, ...] = ()
        #: What collectors are made with, and which of the environment's variables they need for that.
        self.options: Options = {}
        self.variables: tuple[str, ...] = ()
        self.process: ProcessRecorder | None = None
        #: What collects in this process for the whole session.
        self.thread: ThreadRecorder | None = None
        self._given_up: list[str] = []
        #: Whether this was the last worker of another host; None when nobody knows.
        self.last: bool | None = None

    # -- the recorder process

    @property
    def wants_process(self) -> bool:
        """Whether a recorder process is to be started."""
        if self._settings.recorder != "process":
            return False
        # Sinks and the like see what is collected in this process only.
        return self._settings.recorder_named or not self._objects_take_results()

    def launch(self, run: RunDirectory | None, directory: HostDirectory | None = None) -> None:
        """Start a recorder process, if that is wanted and possible; nothing waits for it.

        ``directory`` is that of xdist's workers on another host, of which the first starts theirs.
        """
        if not self.wants_process:
            return
        if run is None:
            return  # nothing is on disk: it could not tell us anything
        from .recorder.channel import available, fresh_address, printable
        from .recorder.plan import Plan
        from .recorder.process import ProcessRecorder
        from .storage.alive import start_ticks

        if not available():
            self._guard.note("no recorder process: there are no local sockets here; a thread collects")
            return
        pid = Pid.current()
        plan = Plan(
            run=str(run.path),
            name=run.name,
            address=printable(fresh_address(str(run.path))),
            pid=pid,
            start_ticks=start_ticks(pid),
            collectors=self._names_for(directory) if self._settings.scope == "session" else (),
            interval=self._settings.interval,
            burst=self._settings.burst == "on",
            role=self._worker,
            temporary=directory.path if directory is not None else "",
            host=directory.host if directory is not None else "",
            options={name: dict(given) for name, given in self.options.items()},
        )
        if directory is not None:
            plan, first = directory.elect(plan)
            directory.host = plan.host
            if not first:
                self.join(run, plan.to_json())
                return
        recorder = ProcessRecorder(run, plan, self._worker, variables=self.variables)
        try:
            recorder.start()
        except RecordingError as exc:
            self._guard.note(f"no recorder process: {exc}; a thread collects")
            return
        self.process = recorder
        self._config.pluginmanager.register(self, "diagnostics-hosting")

    def _names_for(self, directory: HostDirectory | None) -> tuple[str, ...]:
        """Return what a recorder process is to collect: one asks a database, not one of every host."""
        return tuple(name for name in self.names if directory is None or name not in CASSANDRA)

    def join(self, run: RunDirectory, plan: str) -> None:
        """Use the recorder process that the controller of this worker started."""
        from .recorder.plan import Plan
        from .recorder.process import ProcessRecorder

        self.process = ProcessRecorder(run, Plan.from_json(plan), self._worker)
        self.process.announce()
        self._config.pluginmanager.register(self, "diagnostics-hosting")

    def pytest_runtest_logstart(self) -> None:
        """Collect in a thread when the recorder process did not begin; looked at until it did."""
        self._guard(self._check)

    def _check(self) -> None:
        process = self.process
        if process is not None and not process.has_begun:
            if not process.late:
                return
            self._guard.note(f"{process.give_up()}; a thread collects")
            self.process = None
            if self._worker == "main":
                self.start_thread()
        self._config.pluginmanager.unregister(self)

    # -- threads of this process

    def start_thread(self) -> None:
        """Collect what the recorder process does not: all without one, else what are live objects."""
        if self._worker != "main" or self._settings.scope == "test":
            return
        if self.thread is not None:
            self._take_over()
            return
        more, objects = offered(self._config, self._guard, self.names)
        if not self.options:
            objects += self._guard(of_session, self._config) or []
        if self.process is not None:
            if more:
                self._guard(self.process.add_session, more)
            collectors: list[DiagnosticCollector] = []
        else:
            collectors = self._made([*self.names, *more])
        if not collectors and not objects:
            return
        role = "recorder" if self.process is None else "objects"
        self.thread = self.new_thread(role, collectors, self._settings.interval)
        for collector in objects:
            # One whose name is taken, or that is no collector, must not cost us the others.
            self._guard(self.thread.add, collector)
        self.thread.start()

    def _take_over(self) -> None:
        """Add the named collectors to the thread of the objects."""
        if self.thread is not None:
            for collector in self._made(self.names):
                self._guard(self.thread.add, collector)

    def _made(self, names: Iterable[str]) -> list[DiagnosticCollector]:
        collectors, troubles = loaded(names, self.options)
        for trouble in troubles:
            self._guard.note(trouble)
        return collectors

    def make_thread(self) -> ThreadRecorder:
        """Return a new recorder in this process for what runs for single tests."""
        return self.new_thread("live", (), self._settings.interval)

    def new_thread(
        self, role: str, collectors: Iterable[DiagnosticCollector], interval: float
    ) -> ThreadRecorder:
        """Return a new recorder in this process, with a shard of its own."""
        from .recorder.thread import ThreadRecorder

        hook = self._config.hook
        told = [*collectors]
        header: dict[str, object] = {
            "kind": "thread",
            "where": f"thread in {self._worker} (pid {Pid.current()})",
            "interval_seconds": interval,
            "collectors": [collector.name for collector in told],
        }
        prefix = "" if self._worker == "main" else f"{self._worker}-"
        shard = self._open_shard(f"{prefix}{role}", header)
        handler = self._guard(hook.pytest_diagnostics_exception_handler, config=self._config)
        sinks: list[Sink] = self._given(hook.pytest_diagnostics_sinks)
        processors: list[Processor] = self._given(hook.pytest_diagnostics_processors)
        return ThreadRecorder(
            self._worker,
            told,
            interval,
            shard,
            handler=handler,
            sinks=sinks,
            processors=processors,
        )

    # -- both

    def session_recorders(self) -> list[Recorder]:
        """Return what collects for the whole session, the process included."""
        found: list[Recorder | None] = [self.process, self.thread]
        return [recorder for recorder in found if recorder is not None and recorder.is_running]

    @property
    def kind(self) -> str:
        """What collects for the session: process or thread."""
        return "thread" if self.process is None else "process"

    def stop(self, timeout: float) -> None:
        """End everything that collects for the session, within ``timeout`` seconds."""
        clock = SystemClock()
        deadline = clock.monotonic() + timeout
        if self.thread is not None:
            self._guard(self.thread.stop, timeout)
        if self.process is None:
            return
        if self._worker == "main":
            self._guard(self.process.stop, max(0.5, deadline - clock.monotonic()))
        else:
            self.last = self.process.leave(max(0.5, deadline - clock.monotonic()))

    @property
    def unwritten(self) -> dict[str, list[bytes]]:
        """What the recorder process could not write, by the names of its files."""
        return {} if self.process is None else self.process.unwritten

    @property
    def problems(self) -> list[str]:
        """Sentences about what went wrong, for the health line."""
        return [
            problem
            for recorder in (self.process, self.thread)
            if recorder is not None
            for problem in recorder.problems
        ]

    # -- inside

    def _objects_take_results(self) -> bool:
        hook = self._config.hook
        hooks = (
            hook.pytest_diagnostics_sinks,
            hook.pytest_diagnostics_processors,
            hook.pytest_diagnostics_exception_handler,
        )
        return any(one.get_hookimpls() for one in hooks)

    def _given(self, hook: Callable[..., Iterable[Iterable[T] | None]]) -> list[T]:
        """Return what all plugins give through a hook; one that raises or gives no list gives nothing."""
        answers = self._guard(hook, config=self._config) or ()
        return [one for answer in answers for one in self._guard(list, answer or ()) or ()]
