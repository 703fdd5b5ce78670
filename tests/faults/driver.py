"""Runs pytest again and again, each run in a forked child that meets its own fault; started by conftest.py.

Reads one request a line, answers one a line. What takes the time of a run, importing, is done once.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict, cast

import pytest

#: Children at the same time.
AT_ONCE = 2


class Job(TypedDict):
    """One run: where, with what, and which call fails how."""

    root: str
    below: str
    args: list[str]
    op: str
    at: int
    errno: int
    mode: int
    timeout: float
    #: Whether it is the recorder process whose calls fail, and not pytest's.
    recorder: bool


class Witness:
    """Tells a file outside of the run's directory what pytest reported, and what we summarised."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[list[object]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a phase, and when: the edge that records it comes before this one."""
        name = report.nodeid.rpartition("::")[2]
        # A tuple: the clock is not ours to trust a name with.
        self.told.append([name, report.when, report.outcome, _monotonic()])

    def pytest_warning_recorded(self, warning_message: Any) -> None:
        """Note a warning: none of ours may be among them."""
        self.told.append(["warning", str(warning_message.message), "", 0.0])

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Write down what was seen."""
        session = config.pluginmanager.get_plugin("diagnostics-session")
        summary = getattr(session, "summary", None)
        self.path.write_text(json.dumps({"told": self.told, "summary": summary}))


def _monotonic() -> float:
    import time

    return time.clock_gettime(time.CLOCK_MONOTONIC)


def run(job: Job) -> int:
    """Run pytest in this process, which is a child made for it."""
    root = Path(job["root"])
    os.chdir(root)
    for fd, name in ((0, os.devnull), (1, "out"), (2, "err")):
        opened = os.open(root / name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, fd)
        os.close(opened)
    if job["recorder"]:
        sys.executable = _interpreter_with_faults(job)
    else:
        arm = ctypes.CDLL(None).faults_arm
        below, op, log = job["below"].encode(), job["op"].encode(), str(root / "log").encode()
        arm(below, op, ctypes.c_long(job["at"]), job["errno"], job["mode"], log)
    return int(pytest.main([*job["args"], f"--rootdir={root}"], plugins=[Witness(root / "seen.json")]))


def _interpreter_with_faults(job: Job) -> str:
    """Write a command that starts Python with faults, whatever environment it is given, and tells its id."""
    told = {
        "LD_PRELOAD": os.environ["LD_PRELOAD"],
        "FAULTS_BELOW": job["below"],
        "FAULTS_OP": job["op"],
        "FAULTS_AT": job["at"],
        "FAULTS_ERRNO": job["errno"],
        "FAULTS_MODE": job["mode"],
        "FAULTS_LOG": f"{job['root']}/log",
    }
    path = Path(job["root"], "python")
    exports = "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in told.items())
    python = shlex.quote(sys.executable)
    path.write_text(f'#!/bin/sh\necho $$ > {job["root"]}/pid\n{exports}exec {python} "$@"\n')
    path.chmod(0o700)
    return str(path)


def _import_what_runs_import(job: Job) -> None:
    """Import what one run imports; no run is made here, as children are not to inherit threads and state."""
    code = (
        "import json, sys, driver; status = driver.run(json.loads(sys.argv[1])); "
        "open('modules', 'w').write(chr(10).join(sys.modules))"
    )
    here = os.path.dirname(os.path.abspath(__file__))
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {here!r}); {code}", json.dumps(job)],
        check=True,
    )
    for name in (Path(job["root"]) / "modules").read_text().splitlines():
        # What pytest itself imports as a plugin has to be new to it.
        if name not in ("__main__", "test_it", "pytest_diagnostics.plugin"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


class Child:
    """A run that is going on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pid = os.fork()
        self.fd = -1
        if self.pid:
            self.fd = os.pidfd_open(self.pid)

    def wait(self) -> dict[str, object]:
        """Return how it ended; one that does not end in time is killed."""
        hung = not select.select([self.fd], [], [], self.job["timeout"])[0]
        if hung:
            signal.pidfd_send_signal(self.fd, signal.SIGKILL)
        os.close(self.fd)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return {"code": status, "hung": hung}


def serve(jobs: Iterable[list[Job]]) -> Job | None:
    """Answer requests; in a child, return the run that it is to make."""
    for batch in jobs:
        ended = []
        going: list[Child] = []
        for job in batch:
            child = Child(job)
            if child.pid == 0:
                return job
            going.append(child)
            if len(going) == AT_ONCE:
                ended.append(going.pop(0).wait())
        ended += [child.wait() for child in going]
        print(json.dumps(ended), flush=True)
    return None


def main() -> int:
    """Serve standard input; a child leaves the interpreter as any run of pytest does."""
    requests = (cast("list[Job]", json.loads(line)) for line in sys.stdin)
    first = next(requests)
    _import_what_runs_import(first[0])
    print("[]", flush=True)
    gc.collect()
    gc.freeze()
    job = serve(requests)
    return 0 if job is None else run(job)


if __name__ == "__main__":
    sys.exit(main())
