"""What is captured is what the test wrote, logged and warned of."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings

import pytest


def test_nothing_is_captured_that_it_did_not_write(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(0)
    time.sleep(0.05)
    assert (caplog.records, tuple(capfd.readouterr()), list(recwarn)) == ([], ("", ""), [])


def test_descriptors_are_captured(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"one")
    time.sleep(0.03)
    os.write(2, b"two")
    assert tuple(capfd.readouterr()) == ("one", "two")


def test_streams_are_captured(capsys: pytest.CaptureFixture[str]) -> None:
    print("one")
    time.sleep(0.03)
    print("two", file=sys.stderr)
    assert tuple(capsys.readouterr()) == ("one\n", "two\n")


def test_logs_are_captured(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    time.sleep(0.03)
    logging.getLogger("mine").debug("one")
    assert caplog.record_tuples == [("mine", logging.DEBUG, "one")]


def test_warnings_are_recorded() -> None:
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        time.sleep(0.03)
        warnings.warn("one", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in recorded] == ["one"]


def test_warnings_are_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        time.sleep(0.05)


def test_warns_into_pytest_s_summary() -> None:
    warnings.warn("on purpose", UserWarning, stacklevel=1)


def test_fails_with_output() -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("mine").warning("to the log")
    raise RuntimeError("on purpose")
