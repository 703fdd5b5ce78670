"""One call of one collector, from its probe to the published result. Runs in the collector's thread."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from .bounds import Bounded, as_it_is, bound
from .entry import Entry
from .errors import ErrorType, UnavailableError, classify
from .handlers import ExceptionHandler, ExceptionStrategy
from .model import (
    CollectorError,
    DiagnosticResult,
    Event,
    EventKind,
    Execution,
    HealthState,
    JsonValue,
    Stage,
)

if TYPE_CHECKING:
    from .protocols import Clock, Processor
    from .stream import RecordStream

#: A collector may ask for a rest of no more than this.
MAX_REST_SECONDS = 60.0


@dataclass
class _Failure:
    """An exception of a collector, what it means and what the handler said to it."""

    error: CollectorError
    strategy: ExceptionStrategy
    began: float
    details: dict[str, JsonValue]


class Executor:
    """Calls collectors and turns whatever they do into results; nothing they raise leaves it."""

    #: True once the run was given up or is over: what a call that hung still returns is nobody's.
    muted = False

    def __init__(
        self,
        clock: Clock,
        processors: tuple[Processor, ...],
        handler: Callable[[], ExceptionHandler],
        stream: RecordStream,
        stop: Callable[[str], None],
    ) -> None:
        """``handler`` gives the manager's handler of this moment; ``stop`` is told a STOP's reason."""
        self._clock = clock
        self._processors = processors
        self._handler = handler
        self._stream = stream
        self._publish = stream.publish
        self._stop = stop

    def execute(self, entry: Entry, due: float | None = None, *, final: bool = False) -> None:
        """Make one collection, with its retries, and publish its result, which ``entry.answer`` holds.

        ``due`` is the tick's deadline; None for a collection that was asked for.
        """
        entry.answer = None
        if entry.prepared or self._prepare(entry, final=final):
            self._collect(entry, due, final=final)
        state = entry.tracker.state
        if state is HealthState.FAILING or state is HealthState.UNAVAILABLE:
            pause = entry.tracker.back_off_seconds(entry.interval)
            entry.not_before = self._clock.monotonic() + pause

    def retire(self, entry: Entry, *, clean: bool) -> None:
        """Stop a collector and let it forget; what it raises is an error of stage STOP."""
        calls = [entry.collector.stop] if entry.prepared else []
        if clean:
            calls.append(entry.collector.clean)
        for call in calls:
            began = self._clock.monotonic()
            entry.begin(Stage.STOP, began)
            try:
                self._call(entry, call)
            except BaseException as exc:  # noqa: BLE001 - a collector's end must not end the manager's
                self._fail(entry, self._judge(entry, exc, Stage.STOP, began), final=True)
            entry.end()
        entry.prepared = False

    def overrun(self, entry: Entry, *, final: bool = False) -> None:
        """Publish that the call in flight takes longer than the collector's timeout, unless it just ended."""
        began = entry.running_since
        if began is None or not entry.declare_late(again=final):
            return
        message = f"no answer within {entry.timeout:g} s"
        if final:
            message = f"no answer in time for the end, after {self._clock.monotonic() - began:.1f} s"
        failure = self._judge(entry, TimeoutError(message), entry.stage, began)
        self._fail(entry, failure, final=final)

    def refused(self, entry: Entry, exc: BaseException) -> None:
        """Publish that a collector could not be given a thread."""
        reason = UnavailableError(f"the system refused a thread: {exc}")
        self._fail(entry, self._judge(entry, reason, Stage.START, self._clock.monotonic()))

    # -- the steps of one collection

    def _prepare(self, entry: Entry, *, final: bool) -> bool:
        began = self._clock.monotonic()
        entry.begin(Stage.PROBE, began)
        try:
            reason = entry.collector.probe()
        except BaseException as exc:  # noqa: BLE001 - a probe's failure is a reason like any other
            reason = f"its probe failed: {_told(exc)}"
        entry.end()
        if self._is_muted(entry):
            return False
        if reason is not None:
            self._tell_health(entry, entry.tracker.unavailable(str(reason)))
            error = CollectorError(
                ErrorType.UNAVAILABLE, Stage.PROBE, str(reason), time=self._clock.wall(began)
            )
            self._finish(entry, self._result(entry, began, None, error, final=final))
            return False
        self._tell_health(entry, entry.tracker.available())
        return self._start(entry, final=final)

    def _start(self, entry: Entry, *, final: bool) -> bool:
        began = self._clock.monotonic()
        entry.begin(Stage.START, began)
        entry.prepared = True
        try:
            self._call(entry, entry.collector.start)
        except BaseException as exc:  # noqa: BLE001 - as any failure of a collector
            late = entry.end()
            self._fail(entry, self._judge(entry, exc, Stage.START, began), final=final, late=late)
            # What it opened before it failed would be opened again by the next try.
            self.retire(entry, clean=False)
            return False
        entry.end()
        return not self._is_muted(entry)

    def _collect(self, entry: Entry, due: float | None, *, final: bool) -> None:
        attempt = 1
        while True:
            began = self._clock.monotonic()
            entry.begin(Stage.COLLECT, began)
            try:
                raw = self._call(entry, entry.collector.collect)
                as_of = entry.collector.as_of
                moment = began if as_of is None else self._checked(as_of)
                self._let_rest(entry)
                bounded = as_it_is(raw) if entry.plain else bound(raw)
            except BaseException as exc:  # noqa: BLE001 - SystemExit of a collector must not end us either
                late = entry.end()
                self._account(entry, due, began, attempt, succeeded=False)
                failure = self._judge(entry, exc, Stage.COLLECT, began)
                if failure.strategy is ExceptionStrategy.RETRY and not final and not late:
                    if self._may_retry(entry, attempt):
                        attempt += 1
                        continue
                    failure.details["attempts"] = attempt
                self._fail(entry, failure, final=final, late=late)
                return
            seconds = self._account(entry, due, began, attempt, succeeded=True)
            self._succeed(entry, moment, seconds, bounded, raw, final=final)
            return

    def _checked(self, as_of: float) -> float:
        if 0 <= as_of <= self._clock.monotonic():
            return as_of
        raise ValueError(f"as_of is {as_of!r}: no moment on the monotonic clock that has passed")

    def _let_rest(self, entry: Entry) -> None:
        rest = entry.collector.rest_seconds
        if rest == 0.0:
            return
        if not 0 < rest <= MAX_REST_SECONDS:
            raise ValueError(f"rest_seconds is {rest!r}: no pause between 0 and {MAX_REST_SECONDS:g} s")
        entry.not_before = self._clock.monotonic() + rest

    def _succeed(
        self, entry: Entry, moment: float, seconds: float, bounded: Bounded, raw: object, *, final: bool
    ) -> None:
        if self.muted or entry.muted:
            entry.end()
            return
        failure = self._store(entry, raw) if entry.stores else None
        late = entry.end()
        result = DiagnosticResult(
            entry.name,
            self._clock.wall(moment),
            moment,
            seconds,
            bounded.data,
            True,
            failure is None,
            None if failure is None else failure.error,
            bounded.coerced,
            bounded.truncated,
            final,
        )
        tracker = entry.tracker
        tracker.coerced += bounded.coerced
        tracker.truncated += bounded.truncated
        self._finish(entry, result)
        if failure is not None:
            self._note(entry, failure, final=final, late=late)
        elif not late and tracker.succeeded(moment):  # late: it is kept, but makes nobody healthy
            self._tell_health(entry, True)

    def _call(self, entry: Entry, function: Callable[[], object]) -> object:
        data = function()
        if type(data) is dict or not inspect.isawaitable(data):
            return data
        if entry.lane is None:
            if inspect.iscoroutine(data):
                data.close()
            name = getattr(function, "__name__", "a call")
            raise TypeError(f"{name}() returned an awaitable; declare it with 'async def' or blocking = True")
        return entry.lane.run_async(cast("Awaitable[object]", data), entry.timeout)

    def _store(self, entry: Entry, raw: object) -> _Failure | None:
        began = self._clock.monotonic()
        try:
            entry.collector.store(raw)
        except BaseException as exc:  # noqa: BLE001 - as any failure of a collector
            return self._judge(entry, exc, Stage.STORE, began)
        return None

    def _may_retry(self, entry: Entry, attempt: int) -> bool:
        """Wait before a retry; False when there is none left, or when the wait was cut short by a stop."""
        if entry.lane is None:
            # Waiting here would delay the collectors that share this thread: from the next tick on this
            # one has a lane.
            entry.blocking = True
            return False
        handler = entry.collector.exception_handler or self._handler()
        if attempt > handler.max_retries:
            return False
        return entry.lane.pause(handler.retry_delay_seconds * 2 ** (attempt - 1))

    # -- errors, health, publishing

    def _is_muted(self, entry: Entry) -> bool:
        return self.muted or entry.muted

    def _judge(self, entry: Entry, exc: BaseException, stage: Stage, began: float) -> _Failure:
        """Ask the handler of this moment; one that fails itself counts as CONTINUE and is named."""
        details: dict[str, JsonValue] = {"exception": type(exc).__name__}
        strategy = ExceptionStrategy.CONTINUE
        if not self._is_muted(entry):
            try:
                strategy = self._ask(entry, exc, stage)
            except BaseException as failure:  # noqa: BLE001 - a broken handler must not break the manager
                details["handler_failed"] = _told(failure)
        error_type = ErrorType.STORAGE if stage is Stage.STORE else classify(exc)
        critical = strategy in (ExceptionStrategy.DISABLE, ExceptionStrategy.STOP)
        message = _told(exc, with_type=False)
        error = CollectorError(error_type, stage, message, critical, self._clock.wall(began), details)
        return _Failure(error, strategy, began, details)

    def _ask(self, entry: Entry, exc: BaseException, stage: Stage) -> ExceptionStrategy:
        handler = entry.collector.exception_handler or self._handler()
        asked = exc if isinstance(exc, Exception) else RuntimeError(_told(exc))
        if stage is Stage.STORE:
            return ExceptionStrategy(handler.handle_exception_during_storing(entry.collector, asked))
        return ExceptionStrategy(handler.handle_exception_during_collecting(entry.collector, asked))

    def _fail(self, entry: Entry, failure: _Failure, *, final: bool = False, late: bool = False) -> None:
        """Publish a failure's result and do what the handler said."""
        self._finish(entry, self._result(entry, failure.began, None, failure.error, final=final))
        self._note(entry, failure, final=final, late=late)

    def _note(self, entry: Entry, failure: _Failure, *, final: bool = False, late: bool = False) -> None:
        """Count a failure and do what the handler said; after the final collection nothing is left to do.

        A call that was declared late was counted then.
        """
        if self._is_muted(entry):
            return
        if not late:
            entry.tracker.timeouts += failure.error.type is ErrorType.TIMEOUT
            self._tell_health(entry, entry.tracker.failed(str(failure.error)))
        if final:
            return
        if failure.strategy is ExceptionStrategy.DISABLE:
            self._tell_health(entry, entry.tracker.disable(str(failure.error)))
        elif failure.strategy is ExceptionStrategy.STOP:
            self._stop(f"{entry.name}: {failure.error}")

    def _result(
        self, entry: Entry, began: float, data: JsonValue, error: CollectorError | None, *, final: bool
    ) -> DiagnosticResult:
        return DiagnosticResult(
            collector_name=entry.name,
            timestamp=self._clock.wall(began),
            monotonic=began,
            seconds=self._clock.monotonic() - began,
            data=data,
            collected=False,
            stored=False,
            error=error,
            final=final,
        )

    def _finish(self, entry: Entry, result: DiagnosticResult) -> None:
        if self._is_muted(entry):
            return
        processed = self._process(result) if self._processors else result
        entry.answer = processed
        if processed is None:
            return
        if result.error is None or result.error.stage is not Stage.STOP:
            # What went wrong at the very end does not hide the last data.
            entry.latest = processed
        self._publish(processed)

    def _process(self, result: DiagnosticResult) -> DiagnosticResult | None:
        taken = result
        culprit = ""
        try:
            for process in self._processors:
                culprit = getattr(process, "__qualname__", type(process).__name__)
                processed = process(taken)
                if processed is None:
                    return None
                bounded = bound(processed.data)
                taken = replace(
                    processed,
                    data=bounded.data,
                    coerced=processed.coerced + bounded.coerced,
                    truncated=processed.truncated or bounded.truncated,
                )
        except BaseException as exc:  # noqa: BLE001 - a processor is foreign code
            # The data goes with it: a processor that failed may be the one that should have redacted it.
            # So does the exception's text, which may quote the data.
            message = f"the processor {culprit} failed with {type(exc).__name__}; the data is withheld"
            error = CollectorError(ErrorType.PROCESSING, Stage.PROCESS, message, time=result.timestamp)
            return replace(result, data=None, collected=False, stored=False, error=error)
        return taken

    def _account(
        self, entry: Entry, due: float | None, began: float, attempt: int, *, succeeded: bool
    ) -> float:
        """Count a call and tell of it; return the seconds that it took."""
        seconds = self._clock.monotonic() - began
        if self.muted or entry.muted:
            return seconds
        tracker = entry.tracker
        tracker.runs += 1
        tracker.last_run = began
        tracker.seconds_total += seconds
        if not succeeded or self._stream.wants_executions:
            self._publish(
                Execution(entry.name, began if due is None else due, began, seconds, attempt, succeeded)
            )
        return seconds

    def _tell_health(self, entry: Entry, changed: bool) -> None:
        if changed and not self._is_muted(entry):
            self._publish(health_event(entry, self._clock))


def health_event(entry: Entry, clock: Clock) -> Event:
    """Return the event that tells of a collector's present state."""
    now = clock.monotonic()
    tracker = entry.tracker
    details: dict[str, JsonValue] = {
        "state": tracker.state.value,
        "previous": tracker.previous.value,
        "reason": tracker.reason,
    }
    return Event(EventKind.HEALTH, clock.wall(now), now, entry.name, details)


def _told(exc: BaseException, *, with_type: bool = True) -> str:
    """Return what an exception says, bounded; also when its ``__str__`` raises."""
    kind = type(exc).__name__
    try:
        text = str(bound(str(exc), max_bytes=2_000).data)
    except BaseException:  # noqa: BLE001 - __str__ is foreign code
        text = "its text cannot be read"
    if not text:
        return kind
    return f"{kind}: {text}" if with_type else text
