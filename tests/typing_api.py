"""User code that must type-check under ``mypy --strict``. Never run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_diagnostics import (
    CollectorError,
    ConfigurationError,
    DiagnosticCollector,
    DiagnosticError,
    DiagnosticManager,
    DiagnosticResult,
    ErrorType,
    Event,
    EventKind,
    ExceptionHandler,
    ExceptionStrategy,
    Execution,
    Health,
    HealthState,
    ManagerStatus,
    Sink,
    collect_diagnostics,
)
from pytest_diagnostics.testing import (
    CheckedCollector,
    FakeClock,
    MemorySink,
    RecordingHandler,
    RecordingProcessor,
    ScriptedCollector,
    check_collector,
)


class QueueCollector(DiagnosticCollector):
    interval = 0.5
    timeout = 2.0
    blocking = False
    aligned = True

    def __init__(self, queue: list[int], name: str | None = None) -> None:
        super().__init__(name)
        self.queue = queue
        self.stored: list[object] = []

    def probe(self) -> str | None:
        return None if self.queue else "the queue is empty"

    def start(self) -> None:
        self.stored = []

    def collect(self) -> dict[str, int]:
        return {"length": len(self.queue)}

    def store(self, result: object) -> None:
        self.stored.append(result)

    def stop(self) -> None:
        self.queue.clear()

    def clean(self) -> None:
        self.stored = []


class AsyncCollector(DiagnosticCollector):
    async def start(self) -> None:
        pass

    async def collect(self) -> Mapping[str, float]:
        return {"latency_seconds": 0.1}

    async def stop(self) -> None:
        pass


class LineSink:
    def write(self, record: DiagnosticResult | Event | Execution) -> None:
        if isinstance(record, Event):
            kind: EventKind = record.kind
            _ = (kind.value, record.details.get("state"))

    def close(self) -> None:
        pass


class Strict(ExceptionHandler):
    def handle_exception_during_collecting(
        self, collector: DiagnosticCollector, exc: Exception
    ) -> ExceptionStrategy:
        return ExceptionStrategy.STOP if isinstance(exc, MemoryError) else ExceptionStrategy.CONTINUE


def redact(result: DiagnosticResult) -> DiagnosticResult | None:
    return None if result.data is None else replace(result, data={"hidden": True})


def told(record: DiagnosticResult | Event | Execution) -> None:
    if isinstance(record, DiagnosticResult) and record.error is not None:
        error: CollectorError = record.error
        _ = error.type is ErrorType.TIMEOUT


async def use_manager() -> None:
    sink: Sink = LineSink()
    manager = DiagnosticManager(
        [QueueCollector([1]), AsyncCollector()],
        interval=1.0,
        exception_handler=Strict(),
        sinks=[sink],
        processors=[redact],
        name="mine",
        max_history=None,
        stop_timeout=2.0,
        clock=FakeClock(),
    )
    unsubscribe = manager.subscribe(told)
    with manager as same:
        assert same is manager
        reply = manager.collect_all(timeout=1.0)
        data = reply["QueueCollector"]
        if isinstance(data, dict):
            _ = data.get("length")
        await manager.collect_all_async()
        results: dict[str, DiagnosticResult] = manager.collect_now(["QueueCollector"])
        demand = manager.request()
        if demand is not None and demand.wait(0.1):
            results = dict(demand.results)
        _ = results
        manager.pause()
        manager.resume()
        manager.disable_collector("QueueCollector", "enough")
        manager.enable_collector("QueueCollector")
        manager.add_collector(ScriptedCollector([1, OSError("x"), dict]))
        gone: bool = manager.remove_collector("scripted", timeout=1.0)
        health: Health = manager.health("AsyncCollector")
        _ = (gone, health.state is HealthState.HEALTHY, health.next_run)
    unsubscribe()
    status: ManagerStatus = manager.status
    kept: list[DiagnosticResult] = manager.get_results()
    _ = (status, kept, manager.snapshot(), manager.latest("AsyncCollector"), manager.sink_failures())
    manager.exception_handler = RecordingHandler(ExceptionStrategy.RETRY)


def use_short_form() -> None:
    try:
        with collect_diagnostics(QueueCollector([1]), interval=60.0) as manager:
            manager.clear_results()
    except ConfigurationError as exc:
        error: DiagnosticError = exc
        value: ValueError = exc
        _ = (error, value)


def use_doubles() -> None:
    found: CheckedCollector = check_collector(lambda: QueueCollector([1]), timeout=5.0)
    sink = MemorySink()
    sink.wait_for(lambda s: len(s.results) > 1)
    processor = RecordingProcessor(redact)
    _ = (found.name, found.seconds, processor.seen, sink.events(EventKind.GAP))
