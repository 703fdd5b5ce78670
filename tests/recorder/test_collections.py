"""Collections that pytest asks a recorder process for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_diagnostics.recorder.channel import fresh_address, printable
from pytest_diagnostics.recorder.plan import Plan
from pytest_diagnostics.recorder.process import ProcessRecorder
from pytest_diagnostics.storage.alive import start_ticks
from pytest_diagnostics.storage.runs import create_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="starts a recorder process")


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[ProcessRecorder]:
    """A recorder process that watches this one."""
    run = create_run(tmp_path, {})
    plan = Plan(
        run=str(run.path),
        name=run.name,
        address=printable(fresh_address(str(run.path))),
        pid=os.getpid(),
        start_ticks=start_ticks(os.getpid()),
        collectors=("memory",),
        interval=60.0,
    )
    started = ProcessRecorder(run, plan, "main")
    started.start()
    yield started
    started.stop(10)


def test_a_posted_collection_is_fetched_once(recorder: ProcessRecorder) -> None:
    assert set(recorder.collect_now(["memory"], 20)) == {"memory"}
    demand = recorder.request()

    assert demand is not None
    assert demand.wait(20)
    assert demand.missing == []
    assert isinstance(demand.results["memory"].data, dict)


def test_a_collection_that_the_recorder_does_not_know_is_missing_and_not_empty(
    recorder: ProcessRecorder,
) -> None:
    assert set(recorder.collect_now(["memory"], 20)) == {"memory"}
    demand = recorder.request()
    assert demand is not None
    assert demand.wait(20)

    again = recorder.request()
    assert again is not None
    again._tag = demand._tag  # that one was fetched, and is forgotten
    assert not again.wait(20)
    assert again.missing == ["memory"]
    assert again.results == {}
