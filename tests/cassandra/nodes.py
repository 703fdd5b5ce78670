"""One node: a process of its own that is started, ended, stopped, and asked."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cassandra import jars, settings

READY = "Starting listening for CQL clients"
GUARD = Path(__file__).with_name("guard.py")
#: 5 to 8 s on an idle machine of two cores; several times that where it is busy.
START_TIMEOUT_SECONDS = 120.0
#: Draining took 4.7 s.
STOP_TIMEOUT_SECONDS = 30.0
NODETOOL_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.05
TAIL_LINES = 40


class StartError(Exception):
    """A server ended, or took too long, before it was ready; the text has the end of its log."""


class NodetoolError(subprocess.CalledProcessError):
    """nodetool failed; what it printed is in the text."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.output}"


class Process:
    """A command in a session of its own that writes to a file and never outlives this process."""

    def __init__(self, command: Sequence[str], log: Path, ending: signal.Signals = signal.SIGKILL) -> None:
        self.command, self.log, self._ending = list(command), log, ending
        self._guard: subprocess.Popen[str] | None = None
        self.pid: int | None = None
        #: Where in the log the present start begins.
        self.begin = 0

    @property
    def guard_pid(self) -> int | None:
        return None if self._guard is None else self._guard.pid

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    def start(self, ready: str, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Start, and wait until the log has the text; raise StartError with the log's end otherwise."""
        self.launch()
        self.await_ready(ready, timeout_seconds)

    def await_ready(self, ready: str, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Wait for the text; end what does not say it."""
        try:
            self.await_log(ready, timeout_seconds)
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Start without waiting."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.begin = log.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(int(self._ending)), *self.command],
                cwd=self.log.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        said = self._guard.stdout.readline()
        self.pid = int(said) if said else None

    def await_log(self, text: str, timeout_seconds: float, *, since: int | None = None) -> None:
        """Wait until the log has a text: since the last start, or since the log had a size in bytes."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            ended = not self.running
            if text in self.output(since):
                return
            if ended:
                raise StartError(
                    f"{self.log}: ended with status {self.status} before {text!r}:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise StartError(f"{self.log}: no {text!r} in {timeout_seconds:.0f} s:\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    @property
    def status(self) -> int | None:
        return None if self._guard is None else self._guard.poll()

    def output(self, since: int | None = None) -> str:
        """Return what was logged since the last start, or since the log had a size in bytes."""
        with self.log.open("rb") as log:
            log.seek(self.begin if since is None else since)
            return log.read().decode("utf-8", "replace")

    def tail(self, lines: int = TAIL_LINES) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> None:
        if self.running and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once (SIGKILL), and wait for its end.

        Cassandra loses the last 100 ms of acknowledged writes then: it marks its commit log that often.
        """
        self.signal(signal.SIGKILL)
        self._reap(STOP_TIMEOUT_SECONDS)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Ask it to end (SIGTERM, on which Cassandra drains); kill it when it takes too long."""
        self.signal(signal.SIGTERM)
        self.resume()  # a suspended process would not see the request
        try:
            self._reap(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def suspend(self) -> None:
        """Stop it where it stands (SIGSTOP): connections stay open, and nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def _reap(self, timeout_seconds: float) -> None:
        if self._guard is None:
            return
        self._guard.wait(timeout_seconds)
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                pipe.close()


class Node(Process):
    """A Cassandra node and its files."""

    def __init__(self, version: str, library: Path, address: str, base: Path, *, jmx_port: int) -> None:
        self.version, self.address, self.jmx_port, self.base = version, address, jmx_port, base
        self.data = base / "data"
        self._library = library
        super().__init__([], base / "output.log")

    def configure(self, seed: str, overrides: Mapping[str, object], flags: Sequence[str]) -> None:
        """Write cassandra.yaml and logback.xml, and settle the command."""
        for folder in ("data", "logs", "tmp"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        wanted = {**settings.configuration(self.address, seed, self.base), **overrides}
        # JSON is YAML.
        text = json.dumps(settings.named_for(self.version, wanted), indent=1)
        (self.base / "cassandra.yaml").write_text(text, encoding="utf-8")
        for name, level in (("logback.xml", "INFO"), ("logback-tools.xml", "ERROR")):
            (self.base / name).write_text(settings.LOGBACK.format(level=level), encoding="utf-8")
        self.command = [
            jars.java()[0],
            *settings.java_flags(self.version, self._library, self.base),
            *flags,
            f"-Dcassandra.jmx.local.port={self.jmx_port}",
            "-cp",
            f"{self.base}:{self._library}/*",
            "org.apache.cassandra.service.CassandraDaemon",
        ]

    def start(self, ready: str = READY, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Start, and wait until it takes connections."""
        super().start(ready, timeout_seconds)

    def await_ready(self, ready: str = READY, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        super().await_ready(ready, timeout_seconds)
        try:
            self.await_port(settings.NATIVE_PORT, timeout_seconds)
        except BaseException:
            self.kill()
            raise

    def await_port(self, port: int, timeout_seconds: float) -> None:
        """Wait until a port accepts: Cassandra says that it starts to listen, and then does."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                socket.create_connection((self.address, port), timeout_seconds).close()
            except ConnectionRefusedError as refused:
                if not self.running or time.monotonic() > deadline:
                    raise StartError(f"port {port} of {self.address}: {refused}\n{self.tail()}") from refused
                time.sleep(POLL_SECONDS)
            else:
                return

    def restart(self) -> None:
        """Start again with the same files, after a stop where it still runs."""
        if self.running:
            self.stop()
        self.start()

    def nodetool(self, *arguments: str, timeout_seconds: float = NODETOOL_TIMEOUT_SECONDS) -> str:
        """Return what nodetool prints, in 1 to 2.5 s; raise NodetoolError with its output on failure."""
        done = subprocess.run(
            [
                jars.java()[0],
                # A tool that runs for a second: no second compiler, no threads of a collector.
                *("-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
                f"-Duser.home={self.base}",
                f"-Djava.io.tmpdir={self.base}/tmp",
                f"-Dlogback.configurationFile={self.base}/logback-tools.xml",
                *settings.access(self.version),
                "-cp",
                f"{self._library}/*",
                "org.apache.cassandra.tools.NodeTool",
                *("-h", "127.0.0.1", "-p", str(self.jmx_port)),
                *arguments,
            ],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout_seconds,
        )
        if done.returncode:
            raise NodetoolError(done.returncode, ["nodetool", *arguments], done.stdout)
        return done.stdout

    def forget(self) -> None:
        """Remove what it stored, but neither its log nor its configuration."""
        for name in ("data", "commitlog", "hints", "saved", "cdc", "tmp"):
            shutil.rmtree(self.base / name, ignore_errors=True)
