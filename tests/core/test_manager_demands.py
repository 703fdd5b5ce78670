"""Collections on demand, in every state."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from pytest_diagnostics import ConfigurationError, DiagnosticManager, ManagerError, ManagerStatus
from pytest_diagnostics.testing import TIMEOUT, MemorySink, ScriptedCollector

Run = Callable[..., DiagnosticManager]
Hang = Callable[[], object]


def test_collect_all_while_running(run: Run, sink: MemorySink) -> None:
    manager = run(ScriptedCollector([{"n": 1}, {"n": 2}]), ScriptedCollector(name="b", blocking=True))
    sink.wait_for(lambda s: len(s.results) == 2)
    reply = manager.collect_all()

    assert list(reply) == ["timestamp", "scripted", "b"]
    assert reply["scripted"] == {"n": 2}
    assert datetime.fromisoformat(str(reply["timestamp"])).utcoffset() == timedelta(0)


def test_collect_all_before_the_start_collects_once_and_closes(sink: MemorySink) -> None:
    here, lane = ScriptedCollector(), ScriptedCollector(name="lane", blocking=True)
    manager = DiagnosticManager([here, lane], sinks=[sink])
    before = threading.active_count()
    reply = manager.collect_all()

    assert (reply["scripted"], reply["lane"]) == ({"value": 1}, {"value": 1})
    assert here.calls == lane.calls == ["probe", "start", "collect", "store", "stop"]
    assert threading.active_count() == before
    assert manager.status is ManagerStatus.IDLE
    assert len(manager.get_results()) == 2
    assert sink.events() == sink.events(None)
    assert {event.kind.value for event in sink.events()} == {"health"}


def test_collect_all_while_paused_and_after_the_stop(run: Run, sink: MemorySink) -> None:
    manager = run(ScriptedCollector([{"n": n} for n in range(9)]))
    sink.wait_for(lambda s: s.results)
    manager.pause()
    assert manager.collect_all()["scripted"] == {"n": 1}
    manager.stop_collecting()
    assert manager.collect_all()["scripted"] == {"n": 3}
    # The account of the run is not lost by it.
    assert manager.health("scripted").runs == 4


def test_collect_all_right_after_the_start_waits_for_the_first_results() -> None:
    collector = ScriptedCollector(blocking=True)
    with DiagnosticManager([collector], interval=60.0) as manager:
        assert manager.collect_all()["scripted"] == {"value": 1}
        assert manager.health("scripted").missed == 0


def test_only_the_named_are_asked(run: Run, sink: MemorySink) -> None:
    other = ScriptedCollector(name="other")
    idle = DiagnosticManager([ScriptedCollector(), other])
    assert list(idle.collect_now(["scripted"])) == ["scripted"]
    assert other.collected == 0
    manager = run(ScriptedCollector(), other)
    sink.wait_for(lambda s: len(s.results) == 2)
    assert list(manager.collect_now(["scripted"])) == ["scripted"]
    assert other.collected == 1
    with pytest.raises(ConfigurationError, match="no collector is named 'tpyo'"):
        manager.collect_now(["tpyo"])


def test_nobody_to_ask_is_answered_at_once(run: Run, sink: MemorySink) -> None:
    assert DiagnosticManager().collect_now() == {}
    manager = run()
    sink.wait_for(lambda s: s.results)
    manager.disable_collector("scripted")
    began = time.monotonic()

    assert manager.collect_now() == {}
    assert manager.collect_all()["scripted"] == {"error": {"type": "unavailable", "message": "by hand"}}
    assert time.monotonic() - began < 1.0


def test_unavailable_collector_tells_its_reason(run: Run) -> None:
    manager = run(ScriptedCollector(unavailable="no perf here"))

    expected = {"error": {"type": "unavailable", "message": "no perf here"}}
    assert manager.collect_all()["scripted"] == expected
    assert manager.snapshot()["scripted"] == expected


def test_hung_collector_costs_the_caller_its_timeout_and_then_nothing(
    run: Run, hang: Hang, release: threading.Event
) -> None:
    manager = run(ScriptedCollector([hang], timeout=0.1, blocking=True), ScriptedCollector(name="well"))
    began = time.monotonic()
    reply = manager.collect_all()
    again = manager.collect_all()

    assert time.monotonic() - began < 1.0
    assert reply["scripted"] == {"error": {"type": "timeout", "message": "no answer within 0.1 s"}}
    assert again["scripted"] == reply["scripted"]
    assert again["well"] == {"value": 1}


def test_hung_collector_of_a_manager_that_does_not_run_is_bounded_by_the_caller(hang: Hang) -> None:
    manager = DiagnosticManager([ScriptedCollector([hang], blocking=True), ScriptedCollector(name="well")])
    began = time.monotonic()
    reply = manager.collect_all(timeout=0.2)

    assert time.monotonic() - began < 1.0
    assert reply["well"] == {"value": 1}
    assert "timeout" in str(reply["scripted"])


def test_demand_that_comes_as_a_call_ends_is_not_lost(run: Run, sink: MemorySink) -> None:
    manager = run(*(ScriptedCollector(name=f"c{n}", blocking=True) for n in range(4)))

    def ask() -> None:
        for _ in range(50):
            assert len(manager.collect_now(timeout=TIMEOUT)) == 4
        done.append(1)

    done: list[int] = []
    askers = [threading.Thread(target=ask) for _ in range(3)]
    began = time.monotonic()
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(TIMEOUT)

    assert len(done) == 3
    assert time.monotonic() - began < TIMEOUT / 2


def test_single_collections_of_two_threads_do_not_meet_in_a_collector() -> None:
    inside: list[int] = []

    def collect() -> object:
        inside.append(1)
        assert len(inside) == 1
        time.sleep(0.005)
        inside.pop()
        return {}

    manager = DiagnosticManager([ScriptedCollector([collect], blocking=True)], interval=60.0)
    calls: list[Callable[[], object]] = [manager.collect_now, manager.start_collecting, manager.collect_now]
    threads = [threading.Thread(target=call) for call in calls * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    manager.stop_collecting()

    assert [r.error for r in manager.get_results() if r.error] == []


@pytest.mark.parametrize("running", [True, False])
def test_collector_cannot_ask_its_own_manager(running: bool) -> None:
    managers: list[DiagnosticManager] = []
    known = threading.Event()

    def ask() -> object:
        known.wait(TIMEOUT)
        return managers[0].collect_all()

    manager = DiagnosticManager([ScriptedCollector([ask], blocking=True)], interval=60.0)
    managers.append(manager)
    known.set()
    if running:
        manager.start_collecting()
    results = manager.collect_now()
    manager.stop_collecting()

    error = results["scripted"].error
    assert error is not None
    assert error.details["exception"] == ManagerError.__name__


def test_collect_all_async_leaves_the_event_loop_free() -> None:
    async def main() -> tuple[dict[str, object], int]:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.001)

        heart = asyncio.ensure_future(beat())
        reply = await manager.collect_all_async()
        heart.cancel()
        return dict(reply), beats

    def slow() -> object:
        time.sleep(0.05)
        return {"n": 1}

    manager = DiagnosticManager([ScriptedCollector([slow], blocking=True)])
    reply, beats = asyncio.run(main())

    assert reply["scripted"] == {"n": 1}
    assert beats > 5


def test_snapshot_and_latest_ask_nobody(run: Run, sink: MemorySink) -> None:
    collector = ScriptedCollector()
    idle = DiagnosticManager([collector])
    assert idle.latest("scripted") is None
    assert idle.snapshot()["scripted"] == {"error": {"type": "timeout", "message": "no result yet"}}
    manager = run(collector)
    sink.wait_for(lambda s: s.results)
    manager.stop_collecting()

    assert manager.snapshot()["scripted"] == {"value": 1}
    assert collector.collected == 2


def test_request_does_not_wait_and_names_who_is_missing(
    run: Run, hang: Hang, release: threading.Event
) -> None:
    assert DiagnosticManager([ScriptedCollector()]).request() is None
    manager = run(ScriptedCollector([hang], blocking=True), ScriptedCollector(name="well"))
    demand = manager.request()

    assert demand is not None
    assert not demand.wait(0.05)
    assert demand.missing == ["scripted"]
    release.set()
    assert demand.wait(TIMEOUT)
    assert sorted(demand.results) == ["scripted", "well"]


def test_who_waits_at_the_end_of_a_run_is_not_forgotten(
    run: Run, sink: MemorySink, hang: Hang, release: threading.Event
) -> None:
    manager = run(ScriptedCollector([hang], blocking=True), stop_timeout=0.1)
    demand = manager.request()
    manager.stop_collecting()

    assert demand is not None
    assert demand.wait(1.0)
