"""Workers that end in the midst of a test: the run goes on, and tells how."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

pytestmark = [pytest.mark.xdist, pytest.mark.skipif(os.name != "posix", reason="uses signals")]

SUITE = """
    import os, signal, time

    def test_before():
        time.sleep(0.1)

    def test_dies():
        time.sleep(1.0)
        {death}

    def test_after():
        time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("death", "how", "failure"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed (SIGKILL)", "was ended by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)", "was ended by SIGSEGV"),
        ("os._exit(3)", "exited with code 3", "exited with code 3"),
    ],
    ids=["killed", "crashed", "exited"],
)
def test_a_worker_that_ends_is_told_of_with_its_test(
    xdist: Differential, death: str, how: str, failure: str
) -> None:
    xdist.write(test_it=SUITE.format(death=death))

    on = xdist.run("-n1", "-pno:faulthandler", on=True)

    assert on.code == pytest.ExitCode.TESTS_FAILED
    (ending,) = on.summary["endings"]
    assert (ending["process"], ending["nodeid"], ending["phase"]) == ("gw0", "test_it.py::test_dies", "call")
    assert ending["sentence"].startswith(
        f"ended without finishing: {how} in the call of test_it.py::test_dies after 1"
    )
    (attempt,) = on.attempts("test_dies")
    assert (attempt["outcome"], attempt["complete"]) == ("crashed", False)
    assert attempt["failure"] == f"worker gw0 {failure}"
    assert attempt["wall_seconds"] == pytest.approx(1.0, abs=0.5)
    assert attempt["samples"]["memory.percent"]["count"] >= 1
    assert on.summary["counts"] == {"passed": 2, "crashed": 1}
    assert f"worker gw0 {ending['sentence']}" in on.summary["health"]["problems"]
    assert on.summary["run"]["ending"] is None
