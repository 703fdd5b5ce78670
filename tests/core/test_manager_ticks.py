"""When collectors are asked."""

from __future__ import annotations

import threading
import time

import pytest

from pytest_diagnostics import DiagnosticManager, EventKind, HealthState
from pytest_diagnostics.testing import TIMEOUT, FakeClock, MemorySink, ScriptedCollector


def started(
    *collectors: ScriptedCollector, interval: float = 1.0
) -> tuple[DiagnosticManager, FakeClock, MemorySink]:
    clock, sink = FakeClock(1000.0), MemorySink()
    manager = DiagnosticManager(collectors, interval=interval, clock=clock)
    manager.subscribe(sink)
    manager.start_collecting()
    clock.settle()
    return manager, clock, sink


def moments(sink: MemorySink, name: str = "scripted") -> list[float]:
    return [r.monotonic - 1000.0 for r in sink.results if r.collector_name == name and not r.final]


def test_first_collection_is_at_the_start_then_every_interval() -> None:
    manager, clock, sink = started(ScriptedCollector(), interval=2.0)
    clock.advance(7.0)
    manager.stop_collecting()

    assert moments(sink) == [0.0, 2.0, 4.0, 6.0]
    assert sink.results[-1].final


class Ready(ScriptedCollector):
    """Returns what lay ready since a moment."""

    def __init__(self, *moments: float | None) -> None:
        super().__init__()
        self.moments = list(moments)

    def collect(self) -> object:
        self.as_of = self.moments.pop(0) if self.moments else None
        return super().collect()


def test_a_result_carries_the_moment_at_which_its_data_were_read() -> None:
    manager, clock, sink = started(Ready(993.5, None, 1001.5))
    clock.advance(2.0)
    clock.settle()
    manager.stop_collecting()

    assert moments(sink) == [-6.5, 1.0, 1.5]
    first, second, *_ = sink.results
    assert (second.timestamp - first.timestamp).total_seconds() == 7.5
    assert first.seconds == 0  # the call's, not the data's age


@pytest.mark.parametrize("as_of", [1000.5, -1.0, float("nan")])
def test_data_cannot_be_of_a_moment_that_never_was(as_of: float) -> None:
    manager, _, sink = started(Ready(as_of))
    manager.stop_collecting()

    assert sink.results[0].monotonic == 1000.0
    assert sink.results[0].data is None
    assert "as_of is" in str(sink.results[0].error)


class Resting(ScriptedCollector):
    """Finds its source slow, once."""

    def __init__(self, *rests: float) -> None:
        super().__init__()
        self.rests = list(rests)

    def collect(self) -> object:
        self.rest_seconds = self.rests.pop(0) if self.rests else 0.0
        return super().collect()


def test_a_collector_that_finds_its_source_slow_is_not_asked_for_as_long_as_it_says() -> None:
    manager, clock, sink = started(Resting(0.0, 2.5))
    clock.advance(5.5)
    manager.stop_collecting()

    assert moments(sink) == [0.0, 1.0, 4.0, 5.0]
    assert manager.health("scripted").missed == 0


def test_a_rest_is_no_excuse_when_somebody_asks() -> None:
    manager, clock, _ = started(Resting(60.0))
    clock.advance(1.5)

    assert list(manager.collect_now(timeout=5.0)) == ["scripted"]
    manager.stop_collecting()


@pytest.mark.parametrize("rest", [-1.0, 61.0, float("nan")])
def test_nobody_rests_backwards_or_for_ever(rest: float) -> None:
    manager, _, sink = started(Resting(rest))
    manager.stop_collecting()

    assert "rest_seconds is" in str(sink.results[0].error)


def test_forty_ticks_of_50_ms_take_two_seconds_though_each_takes_10_ms() -> None:
    enough = threading.Event()
    ticks: list[float] = []

    def collect() -> object:
        ticks.append(time.monotonic())
        time.sleep(0.01)
        if len(ticks) == 41:
            enough.set()
        return {}

    with DiagnosticManager([ScriptedCollector([collect], blocking=True)], interval=0.05) as manager:
        assert enough.wait(TIMEOUT)
        missed = manager.health("scripted").missed

    # An implementation that waits the interval between two calls needs 2.4 s.
    assert 1.95 < ticks[40] - ticks[0] < 2.2 + 0.05 * missed


def test_missed_ticks_are_counted_told_and_not_replayed() -> None:
    clock = FakeClock()

    def starve() -> object:
        clock.leap(3.5)
        return {}

    collector, sink = ScriptedCollector([{}, starve, {}], aligned=True), MemorySink()
    other = ScriptedCollector(name="other", aligned=True)
    manager = DiagnosticManager([collector, other], interval=1.0, clock=clock)
    manager.subscribe(sink)
    manager.start_collecting()
    clock.settle()
    clock.advance(1.0)
    clock.settle()

    assert manager.health("other").missed == 3
    gap = sink.events(EventKind.GAP)[0]
    assert gap.details == {"missed": 3, "late_seconds": 3.5}
    clock.advance(1.0)
    assert other.collected == 3
    manager.stop_collecting()


def test_collectors_of_equal_interval_are_spread_over_it() -> None:
    names = ["a", "b", "c", "d"]
    manager, clock, sink = started(*(ScriptedCollector(name=name) for name in names))
    clock.advance(2.0)
    manager.stop_collecting()

    assert {name: moments(sink, name)[0] for name in names} == dict.fromkeys(names, 0.0)
    places = {name: moments(sink, name)[-1] % 1.0 for name in names}
    assert places == {"a": 0.0, "b": 0.5, "c": 0.25, "d": 0.75}


def test_aligned_collectors_tick_at_the_same_instant_also_those_that_came_later() -> None:
    manager, clock, sink = started(
        ScriptedCollector(name="a", aligned=True), ScriptedCollector(name="between"), interval=1.0
    )
    clock.advance(0.3)
    manager.add_collector(ScriptedCollector(name="late", aligned=True))
    sink.wait_for(lambda s: moments(s, "late"))
    clock.settle()
    clock.advance(2.0)
    manager.stop_collecting()

    assert moments(sink, "a") == [0.0, 1.0, 2.0]
    assert moments(sink, "late") == pytest.approx([0.3, 1.0, 2.0])
    assert moments(sink, "between")[1:] == [0.5, 1.5]


def test_place_of_a_removed_collector_is_given_to_the_next() -> None:
    manager, clock, sink = started(*(ScriptedCollector(name=name) for name in "abc"))
    manager.remove_collector("b")
    manager.add_collector(ScriptedCollector(name="d"))
    sink.wait_for(lambda s: moments(s, "d"))
    clock.settle()
    clock.advance(2.0)
    manager.stop_collecting()

    places = {name: moments(sink, name)[-1] % 1.0 for name in "acd"}
    assert places == {"a": 0.0, "c": 0.25, "d": 0.5}


def test_each_collector_has_its_own_interval() -> None:
    manager, clock, _ = started(ScriptedCollector(name="fast", interval=0.5), ScriptedCollector(name="slow"))
    clock.advance(10.0)

    assert [manager.health(name).runs for name in ("fast", "slow")] == [21, 11]
    assert manager.health("slow").next_run == pytest.approx(1011.0)
    manager.stop_collecting()


def test_failing_collector_backs_off_and_recovers() -> None:
    collector = ScriptedCollector([OSError("down")] * 7 + [{"up": 1}])
    manager, clock, sink = started(collector)
    clock.advance(4.0)
    assert manager.health("scripted").state is HealthState.FAILING
    assert manager.health("scripted").next_run == 1006.0
    clock.advance(16.0)
    manager.stop_collecting()

    # Five failures at the interval, then tries after 2, 4 and 8 seconds; the last one heals.
    assert moments(sink) == [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 18.0, 19.0, 20.0]
    assert manager.health("scripted").missed == 0
    states = [e.details["state"] for e in sink.events(EventKind.HEALTH)]
    assert states == ["degraded", "failing", "healthy"]


def test_unavailable_collector_is_probed_again_with_back_off() -> None:
    collector = ScriptedCollector(unavailable="no such device")
    manager, clock, sink = started(collector)
    clock.advance(7.0)
    assert collector.calls == ["probe"] * 3  # at 0, 2 and 6 seconds
    assert manager.health("scripted").state is HealthState.UNAVAILABLE
    collector.unavailable = None
    clock.advance(8.0)
    manager.stop_collecting()

    assert manager.health("scripted").state is HealthState.HEALTHY
    told = [(e.details["previous"], e.details["state"]) for e in sink.events(EventKind.HEALTH)]
    assert told == [("unknown", "unavailable"), ("unavailable", "unknown"), ("unknown", "healthy")]


def test_clock_steps_and_suspends_are_told_once() -> None:
    manager, clock, sink = started()
    manager.add_collector(ScriptedCollector())
    sink.wait_for(lambda s: s.results)
    clock.settle()
    clock.step_wall(-3600.0)
    clock.suspend(90.0)
    clock.advance(3.0)
    manager.stop_collecting()

    assert [e.details for e in sink.events(EventKind.CLOCK_STEP)] == [{"step_seconds": -3600.0}]
    assert [e.details for e in sink.events(EventKind.SUSPEND)] == [{"suspended_seconds": 90.0}]


def test_executions_tell_deadline_begin_and_attempt() -> None:
    manager, clock, sink = started(ScriptedCollector())
    clock.advance(1.0)
    manager.collect_all()
    manager.stop_collecting()

    told = [(e.due - 1000.0, e.monotonic - 1000.0, e.attempt, e.succeeded) for e in sink.executions]
    assert told == [(0.0, 0.0, 1, True), *[(1.0, 1.0, 1, True)] * 3]
