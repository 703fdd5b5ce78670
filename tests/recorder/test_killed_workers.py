"""However a worker of pytest-xdist dies: its test is lost as without us, and how it died is recorded."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.recorder.conftest import await_end, await_no_recorder, wait_until

if TYPE_CHECKING:
    from tests.recorder.conftest import Ended, Runs

pytestmark = pytest.mark.xdist

#: Cause and phase of each test's death, with what is to be recorded of it.
DEATHS = {
    ("SIGTERM", "call"): "SIGTERM",
    ("SIGKILL", "setup"): "SIGKILL",
    ("SIGKILL", "call"): "SIGKILL",
    ("SIGSEGV", "call"): "SIGSEGV",
    ("os._exit", "call"): 3,
    ("os._exit", "teardown"): 3,
}
SUITE = """
    import faulthandler, os, signal
    import pytest

    def die(request, where):
        death, phase = request.node.callspec.params["death"]
        if phase != where:
            return
        if death == "os._exit":
            os._exit(3)
        faulthandler.disable()
        os.kill(os.getpid(), signal.Signals[death])
        signal.pause()

    @pytest.fixture
    def around(request):
        die(request, "setup")
        yield
        die(request, "teardown")

    @pytest.mark.parametrize("death", DEATHS, ids="-".join)
    def test_dies(request, around, death):
        die(request, "call")

    def test_passes():
        pass
"""
WAITING = """
    import os, time

    def test_waits():
        open(f"{os.getpid()}.worker", "w").close()
        deadline = time.monotonic() + 30
        while not os.path.exists("go") and time.monotonic() < deadline:
            time.sleep(0.005)
"""


@pytest.fixture
def with_workers(runs: Runs) -> Runs:
    pytest.importorskip("xdist")
    return runs


def crashed(runs: Runs, on: bool) -> Ended:
    runs.fresh(test_it=SUITE.replace("DEATHS", repr(list(DEATHS))))
    return runs.run("-pxdist.plugin", "-n2", "--max-worker-restart=20", on=on)


def test_every_death_of_a_worker_is_told_with_its_cause_and_its_test(with_workers: Runs) -> None:
    off, on = (crashed(with_workers, on) for on in (False, True))
    await_no_recorder(with_workers.path)
    assert on.code == off.code == 1
    assert off.out.count("crashed while running") == on.out.count("crashed while running")
    told = {}
    for ending in on.endings():
        assert str(ending["worker"]).startswith("gw")
        assert ending["unknown"] is None
        (running,) = cast("list[dict[str, object]]", ending["running"])
        assert running["pid"] == ending["pid"]
        told[str(running["nodeid"])] = ending["signal"] or ending["exit_code"]
    assert told == {f"test_it.py::test_dies[{'-'.join(death)}]": how for death, how in DEATHS.items()}
    assert on.of_kind("end")[-1]["reason"] == "finished"


def test_a_killed_controller_ends_its_recorder_and_names_every_test_that_ran(with_workers: Runs) -> None:
    runs = with_workers
    runs.fresh(test_it=WAITING, test_more=WAITING)
    pid = runs.start("-pxdist.plugin", "-n2")
    runs.await_recorder()
    wait_until(lambda: len(list(runs.path.glob("*.worker"))) == 2)
    workers = [int(path.stem) for path in runs.path.glob("*.worker")]
    os.kill(pid, signal.SIGKILL)
    on = runs.end()
    await_no_recorder(runs.path)
    (runs.path / "go").touch()
    deadline = time.monotonic() + 20
    assert all(await_end(worker, deadline) for worker in workers)
    assert on.code == -signal.SIGKILL
    (ending,) = [ending for ending in on.endings() if ending["worker"] == "main"]
    assert ending["signal"] == "SIGKILL"
    running = cast("list[dict[str, object]]", ending["running"])
    assert {test["nodeid"] for test in running} == {"test_it.py::test_waits", "test_more.py::test_waits"}
    assert {Path(f"{test['pid']}.worker").stem for test in running} == {str(worker) for worker in workers}
