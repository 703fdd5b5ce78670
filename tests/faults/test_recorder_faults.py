"""Calls of the recorder process fail: pytest does not notice, and what could not be recorded is told."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import Bench, Met

BESIDE = (
    "--diagnostics",
    "--diagnostics-recorder=process",
    "--diagnostics-interval=60",
    "--diagnostics-collectors=memory",
    "--diagnostics-report=none",
)

#: Of which every n is tried; "change" is any call that changes the file system, "any" is any call at all.
EVERY = [
    ("change", "ENOSPC", "for good"),
    ("any", "EIO", "once"),
    ("open", "EMFILE", "for good"),
]

if os.environ.get("PYTEST_DIAGNOSTICS_FAULTS") == "all":
    EVERY += [
        (call, error, mode)
        for call in ("open", "write", "close", "change", "any")
        for error in ("ENOSPC", "EIO", "EROFS", "EMFILE", "EACCES")
        for mode in ("once", "for good")
        if (call, error, mode) not in EVERY
    ]


def ends(met: Met, seconds: float) -> bool:
    """Return whether the recorder process of a run is gone, or goes in time."""
    try:
        fd = os.pidfd_open(int((met.root / "pid").read_text()))
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


@pytest.mark.parametrize(("call", "error", "mode"), EVERY)
def test_whichever_call_of_the_recorder_fails_the_tests_do_not_notice(
    bench: Bench, call: str, error: str, mode: str
) -> None:
    runs = bench.loop(call, error, mode, args=BESIDE, recorder=True)
    assert runs
    assert bench.complaints(runs) == []
    for met in runs:
        assert met.summary is not None
        samples = sum(collector["results"] for collector in met.summary["collectors"])
        assert samples or "the recorder process did not" in met.problems, met.problems
        assert ends(met, 10)


@pytest.mark.parametrize(
    ("call", "error", "mode", "last"), [("any", "EIO", "once", 100), ("change", "ENOSPC", "for good", 60)]
)
def test_calls_of_pytest_beside_a_recorder_process_fail_alike(
    bench: Bench, call: str, error: str, mode: str, last: int
) -> None:
    jobs = [bench.job(call, at, error, mode, args=BESIDE) for at in range(2, last, 9)]
    runs = [met for met in bench.ask(jobs) if met.faults]
    assert runs
    assert bench.complaints(runs) == []


@pytest.mark.parametrize(("call", "error"), [("open", "EMFILE"), ("chmod", "EACCES")])
def test_a_thread_collects_where_the_recorder_cannot_begin(
    bench: Bench, tmp_path: Path, call: str, error: str
) -> None:
    (tmp_path / "test_it.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "def test_waits_for_the_complaint():\n"
        "    until = time.monotonic() + 10\n"
        "    while time.monotonic() < until:\n"
        "        if any(p.stat().st_size for p in Path('pytest-diagnostics').glob('runs/*/recorder.err')):\n"
        "            return\n"
        "        time.sleep(0.01)\n"
        "def test_after(): pass\n"
        "def test_at_the_end(): pass\n"
    )
    (met,) = bench.ask([bench.job(call, 1, error, "once", args=BESIDE, recorder=True, suite=tmp_path)])
    assert (met.code, met.err) == (0, ""), met.out
    assert met.summary is not None
    assert [recorder["kind"] for recorder in met.summary["recorders"]] == ["thread"]
    assert sum(collector["results"] for collector in met.summary["collectors"]) >= 1
    assert error in met.problems
    assert "a thread collects" in met.problems
