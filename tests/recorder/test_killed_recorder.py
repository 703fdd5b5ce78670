"""A recorder that is killed, stopped or asked in vain costs samples, never a test, a hang or an exit code."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.recorder.conftest import await_end, await_no_recorder, wait_until

if TYPE_CHECKING:
    from tests.recorder.conftest import Runs

#: The second test waits until it is told to go on; the last one fails, and wants samples then.
SUITE = """
    import os, time

    def test_first():
        pass

    def test_waits():
        deadline = time.monotonic() + 30
        while not os.path.exists("go") and time.monotonic() < deadline:
            time.sleep(0.005)

    def test_fails():
        assert 0
"""


def go(runs: Runs) -> None:
    (runs.path / "go").touch()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def test_a_killed_recorder_costs_samples_only(runs: Runs) -> None:
    runs.fresh(test_it=SUITE)
    runs.start()
    recorder = runs.await_recorder()
    os.kill(recorder, signal.SIGKILL)
    assert await_end(recorder, time.monotonic() + 10)
    go(runs)
    begin = time.monotonic()
    on = runs.end()
    assert time.monotonic() - begin < 10
    assert on.code == 1
    assert "1 failed, 2 passed" in on.out
    assert "the recorder process did not end with the run" in on.problems()
    assert on.of_kind("result")


@pytest.mark.parametrize("continued", [True, False], ids=["continued", "stopped for good"])
def test_a_stopped_recorder_is_waited_for_shortly_and_ended(runs: Runs, continued: bool) -> None:
    runs.fresh(test_it=SUITE)
    runs.start()
    recorder = runs.await_recorder()
    os.kill(recorder, signal.SIGSTOP)
    wait_until(lambda: state(recorder) == "T")
    if continued:
        time.sleep(1.2)  # the length of the gap that it tells of
        os.kill(recorder, signal.SIGCONT)
        wait_until(lambda: any(b"recorder_stopped" in s.read_bytes() for s in shards(runs)))
    go(runs)
    begin = time.monotonic()
    on = runs.end()
    seconds = time.monotonic() - begin
    await_no_recorder(runs.path)
    assert on.code == 1
    assert "1 failed, 2 passed" in on.out
    if continued:
        assert on.of_kind("end")[-1]["reason"] == "finished"
        (gap,) = [gap for gap in on.of_kind("gap") if gap["gap"] == "recorder_stopped"]
        assert cast("dict[str, float]", gap["details"])["seconds"] > 0.5
    else:
        assert seconds < 4
        assert "it is stopped" in on.problems()
        assert on.of_kind("result")


def shards(runs: Runs) -> list[Path]:
    return list(runs.path.glob("pytest-diagnostics/runs/*/shards/recorder-*.jsonl"))


def test_a_stopped_pytest_that_is_killed_is_told_of_as_stopped_and_killed(runs: Runs) -> None:
    runs.fresh(test_it=SUITE)
    pid = runs.start()
    runs.await_recorder()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.2)  # the length of the gap that is told of
    os.kill(pid, signal.SIGKILL)
    on = runs.end()
    await_no_recorder(runs.path)
    assert "stopped" in [gap["gap"] for gap in on.of_kind("gap")]
    (ending,) = on.endings()
    assert ending["signal"] == "SIGKILL"
    (running,) = cast("list[dict[str, object]]", ending["running"])
    assert running["nodeid"] == "test_it.py::test_waits"


def open_files(pid: int) -> set[str]:
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(os.readlink(fd))
    return found


def test_a_recorder_has_a_life_of_its_own_and_nothing_of_pytest_s(runs: Runs) -> None:
    runs.fresh(test_it=SUITE)
    pid = runs.start(env={"SECRET_OF_THE_USER": "hush"})
    recorder = runs.await_recorder()
    address = runs.channel(recorder).address.removeprefix("\0")
    wait_until(lambda: int(status_of(recorder)["SigBlk"], 16) == 0)  # not so while it starts a thread
    status = status_of(recorder)
    environment = Path(f"/proc/{recorder}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0].decode() for entry in environment if entry}
    # What is open for one record only is not there each time.
    held = set.intersection(*(open_files(recorder) for _ in range(20)))
    scores = [Path(f"/proc/{who}/oom_score_adj").read_text() for who in (pid, recorder)]

    assert os.getsid(recorder) == recorder
    assert int(status["PPid"]) not in (0, pid)
    assert int(status["SigIgn"], 16) & 0x7FFFFFFF == 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    assert status["Umask"] == "0077"
    assert os.readlink(f"/proc/{recorder}/cwd") == "/"
    assert names <= {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PWD"}
    assert not [path for path in held if "out.txt" in path or "err.txt" in path or ".jsonl" in path]
    assert len(held) < 40
    assert scores[0] == scores[1]
    assert address in Path("/proc/net/unix").read_text()
    assert not list(runs.path.glob("pytest-diagnostics/runs/*/recorder.err*"))

    os.kill(pid, signal.SIGKILL)
    runs.end()
    await_no_recorder(runs.path)
    assert address not in Path("/proc/net/unix").read_text()
    assert not list(runs.path.glob("pytest-diagnostics/runs/*/recorder.err"))


def test_a_removed_run_directory_ends_no_run_and_leaves_no_recorder(runs: Runs) -> None:
    runs.fresh(
        test_it="""
            import shutil, time

            def test_removes():
                shutil.rmtree("pytest-diagnostics")
                time.sleep(0.3)

            def test_fails():
                assert 0
        """
    )
    on = runs.run("--diagnostics-report=none")
    await_no_recorder(runs.path)
    assert on.code == 1
    assert "1 failed, 1 passed" in on.out
