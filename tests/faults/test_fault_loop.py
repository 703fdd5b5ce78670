"""The n-th call in the run's directory fails, for every n: the tests do not notice, what is lost is told."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.storage.runs import create_run
from pytest_diagnostics.storage.shard import ShardWriter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import Bench

ERRORS = ("ENOSPC", "EIO", "EROFS", "EMFILE", "EACCES")

#: Every kind of call that we make in the run's directory.
CALLS = ("open", "read", "write", "close", "mkdir", "rename", "chmod", "stat", "fstat", "opendir")

#: Kinds and faults of which every n is tried; "change" is any call that changes the file system.
EVERY = [
    ("change", "ENOSPC", "for good"),
    ("change", "EROFS", "for good"),
    ("open", "EMFILE", "once"),
    ("opendir", "EMFILE", "once"),
    ("write", "ENOSPC", "short"),
    *((call, "EIO", "once") for call in CALLS),
]

if os.environ.get("PYTEST_DIAGNOSTICS_FAULTS") == "all":
    EVERY += [
        (call, error, mode)
        for call in (*CALLS, "change")
        for error in ERRORS
        for mode in ("once", "for good")
        if (call, error, mode) not in EVERY
    ]


def test_the_loop_knows_every_kind_of_call(bench: Bench) -> None:
    assert {call.op for call in bench.calls()} == set(CALLS)


@pytest.mark.parametrize(("call", "error", "mode"), EVERY)
def test_whichever_call_fails_the_tests_do_not_notice_and_what_is_lost_is_told(
    bench: Bench, call: str, error: str, mode: str
) -> None:
    runs = bench.loop(call, error, mode)
    assert runs
    assert bench.complaints(runs) == []


@pytest.mark.parametrize("error", ERRORS)
def test_a_call_of_every_kind_fails_with_every_error(bench: Bench, error: str) -> None:
    made = [call.op for call in bench.calls()]
    chosen = random.Random(error)
    jobs = [
        bench.job(call, chosen.randint(1, made.count(call)), error, mode)
        for call in CALLS
        for mode in ("once", "for good")
    ]
    runs = [met for met in bench.ask(jobs) if met.faults]
    assert {met.job["op"] for met in runs} == set(CALLS)
    assert bench.complaints(runs) == []


def with_an_old_run(root: Path) -> None:
    """Leave a run that finished for retention to remove."""
    run = create_run(root / "pytest-diagnostics", {})
    ShardWriter(run.shard("main", 1)).close({"reason": "finished"})
    header = json.loads(run.header.read_text())
    header["process"]["start_ticks"] = 0  # of a process that is gone
    run.header.write_text(json.dumps(header))
    run.path.rename(run.path.with_name(OLD))


OLD = "20200101T000000Z-00000000"
KEEPING_ONE = (
    "--diagnostics",
    "--diagnostics-recorder=thread",
    "--diagnostics-collectors=memory",
    "--diagnostics-report=none",
    "--diagnostics-keep=1",
)


@pytest.mark.parametrize("call", ["unlink", "rmdir", "opendir", "stat", "read"])
def test_an_old_run_that_cannot_be_removed_costs_the_new_one_nothing(bench: Bench, call: str) -> None:
    runs = bench.loop(call, "EACCES", "for good", args=KEEPING_ONE, prepare=with_an_old_run)
    assert any(OLD in fault.path for met in runs for fault in met.faults)
    assert bench.complaints(runs) == []


@pytest.mark.parametrize(
    ("call", "error", "mode"),
    [("change", "ENOSPC", "for good"), ("change", "EIO", "once"), ("close", "EIO", "once")],
)
def test_a_page_that_cannot_be_written_leaves_the_old_one_and_is_told(
    bench: Bench, call: str, error: str, mode: str
) -> None:
    def with_an_old_page(root: Path) -> None:
        (root / "page").mkdir()
        (root / "page" / "report.html").write_text("old")

    args = (*KEEPING_ONE[:3], "--diagnostics-report={root}/page/report.html")
    runs = bench.loop(call, error, mode, args=args, prepare=with_an_old_page, below="{root}/page")
    assert runs
    assert bench.complaints(runs) == []
    for met in runs:
        page = (met.root / "page" / "report.html").read_text()
        assert page == "old" or page.rstrip().endswith("</html>")
        assert met.summary is not None
        assert (met.directory / "runs" / met.summary["run"]["id"] / "summary.json").is_file()
