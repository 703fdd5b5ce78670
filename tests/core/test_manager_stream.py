"""Records on their way to subscribers, sinks and processors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_diagnostics import (
    DiagnosticCollector,
    DiagnosticManager,
    DiagnosticResult,
    ErrorType,
    Event,
    EventKind,
)
from pytest_diagnostics.core import stream
from pytest_diagnostics.core.model import Execution, Record, Stage
from pytest_diagnostics.testing import TIMEOUT, FakeClock, MemorySink, RecordingProcessor, ScriptedCollector

Run = Callable[..., DiagnosticManager]


class FailingSink(MemorySink):
    """Fails at every record, also at closing."""

    tried = 0

    def write(self, record: Record) -> None:
        self.tried += 1
        raise SystemExit("disk full")

    def close(self) -> None:
        raise OSError("cannot close")


class HangingSink(MemorySink):
    """Hangs in the first result it gets."""

    def __init__(self, release: threading.Event) -> None:
        super().__init__()
        self.release = release
        self.inside = threading.Event()

    def write(self, record: Record) -> None:
        if isinstance(record, DiagnosticResult) and not self.inside.is_set():
            self.inside.set()
            self.release.wait(TIMEOUT)
        super().write(record)


def test_results_events_and_executions_are_one_stream(sink: MemorySink) -> None:
    with DiagnosticManager([ScriptedCollector()], interval=60.0, sinks=[sink]):
        pass

    kinds = [r.kind if isinstance(r, Event) else type(r).__name__ for r in sink.records]
    assert kinds == [
        EventKind.STARTED,
        "Execution",
        "DiagnosticResult",
        EventKind.HEALTH,
        "Execution",
        "DiagnosticResult",
        EventKind.STOPPED,
    ]
    assert sink.events()[0].details == {"collectors": ["scripted"]}
    assert sink.events()[-1].details == {"reason": "stop_collecting"}
    assert sink.events(EventKind.HEALTH)[0].details == {
        "state": "healthy",
        "previous": "unknown",
        "reason": None,
    }
    assert isinstance(sink.records[1], Execution)
    assert sink.closed == 1


def test_sinks_are_closed_once_a_run(sink: MemorySink) -> None:
    manager = DiagnosticManager([ScriptedCollector()], interval=60.0, sinks=[sink])
    for count in (1, 2):
        manager.start_collecting()
        manager.stop_collecting()
        manager.stop_collecting()
        assert sink.closed == count


def test_sinks_are_closed_after_a_stop_that_nobody_called_for(sink: MemorySink) -> None:
    from pytest_diagnostics import ExceptionStrategy
    from pytest_diagnostics.testing import RecordingHandler

    handler = RecordingHandler(ExceptionStrategy.STOP)
    manager = DiagnosticManager([ScriptedCollector([OSError("x")])], exception_handler=handler, sinks=[sink])
    manager.start_collecting()
    sink.wait_for(lambda s: s.closed)
    manager.stop_collecting()
    assert sink.closed == 1


def test_unsubscribed_is_told_no_more(run: Run, sink: MemorySink) -> None:
    manager = run()
    other = MemorySink()
    unsubscribe = manager.subscribe(other)
    manager.collect_all()
    other.wait_for(lambda s: s.results)
    unsubscribe()
    told = len(other.records)
    manager.collect_all()
    manager.stop_collecting()

    assert len(other.records) == told
    unsubscribe()


def test_subscriber_may_ask_its_manager(run: Run) -> None:
    manager = run(ScriptedCollector(interval=0.01))
    seen: list[int] = []
    enough = threading.Event()

    def ask(record: Record) -> None:
        seen.append(len(manager.get_results()) + len(manager.snapshot()) + len(manager.collectors))
        manager.pause()
        manager.resume()
        manager.clear_results()
        if len(seen) > 3:
            enough.set()

    manager.subscribe(ask)
    assert enough.wait(TIMEOUT)
    manager.stop_collecting()
    assert manager.sink_failures() == {}


def test_raising_sink_is_counted_told_once_and_reaches_nobody(sink: MemorySink) -> None:
    failing = FailingSink()
    manager = DiagnosticManager([ScriptedCollector(interval=0.005)], sinks=[failing, sink])
    with manager:
        sink.wait_for(lambda s: len(s.results) > 10)

    assert manager.sink_failures() == {
        "FailingSink": f"{stream.MAX_SINK_FAILURES + 1} times, last: OSError: cannot close"
    }
    assert failing.tried == stream.MAX_SINK_FAILURES
    told = sink.events(EventKind.SINK_FAILED)
    assert [event.details for event in told] == [{"sink": "FailingSink", "message": "SystemExit: disk full"}]


def test_two_failing_sinks_of_one_class_are_told_apart() -> None:
    manager = DiagnosticManager([ScriptedCollector()], sinks=[FailingSink(), FailingSink()])
    with manager:
        pass

    assert len(manager.sink_failures()) == 2


def test_failing_sink_has_a_fresh_chance_in_the_next_run() -> None:
    failing = FailingSink()
    manager = DiagnosticManager([ScriptedCollector()], sinks=[failing], interval=60.0)
    with manager:
        for _ in range(10):
            manager.collect_all()
    tried = failing.tried
    with manager:
        pass

    assert failing.tried > tried


def test_stop_is_bounded_when_a_sink_hangs(sink: MemorySink, release: threading.Event) -> None:
    hanging = HangingSink(release)
    manager = DiagnosticManager([ScriptedCollector()], interval=60.0, sinks=[hanging, sink], stop_timeout=0.1)
    manager.start_collecting()
    assert hanging.inside.wait(TIMEOUT)
    began = time.monotonic()
    manager.stop_collecting()

    assert time.monotonic() - began < 2.0
    assert hanging.closed == 0
    assert sink.closed == 1
    assert "HangingSink" in manager.sink_failures()
    told = len(sink.records)
    release.set()
    for thread in threading.enumerate():
        if thread.name == "DiagnosticManager":
            thread.join(TIMEOUT)
    assert len(sink.records) == told


def test_sink_that_hangs_in_one_lane_does_not_stop_the_others(
    sink: MemorySink, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PATIENCE_SECONDS", 0.1)
    hanging = HangingSink(release)
    lane = ScriptedCollector(name="lane", blocking=True)
    manager = DiagnosticManager([lane], interval=60.0, sinks=[hanging, sink], stop_timeout=0.3)
    with manager:
        assert hanging.inside.wait(TIMEOUT)
        manager.add_collector(ScriptedCollector(name="here", interval=0.02))
        sink.wait_for(lambda s: len([r for r in s.results if r.collector_name == "here"]) > 3)
        assert len(manager.get_results()) > 3
        release.set()

    assert "it kept a record for more than 0.1 s" in manager.sink_failures()["HangingSink"]


def test_hung_close_of_a_sink_does_not_hang_the_stop(release: threading.Event) -> None:
    class Closing(MemorySink):
        def close(self) -> None:
            super().close()
            release.wait(TIMEOUT)

    closing = Closing()
    manager = DiagnosticManager([ScriptedCollector()], sinks=[closing], stop_timeout=0.1)
    manager.start_collecting()
    began = time.monotonic()
    manager.stop_collecting()

    assert time.monotonic() - began < 2.0
    assert closing.closed == 1


def test_processor_changes_what_everybody_gets_but_not_what_is_stored(sink: MemorySink) -> None:
    collector = ScriptedCollector([{"password": "hunter2"}])
    redact = RecordingProcessor(lambda result: replace(result, data={"password": "***"}))
    manager = DiagnosticManager([collector], interval=60.0, sinks=[sink], processors=[redact])
    with manager:
        reply = manager.collect_all()

    assert {str(r.data) for r in sink.results} == {"{'password': '***'}"}
    assert reply["scripted"] == {"password": "***"}
    assert collector.stored[0] == {"password": "hunter2"}
    assert "hunter2" not in repr([sink.records, manager.get_results(), manager.snapshot()])


def test_dropped_result_reaches_nobody_and_no_older_one_stands_for_it(sink: MemorySink) -> None:
    drop = RecordingProcessor(lambda result: result if result.data == {"n": 1} else None)
    collector = ScriptedCollector([{"n": 1}, {"n": 2}])
    manager = DiagnosticManager([collector], interval=60.0, sinks=[sink], processors=[drop])
    with manager:
        sink.wait_for(lambda s: s.results)
        assert manager.collect_now() == {}

    assert [r.data for r in sink.results] == [{"n": 1}]
    assert len(drop.seen) == 3


def fail(result: DiagnosticResult) -> DiagnosticResult:
    raise SystemExit(f"cannot redact {result.data}")


@pytest.mark.parametrize("processor", [fail, lambda result: "nonsense"], ids=["raises", "answers nonsense"])
def test_data_is_withheld_when_a_processor_fails(
    sink: MemorySink, processor: Callable[[DiagnosticResult], DiagnosticResult]
) -> None:
    collector = ScriptedCollector([{"password": "hunter2"}])
    manager = DiagnosticManager([collector], interval=60.0, sinks=[sink], processors=[processor])
    with manager:
        pass

    error = sink.results[0].error
    assert error is not None
    assert (error.type, error.stage) == (ErrorType.PROCESSING, Stage.PROCESS)
    assert "hunter2" not in repr(sink.records)


def test_what_a_processor_adds_is_bounded_and_counted(sink: MemorySink) -> None:
    swell = RecordingProcessor(lambda result: replace(result, data={"x": "y" * 100_000}))
    with DiagnosticManager([ScriptedCollector()], interval=60.0, sinks=[sink], processors=[swell]):
        pass

    assert sink.results[0].truncated


def test_processors_run_in_order(sink: MemorySink) -> None:
    def append(letter: str) -> RecordingProcessor:
        return RecordingProcessor(lambda result: replace(result, data=f"{result.data}{letter}"))

    processors = [append("b"), append("c")]
    with DiagnosticManager([ScriptedCollector(["a"])], sinks=[sink], processors=processors):
        pass

    assert sink.results[0].data == "abc"


def test_records_of_many_threads_come_one_at_a_time_and_whole() -> None:
    inside, worst = 0, 0

    class Counting(MemorySink):
        def write(self, record: Record) -> None:
            nonlocal inside, worst
            inside += 1
            worst = max(worst, inside)
            super().write(record)
            inside -= 1

    sink = Counting()
    collectors = [ScriptedCollector(name=f"c{n}", blocking=True, interval=0.002) for n in range(8)]
    with DiagnosticManager(collectors, sinks=[sink]) as manager:
        sink.wait_for(lambda s: len(s.records) > 500)

    assert worst == 1
    assert sink.results == manager.get_results()


def test_a_sink_that_gathers_records_is_told_when_a_tick_is_over() -> None:
    class Gathering(MemorySink):
        def __init__(self) -> None:
            super().__init__()
            self.settled: list[int] = []

        def settle(self) -> None:
            self.settled.append(len(self.results))

    sink = Gathering()
    collectors = [ScriptedCollector(name=f"c{n}", blocking=False, interval=60.0) for n in range(3)]
    with DiagnosticManager(collectors, sinks=[sink]) as manager:
        sink.wait_for(lambda s: len(s.results) == 3)
        manager.collect_all()

    assert sink.settled[0] == 3
    assert 6 in sink.settled


def test_stream_survives_ctrl_c_in_the_main_thread() -> None:
    def interrupt(record: Record) -> None:
        raise KeyboardInterrupt

    records = stream.RecordStream([], None, FakeClock())
    event = Event(EventKind.PAUSED, FakeClock().wall(0), 0.0)
    unsubscribe = records.subscribe(interrupt)
    with pytest.raises(KeyboardInterrupt):
        records.publish(event)
    unsubscribe()
    seen = MemorySink()
    records.subscribe(seen)
    records.publish(event)

    assert event in seen.records


@pytest.mark.parametrize("beside", [False, True])
def test_a_sink_may_do_without_the_executions_that_succeeded(sink: MemorySink, *, beside: bool) -> None:
    class Frugal(MemorySink):
        wants_executions = False

    frugal = Frugal()
    collector = ScriptedCollector([1, OSError("broken"), 3])
    sinks = [frugal, sink] if beside else [frugal]
    with DiagnosticManager([collector], interval=60.0, sinks=sinks) as manager:
        manager.collect_now(timeout=TIMEOUT)

    # Two or three collections: the one that is asked for may be the first tick.
    collected = [result.collected for result in frugal.results]
    assert collected[:2] == [True, False]
    assert [execution.succeeded for execution in frugal.executions] == [False]
    assert [execution.succeeded for execution in sink.executions] == (collected if beside else [])


def test_plain_data_is_recorded_as_it_is() -> None:
    class Plain(DiagnosticCollector):
        blocking = False
        plain = True

        def __init__(self) -> None:
            self.given: list[object] = []

        def collect(self) -> object:
            self.given.append({"value": 1.5, "nested": {"reasons": {"a": "absent"}}})
            return self.given[-1]

    collector = Plain()
    with DiagnosticManager([collector], interval=60.0) as manager:
        pass

    assert all(r.data is given for r, given in zip(manager.get_results(), collector.given, strict=True))


def test_a_derived_class_is_not_plain_unless_it_says_so() -> None:
    class Plain(DiagnosticCollector):
        blocking = False
        plain = True

        def collect(self) -> object:
            return {"value": 1.5}

    class Derived(Plain):
        def collect(self) -> object:
            return {"value": float("nan")}

    with DiagnosticManager([Derived()], interval=60.0) as manager:
        pass

    assert [result.data for result in manager.get_results()] == [{"value": None}] * 2
