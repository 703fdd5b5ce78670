"""Hardware and software counters, streamed by ``perf stat``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import NamedTuple

from ..core.clock import Pid, SystemClock
from ..core.collector import DiagnosticCollector
from ..core.handlers import ExceptionHandler

EVENTS: tuple[str, ...] = (
    "cpu-clock",
    "context-switches",
    "cpu-migrations",
    "page-faults",
    "cycles",
    "instructions",
    "branches",
    "branch-misses",
    "L1-dcache-loads",
    "L1-dcache-load-misses",
    "LLC-loads",
    "LLC-load-misses",
    "L1-icache-loads",
    "dTLB-loads",
    "dTLB-load-misses",
    "iTLB-loads",
    "iTLB-load-misses",
)
#: These happen in the kernel: counted in user space only (":u"), they are always 0, which is a lie.
_KERNEL_ONLY = frozenset({"context-switches", "cpu-migrations"})


class Line(NamedTuple):
    """One line of ``perf stat -I -x';'``."""

    time: float
    event: str
    value: float | None
    unit: str
    state: str  # counted, not counted, not supported


def parse_line(line: str) -> Line | None:
    """Return what a line says, or None for one that holds no event (comments, metrics without a count)."""
    words = line.strip().split(";")
    if len(words) < 4 or line.lstrip().startswith("#"):
        return None
    value, unit, event = words[1], words[2], words[3]
    try:
        time = float(words[0])
    except ValueError:
        return None
    name, _, modifier = event.partition(":")
    if "/" in name:  # hybrid CPUs: cpu_core/instructions/
        name = name.split("/")[1]
    if not name:
        return None
    if value.startswith("<"):
        return Line(time, name, None, unit, value.strip("<>"))
    if "u" in modifier and name in _KERNEL_ONLY:
        return Line(time, name, None, unit, "not supported")
    try:
        return Line(time, name, float(value), unit, "counted")
    except ValueError:
        return None


class PerfEventsCollector(DiagnosticCollector):
    """Counters of the whole machine, or of one process where the machine's are not permitted.

    - ``available``: False when perf does not count here; ``error`` says why (None when it does)
    - ``scope``: "host" (``perf stat -a``) or "process" (``perf stat -p``, with the children it starts)
    - ``cpu_cores``: CPUs of the machine
    - ``interval_ms``: how long perf counts for one sample
    - ``sample_time``: the end of the latest interval that is complete, seconds since perf began
    - ``events``: {name: {value, unit}} counted in that interval; a value is None when the counter never
      got its turn, and then named in ``missing_events``
    - ``unsupported_events``: those that this machine has no counter for

    perf runs in a session of its own, so that Ctrl-C reaches pytest alone, and ends with ``stop``; should
    this process die, it ends when it next writes to the pipe that nobody reads.
    """

    blocking = True
    #: How long to watch a perf that was just started: refusals come within some 15 ms.
    START_SECONDS = 0.1
    _SIGNALS: tuple[tuple[signal.Signals, float], ...] = (
        (signal.SIGINT, 1.0),  # perf prints what it has, and ends
        (signal.SIGTERM, 1.0),
        (getattr(signal, "SIGKILL", signal.SIGTERM), 5.0),
    )
    _which = staticmethod(shutil.which)
    _popen = subprocess.Popen
    if hasattr(signal, "pthread_sigmask"):
        _mask = staticmethod(signal.pthread_sigmask)
    _pipe = staticmethod(os.pipe)
    _read = staticmethod(os.read)
    _close = staticmethod(os.close)
    _set_blocking = staticmethod(os.set_blocking)
    _kill = staticmethod(os.kill)
    _cpu_count = staticmethod(os.cpu_count)

    def __init__(
        self,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
        *,
        events: Sequence[str] = EVENTS,
        interval_ms: int = 1000,
        pid: int | None = None,
        perf: str = "perf",
    ) -> None:
        """``pid`` is counted where the machine may not be (default: this process); ``perf`` is the binary."""
        super().__init__(name or "perf_events", exception_handler)
        self._events = tuple(events)
        self._interval_ms = max(10, interval_ms)  # perf itself warns below 100
        self._pid = pid
        self._perf = perf
        self._clock = SystemClock()
        self._pause = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self._errors = -1
        self._error: str | None = None
        self._forget()

    def probe(self) -> str | None:
        """Return why perf cannot run at all; what it may count shows only when it does."""
        path = self._which(self._perf)
        if path is None:
            return f"{self._perf} is not installed"
        try:
            with self._popen(
                [path, "stat", "-x;", "-e", "cpu-clock:u", "true"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=_environment(),
            ) as trial:
                try:
                    told = trial.communicate(timeout=5)[1]
                except subprocess.TimeoutExpired:
                    trial.kill()
                    return f"{path} does not answer"
        except (OSError, subprocess.SubprocessError) as exc:
            return f"{path} cannot run: {exc}"
        return None if trial.returncode == 0 else f"{path} cannot count: {_first_line(told)}"

    def start(self) -> None:
        """Start perf for the machine; where that is refused, for the process."""
        self.stop()
        path = self._which(self._perf)
        if path is None:
            self._error = f"{self._perf} is not installed"
            return
        refused = self._spawn(path, ["-a"], "host")
        if refused is not None:
            refused = self._spawn(path, ["-p", str(self._pid or Pid.current())], "process")
        self._error = refused

    def collect(self) -> dict[str, object]:
        """Return the latest complete interval."""
        if self._process is None and self._error is None:
            self.start()
        self._drain()
        process = self._process
        if process is not None and process.poll() is not None:
            self._end(process)
        reasons: dict[str, str] = {}
        latest = self._latest
        if not latest:
            why = self._error or "the first interval is not over yet"
            reasons = dict.fromkeys(("events", "sample_time", "missing_events", "unsupported_events"), why)
        data: dict[str, object] = {
            "available": self._error is None,
            "cpu_cores": self._cpu_count(),
            "interval_ms": self._interval_ms,
            "sample_time": next(iter(latest.values())).time if latest else None,
            "events": {
                line.event: {"value": line.value, "unit": line.unit}
                for line in latest.values()
                if line.event not in self._unsupported
            }
            if latest
            else None,
            "missing_events": [
                line.event
                for line in latest.values()
                if line.value is None and line.event not in self._unsupported
            ]
            if latest
            else None,
            "unsupported_events": [name for name in self._events if name in self._unsupported]
            if latest
            else None,
            "error": self._error,
            "scope": self._scope,
        }
        if reasons:
            data["reasons"] = reasons
        return data

    def stop(self) -> object:
        """End perf, kindly at first, and wait until it is gone."""
        process = self._process
        if process is not None:
            for number, patience in self._SIGNALS:
                if process.poll() is not None:
                    break
                self._signal(process.pid, number)
                self._wait(process, patience)
            process.poll()
        self._process = None
        for descriptor in (self._log, self._errors):
            if descriptor >= 0:
                self._close(descriptor)
        self._log = self._errors = -1
        self._forget()
        return None

    def _forget(self) -> None:
        self._scope = "host"
        self._error = None
        self._rest = b""
        self._pending: dict[str, Line] = {}
        self._latest: dict[str, Line] = {}
        self._unsupported: set[str] = set()

    def _spawn(self, path: str, target: list[str], scope: str) -> str | None:
        """Start perf and return None, or the reason for which it ended at once."""
        log, log_end = self._pipe()
        errors, errors_end = self._pipe()
        command = [path, "stat", "-I", str(self._interval_ms), "-x;", "--log-fd", str(log_end)]
        # A collector's thread blocks all signals and a child inherits that: perf would hear SIGKILL alone.
        mask = self._mask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            process: subprocess.Popen[bytes] = self._popen(
                [*command, "-e", ",".join(self._events), *target],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors_end,
                pass_fds=(log_end,),
                start_new_session=True,
                env=_environment(),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as exc:
            for descriptor in (log, errors):
                self._close(descriptor)
            return f"{path} cannot run: {exc}"
        finally:
            self._mask(signal.SIG_SETMASK, mask)
            self._close(log_end)
            self._close(errors_end)
        for descriptor in (log, errors):
            self._set_blocking(descriptor, False)
        self._process, self._log, self._errors, self._scope = process, log, errors, scope
        self._wait(process, self.START_SECONDS)
        if process.poll() is None:
            return None
        reason = _first_line(self._read_all(errors)) or f"perf ended with {process.returncode}"
        self.stop()
        return reason

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Keep why perf ended on its own; what it counted last stays."""
        told = _first_line(self._read_all(self._errors))
        self._error = f"perf ended with {process.returncode}" + (f": {told}" if told else "")

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            self._kill(pid, number)

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        """Wait for the end of perf without ``time.sleep``, which tests replace."""
        deadline = self._clock.monotonic() + seconds
        with self._pause:
            while process.poll() is None and self._clock.monotonic() < deadline:
                self._pause.acquire(timeout=0.002)  # held already: a pause that always runs out

    def _drain(self) -> None:
        if self._log < 0:
            return
        *lines, self._rest = (self._rest + self._read_all(self._log)).split(b"\n")
        for raw in lines:
            line = parse_line(raw.decode("utf-8", "replace"))
            if line is None:
                continue
            if self._pending and next(iter(self._pending.values())).time != line.time:
                self._latest, self._pending = self._pending, {}
            if line.state == "not supported":
                self._unsupported.add(line.event)
            twin = self._pending.get(line.event)
            if twin is not None and twin.value is not None and line.value is not None:
                line = line._replace(value=twin.value + line.value)  # both kinds of a hybrid CPU's cores
            self._pending[line.event] = line
        if len(self._pending) == len(self._events):
            self._latest, self._pending = self._pending, {}

    def _read_all(self, descriptor: int) -> bytes:
        data = b""
        while descriptor >= 0:
            try:
                more = self._read(descriptor, 65536)
            except (BlockingIOError, InterruptedError):
                break
            if not more:
                break
            data += more
        return data


def _environment() -> dict[str, str]:
    # perf writes decimal commas in some languages, and colours by its own configuration.
    return {**os.environ, "LC_ALL": "C", "PERF_CONFIG": os.devnull}


def _first_line(output: bytes) -> str:
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    told = [line for line in lines if line and line != "Error:"]
    return told[0] if told else ""
