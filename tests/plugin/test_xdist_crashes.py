"""pytest-xdist: workers that die, and those that take their places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

pytestmark = pytest.mark.xdist

CRASHING = """
    import ctypes, os, signal, time
    import pytest

    @pytest.fixture(autouse=True)
    def some_time():
        time.sleep(0.3)

    def test_exits(): os._exit(3)
    def test_good_one(): pass
    def test_is_killed(): os.kill(os.getpid(), signal.SIGKILL)
    def test_good_two(): pass
    def test_segfaults(): ctypes.string_at(0)
"""


def test_the_tests_of_dead_workers_are_closed_with_their_last_samples(xdist: Differential) -> None:
    xdist.write(test_it=CRASHING)
    xdist.python = ("-X", "faulthandler=0")

    on = xdist.run("-n2", on=True)

    assert on.code == pytest.ExitCode.TESTS_FAILED
    outcomes = on.outcomes()
    assert {name: outcomes[name] for name in ("test_exits", "test_is_killed", "test_segfaults")} == {
        "test_exits": "crashed",
        "test_is_killed": "crashed",
        "test_segfaults": "crashed",
    }
    assert outcomes["test_good_one"] == outcomes["test_good_two"] == "passed"
    ended = {ending["nodeid"]: ending for ending in on.summary["endings"]}
    assert len(ended) == 3
    for name, signal, code in (
        ("test_exits", None, 3),
        ("test_is_killed", "SIGKILL", None),
        ("test_segfaults", "SIGSEGV", None),
    ):
        (attempt,) = on.attempts(name)
        ending = ended[attempt["nodeid"]]
        assert (ending["process"], ending["pid"]) == (attempt["worker"], attempt["pid"])
        assert not ending["inferred"]
        # Whoever has taken the exit status first, a parent or the recorder, knows it.
        if ending["unknown"] is None:
            assert (ending["signal"], ending["exit_code"]) == (signal, code)
        assert attempt["wall_seconds"] is not None
        assert attempt["samples"][f"process.workers[{attempt['worker']}].rss_bytes"]["last"] > 1 << 20
    # A worker that takes a dead one's place is another one.
    assert len({attempt["worker"] for attempt in on.summary["tests"]}) > 2
    assert len([recorder for recorder in on.summary["recorders"] if recorder["kind"] == "process"]) == 1


def test_a_run_that_replaces_no_worker_ends_as_without_us(xdist: Differential) -> None:
    xdist.write(
        test_it="""
            import os
            def test_exits(): os._exit(3)
        """
    )

    off, on = (xdist.run("-n1", "--max-worker-restart=0", on=on) for on in (False, True))

    assert on.code == off.code
    assert on.outcomes() == {"test_exits": "crashed"}
    (ending,) = on.summary["endings"]
    assert (ending["process"], ending["phase"]) == ("gw0", "call")
