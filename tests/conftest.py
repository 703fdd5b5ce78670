"""What holds for all tests: where a job has to run the live ones, a skip is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator

import pytest

LIVE = ("browser", "xdist", "perf")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With PYTEST_DIAGNOSTICS_REQUIRE_LIVE, fail live tests that are skipped."""
    report = yield
    if (
        not report.skipped
        or hasattr(report, "wasxfail")
        or not os.environ.get("PYTEST_DIAGNOSTICS_REQUIRE_LIVE")
    ):
        return report
    # A machine may have no counters to offer, and then perf itself says so.
    live = [
        name for name in LIVE if item.get_closest_marker(name) and not (name == "perf" and not has_perf())
    ]
    if live:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"this job has to run the {live[0]} tests, and this one was skipped: {reason}"
    return report


def has_perf() -> bool:
    """Return whether there is a perf that may count something here."""
    from pytest_diagnostics import PerfEventsCollector

    return shutil.which("perf") is not None and PerfEventsCollector().probe() is None
