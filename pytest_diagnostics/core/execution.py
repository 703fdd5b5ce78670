"""One call of one collector, from its probe to the published result. Runs in the collector's thread."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from .bounds import Bounded, bound
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
    Record,
    Stage,
)

if TYPE_CHECKING:
    from .protocols import Clock, Processor


@dataclass
class _Failure:
    """An exception of a collector, what it means and what the handler said to it."""

    error: CollectorError
    strategy: ExceptionStrategy
    began: float
    details: dict[str, JsonValue]


class Executor:
    """Calls collectors and turns whatever they do into results; nothing they raise leaves it."""

    def __init__(
        self,
        clock: Clock,
        processors: tuple[Processor, ...],
        handler: Callable[[], ExceptionHandler],
        publish: Callable[[Record], None],
        stop: Callable[[str], None],
    ) -> None:
        """``handler`` gives the manager's handler of this moment; ``stop`` is told a STOP's reason."""
        self._clock = clock
        self._processors = processors
        self._handler = handler
        self._publish = publish
        self._stop = stop

    def execute(self, entry: Entry, due: float, *, final: bool = False) -> None:
        """Make one collection, with its retries, and publish its result."""
        entry.running_since = self._clock.monotonic()
        entry.overran = False
        try:
            if self._prepare(entry, final=final):
                self._collect(entry, due, final=final)
        finally:
            entry.running_since = None
        if entry.tracker.state in (HealthState.FAILING, HealthState.UNAVAILABLE):
            pause = entry.tracker.back_off_seconds(entry.interval)
            entry.not_before = self._clock.monotonic() + pause

    def retire(self, entry: Entry, *, clean: bool) -> None:
        """Stop a collector and let it forget; what it raises is an error of stage STOP."""
        calls = [entry.collector.stop] if entry.prepared else []
        entry.prepared = False
        if clean:
            calls.append(entry.collector.clean)
        for call in calls:
            try:
                call()
            except BaseException as exc:  # noqa: BLE001 - a collector's end must not end the manager's
                failure = self._judge(entry, exc, Stage.STOP, self._clock.monotonic())
                self._fail(entry, failure, final=True)

    def overrun(self, entry: Entry, *, final: bool = False) -> None:
        """Publish that the call in flight takes longer than the collector's timeout."""
        entry.overran = True
        entry.tracker.timeouts += 1
        exc = TimeoutError(f"no answer within {entry.timeout:g} s")
        began = entry.running_since or self._clock.monotonic()
        self._fail(entry, self._judge(entry, exc, Stage.COLLECT, began), final=final)

    def refused(self, entry: Entry, exc: BaseException) -> None:
        """Publish that a collector could not be given a thread."""
        reason = UnavailableError(f"the system refused a thread: {exc}")
        self._fail(entry, self._judge(entry, reason, Stage.START, self._clock.monotonic()))

    # -- the steps of one collection

    def _prepare(self, entry: Entry, *, final: bool) -> bool:
        if entry.prepared:
            return True
        began = self._clock.monotonic()
        try:
            reason = entry.collector.probe()
        except BaseException as exc:  # noqa: BLE001 - a probe's failure is a reason like any other
            reason = f"its probe failed: {type(exc).__name__}: {exc}"
        if reason is not None:
            self._tell_health(entry, entry.tracker.unavailable(reason))
            error = CollectorError(ErrorType.UNAVAILABLE, Stage.PROBE, reason, time=self._clock.wall(began))
            self._finish(entry, self._result(entry, began, None, error, final=final))
            return False
        if entry.tracker.state is HealthState.UNAVAILABLE:
            self._tell_health(entry, entry.tracker.available())
        try:
            entry.collector.start()
        except BaseException as exc:  # noqa: BLE001 - as any failure of a collector
            self._fail(entry, self._judge(entry, exc, Stage.START, began), final=final)
            return False
        entry.prepared = True
        return True

    def _collect(self, entry: Entry, due: float, *, final: bool) -> None:
        attempt = 1
        while True:
            began = self._clock.monotonic()
            try:
                raw = self._call(entry)
                bounded = bound(raw)
            except BaseException as exc:  # noqa: BLE001 - SystemExit of a collector must not end us either
                self._account(entry, due, began, attempt, succeeded=False)
                failure = self._judge(entry, exc, Stage.COLLECT, began)
                if failure.strategy is ExceptionStrategy.RETRY and not final:
                    if self._may_retry(entry, attempt):
                        attempt += 1
                        continue
                    failure.details["attempts"] = attempt
                self._fail(entry, failure, final=final)
                return
            self._account(entry, due, began, attempt, succeeded=True)
            self._succeed(entry, began, raw, bounded, final=final)
            return

    def _succeed(self, entry: Entry, began: float, raw: object, bounded: Bounded, *, final: bool) -> None:
        late = entry.overran
        error = self._store(entry, raw, began)
        result = replace(
            self._result(entry, began, bounded.data, error, final=final),
            collected=True,
            stored=error is None,
            coerced=bounded.coerced,
            truncated=bounded.truncated,
        )
        entry.tracker.coerced += bounded.coerced
        entry.tracker.truncated += bounded.truncated
        # A result that came after its timeout is kept, but makes nobody healthy.
        changed = not late and error is None and entry.tracker.succeeded(began)
        self._finish(entry, result)
        self._tell_health(entry, changed)

    def _call(self, entry: Entry) -> object:
        data = entry.collector.collect()
        if not inspect.isawaitable(data):
            return data
        if entry.lane is None:
            if inspect.iscoroutine(data):
                data.close()
            raise TypeError("collect() returned an awaitable; declare it with 'async def' or blocking = True")
        return entry.lane.run_async(cast("Awaitable[object]", data), entry.timeout)

    def _store(self, entry: Entry, raw: object, began: float) -> CollectorError | None:
        try:
            entry.collector.store(raw)
        except BaseException as exc:  # noqa: BLE001 - as any failure of a collector
            failure = self._judge(entry, exc, Stage.STORE, began)
            self._note(entry, failure)
            return failure.error
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
        return not entry.lane.interrupted.wait(handler.retry_delay_seconds * 2 ** (attempt - 1))

    # -- errors, health, publishing

    def _judge(self, entry: Entry, exc: BaseException, stage: Stage, began: float) -> _Failure:
        """Ask the handler of this moment; one that fails itself counts as CONTINUE and is named."""
        details: dict[str, JsonValue] = {"exception": type(exc).__name__}
        handler = entry.collector.exception_handler or self._handler()
        asked = exc if isinstance(exc, Exception) else RuntimeError(f"{type(exc).__name__}: {exc}")
        strategy = ExceptionStrategy.CONTINUE
        try:
            if stage is Stage.STORE:
                answer = handler.handle_exception_during_storing(entry.collector, asked)
            else:
                answer = handler.handle_exception_during_collecting(entry.collector, asked)
            strategy = ExceptionStrategy(answer)
        except Exception as failure:  # noqa: BLE001 - a broken handler must not break the manager
            details["handler_failed"] = f"{type(failure).__name__}: {failure}"
        message = str(bound(str(exc) or type(exc).__name__, max_bytes=2_000).data)
        error_type = ErrorType.STORAGE if stage is Stage.STORE else classify(exc)
        critical = strategy in (ExceptionStrategy.DISABLE, ExceptionStrategy.STOP)
        error = CollectorError(error_type, stage, message, critical, self._clock.wall(began), details)
        return _Failure(error, strategy, began, details)

    def _fail(self, entry: Entry, failure: _Failure, *, final: bool = False) -> None:
        """Publish a failure's result and do what the handler said."""
        self._finish(entry, self._result(entry, failure.began, None, failure.error, final=final))
        self._note(entry, failure, final=final)

    def _note(self, entry: Entry, failure: _Failure, *, final: bool = False) -> None:
        """Count a failure and do what the handler said; after the final collection nothing is left to do."""
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
        processed: DiagnosticResult | None = result
        try:
            for process in self._processors:
                if processed is None:
                    return
                processed = process(processed)
            if processed is None:
                return
            if self._processors:
                processed = replace(processed, data=bound(processed.data).data)
        except Exception as exc:  # noqa: BLE001 - a processor is foreign code
            # The data goes with it: a processor that failed may be the one that should have redacted it.
            message = f"a processor failed: {type(exc).__name__}: {exc}"
            error = CollectorError(ErrorType.PROCESSING, Stage.PROCESS, message, time=result.timestamp)
            processed = replace(result, data=None, collected=False, error=error)
        entry.latest = processed
        self._publish(processed)

    def _account(self, entry: Entry, due: float, began: float, attempt: int, *, succeeded: bool) -> None:
        seconds = self._clock.monotonic() - began
        entry.tracker.runs += 1
        entry.tracker.last_run = began
        entry.tracker.seconds_total += seconds
        self._publish(Execution(entry.name, due, began, seconds, attempt, succeeded))

    def _tell_health(self, entry: Entry, changed: bool) -> None:
        if changed:
            now = self._clock.monotonic()
            tracker = entry.tracker
            details: dict[str, JsonValue] = {"state": tracker.state.value, "reason": tracker.reason}
            self._publish(Event(EventKind.HEALTH, self._clock.wall(now), now, entry.name, details))
