"""Runs of pytest in processes of their own, each once without and once with diagnostics."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

# Loaded out here once: pytester drops what a run in this process imports, and would import it anew each time.
from pytest_diagnostics import fixtures, rendering, session  # noqa: F401
from pytest_diagnostics.recorder.launch import started
from tests.plugin.forking import Forks

if TYPE_CHECKING:
    from pytest_diagnostics.analysis.schema import Attempt, CollectorState, Phase, Summary

#: Writes what pytest reports, through functions that no test can reach, to a file that nobody keeps open.
WITNESS = """
import json, os

_open, _write, _close, _getpid, _dumps = os.open, os.write, os.close, os.getpid, json.dumps
_where, _pid, _waiting = os.environ.pop("WITNESS", os.devnull), os.getpid(), []

def _say(*what):
    who = "main" if _getpid() == _pid else "child"
    _waiting.append(_dumps([who, *what]).encode() + b"\\n")
    try:
        fd = _open(_where, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return
    try:
        while _waiting:
            _write(fd, _waiting[0])
            _waiting.pop(0)
    except OSError:
        pass
    finally:
        _close(fd)

def pytest_runtest_logreport(report):
    said = [list(section) for section in report.sections if section[0] != "diagnostics"]
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", None)
    _say("report", report.nodeid, report.when, report.outcome, hasattr(report, "wasxfail"), crash, said)

def pytest_warning_recorded(warning_message, when, nodeid):
    _say("warning", nodeid, when, warning_message.category.__name__, str(warning_message.message))

def pytest_collection_finish(session):
    _say("collected", [item.nodeid for item in session.items])

def pytest_unconfigure():
    _say("unconfigured")
"""

_OURS = re.compile(r"^[-=]+ diagnostics [-=]+\n(?:(?![-=_!]+ ).*\n)*|^diagnostics: .*\n", re.MULTILINE)
_VARYING = (
    (re.compile(r"\bin [0-9.]+s(?: \([0-9:]+\))?"), "in TIME"),
    (re.compile(r"0x[0-9a-f]+"), "ADDRESS"),
    (re.compile(r"([-=_!+~])\1{2,}"), r"\1\1\1"),
    (re.compile(r"\b(pid|PID|thread) ?[:=]? ?[0-9]+"), r"\1 N"),
)


def _normalised(text: str) -> str:
    text = _OURS.sub("", text)
    for varying, constant in _VARYING:
        text = varying.sub(constant, text)
    return text


@dataclass(frozen=True)
class Ran:
    """One run of pytest."""

    code: int
    out: str
    err: str
    #: What the witness saw.
    told: list[list[object]]
    #: Where runs are recorded by default.
    directory: Path

    @property
    def runs(self) -> list[Path]:
        """The directories of the recorded runs."""
        return sorted((self.directory / "runs").glob("*Z-*"))

    @property
    def summary(self) -> Summary:
        """The summary of the only recorded run."""
        (run,) = self.runs
        return cast("Summary", json.loads((run / "summary.json").read_text()))

    @property
    def health(self) -> str:
        """The terminal's line about our own health."""
        lines = [line for line in self.out.splitlines() if line.startswith("health ")]
        return lines[-1] if lines else ""

    def problems(self) -> str:
        """All problems that the summary names."""
        return "\n".join(self.summary["health"]["problems"])

    def records(self, kind: str) -> list[dict[str, object]]:
        """Return the records of a kind in all shards of the only recorded run."""
        (run,) = self.runs
        lines = [line for path in (run / "shards").iterdir() for line in path.read_text().splitlines()]
        return [record for line in lines if (record := json.loads(line)).get("kind") == kind]

    def collector(self, name: str) -> CollectorState:
        """Return the state of a collector at the end."""
        (found,) = [state for state in self.summary["collectors"] if state["name"] == name]
        return found

    def attempts(self, name: str) -> list[Attempt]:
        """Return the attempts at the tests whose node id ends so."""
        return [attempt for attempt in self.summary["tests"] if attempt["nodeid"].endswith(name)]

    def phases(self, name: str) -> dict[str, Phase]:
        """Return the phases of the only attempt at a test."""
        (attempt,) = self.attempts(name)
        return {phase["when"]: phase for phase in attempt["phases"]}

    def outcomes(self) -> dict[str, str]:
        """Return the outcome of every test by the last part of its node id."""
        return {
            attempt["nodeid"].rpartition("::")[2]: attempt["outcome"] for attempt in self.summary["tests"]
        }


class Differential:
    """A directory of test files that is run with and without diagnostics."""

    def __init__(self, path: Path, forks: Forks | None = None) -> None:
        self.path = path
        #: What forks runs that are as any other; without it each is a new interpreter.
        self.forks = forks
        self.directory = path / "pytest-diagnostics"
        #: Entry points of other plugins to load; only named ones are, which makes runs short.
        self.plugins: tuple[str, ...] = ()
        self.env: dict[str, str | None] = {}
        self.python: tuple[str, ...] = ()
        #: What the command line is given to: ("unshare", "-m") and the like.
        self.wrapper: tuple[str, ...] = ()
        self.stdin = b""
        #: Whether the next runs find what there is where they are recorded.
        self.keeps_directory = False
        self.diagnostics: tuple[str, ...] = ("--diagnostics-interval=0.1", "--diagnostics-report=none")
        self._witness = path / "told.jsonl"
        self.write(witness=WITNESS)

    def write(self, **files: str) -> None:
        """Write Python files by the names of their modules."""
        for name, text in files.items():
            (self.path / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")

    def command(self, *args: str, on: bool) -> list[str]:
        """Return the command line of a run."""
        python = [*self.wrapper, sys.executable, *self.python]
        return [*python, "-m", "pytest", *self.arguments(*args, on=on)]

    def arguments(self, *args: str, on: bool) -> list[str]:
        """Return what pytest is told in a run."""
        options = ["--diagnostics", *self.diagnostics] if on else []
        plugins = [f"-p{name}" for name in ("pytest_diagnostics.plugin", *self.plugins, "witness")]
        return ["-pno:cacheprovider", *plugins, *options, *args]

    def environment(self) -> dict[str, str]:
        """Return the environment of a run."""
        wanted: Mapping[str, str | None] = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.path), os.environ.get("PYTHONPATH", "")]).rstrip(
                os.pathsep
            ),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": None,
            "PYTEST_CURRENT_TEST": None,
            "COLUMNS": "120",
            "WITNESS": str(self._witness),
            **self.env,
        }
        return {key: value for key, value in wanted.items() if value is not None}

    def clear(self) -> None:
        """Remove what was recorded, once nobody writes to it any more."""
        deadline = time.monotonic() + 10
        for run in (self.directory / "runs").glob("*Z-*"):
            # A recorder that was not told of the run's end finds it out, and says so in its shard.
            while started(run.name) and time.monotonic() < deadline:
                time.sleep(0.005)
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, *args: str, on: bool, timeout: float = 60) -> Ran:
        """Run pytest once."""
        if not self.keeps_directory:
            self.clear()
        self._witness.unlink(missing_ok=True)
        env = self.environment()
        if self.forks is not None and not (self.python or self.wrapper or self.stdin or self.env):
            ended = self.forks.run(self.arguments(*args, on=on), self.path, env, timeout)
        else:
            ended = subprocess.run(
                self.command(*args, on=on),
                cwd=self.path,
                env=env,
                input=self.stdin,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        out, err = (data.decode("utf-8", "backslashreplace") for data in (ended.stdout, ended.stderr))
        return self.ran(ended.returncode, out, err)

    def ran(self, code: int, out: str, err: str) -> Ran:
        """Return what is known of a run that ended."""
        lines = self._witness.read_text().splitlines() if self._witness.exists() else []
        return Ran(code, out, err, [json.loads(line) for line in lines], self.directory)

    def pair(self, *args: str, compare: Iterable[str] = ("out", "err"), timeout: float = 60) -> Ran:
        """Run pytest without and with diagnostics, hold the one to the other and return the latter."""
        off, on = (self.run(*args, on=on, timeout=timeout) for on in (False, True))
        self.same(off, on, compare)
        return on

    @staticmethod
    def same(off: Ran, on: Ran, compare: Iterable[str] = ("out", "err")) -> None:
        """Assert that nothing but our own lines tells one run from the other."""
        shown = f"off: {off.code}\n{off.out}{off.err}\non: {on.code}\n{on.out}{on.err}"
        assert on.code == off.code, shown
        told = [[repr(line) for line in _ordered(ran.told, "out" in compare)] for ran in (off, on)]
        assert not _difference(*told), shown
        for stream in compare:
            lines = [_normalised(getattr(ran, stream)).splitlines() for ran in (off, on)]
            assert not _difference(*lines), shown


def _difference(off: list[str], on: list[str]) -> list[str]:
    return list(difflib.unified_diff(off, on, "off", "on", n=0))


def _ordered(told: Sequence[list[object]], with_output: bool) -> list[list[object]]:
    """Return what was told with a forked child's part, which comes whenever it comes, at the end."""
    ordered = [line for line in told if line[0] == "main"] + [line for line in told if line[0] != "main"]
    return ordered if with_output else [line[:-1] if line[1] == "report" else line for line in ordered]


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks | None]:
    """What runs are forked from, where that can be."""
    if sys.platform != "linux":
        yield None
        return
    made = Forks()
    yield made
    made.close()


@pytest.fixture
def differential(tmp_path: Path, forks: Forks | None) -> Differential:
    """A directory for runs without and with diagnostics."""
    return Differential(tmp_path, forks)


@pytest.fixture(scope="session")
def new_differential(
    tmp_path_factory: pytest.TempPathFactory, forks: Forks | None
) -> Callable[[], Differential]:
    """Make directories for runs that several tests look at."""
    return lambda: Differential(tmp_path_factory.mktemp("differential"), forks)


@pytest.fixture
def inside(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs of pytest with our plugin alone, in this process unless a test says otherwise."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_diagnostics.plugin")
    return pytester


@pytest.fixture
def xdist(differential: Differential) -> Differential:
    """A directory for runs with pytest-xdist."""
    if importlib.util.find_spec("xdist") is None:
        if os.environ.get("PYTEST_DIAGNOSTICS_REQUIRE_LIVE"):
            pytest.fail("pytest-xdist is not installed, and PYTEST_DIAGNOSTICS_REQUIRE_LIVE asks for it")
        pytest.skip("pytest-xdist is not installed")
    differential.plugins = ("xdist.plugin",)
    return differential
