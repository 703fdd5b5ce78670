"""The hook contract. Every hook runs on the main thread; none is called when diagnostics are off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .core.collector import DiagnosticCollector
    from .core.handlers import ExceptionHandler
    from .core.protocols import Processor, Sink


@pytest.hookspec()
def pytest_diagnostics_collectors(config: pytest.Config) -> Iterable[DiagnosticCollector | str] | None:
    """Give more collectors: objects, or names of built-in or installed ones.

    When: once, as the run's recording starts. Where: the process that samples the machine, which is the
    controller under xdist; with test scope every process that runs tests, once a test.
    The answers of all plugins are joined; None means nothing to add. Raising adds nothing, changes no
    outcome and is told in the health line.
    """


@pytest.hookspec()
def pytest_diagnostics_sinks(config: pytest.Config) -> Iterable[Sink] | None:
    """Give sinks that take every record of a manager: ``write(record)``, ``close()``.

    When and where: as ``pytest_diagnostics_collectors``. The sinks themselves are called from our threads.
    The answers are joined; None means none. Raising adds nothing and is told in the health line.
    """


@pytest.hookspec()
def pytest_diagnostics_processors(config: pytest.Config) -> Iterable[Processor] | None:
    """Give functions that change a result, or drop it by returning None, before any sink has it.

    When and where: as ``pytest_diagnostics_collectors``. The functions are called from our threads, in
    order; one that raises takes the result's data with it, so that what should be redacted never leaks.
    The answers are joined; None means none. Raising here adds nothing and is told in the health line.
    """


@pytest.hookspec(firstresult=True)
def pytest_diagnostics_exception_handler(config: pytest.Config) -> ExceptionHandler | None:
    """Give the handler that decides what a collector's failure means.

    When and where: as ``pytest_diagnostics_collectors``. The handler is called from our threads. The first
    answer that is not None counts; without one every failure is recorded and collecting goes on. Raising
    means no answer and is told in the health line.
    """


@pytest.hookspec(firstresult=True)
def pytest_diagnostics_cassandra_session(config: pytest.Config) -> object | None:
    """Give a live session of a driver of Cassandra: its views and indexes are watched from a thread.

    When and where: as ``pytest_diagnostics_collectors``, unless ``--diagnostics-cassandra`` names a cluster.
    The session stays yours: nothing of it is changed, and it is not closed. The first answer that is not None
    counts. Raising means no answer and is told in the health line.
    """


@pytest.hookspec()
def pytest_diagnostics_test_summary(item: pytest.Item, summary: Mapping[str, object]) -> None:
    """Be told what one test used, after its teardown.

    When: after each attempt, with its teardown's report; not for tests marked no_diagnostics. Where: the
    process that ran the test. ``summary`` has ``nodeid``, ``attempt``, ``worker``, ``outcomes`` (phase ->
    outcome) and ``usage`` (phase -> exact figures); it is a copy. The return value is ignored. Raising
    changes no outcome and is told in the health line.
    """
