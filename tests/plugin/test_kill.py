"""Killed runs: every phase whose end was told to the outside is in the recording."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.storage.recording import read_run
from pytest_diagnostics.storage.runs import RunDirectory
from tests.recorder.conftest import await_no_recorder

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

pytestmark = pytest.mark.skipif(os.name != "posix", reason="uses signals")

#: Says after each phase, when its record was written, that it is finished.
ACKNOWLEDGING = """
    import os
    import pytest

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(report):
        fd = os.open("finished.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(fd, f"{report.nodeid} {report.when}\\n".encode())
        os.close(fd)
"""

SUITE = """
    import time
    import pytest

    @pytest.fixture
    def around(n):
        time.sleep(0.002 * (n % 3))
        yield
        time.sleep(0.002 * (n % 2))

    @pytest.mark.parametrize("n", range(30))
    def test_it(n, around):
        time.sleep(0.005)
        assert n % 7
"""


@pytest.fixture
def suite(differential: Differential) -> Differential:
    differential.write(conftest=ACKNOWLEDGING, test_it=SUITE)
    return differential


def command(differential: Differential, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line tool on the latest run."""
    return subprocess.run(
        [sys.executable, "-m", "pytest_diagnostics", *args],
        cwd=differential.path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def acknowledged(differential: Differential) -> list[tuple[str, str]]:
    """Return the phases that were told to be finished: whole lines only."""
    try:
        lines = (differential.path / "finished.txt").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [(nodeid, when) for nodeid, _, when in (line.rpartition(" ") for line in lines)]


def recorded(run: Path) -> set[tuple[object, object]]:
    """Return the phases of a run whose records survived."""
    recording = read_run(RunDirectory(run))
    assert not any(shard.damaged for shard in recording.shards)
    phases = [fields for shard in recording.shards for fields in shard.of_kind("phase")]
    return {(fields["nodeid"], fields["when"]) for fields in phases}


def kill_at(differential: Differential, lines: int, more_seconds: float) -> int:
    """Start the suite and kill it some time after it acknowledged so many phases; return how many it had."""
    finished = differential.path / "finished.txt"
    finished.unlink(missing_ok=True)
    process = subprocess.Popen(
        differential.command(on=True),
        cwd=differential.path,
        env=differential.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if finished.exists() and finished.read_bytes().count(b"\n") >= lines:
            break
        time.sleep(0.0005)
    time.sleep(more_seconds)
    process.kill()
    process.wait(10)
    if sys.platform == "linux":
        await_no_recorder(differential.path)  # which writes how the run ended
    return len(acknowledged(differential))


def test_a_kill_at_any_instant_loses_no_phase_that_was_told_finished(suite: Differential) -> None:
    chance = random.Random(20)
    counts = []
    for _ in range(20):
        counts.append(kill_at(suite, chance.randrange(1, 85), chance.random() * 0.02))
        (run,) = suite.directory.glob("runs/*Z-*")
        assert set(acknowledged(suite)) - recorded(run) == set()
        suite.clear()
    assert len(set(counts)) > 10


def test_a_killed_run_can_be_shown_and_reported_and_says_where_it_ended(suite: Differential) -> None:
    kill_at(suite, 40, 0.001)
    (run,) = suite.directory.glob("runs/*Z-*")
    listed = command(suite, "runs")
    assert "ended without finishing" in listed.stdout
    shown = command(suite, "show", "--tests=all")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "degraded: the run ended without finishing" in shown.stdout
    assert "test_it.py::test_it[12]" in shown.stdout
    reported = command(suite, "report")
    assert reported.returncode == 0, reported.stderr
    assert (run / "report.html").stat().st_size > 10_000
    summary = json.loads((run / "summary.json").read_text())
    assert not summary["run"]["finished"]
    assert summary["counts"]["passed"] >= 10


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
@pytest.mark.parametrize(
    ("death", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("ctypes.string_at(0)", -signal.SIGSEGV),
        ("os._exit(0)", 0),
    ],
    ids=["SIGKILL", "SIGTERM", "SIGSEGV", "os._exit"],
)
def test_a_death_in_a_phase_is_named_with_its_test_and_phase(
    differential: Differential, when: str, death: str, code: int
) -> None:
    acts = {**dict.fromkeys(("setup", "call", "teardown"), "pass"), when: death}
    differential.write(
        test_it=f"""
            import ctypes, os, pytest, signal, time

            @pytest.fixture
            def around():
                {acts["setup"]}
                yield
                {acts["teardown"]}

            def test_before():
                time.sleep(0.25)

            def test_dies(around):
                {acts["call"]}

            def test_after():
                pass
        """
    )
    on = differential.run("-pno:faulthandler", on=True)
    assert on.code == code
    shown = command(differential, "show", "--json")
    summary = json.loads(shown.stdout)
    line = summary["health"]["line"]
    assert line.startswith("degraded: the run ended without finishing")
    assert f" in the {when} of test_it.py::test_dies after " in line
    outcomes = {attempt["nodeid"].rpartition("::")[2]: attempt["outcome"] for attempt in summary["tests"]}
    assert outcomes == {"test_before": "passed", "test_dies": "running"}
    assert sum(state["results"] for state in summary["collectors"]) > 0


def test_the_run_after_a_killed_one_keeps_both(suite: Differential) -> None:
    kill_at(suite, 5, 0.0)
    suite.keeps_directory = True
    on = suite.run(on=True)
    assert len(on.runs) == 2
    states = command(suite, "runs").stdout.splitlines()
    assert ["without finishing" in state for state in states] == [True, False]
