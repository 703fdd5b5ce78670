"""The recorder process: begins to sample at once, then listens, watches, and ends with what it watches.

Everything that pytest needs of it goes through files and short talks, so nothing here waits for pytest. What
ends it before its time is written to a file in the run's directory.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ..collectors import WATCHING, load
from ..core.collector import DiagnosticCollector
from ..core.errors import ConfigurationError, DiagnosticError
from ..storage.alive import start_ticks
from ..storage.runs import RunDirectory, shard_header
from ..storage.shard import ShardWriter
from ..system.glance import Glance
from ..system.procfs import KeptFile, has_room
from ..system.sampling import LocalCollector
from .channel import Listener, from_printable
from .plan import ERRORS, GIVEN_UP, Plan
from .thread import ThreadRecorder

#: How long hanging collectors may hold up the end when nobody is left to wait for it.
LAST_SECONDS = 1.0
#: What could not be written goes to pytest with the answer to its last question, as far as this holds it.
MAX_UNWRITTEN_BYTES = 4 * 1024 * 1024


def main(arguments: Sequence[str], glance: Glance) -> None:
    """Run a recorder by the plan in ``arguments``, from what was seen at ``glance``; does not return."""
    _detach()
    plan = Plan.from_json(arguments[0])
    _let_go_of_disk(os.path.join(plan.run, ERRORS))
    if os.getppid() == plan.pid or os.path.exists(os.path.join(plan.run, GIVEN_UP)):
        os._exit(0)  # pytest would have to wait for us, or does without us
    try:
        glance.identify(plan.start_ticks)
        _record(plan, _hold(plan), glance)
    except BaseException:  # noqa: BLE001 - nobody else is left to be told
        _complain(os.path.join(plan.run, ERRORS))
        os._exit(1)
    # Threads of collectors that hang are left behind.
    os._exit(0)


def _hold(plan: Plan) -> dict[int, int]:
    """Hold the process that is to be watched: how it ended is known then, however early it does."""
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        with suppress(OSError):
            pidfd = os.pidfd_open(plan.pid)
            if start_ticks(plan.pid) in (None, plan.start_ticks):  # None: it has ended by now
                return {plan.pid: pidfd}
            os.close(pidfd)
    return {}


def _record(plan: Plan, held: dict[int, int], glance: Glance) -> None:
    run = RunDirectory(Path(plan.run))
    # Who finds the shard may ask: the kernel keeps the question until it is read.
    listener, trouble = _listen(plan)
    desk = Desk.for_session(run, plan, glance)
    desk.troubles += trouble
    desk.held = held
    desk.recorder.start()
    # Sampling runs; what follows is imported meanwhile.
    from .serve import Service

    # Who asks from now on wants to know what is.
    glance.over, desk.glance = True, None
    gc.freeze()
    gc.enable()
    Service(plan, run, desk, listener).run()


class Desk:
    """The collectors that one process asked for: the session's, or those for a process' single tests."""

    def __init__(self, plan: Plan, shard: ShardWriter, role: str, watched: int) -> None:
        self.plan = plan
        self.shard = shard
        self.watched = watched
        self.troubles: list[str] = []
        #: Process id -> pidfd of what is watched from before sampling began.
        self.held: dict[int, int] = {}
        #: Name -> process id of the workers that are there, which the process collector tells apart.
        self.workers: dict[str, int] = {}
        #: What collectors begin with that are made before somebody can ask for anything.
        self.glance: Glance | None = None
        self.recorder = ThreadRecorder(role, (), plan.interval, shard)

    @classmethod
    def for_session(cls, run: RunDirectory, plan: Plan, glance: Glance) -> Desk:
        """Open the recorder's own shard and make the session's collectors."""
        pid = os.getpid()
        shard = ShardWriter(run.shard("recorder", pid), founds_run=False)
        header = _header(plan, list(plan.collectors), plan.pid)
        shard.append("run", shard_header(plan.name, "recorder", recorder=header, **_place(plan)))
        desk = cls(plan, shard, "recorder", plan.pid)
        desk.glance = glance
        desk.add(plan.collectors, None)
        return desk

    @classmethod
    def for_tests(cls, run: RunDirectory, plan: Plan, role: str, pid: int) -> Desk:
        """Open a shard for what runs for the single tests of process ``pid``."""
        role = "process-live" if role == "main" else f"{role}-process-live"
        shard = ShardWriter(run.shard(role, pid), founds_run=False)
        header = _header(plan, [], pid)
        shard.append("run", shard_header(plan.name, role, recorder=header, **_place(plan)))
        desk = cls(plan, shard, role, pid)
        desk.recorder.start()
        return desk

    def add(self, names: Sequence[str], interval: float | None) -> None:
        """Make collectors and collect from them; what cannot be made is told at the end."""
        for name in names:
            try:
                self.recorder.add(self._made(name, interval))
            except DiagnosticError as exc:
                self.troubles.append(f"{name}: {exc}")

    def _made(self, name: str, interval: float | None) -> DiagnosticCollector:
        if name == "process" and self.plan.shared and self.watched == self.plan.pid:
            from ..collectors.process import WorkersCollector

            return WorkersCollector(self.workers)
        try:
            options = self.plan.options.get(name, {})
            collector = load(name, pid=self.watched) if name in WATCHING else load(name, **options)
            if name == "process":
                setattr(collector, "workers", self.workers)  # noqa: B010 - of this collector alone
        except ConfigurationError as exc:
            raise ConfigurationError(
                f"{exc} (in the recorder process; --diagnostics-recorder=thread collects in pytest's own)"
            ) from exc
        if isinstance(collector, LocalCollector):
            collector.glance = self.glance
        if interval is not None:
            setattr(collector, "interval", interval)  # noqa: B010 - a ClassVar to the type checker
        return collector

    def close(self, reason: str, timeout: float) -> None:
        """Make the final collection and close the shard."""
        self.recorder.stop(timeout)
        self.shard.close(
            {"reason": reason, "exit_status": None, "problems": [*self.troubles, *self.recorder.problems]}
        )


def unwritten(desks: Iterable[Desk]) -> dict[str, list[str]]:
    """Return, by the names of their files, what shards could not write; the newest when it is too much."""
    found: dict[str, list[str]] = {}
    room = MAX_UNWRITTEN_BYTES
    for desk in desks:
        lines: list[str] = []
        for line in reversed(desk.shard.unwritten):
            room -= len(line)
            if room >= 0:
                lines.append(line.decode("ascii"))
        if lines:
            found[os.path.basename(desk.shard.path)] = lines[::-1]
    return found


def _listen(plan: Plan) -> tuple[Listener | None, list[str]]:
    try:
        return Listener(from_printable(plan.address)), []
    except OSError as exc:
        return None, [f"cannot be asked anything: no socket ({exc})"]


def _place(plan: Plan) -> dict[str, object]:
    return {"host": plan.host} if plan.host else {}


def _header(plan: Plan, names: list[str], watched: int) -> dict[str, object]:
    pid = os.getpid()
    return {
        "kind": "process",
        "where": f"a process of its own (pid {pid})",
        "interval_seconds": plan.interval,
        "collectors": names,
        "watched": watched,
        "start_ticks": start_ticks(pid),
    }


def _detach() -> None:
    """Belong to nobody: a session of our own, no inherited descriptor, signals as they are by default."""
    with suppress(OSError):  # the launch has done so
        os.setsid()
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # SIGKILL and SIGSTOP
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.closerange(3, 1 << 16)
    os.chdir("/")
    os.umask(0o077)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems allow no more all the same
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    KeptFile.keeps = has_room()
    # With threads, a process waits ten milliseconds for a larger table of descriptors; now it does not.
    highest = KeptFile(os.devnull)
    highest.open()
    highest.close()


def _let_go_of_disk(path: str) -> None:
    """Keep no file open: a test may want to unmount what the run's directory lies on."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
    with suppress(OSError):
        os.unlink(path)  # empty, or a shell's warning about what did not hold us up


def _complain(path: str) -> None:
    """Leave word of what ended us."""
    import traceback

    if os.path.islink(os.path.dirname(path)):
        return  # the run's directory was replaced by a link to some other place
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError):
        fd = os.open(path, flags, 0o600)
        os.write(fd, traceback.format_exc().encode("utf-8", "replace"))
        os.close(fd)
