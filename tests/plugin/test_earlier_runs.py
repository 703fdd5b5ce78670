"""What a run, and the command line, know of runs that ended without finishing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.cli import main
from pytest_diagnostics.endings import ending_of_run, previous_ending
from pytest_diagnostics.storage.files import write_atomically
from pytest_diagnostics.storage.runs import RunDirectory, create_run, shard_header
from pytest_diagnostics.storage.shard import ShardWriter

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

pytestmark = pytest.mark.skipif(os.name != "posix", reason="uses signals")


def run_of(directory: Path, *, end: bool, gone: bool = True, elsewhere: bool = False) -> RunDirectory:
    """Write a run whose process is gone, or is this one."""
    run = create_run(directory, {})
    header = json.loads(run.header.read_bytes())
    if gone:
        header["process"]["start_ticks"] = 1
    if elsewhere:
        header["process"]["node"] = "another machine"
    write_atomically(run.header, json.dumps(header).encode())
    writer = ShardWriter(run.shard("main", os.getpid()))
    writer.append("run", shard_header(run.name, "main"))
    writer.append(
        "test", {"nodeid": "t", "worker": "main", "pid": os.getpid(), "monotonic": time.monotonic()}
    )
    writer.close({"reason": "finished"} if end else None)
    os.utime(run.header, ns=(0, len(list(run.path.parent.iterdir()))))
    return run


def test_the_run_right_before_is_told_of_when_it_ended_without_finishing(tmp_path: Path) -> None:
    died = run_of(tmp_path, end=False)
    latest = create_run(tmp_path, {})

    told = previous_ending(tmp_path, latest)

    assert told is not None
    assert told.startswith(f"run {died.name} ended without finishing, in the setup of t after at least ")


def test_a_run_is_told_of_once_only_by_the_next_one(tmp_path: Path) -> None:
    run_of(tmp_path, end=False)
    run_of(tmp_path, end=True)

    assert previous_ending(tmp_path, create_run(tmp_path, {})) is None


@pytest.mark.parametrize("why", ["finished", "running", "seen from elsewhere", "the first"])
def test_of_other_runs_nothing_is_told(tmp_path: Path, why: str) -> None:
    if why != "the first":
        elsewhere = why == "seen from elsewhere"
        run_of(tmp_path, end=why == "finished", gone=why != "running", elsewhere=elsewhere)

    assert previous_ending(tmp_path, create_run(tmp_path, {})) is None


def test_a_run_that_finished_costs_the_next_one_next_to_nothing(tmp_path: Path) -> None:
    for _ in range(20):
        run_of(tmp_path, end=True)
    latest = create_run(tmp_path, {})

    costs = []
    for _ in range(20):
        began = time.thread_time()
        assert previous_ending(tmp_path, latest) is None
        costs.append(time.thread_time() - began)

    assert sorted(costs)[10] < 0.001


def test_runs_say_what_became_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        run_of(tmp_path, end=True).name,
        run_of(tmp_path, end=False).name,
        run_of(tmp_path, end=False, gone=False).name,
        run_of(tmp_path, end=False, elsewhere=True).name,
    ]

    assert main(["runs", "--dir", str(tmp_path)]) == 0

    finished, died, running, elsewhere = capsys.readouterr().out.splitlines()
    assert finished == f"{names[0]}  finished, not summarised"
    assert died.startswith(f"{names[1]}  ended without finishing, in the setup of t after at least ")
    assert running == f"{names[2]}  running"
    assert elsewhere == f"{names[3]}  running, or ended where it cannot be seen from here"


def test_a_run_that_still_runs_is_shown_as_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path, end=False, gone=False)

    assert main(["show", "--dir", str(tmp_path)]) == 0
    assert main(["report", "--dir", str(tmp_path), "-o", str(tmp_path / "page.html")]) == 0

    assert f"run     {run.name}, " in capsys.readouterr().out.partition(", still running: 1 running\n")[0]
    assert "The run is still running: 0 of 1 test failed so far" in (tmp_path / "page.html").read_text()
    assert not run.summary.exists()


def test_a_run_that_went_down_with_its_recorder_is_told_as_far_as_it_is_known(
    differential: Differential,
) -> None:
    differential.write(test_it="import time\ndef test_it(): time.sleep(60)")
    process = subprocess.Popen(
        differential.command(on=True),
        cwd=differential.path,
        env=differential.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    recorder = sampled(differential.directory)
    for pid in (recorder, process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait(10)

    (path,) = (differential.directory / "runs").glob("*Z-*")
    told = ending_of_run(RunDirectory(path))
    assert told is not None
    assert told.startswith("ended without finishing, in the call of test_it.py::test_it after at least ")
    assert "; how is not known: nothing was left to see it, its recorder stopped at the same time" in told


def sampled(directory: Path) -> int:
    """Wait until the recorder process has a sample of the running test, and return its id."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        mains = list(directory.glob("runs/*/shards/main-*"))
        for path in directory.glob("runs/*/shards/recorder-*"):
            began = mains and b'"when":"setup"' in mains[0].read_bytes()
            if began and b'"collector":"process"' in path.read_bytes():
                return int(path.stem.rpartition("-")[2])
        time.sleep(0.02)
    raise AssertionError("no recorder process sampled the test")
