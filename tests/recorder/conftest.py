"""Runs of pytest that end as they may, forked from a process that imported pytest once."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from pytest_diagnostics.recorder.channel import Channel, from_printable

#: How long after pytest a recorder may be there: two seconds, and as much again for a busy machine.
GONE_SECONDS = 4.0
#: Until something happens that has to.
PATIENCE_SECONDS = 30.0

#: Reads a job a line, forks, answers with the child's id and, when it has ended, with its wait status.
_FORKING = """
import json, os, sys
import pytest, _pytest.pytester  # and with it everything that a run imports

while line := sys.stdin.readline():
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.chdir(job["cwd"])
        for number, path in enumerate(["/dev/null", "out.txt", "err.txt"]):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(fd, number)
            os.close(fd)
        os.environ.update(job["env"])
        sys.path.insert(0, job["cwd"])
        sys.argv = ["pytest", *job["args"]]
        sys.exit(pytest.console_main())
    print(pid, flush=True)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    sys.stdin.readline()  # its number is not given away before whoever asked for it has seen its end
    print(os.waitpid(pid, 0)[1], flush=True)
"""

Record = dict[str, object]


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    path: Path
    #: The exit code, or the negative number of a signal.
    code: int
    out: str

    @property
    def run(self) -> Path:
        """The directory of the only run."""
        (found,) = (self.path / "pytest-diagnostics" / "runs").glob("*Z-*")
        return found

    def records(self, shards: str = "recorder-*") -> list[Record]:
        """Return the whole records of shards."""
        paths = sorted((self.run / "shards").glob(f"{shards}.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_bytes().split(b"\n")[:-1]]

    def of_kind(self, kind: str, shards: str = "recorder-*") -> list[Record]:
        """Return the records of a kind."""
        return [record for record in self.records(shards) if record["kind"] == kind]

    def endings(self) -> list[dict[str, object]]:
        """Return what was told of processes that ended without saying so."""
        events = [record for record in self.of_kind("event") if record["event"] == "process_ended"]
        return [{**cast("Record", e["details"]), "monotonic": e["monotonic"]} for e in events]

    def summary(self) -> dict[str, object]:
        """Return what a run that was not killed made of itself."""
        return cast("dict[str, object]", json.loads((self.run / "summary.json").read_text()))

    def problems(self) -> str:
        """Return all problems that the summary names."""
        return "\n".join(cast("dict[str, list[str]]", self.summary()["health"])["problems"])


def recorders(path: Path) -> list[int]:
    """Return the processes that were told to record below a directory; the zombie of one is none."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            with suppress(OSError):
                command = Path("/proc", name, "cmdline").read_bytes()
                if b"start_ticks" in command and os.fsencode(path) in command:
                    found.append(int(name))
    return found


def await_end(pid: int, deadline: float) -> bool:
    """Wait until a process has ended, whether or not its parent notices."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))))
    finally:
        os.close(pidfd)


def await_no_recorder(path: Path, seconds: float = GONE_SECONDS) -> None:
    """Wait until no recorder of a directory is left."""
    deadline = time.monotonic() + seconds
    while left := recorders(path):
        assert all(await_end(pid, deadline) for pid in left), f"{left} still there after {seconds} s"


def wait_until(true: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Look often until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.002)


class Runs:
    """Starts runs of pytest in directories of their own."""

    def __init__(self, process: subprocess.Popen[str], new: Callable[[], Path]) -> None:
        self._process = process
        self._new = new
        self.path = new()
        #: The pytest that was started and not waited for.
        self.pending: int | None = None

    def fresh(self, **files: str) -> Path:
        """Begin in a new directory with these modules."""
        self.path = self._new()
        for name, text in files.items():
            (self.path / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        return self.path

    def start(self, *args: str, on: bool = True, env: Mapping[str, str] | None = None) -> int:
        """Start pytest and return its process id."""
        ours = ["--diagnostics", "--diagnostics-interval=0.1"] if on else []
        args = ("-q", "-pno:cacheprovider", "-ppytest_diagnostics.plugin", *ours, *args)
        told = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "RECORDED": "1" if on else "", **(env or {})}
        self._say(json.dumps({"cwd": str(self.path), "args": args, "env": told}))
        self.pending = self._answer()
        return self.pending

    def end(self) -> Ended:
        """Wait for pytest's end."""
        self.pending = None
        self._say("")
        code = os.waitstatus_to_exitcode(self._answer())
        # One that was killed before it had begun has not even opened them.
        files = [self.path / name for name in ("out.txt", "err.txt")]
        out = "".join(path.read_text(errors="replace") for path in files if path.exists())
        return Ended(self.path, code, out)

    def run(self, *args: str, on: bool = True, env: Mapping[str, str] | None = None) -> Ended:
        """Run pytest."""
        self.start(*args, on=on, env=env)
        return self.end()

    def await_recorder(self) -> int:
        """Wait until a recorder has written a result and answers; return its process id."""
        wait_until(self._has_result)
        (pid,) = recorders(self.path)
        wait_until(lambda: self.channel(pid).ask({"op": "now", "names": [], "timeout": 5}, 5))
        return pid

    def channel(self, pid: int) -> Channel:
        """Return the way to a recorder."""
        told = Path(f"/proc/{pid}/cmdline").read_bytes()
        address = told.partition(b'"address": "')[2].partition(b'"')[0].decode()
        return Channel(from_printable(address))

    def has_begun(self) -> bool:
        """Whether there is a recorder's shard."""
        return bool(list(self.path.glob("pytest-diagnostics/runs/*/shards/recorder-*.jsonl")))

    def _has_result(self) -> bool:
        shards = self.path.glob("pytest-diagnostics/runs/*/shards/recorder-*.jsonl")
        return any(b'"kind":"result"' in shard.read_bytes() for shard in shards)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 2 * PATIENCE_SECONDS)
        assert ready, "the run hangs"
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def forking() -> Iterator[subprocess.Popen[str]]:
    """What runs are forked from."""
    if sys.platform != "linux":
        pytest.skip("processes are looked up in /proc")
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    command = [sys.executable, "-c", _FORKING]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def runs(forking: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs of pytest; what a failed one left behind is ended."""
    places: list[Path] = []

    def new() -> Path:
        places.append(tmp_path_factory.mktemp("run"))
        return places[-1]

    started = Runs(forking, new)
    yield started
    if started.pending is not None:
        os.kill(started.pending, 9)
        started.end()
    for path in places:
        for pid in recorders(path):
            with suppress(OSError):
                os.kill(pid, 9)
