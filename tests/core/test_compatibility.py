"""A program written for a similar framework runs with nothing but its imports changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_diagnostics import (
    DiagnosticCollector,
    DiagnosticManager,
    ExceptionHandler,
    ExceptionStrategy,
    collect_diagnostics,
)


class BuildStatusCollector(DiagnosticCollector):
    """Asks a session, keeps lines in a file: the shape of the other framework's own collector."""

    def __init__(
        self,
        session: Callable[[str], list[str]],
        dir_path: Path,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
    ) -> None:
        super().__init__(name=name, exception_handler=exception_handler)
        self.session = session
        self.directory = dir_path / self.root_dir / "build_status"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.snapshot: dict[str, object] = {}
        self.cleaned = 0

    def collect(self) -> dict[str, object]:
        self.snapshot = {"query": "SELECT * FROM builds", "data": self.session("SELECT * FROM builds")}
        return self.snapshot

    def store(self, result: object) -> None:
        with (self.directory / f"{self.name}.log").open("a", encoding="utf-8") as file:
            file.write(json.dumps(result, default=str) + "\n")

    def clean(self) -> None:
        self.cleaned += 1
        self.snapshot = {}


class MinimalCollector(DiagnosticCollector):
    """Calls no super().__init__(), as many do."""

    def __init__(self) -> None:
        self.stored: list[object] = []

    def collect(self) -> object:
        return {"up": True}

    def store(self, result: object) -> None:
        self.stored.append(result)


class EventHandler(ExceptionHandler):
    """Publishes an event for each failure; has an __init__ of its own."""

    def __init__(
        self, severity: str = "WARNING", strategy: ExceptionStrategy = ExceptionStrategy.CONTINUE
    ) -> None:
        self.severity = severity
        self.strategy = strategy
        self.published: list[str] = []
        self.told = threading.Event()

    def handle_exception_during_collecting(
        self, collector: DiagnosticCollector, exc: Exception
    ) -> ExceptionStrategy:
        self.published.append(f"{self.severity} {collector.name} diagnostics.collect {exc}")
        self.told.set()
        return self.strategy

    def handle_exception_during_storing(
        self, collector: DiagnosticCollector, exc: Exception
    ) -> ExceptionStrategy:
        self.published.append(f"{self.severity} {collector.name} diagnostics.store {exc}")
        self.told.set()
        return self.strategy


def answer(query: str) -> list[str]:
    return ["view_a", "view_b"]


def test_manager_with_keywords_collects_stores_and_cleans(tmp_path: Path) -> None:
    collector = BuildStatusCollector(answer, tmp_path)
    manager = DiagnosticManager(
        collectors=[collector, MinimalCollector()], interval=60.0, exception_handler=ExceptionHandler()
    )
    manager.start_collecting()
    assert manager.is_running
    manager.stop_collecting(timeout=10)

    assert (manager.is_running, manager.is_collecting, manager.is_healthy(), manager.error) == (
        False,
        False,
        True,
        None,
    )
    results = manager.get_results()
    assert {r.collector_name for r in results} == {"BuildStatusCollector", "MinimalCollector"}
    assert all(r.collected and r.stored and r.error is None for r in results)
    lines = (tmp_path / "diagnostics/build_status/BuildStatusCollector.log").read_text().splitlines()
    assert [json.loads(line)["data"] for line in lines] == [["view_a", "view_b"]] * 2
    assert collector.cleaned == 1
    manager.clear_results()
    assert manager.get_results() == []


def test_short_form_yields_the_manager(tmp_path: Path) -> None:
    collector = BuildStatusCollector(answer, tmp_path, name="builds", exception_handler=EventHandler())
    with collect_diagnostics(collector, interval=60.0) as manager:
        assert isinstance(manager, DiagnosticManager)

    assert manager.get_results()[-1].collector_name == "builds"


def test_handler_of_the_collector_decides_and_can_be_exchanged(tmp_path: Path) -> None:
    def refuse(query: str) -> list[str]:
        raise ConnectionError("no host")

    handler = EventHandler(strategy=ExceptionStrategy.STOP)
    collector = BuildStatusCollector(refuse, tmp_path, exception_handler=EventHandler())
    collector.exception_handler = handler
    manager = DiagnosticManager(collectors=[collector], interval=60.0, name="views", max_history=None)
    with manager:
        assert handler.told.wait(10)

    assert handler.published[0] == "WARNING BuildStatusCollector diagnostics.collect no host"
    result = manager.get_results()[0]
    assert (result.collected, result.stored) == (False, False)
    assert "no host" in str(result.error)


def test_failing_store_is_told_by_the_storing_method(tmp_path: Path) -> None:
    handler = EventHandler()

    class Failing(BuildStatusCollector):
        def store(self, result: object) -> None:
            raise OSError("disk full")

    with collect_diagnostics(Failing(answer, tmp_path, exception_handler=handler)) as manager:
        assert handler.told.wait(10)

    assert handler.published[0] == "WARNING Failing diagnostics.store disk full"
    assert (manager.get_results()[0].collected, manager.get_results()[0].stored) == (True, False)


@pytest.mark.parametrize(("strategy", "text"), [("CONTINUE", "continue"), ("STOP", "stop")])
def test_strategies_are_texts(strategy: str, text: str) -> None:
    member = ExceptionStrategy[strategy]

    assert member == text
    assert str(member) == f"{member}" == text
    assert ExceptionStrategy(text) is member


def test_name_can_be_assigned() -> None:
    collector = MinimalCollector()
    assert collector.name == "MinimalCollector"
    collector.name = "other"
    assert collector.name == "other"
    assert "other" in repr(collector)


def test_safe_collect_never_raises() -> None:
    class Raising(MinimalCollector):
        def collect(self) -> object:
            raise OSError("x")

    class Async(MinimalCollector):
        async def collect(self) -> object:
            return 1

    assert MinimalCollector().safe_collect() == {"up": True}
    assert Raising().safe_collect() is None
    assert Async().safe_collect() is None
