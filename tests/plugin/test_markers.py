"""The markers' contract: documented, inert without the option, refused when they make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

MARKERS = (
    "@pytest.mark.diagnostics(*collectors, interval=None, scope='test'): with --diagnostics, collect *",
    "@pytest.mark.no_diagnostics: with --diagnostics, record neither figures nor samples of this test.",
    "@pytest.mark.diagnostics_limit(**limits): with --diagnostics, fail this test when setup and call *",
)
REFUSED = (
    ("diagnostics('cpuu')", "the diagnostics marker: there is no collector 'cpuu'; there are: "),
    ("diagnostics(intervall=1)", "the diagnostics marker knows interval and scope, not intervall"),
    ("diagnostics(scope='run')", "the diagnostics marker's scope is session or test, not 'run'"),
    ("diagnostics(interval=-1)", "the interval of the diagnostics marker is -1 s; give at least 0.001 s"),
    (
        "diagnostics(interval='fast')",
        "the interval of the diagnostics marker is 'fast'; give a number of seconds",
    ),
    (
        "diagnostics_limit(cpu_seconds='2 parsecs')",
        "diagnostics_limit(cpu_seconds='2 parsecs'): give seconds, ",
    ),
)


def a_suite(marker: str) -> str:
    return f"""
import pytest

def test_before():
    pass

@pytest.mark.{marker}
def test_marked():
    pass
"""


def test_markers_are_listed_with_and_without_the_option(inside: pytest.Pytester) -> None:
    for args in ((), ("--diagnostics",)):
        inside.runpytest_inprocess("--markers", *args).stdout.fnmatch_lines(MARKERS)


def test_the_fixture_is_listed(inside: pytest.Pytester) -> None:
    result = inside.runpytest_inprocess("--fixtures")

    result.stdout.fnmatch_lines(
        [
            "diagnostics -- *plugin.py:*",
            "    Collect now, add a collector for this test, name a stretch of it, read its figures so far.",
        ]
    )


def test_options_are_shown_with_their_defaults(inside: pytest.Pytester) -> None:
    shown = " ".join(inside.runpytest_inprocess("--help").stdout.str().split())

    assert "--diagnostics-interval=SECONDS seconds between two collections (default: 1.0)" in shown
    assert (
        "--diagnostics-scope=session|test collect for the whole session, or test by test (default: session)"
        in shown
    )
    assert "--no-diagnostics do not, even if the ini file says so" in shown
    assert "diagnostics_interval (" in shown


@pytest.mark.parametrize(("marker", "message"), REFUSED, ids=[marker for marker, _ in REFUSED])
def test_a_marker_that_makes_no_sense_stops_the_run_before_any_test(
    inside: pytest.Pytester, marker: str, message: str
) -> None:
    inside.makepyfile(test_it=a_suite(marker))

    result = inside.runpytest_inprocess("--diagnostics")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    assert f"ERROR: test_it.py::test_marked: {message}" in result.stderr.str()


@pytest.mark.parametrize("marker", [marker for marker, _ in REFUSED])
def test_markers_are_inert_without_the_option(inside: pytest.Pytester, marker: str) -> None:
    inside.makepyfile(test_it=a_suite(marker))

    inside.runpytest_inprocess("--strict-markers").assert_outcomes(passed=2)


@pytest.mark.xdist
def test_in_a_worker_the_tests_concerned_fail_with_the_message(xdist: Differential) -> None:
    xdist.write(test_it=a_suite("diagnostics('cpuu')"))

    on = xdist.run("-n2", on=True)

    assert on.code == pytest.ExitCode.TESTS_FAILED
    assert on.outcomes() == {"test_before": "passed", "test_marked": "error"}
    assert "pytest-diagnostics: the diagnostics marker: there is no collector 'cpuu'; there are: " in on.out
