"""The pytest11 entry point. Imports the rest only when a run is to be recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import hookspecs, options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .fixtures import Diagnostics

MARKERS = (
    "diagnostics(*collectors, interval=None, scope='test'): with --diagnostics, collect from these "
    "collectors (default: the run's) every `interval` seconds while this test runs.",
    "no_diagnostics: with --diagnostics, record neither figures nor samples of this test.",
    "diagnostics_limit(**limits): with --diagnostics, fail this test when setup and call together exceed a "
    "limit: peak_rss='200 MB', rss_growth, cpu_seconds=2, wall_seconds='500 ms', cpu_wait_seconds, "
    "children_cpu_seconds, read_bytes, write_bytes, major_faults, fds_leaked, threads_leaked, "
    "children_leaked, oom_kills, throttled_seconds.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options, which exist whether used or not."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks: a conftest that implements one must load when we are off, too."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and, if this run is to be recorded, what records it."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if options.enabled(config):
        from .session import register
        from .settings import Settings

        register(config, Settings.from_config(config))


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Hide recorded runs, also when off: a suite that collects JSON files would take them for tests."""
    ours = collection_path.name == "runs" and collection_path.parent.name == "pytest-diagnostics"
    return True if ours else None


@pytest.fixture
def diagnostics(request: pytest.FixtureRequest) -> Iterator[Diagnostics]:
    """Collect now, add a collector for this test, name a stretch of it, read its figures so far.

    Works without --diagnostics, too: then nothing is written to disk.
    """
    from .fixtures import Diagnostics

    with Diagnostics(request) as fixture:
        yield fixture
