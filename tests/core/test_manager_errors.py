"""What a failure becomes, and what is done about it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable

import pytest

from pytest_diagnostics import (
    ConfigurationError,
    DiagnosticCollector,
    DiagnosticManager,
    ErrorType,
    ExceptionHandler,
    ExceptionStrategy,
    HealthState,
    ManagerStatus,
    RecordingError,
    UnavailableError,
    ValidationError,
)
from pytest_diagnostics.core.errors import classify
from pytest_diagnostics.core.model import CollectorError, Stage
from pytest_diagnostics.testing import TIMEOUT, MemorySink, RecordingHandler, ScriptedCollector

Run = Callable[..., DiagnosticManager]


class NoHostAvailable(Exception):  # noqa: N818 - as the driver has it
    pass


class AccessDenied(Exception):  # noqa: N818 - as psutil has it
    pass


class OperationTimedOut(Exception):  # noqa: N818 - as the driver has it
    pass


@pytest.mark.parametrize(
    ("exc", "error_type"),
    [
        (ConfigurationError("x"), ErrorType.CONFIGURATION),
        (ConnectionRefusedError("x"), ErrorType.CONNECTION),
        (NoHostAvailable("x"), ErrorType.CONNECTION),
        (TimeoutError("x"), ErrorType.TIMEOUT),
        *((getattr(home, "TimeoutError")("x"), ErrorType.TIMEOUT) for home in (asyncio, concurrent.futures)),  # noqa: B009 - other classes on 3.10
        (OperationTimedOut("x"), ErrorType.TIMEOUT),
        (PermissionError("x"), ErrorType.PERMISSION),
        (AccessDenied("x"), ErrorType.PERMISSION),
        (UnavailableError("x"), ErrorType.UNAVAILABLE),
        (FileNotFoundError("x"), ErrorType.UNAVAILABLE),
        (NotImplementedError("x"), ErrorType.UNAVAILABLE),
        (ValidationError("x"), ErrorType.VALIDATION),
        (RecordingError("x"), ErrorType.STORAGE),
        (ZeroDivisionError("x"), ErrorType.PROCESSING),
        (SystemExit(3), ErrorType.PROCESSING),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_every_exception_has_its_error_type(exc: BaseException, error_type: ErrorType) -> None:
    assert classify(exc) is error_type


def only_error(sink: MemorySink, count: int = 1) -> CollectorError:
    sink.wait_for(lambda s: len(s.results) >= count)
    error = sink.results[0].error
    assert error is not None
    return error


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError("x")])
@pytest.mark.parametrize("blocking", [True, False])
def test_nothing_that_a_collector_raises_ends_the_manager(
    run: Run, sink: MemorySink, exc: BaseException, blocking: bool
) -> None:
    manager = run(ScriptedCollector([exc, {}], blocking=blocking))
    error = only_error(sink)

    assert error.details["exception"] == type(exc).__name__
    assert manager.collect_all()["scripted"] == {}
    assert manager.status is ManagerStatus.RUNNING


def test_failure_is_a_result_without_data(run: Run, sink: MemorySink) -> None:
    run(ScriptedCollector([PermissionError("not yours")]))
    error = only_error(sink)
    result = sink.results[0]

    assert (result.data, result.collected, result.stored) == (None, False, False)
    assert (error.type, error.stage, error.message) == (ErrorType.PERMISSION, Stage.COLLECT, "not yours")
    assert (error.is_critical, error.time) == (False, result.timestamp)
    assert str(error) == "permission: not yours"


def test_data_that_cannot_be_recorded_is_a_validation_error(run: Run, sink: MemorySink) -> None:
    cyclic: list[object] = []
    cyclic.append(cyclic)
    run(ScriptedCollector([cyclic]))

    assert only_error(sink).type is ErrorType.VALIDATION


def test_conversions_and_cuts_are_counted(run: Run, sink: MemorySink) -> None:
    manager = run(ScriptedCollector([{"a": float("nan"), "b": {1}, "c": "x" * 100_000}]))
    sink.wait_for(lambda s: s.results)

    assert (sink.results[0].coerced, sink.results[0].truncated) == (2, True)
    assert (manager.health("scripted").coerced, manager.health("scripted").truncated) == (2, 1)


def test_store_gets_the_very_object_and_its_failure_keeps_the_data(run: Run, sink: MemorySink) -> None:
    answer = {"now": b"raw"}

    class Failing(ScriptedCollector):
        def store(self, result: object) -> None:
            super().store(result)
            raise OSError("disk full")

    collector = Failing([answer])
    manager = run(collector)
    error = only_error(sink)

    assert collector.stored[0] is answer
    assert (error.type, error.stage) == (ErrorType.STORAGE, Stage.STORE)
    assert (sink.results[0].collected, sink.results[0].stored) == (True, False)
    assert manager.collect_all()["scripted"] == {"now": {"base64": "cmF3"}}


def test_error_of_stop_and_clean_is_told_and_hides_no_data(run: Run, sink: MemorySink) -> None:
    class Failing(ScriptedCollector):
        def stop(self) -> None:
            raise OSError("cannot close")

        def clean(self) -> None:
            raise SystemExit("cannot clean")

    manager = run(Failing())
    sink.wait_for(lambda s: s.results)
    manager.stop_collecting()

    told = [(r.error.stage, r.error.message) for r in manager.get_results() if r.error]
    assert told == [(Stage.STOP, "cannot close"), (Stage.STOP, "cannot clean")]
    assert manager.snapshot()["scripted"] == {"value": 1}


def test_start_that_failed_is_closed_and_tried_again(run: Run, sink: MemorySink) -> None:
    class Opening(ScriptedCollector):
        tries = 0

        def start(self) -> None:
            super().start()
            self.tries += 1
            if self.tries == 1:
                raise ConnectionError("not up yet")

    collector = Opening(interval=0.01)
    run(collector)
    error = only_error(sink, 2)

    assert (error.type, error.stage) == (ErrorType.CONNECTION, Stage.START)
    assert collector.calls[:6] == ["probe", "start", "stop", "probe", "start", "collect"]


def test_probe_that_raises_is_a_reason(run: Run, sink: MemorySink) -> None:
    class Probing(ScriptedCollector):
        def probe(self) -> str | None:
            raise OSError("no /sys")

    manager = run(Probing())

    assert only_error(sink).message == "its probe failed: OSError: no /sys"
    assert manager.health("scripted").state is HealthState.UNAVAILABLE


def test_continue_goes_on(run: Run, sink: MemorySink) -> None:
    run(ScriptedCollector([OSError("once"), {"n": 2}], interval=0.01))
    sink.wait_for(lambda s: len(s.results) >= 2)

    assert sink.results[1].data == {"n": 2}


def test_disable_asks_no_more(run: Run, sink: MemorySink) -> None:
    handler = RecordingHandler(ExceptionStrategy.DISABLE)
    collector = ScriptedCollector([OSError("gone")], interval=0.01)
    manager = run(collector, ScriptedCollector(name="other", interval=0.01), exception_handler=handler)
    sink.wait_for(lambda s: len(s.results) > 5)

    assert collector.collected == 1
    assert manager.health("scripted").state is HealthState.DISABLED
    assert only_error(sink).is_critical
    reply = manager.collect_all()
    assert reply["scripted"] == {"error": {"type": "unavailable", "message": "processing: OSError: gone"}}


def test_stop_ends_the_run_after_a_final_collection(run: Run, sink: MemorySink) -> None:
    handler = RecordingHandler(ExceptionStrategy.STOP)
    manager = run(
        ScriptedCollector([OSError("fatal")], exception_handler=handler), ScriptedCollector(name="other")
    )
    sink.wait_for(
        lambda s: (
            s.events() and s.events()[-1].details.get("reason") == "scripted: processing: OSError: fatal"
        )
    )

    assert {r.collector_name for r in manager.get_results() if r.final} == {"scripted", "other"}
    manager.stop_collecting()
    assert manager.status is ManagerStatus.STOPPED
    assert manager.error is None


def test_retry_is_bounded_and_backs_off_in_the_lane(run: Run, sink: MemorySink) -> None:
    handler = RecordingHandler(ExceptionStrategy.RETRY)
    handler.retry_delay_seconds = 0.01
    collector = ScriptedCollector([OSError("still down")], blocking=True)
    manager = run(collector, exception_handler=handler)
    error = only_error(sink)

    attempts = sink.executions
    assert [e.attempt for e in attempts] == [1, 2, 3, 4]
    assert error.details["attempts"] == 4
    waits = [b.monotonic - a.monotonic for a, b in zip(attempts, attempts[1:])]  # noqa: B905, RUF007
    assert all(wait >= 0.01 * 2**n for n, wait in enumerate(waits))
    assert (manager.health("scripted").failures, len(sink.results)) == (1, 1)


def test_retry_that_succeeds_leaves_one_good_result(run: Run, sink: MemorySink) -> None:
    handler = RecordingHandler(ExceptionStrategy.RETRY)
    handler.retry_delay_seconds = 0.001
    run(ScriptedCollector([OSError("1"), OSError("2"), {"n": 3}], blocking=True), exception_handler=handler)
    sink.wait_for(lambda s: s.results)

    assert sink.results[0].data == {"n": 3}
    assert len(handler.asked) == 2


def test_retry_never_waits_in_the_shared_thread(run: Run, sink: MemorySink) -> None:
    handler = RecordingHandler(ExceptionStrategy.RETRY)
    handler.retry_delay_seconds = 0.001
    flaky = ScriptedCollector([OSError("1"), OSError("2"), {"n": 3}], interval=0.01)
    run(flaky, exception_handler=handler)
    sink.wait_for(lambda s: any(r.data == {"n": 3} for r in s.results))

    # The first failure stands; from the next tick on the collector has a lane to retry in.
    assert [e.attempt for e in sink.executions][:3] == [1, 1, 2]


def test_stop_cuts_the_wait_for_a_retry_short(run: Run, sink: MemorySink) -> None:
    handler = RecordingHandler(ExceptionStrategy.RETRY)
    handler.retry_delay_seconds = 60.0
    manager = run(ScriptedCollector([OSError("down"), {"n": 2}], blocking=True), exception_handler=handler)
    sink.wait_for(lambda s: s.executions)
    began = time.monotonic()
    manager.stop_collecting()

    assert time.monotonic() - began < 2.0
    assert [(r.data, r.final) for r in manager.get_results()] == [(None, False), ({"n": 2}, True)]


def test_collectors_handler_comes_before_the_managers_and_both_can_be_exchanged(
    run: Run, sink: MemorySink
) -> None:
    own, common, later = RecordingHandler(), RecordingHandler(), RecordingHandler()
    with_own = ScriptedCollector([OSError("a")], name="own", exception_handler=own)
    manager = run(with_own, ScriptedCollector([OSError("b")], name="other"), exception_handler=common)
    sink.wait_for(lambda s: len(s.results) == 2)
    assert [asked[1] for asked in own.asked + common.asked] == ["own", "other"]
    manager.exception_handler = later
    with_own.exception_handler = None
    manager.collect_all()

    assert sorted(asked[1] for asked in later.asked) == ["other", "own"]


class Raising(ExceptionHandler):
    def handle_exception_during_collecting(
        self, collector: DiagnosticCollector, exc: Exception
    ) -> ExceptionStrategy:
        raise SystemExit("the handler itself")


class Nonsense(ExceptionHandler):
    def handle_exception_during_collecting(
        self, collector: DiagnosticCollector, exc: Exception
    ) -> ExceptionStrategy:
        return 42  # type: ignore[return-value] # that is the point


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (Raising(), "SystemExit: the handler itself"),
        (Nonsense(), "ValueError: 42 is not a valid ExceptionStrategy"),
    ],
)
def test_broken_handler_counts_as_continue_and_is_named(
    run: Run, sink: MemorySink, handler: ExceptionHandler, told: str
) -> None:
    manager = run(ScriptedCollector([OSError("x"), {}]), exception_handler=handler)

    assert only_error(sink).details["handler_failed"] == told
    assert manager.collect_all()["scripted"] == {}


def test_plain_text_is_a_strategy_too(run: Run, sink: MemorySink) -> None:
    handler = RecordingHandler("disable")  # type: ignore[arg-type] # as users of StrEnums write it
    manager = run(ScriptedCollector([OSError("x")]), exception_handler=handler)
    sink.wait_for(lambda s: s.results)
    sink.wait_for(lambda s: manager.health("scripted").state is HealthState.DISABLED)


def test_thread_that_the_system_refuses_a_lane_is_a_result(
    run: Run, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = run(ScriptedCollector(name="here"))

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("pytest_diagnostics.core.threads._start", refuse)
    manager.add_collector(ScriptedCollector(name="there", blocking=True))
    sink.wait_for(lambda s: any(r.collector_name == "there" for r in s.results))
    refused = next(r.error for r in sink.results if r.collector_name == "there")
    monkeypatch.undo()

    assert refused is not None
    assert refused.message == "the system refused a thread: can't start new thread"
    assert manager.collect_now(["there"])["there"].data == {"value": 1}


def test_exception_without_a_readable_text_is_told_by_its_class(run: Run, sink: MemorySink) -> None:
    class Mute(Exception):  # noqa: N818 - a test's
        def __str__(self) -> str:
            raise RuntimeError("no text")

    run(ScriptedCollector([Mute()]))
    assert only_error(sink).message == "its text cannot be read"


def test_long_message_is_cut(run: Run, sink: MemorySink) -> None:
    run(ScriptedCollector([OSError("x" * 10_000_000)]))
    assert len(only_error(sink).message) <= 2000


def test_is_collecting_says_whether_a_call_is_in_flight(
    run: Run, hang: Callable[[], object], release: threading.Event
) -> None:
    inside = threading.Event()

    def step() -> object:
        inside.set()
        return hang()

    manager = run(ScriptedCollector([step, {}], blocking=True))
    assert inside.wait(TIMEOUT)
    assert manager.is_collecting
    release.set()
    manager.stop_collecting()
    assert not manager.is_collecting
