"""What every test of the core is held to: it leaves no thread of ours behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from pytest_diagnostics import DiagnosticCollector, DiagnosticManager
from pytest_diagnostics.testing import TIMEOUT, MemorySink, ScriptedCollector


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Fail a test that leaves a thread alive, naming it."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        # asyncio's own executors end with their loops; ours are daemons.
        thread.join(TIMEOUT if thread.daemon else 0)
        assert not thread.is_alive(), f"the thread {thread.name!r} is still alive"


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What collectors that hang wait for; set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def hang(release: threading.Event) -> Callable[[], object]:
    """Return a step of a script that hangs until the end of the test."""

    def hang() -> object:
        release.wait(TIMEOUT)
        return {"late": True}

    return hang


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


Run = Callable[..., DiagnosticManager]


@pytest.fixture
def run(sink: MemorySink) -> Iterator[Run]:
    """Return a function that starts a manager with ``sink`` subscribed; it is stopped after the test."""
    managers: list[DiagnosticManager] = []

    def run(*collectors: DiagnosticCollector, **options: object) -> DiagnosticManager:
        options.setdefault("interval", 3600.0)
        manager = DiagnosticManager(collectors or [ScriptedCollector()], **options)  # type: ignore[arg-type] # passed on
        manager.subscribe(sink)
        managers.append(manager)
        manager.start_collecting()
        return manager

    yield run
    for manager in managers:
        manager.stop_collecting(0.2)
