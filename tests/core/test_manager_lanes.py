"""One collector never delays another, the program, or the end of a run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from pytest_diagnostics import DiagnosticCollector, DiagnosticManager, ErrorType, HealthState, ManagerStatus
from pytest_diagnostics.testing import TIMEOUT, MemorySink, ScriptedCollector

Run = Callable[..., DiagnosticManager]
Hang = Callable[[], object]


def of(sink: MemorySink, name: str) -> list[object]:
    return [r for r in sink.results if r.collector_name == name]


def test_hung_collector_costs_its_20_hz_neighbour_nothing(run: Run, sink: MemorySink, hang: Hang) -> None:
    class Hanging(DiagnosticCollector):
        def collect(self) -> object:
            return hang()

    manager = run(Hanging(), ScriptedCollector(interval=0.05, blocking=True), interval=0.05, stop_timeout=0.5)
    sink.wait_for(lambda s: any(r.error and r.error.type is ErrorType.TIMEOUT for r in s.results))
    health = manager.health("scripted")
    began = time.monotonic()
    manager.stop_collecting()

    # Its timeout is one second: twenty ticks of the neighbour.
    assert health.runs >= 0.95 * (health.runs + health.missed)
    assert health.runs >= 15
    assert time.monotonic() - began < 1.0
    assert manager.status is ManagerStatus.STOPPED


def test_overrun_is_one_timeout_and_the_ticks_until_it_returns_are_skipped(
    run: Run, sink: MemorySink, hang: Hang, release: threading.Event
) -> None:
    collector = ScriptedCollector([hang, {"n": 2}], interval=0.02, timeout=0.1, blocking=True)
    manager = run(collector)
    sink.wait_for(lambda s: s.results)
    timeout = sink.results[0].error
    assert timeout is not None
    assert (timeout.type, timeout.message) == (ErrorType.TIMEOUT, "no answer within 0.1 s")
    neighbour = ScriptedCollector(name="neighbour", interval=0.02)
    manager.add_collector(neighbour)
    sink.wait_for(lambda s: len(of(s, "neighbour")) > 5)
    assert len(of(sink, "scripted")) == 1
    release.set()
    sink.wait_for(lambda s: len(of(s, "scripted")) >= 3)

    health = manager.health("scripted")
    assert [r.data for r in sink.results if r.collector_name == "scripted"][:3] == [
        None,
        {"late": True},
        {"n": 2},
    ]
    assert (health.timeouts, health.failures, health.state) == (1, 1, HealthState.HEALTHY)
    assert health.missed > 3


def test_call_that_fails_after_its_timeout_counts_once(
    run: Run, sink: MemorySink, release: threading.Event
) -> None:
    def fail() -> object:
        release.wait(TIMEOUT)
        raise ConnectionError("refused at last")

    manager = run(ScriptedCollector([fail, {}], timeout=0.05, blocking=True))
    sink.wait_for(lambda s: s.results)
    release.set()
    sink.wait_for(lambda s: len(s.results) == 2)

    error = sink.results[1].error
    assert error is not None
    assert error.type is ErrorType.CONNECTION
    assert manager.health("scripted").failures == 1


def test_stop_is_bounded_when_a_lane_hangs_and_its_result_says_so(
    run: Run, sink: MemorySink, hang: Hang, release: threading.Event
) -> None:
    hung, well = ScriptedCollector([hang], name="hung", blocking=True), ScriptedCollector(blocking=True)
    manager = run(hung, well, stop_timeout=0.3)
    sink.wait_for(lambda s: of(s, "scripted"))
    began = time.monotonic()
    manager.stop_collecting()

    assert time.monotonic() - began < 0.8
    last = manager.latest("hung")
    assert last is not None
    assert last.final
    assert last.error is not None
    assert last.error.type is ErrorType.TIMEOUT
    assert "clean" not in hung.calls
    assert well.calls[-2:] == ["stop", "clean"]
    # When it comes back it is stopped in its own thread, and nothing of it is told any more.
    count = len(sink.records)
    release.set()
    for thread in threading.enumerate():
        if thread.name == "diagnostics-hung":
            thread.join(TIMEOUT)
    assert hung.calls[-1] == "stop"
    assert len(sink.records) == count
    assert manager.latest("hung") is last


def test_stop_is_bounded_when_a_collector_hangs_that_promised_not_to_block(
    run: Run, sink: MemorySink, hang: Hang, release: threading.Event
) -> None:
    well = ScriptedCollector(name="well")
    manager = run(well, ScriptedCollector([hang, {"n": 2}], name="liar"), stop_timeout=0.1)
    sink.wait_for(lambda s: of(s, "well"))
    began = time.monotonic()
    manager.stop_collecting()

    assert time.monotonic() - began < 2.0
    assert manager.status is ManagerStatus.STOPPED
    last = manager.get_results()[-1]
    assert (last.collector_name, last.final) == ("liar", True)
    assert well.calls[-2:] == ["stop", "clean"]
    # In the next run it has a lane, in which it harms nobody; its call is still in flight there.
    manager.start_collecting()
    sink.wait_for(lambda s: len(of(s, "well")) == 2)
    release.set()
    assert manager.collect_now(["liar"], timeout=TIMEOUT)["liar"].data == {"n": 2}


def test_call_that_hangs_over_a_restart_is_told_in_the_new_run_and_never_doubled(
    run: Run, sink: MemorySink, release: threading.Event
) -> None:
    inside = []

    def hang() -> object:
        inside.append(1)
        assert len(inside) == 1, "two calls of one collector at a time"
        release.wait(TIMEOUT)
        inside.pop()
        return {"late": True}

    manager = run(
        ScriptedCollector([hang, {"n": 2}], timeout=0.05, interval=0.02, blocking=True), stop_timeout=0.1
    )
    sink.wait_for(lambda s: s.results)
    manager.stop_collecting()
    told = len(sink.results)
    manager.start_collecting()
    sink.wait_for(lambda s: len(s.results) > told)
    assert manager.health("scripted").timeouts == 1
    release.set()
    sink.wait_for(lambda s: s.results[-1].data == {"n": 2})
    assert not any(r.data == {"late": True} for r in sink.results)
    assert manager.health("scripted").state is HealthState.HEALTHY


def test_hung_collector_can_be_removed_and_its_name_given_to_another(
    run: Run, sink: MemorySink, hang: Hang, release: threading.Event
) -> None:
    hung = ScriptedCollector([hang], blocking=True)
    manager = run(hung)
    assert not manager.remove_collector("scripted", timeout=0.05)
    manager.add_collector(ScriptedCollector([{"new": True}], blocking=True))
    sink.wait_for(lambda s: s.results)
    release.set()
    manager.stop_collecting()

    assert {str(r.data) for r in sink.results} == {"{'new': True}"}
    assert hung.calls[-1] == "stop"


def test_async_collector_is_awaited_in_a_lane_of_its_own(run: Run, sink: MemorySink) -> None:
    class Async(DiagnosticCollector):
        threads: set[int | None] = set()  # noqa: RUF012 - one test's
        interval = 0.01

        async def start(self) -> None:
            self.lock = asyncio.Lock()

        async def collect(self) -> object:
            async with self.lock:
                await asyncio.sleep(0)
            self.threads.add(threading.get_ident())
            return {"loop": 1}

        async def stop(self) -> None:
            await asyncio.sleep(0)
            self.threads.add(threading.get_ident())

    manager = run(Async())
    sink.wait_for(lambda s: len(s.results) > 3)
    manager.stop_collecting()

    assert all(r.data == {"loop": 1} for r in manager.get_results())
    assert len(Async.threads) == 1
    assert threading.get_ident() not in Async.threads


def test_async_collector_is_cancelled_at_its_timeout(run: Run, sink: MemorySink) -> None:
    ended: list[str] = []

    class Slow(DiagnosticCollector):
        timeout = 0.05

        async def collect(self) -> object:
            try:
                await asyncio.sleep(TIMEOUT)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return {}

    manager = run(Slow(), interval=0.2)
    sink.wait_for(lambda s: len(s.results) >= 2)

    error = sink.results[0].error
    assert error is not None
    assert (error.type, error.message) == (
        ErrorType.TIMEOUT,
        "no answer within 0.05 s; the call was cancelled",
    )
    assert len(ended) >= 2
    assert manager.health("Slow").timeouts >= 2


def test_task_left_by_an_async_collector_ends_with_its_lane(run: Run, sink: MemorySink) -> None:
    ended = threading.Event()

    class Careless(DiagnosticCollector):
        async def collect(self) -> object:
            async def forever() -> None:
                try:
                    await asyncio.sleep(TIMEOUT)
                finally:
                    ended.set()

            self.task = asyncio.ensure_future(forever())
            await asyncio.sleep(0)
            return {}

    manager = run(Careless())
    sink.wait_for(lambda s: s.results)
    manager.stop_collecting()
    assert ended.wait(TIMEOUT)


def test_awaitable_from_a_shared_thread_is_a_plain_error(run: Run, sink: MemorySink) -> None:
    async def later() -> int:
        return 1

    run(ScriptedCollector([later]))
    sink.wait_for(lambda s: s.results)

    error = sink.results[0].error
    assert error is not None
    assert "declare it with 'async def' or blocking = True" in error.message


def test_removal_waits_for_the_call_in_flight(
    run: Run, sink: MemorySink, hang: Hang, release: threading.Event
) -> None:
    collector = ScriptedCollector([hang, {"n": 2}], blocking=True)
    manager = run(collector)
    threading.Timer(0.05, release.set).start()

    assert manager.remove_collector("scripted")
    assert [(r.data, r.final) for r in manager.get_results()] == [({"late": True}, False), ({"n": 2}, True)]
    assert collector.calls[-2:] == ["stop", "clean"]


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_stop_keeps_the_callers_timeout(run: Run, hang: Hang, timeout: float) -> None:
    manager = run(ScriptedCollector([hang], blocking=True))
    began = time.monotonic()
    manager.stop_collecting(timeout)

    assert time.monotonic() - began < timeout + 0.5
