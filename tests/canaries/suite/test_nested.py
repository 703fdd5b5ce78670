"""Sessions of pytest inside a test."""

from __future__ import annotations

import threading

import pytest

INNER = "def test_one(): pass\ndef test_two(): assert 0\n"


@pytest.mark.parametrize("switch", ["--diagnostics", "--no-diagnostics"])
def test_a_session_in_this_process(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str], switch: str
) -> None:
    before = threading.enumerate()
    pytester.makepyfile(INNER)
    options = ("--diagnostics-interval=0.01", "--diagnostics-report=none", "-pno:cacheprovider")
    result = pytester.runpytest_inprocess("-ppytest_diagnostics.plugin", switch, *options)
    result.assert_outcomes(passed=1, failed=1)
    capsys.readouterr()  # figures and paths of its own
    assert threading.enumerate() == before
    recorded = list(pytester.path.glob("pytest-diagnostics/runs/*/summary.json"))
    assert len(recorded) == (switch == "--diagnostics")


def test_a_session_in_a_process_of_its_own(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    pytester.makepyfile(INNER)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    capsys.readouterr()  # figures and paths of its own
    assert not list(pytester.path.glob("pytest-diagnostics"))
