"""Removes what other plugins, it believes, left behind."""

from __future__ import annotations

import shutil
import time

import pytest


def test_before() -> None:
    time.sleep(0.03)


def test_removes_the_recordings(pytestconfig: pytest.Config) -> None:
    shutil.rmtree(pytestconfig.rootpath / "pytest-diagnostics", ignore_errors=True)


def test_after() -> None:
    time.sleep(0.03)
