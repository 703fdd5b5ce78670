"""Give the collector as an object: the way for a collector that only this suite needs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from spool_collector import SpoolCollector

SPOOL = Path(tempfile.gettempdir(), f"spool-{os.getpid()}")


def pytest_diagnostics_collectors() -> Iterable[SpoolCollector]:
    """Add to the run's collectors."""
    SPOOL.mkdir(exist_ok=True)
    return [SpoolCollector(str(SPOOL))]


@pytest.fixture
def spool() -> Iterable[Path]:
    """Give a test the directory, and leave nothing in it."""
    SPOOL.mkdir(exist_ok=True)
    yield SPOOL
    for file in SPOOL.iterdir():
        file.unlink()


def pytest_unconfigure() -> None:
    """Remove the directory."""
    if SPOOL.is_dir():
        SPOOL.rmdir()
