"""Runs of pytest in which a system call in the run's directory fails, by a library loaded before libc."""

from __future__ import annotations

import difflib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.runs import list_runs

if TYPE_CHECKING:
    from pytest_diagnostics.analysis.schema import Summary

HERE = Path(__file__).parent

#: How calls fail: the n-th alone, every one from the n-th on, or the n-th write is cut short.
MODES = {"once": 0, "for good": 1, "short": 2}

SUITE = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_it(n):
    assert n != 1
"""

#: What every run is given, and what those with diagnostics are given besides.
COMMON = ("--tb=no", "-pno:cacheprovider", "-ppytest_diagnostics.plugin")
ON = (
    "--diagnostics",
    "--diagnostics-recorder=thread",
    "--diagnostics-interval=60",
    "--diagnostics-collectors=memory",
    "--diagnostics-report=none",
)

#: A run that was there before, for retention to remove.
OLD = "20200101T000000Z-00000000"

#: Calls whose failure costs nothing, so that nothing has to be told. Whether the directory is there is
#: asked before it is made, whether a link took the run's place before it is read, which fails as well if it
#: is not harmless; the others are made for retention, which the next run does again.
_HARMLESS = re.compile(
    rf"stat |f?stat /runs/[^/]+|opendir /runs|stat /runs/[^/]+/(run|summary)\.json|\w+ /runs/{OLD}(/.*)?"
)

#: What is looked at again and again beside a recorder process: whether it began, and its newest samples.
_LOOKED_AT_AGAIN = re.compile(
    r"(open|f?stat|read|close|opendir) /runs/[^/]+/"
    r"(recorder\.err|shards(/(recorder|process_live)-\d+\.jsonl)?)"
)

_OURS = re.compile(
    r"^[-=]+ diagnostics [-=]+\n(?:(?![-=_!]+ ).*\n)*|^(?:diagnostics:|health |report ).*\n", re.MULTILINE
)
_VARYING = re.compile(r"\bin [0-9.]+s|rootdir: .*|=+")


@dataclass(frozen=True)
class Fault:
    """One call that was made to fail."""

    moment: float
    op: str
    serial: int
    path: str


@dataclass(frozen=True)
class Met:
    """A run of pytest and the faults that it met."""

    job: dict[str, Any]
    code: int
    hung: bool

    @property
    def root(self) -> Path:
        """The run's root directory."""
        return Path(self.job["root"])

    @property
    def directory(self) -> Path:
        """Where the run was recorded."""
        return self.root / "pytest-diagnostics"

    @property
    def faults(self) -> list[Fault]:
        """What was made to fail, in order."""
        log = self.root / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        parts = [line.split(" ", 3) for line in lines]
        found = [
            Fault(float(moment), op, int(serial), path.removeprefix(self.job["below"]))
            for moment, op, serial, path in parts
        ]
        return sorted(found, key=lambda fault: fault.moment)

    @property
    def out(self) -> str:
        """Standard output."""
        return (self.root / "out").read_text()

    @property
    def err(self) -> str:
        """Standard error."""
        return (self.root / "err").read_text()

    @property
    def seen(self) -> dict[str, Any]:
        """What the witness saw."""
        return cast("dict[str, Any]", json.loads((self.root / "seen.json").read_text()))

    @property
    def told(self) -> list[list[object]]:
        """What pytest reported: test, phase, outcome."""
        return [line[:3] for line in self.seen["told"]]

    @property
    def moments(self) -> dict[tuple[str, str], float]:
        """When each phase was reported, by test and phase."""
        return {(line[0], line[1]): line[3] for line in self.seen["told"]}

    @property
    def summary(self) -> Summary | None:
        """What we made of the run, whether or not it could be written."""
        return cast("Summary | None", self.seen["summary"])

    @property
    def problems(self) -> str:
        """All problems that the summary names."""
        return "\n".join(self.summary["health"]["problems"]) if self.summary else ""

    @property
    def health(self) -> str:
        """The terminal's line about our own health."""
        lines = [line for line in self.out.splitlines() if line.startswith("health ")]
        return lines[-1] if lines else ""

    @property
    def shown(self) -> list[str]:
        """The output without our lines and without what varies."""
        return _VARYING.sub("", _OURS.sub("", self.out)).splitlines()

    def on_disk(self) -> tuple[set[tuple[str, str]], int]:
        """Return test and phase of the records in the shards, and how many lines are no records."""
        found, broken = set(), 0
        for shard in self.directory.glob("runs/*/shards/*.jsonl"):
            for line in shard.read_bytes().splitlines():
                try:
                    fields = records.decode(line)
                except records.RecordError:
                    broken += 1
                    continue
                if fields["kind"] == "phase":
                    found.add((_last(str(fields["nodeid"])), str(fields["when"])))
        return found, broken


def _last(nodeid: str) -> str:
    return nodeid.rpartition("::")[2]


def _complaints(met: Met, off: Met) -> Iterator[str]:
    """Yield every promise that a run which met faults did not keep."""
    if met.hung:
        yield "it hung"
        return
    if (met.code, met.told) != (off.code, off.told):
        yield f"outcomes changed: {met.code} {met.told}"
    if met.err:
        yield f"stderr: {met.err}"
    if changed := list(difflib.unified_diff(off.shown, met.shown, lineterm="", n=0)):
        yield f"the output changed: {changed}"
    if met.summary is None:
        yield f"there is no summary: {met.health}"
        return
    yield from _unnamed(met, met.summary)
    yield from _lost(met, met.summary)
    list_runs(met.directory)  # whatever is there, it can be listed


def _unnamed(met: Met, summary: Summary) -> Iterator[str]:
    """Yield what a user was not told of the faults."""
    problems = met.problems
    if "the run ended without" in problems or not summary["run"]["finished"]:
        yield f"taken for a run that died: {problems}"
    if met.job["recorder"] and _costs_a_recorder_nothing(met):
        return
    calls = [f"{fault.op} {fault.path}" for fault in met.faults]
    if all(_HARMLESS.fullmatch(call) for call in calls):
        return
    if "--diagnostics-recorder=process" in met.job["args"] and _LOOKED_AT_AGAIN.fullmatch(calls[0]):
        return
    if met.job["mode"] == MODES["short"] and "/shards/" not in met.faults[0].path:
        return  # the rest was written at once
    if summary["health"]["state"] != "degraded" or not met.health.startswith("health  degraded: "):
        yield f"health is {summary['health']['state']}: {met.health}"
    number = met.job["errno"]
    names = [errno.errorcode[number], os.strerror(number)]
    if met.job["recorder"]:
        names.append("the recorder process did not")  # where it cannot say why, nor where it could write it
    if not any(name in problems for name in names):
        yield f"the fault is not named: {problems}"


def _costs_a_recorder_nothing(met: Met) -> bool:
    """Return whether nothing was lost: what follows the tests reads again, the last record was written."""
    paths = {fault.path for fault in met.faults}
    if not any("/shards/recorder-" in path for path in paths):
        return True
    shards = [path.read_bytes() for path in met.directory.glob("runs/*/shards/recorder-*")]
    return len(shards) == 1 and b'"kind":"end"' in shards[0] and not met.problems


def _lost(met: Met, summary: Summary) -> Iterator[str]:
    """Yield what is missing without a word about it."""
    problems, reported = met.problems, set(met.moments)
    on_disk, broken = met.on_disk()
    before = {phase for phase, moment in met.moments.items() if moment < met.faults[0].moment}
    if not before <= on_disk:
        yield f"lost what was recorded before the fault: {before - on_disk}: {problems}"
    if broken > (met.job["mode"] == MODES["short"]):
        yield f"{broken} broken lines"
    in_memory = ["nothing is on disk", "cannot create"]
    if met.job["mode"] == MODES["for good"]:
        in_memory.append("written at the end: no")
    if on_disk != reported and not any(word in problems for word in in_memory):
        yield f"not on disk, and not said to be in memory: {reported - on_disk}: {problems}"
    summarised = {
        (_last(attempt["nodeid"]), phase["when"])
        for attempt in summary["tests"]
        for phase in attempt["phases"]
    }
    # What cannot be read back is on disk, and said not to be readable.
    unread = reported - summarised - (on_disk if "cannot be read" in problems else set())
    if unread:
        yield f"not in the summary: {unread}: {problems}"


@dataclass
class Bench:
    """A suite, and a process that runs it in forked children which meet faults."""

    path: Path
    process: subprocess.Popen[str]
    _made: int = 0
    _off: Met | None = None

    def job(self, op: str, at: int, error: str, mode: str, **more: object) -> dict[str, Any]:
        """Return a run that is to be made in a root directory of its own, named {root} in ``more``.

        ``below`` is where calls fail, ``args`` are pytest's options, ``prepare`` is called with the root.
        """
        self._made += 1
        root = self.path / f"run{self._made}"
        root.mkdir()
        prepare = cast("Callable[[Path], None]", more.get("prepare", lambda root: None))
        prepare(root)
        args = cast("tuple[str, ...]", more.get("args", ON))
        return {
            "root": str(root),
            "below": str(more.get("below", "{root}/pytest-diagnostics")).format(root=root),
            "args": [
                *COMMON,
                str(more.get("suite", self.path / "suite")),
                *(arg.format(root=root) for arg in args),
            ],
            "op": op,
            "at": at,
            "errno": getattr(errno, error),
            "mode": MODES[mode],
            "timeout": 30,
            "recorder": bool(more.get("recorder")),
        }

    def ask(self, jobs: list[dict[str, Any]]) -> list[Met]:
        """Make runs, and return them in the same order."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(jobs) + "\n")
        self.process.stdin.flush()
        answers = json.loads(self.process.stdout.readline())
        return [Met(job, **answer) for job, answer in zip(jobs, answers, strict=False)]

    @property
    def off(self) -> Met:
        """The run without diagnostics."""
        if self._off is None:
            (self._off,) = self.ask([self.job("open", -1, "EIO", "once", args=())])
            assert self._off.told
        return self._off

    def calls(self, **more: object) -> list[Fault]:
        """Return every call that a run makes in its directory, none of which fails."""
        (met,) = self.ask([self.job("any", 0, "EIO", "once", **more)])
        return met.faults

    def loop(self, op: str, error: str, mode: str, **more: object) -> list[Met]:
        """Make runs for n = 1, 2, 3 … that meet the n-th call's fault, until one meets none."""
        runs: list[Met] = []
        while all(met.faults for met in runs):
            first = len(runs) + 1
            runs += self.ask([self.job(op, n, error, mode, **more) for n in range(first, first + 6)])
        return [met for met in runs if met.faults]

    def complaints(self, runs: list[Met]) -> list[str]:
        """Return every promise that runs did not keep, with the fault that they met."""
        found = []
        for met in runs:
            fault = met.faults[0]
            met_what = f"{errno.errorcode[met.job['errno']]} at {fault.op} {fault.serial} {fault.path}"
            found += [f"{met_what}: {complaint}" for complaint in _complaints(met, self.off)]
        return found


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail where a job has to provoke faults."""
    if os.environ.get("PYTEST_DIAGNOSTICS_REQUIRE_LIVE") and sys.platform == "linux":
        pytest.fail(f"{reason}, and PYTEST_DIAGNOSTICS_REQUIRE_LIVE asks for it")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes calls fail, compiled."""
    if sys.platform != "linux":
        unavailable("a library is loaded before libc on Linux only")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        unavailable("there is no C compiler to build the library that makes calls fail")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "shim.c"), "-ldl"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    if compiled.returncode:
        unavailable(f"the library that makes calls fail cannot be compiled: {compiled.stderr[-300:]}")
    return library


@pytest.fixture(scope="session")
def bench(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A suite of three tests, one of which fails."""
    path = tmp_path_factory.mktemp("faults")
    (path / "suite").mkdir()
    (path / "suite" / "test_it.py").write_text(SUITE)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment.update(LD_PRELOAD=str(shim), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", COLUMNS="200")
    command = [sys.executable, str(HERE / "driver.py")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    with process:
        made = Bench(path, process)
        assert made.ask([made.job("open", -1, "EIO", "once")]) == []
        yield made
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
