"""Start, stop, pause, and collectors that come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from pytest_diagnostics import (
    ConfigurationError,
    DiagnosticCollector,
    DiagnosticManager,
    EventKind,
    HealthState,
    ManagerError,
    ManagerStatus,
    collect_diagnostics,
)
from pytest_diagnostics.testing import TIMEOUT, FakeClock, MemorySink, ScriptedCollector

Run = Callable[..., DiagnosticManager]


def status(manager: DiagnosticManager) -> ManagerStatus:
    """Return the status in a way that a type checker does not take for constant."""
    return manager.status


def first_results(sink: MemorySink, count: int = 1) -> None:
    sink.wait_for(lambda s: len(s.results) >= count)


def test_context_manager_collects_first_and_finally() -> None:
    with DiagnosticManager([ScriptedCollector([{"n": 1}, {"n": 2}])], interval=60.0) as manager:
        assert status(manager) is ManagerStatus.RUNNING

    assert status(manager) is ManagerStatus.STOPPED
    assert [(r.data, r.final) for r in manager.get_results()] == [({"n": 1}, False), ({"n": 2}, True)]


def test_collector_is_probed_started_stored_stopped_and_cleaned_in_order() -> None:
    collector = ScriptedCollector(blocking=True)
    with DiagnosticManager([collector], interval=60.0):
        pass

    assert collector.calls == ["probe", "start", *["collect", "store"] * 2, "stop", "clean"]


def test_start_and_stop_are_idempotent(sink: MemorySink) -> None:
    manager = DiagnosticManager([ScriptedCollector()], interval=60.0)
    manager.subscribe(sink)
    manager.stop_collecting()
    assert status(manager) is ManagerStatus.IDLE
    for call in (manager.start_collecting,) * 2 + (manager.stop_collecting,) * 2:
        call()

    assert len(sink.events(EventKind.STARTED)) == len(sink.events(EventKind.STOPPED)) == 1
    assert len(manager.get_results()) == 2


def test_manager_can_be_restarted_with_a_fresh_account() -> None:
    collector = ScriptedCollector([RuntimeError("first run only")] * 2 + [{"n": 1}], blocking=True)
    manager = DiagnosticManager([collector], interval=60.0)
    for _ in range(2):
        with manager:
            pass

    assert collector.calls.count("start") == collector.calls.count("stop") == 2
    assert [r.collected for r in manager.get_results()] == [False, False, True, True]
    assert manager.health("scripted").failures == 0


def test_stop_leaves_no_thread_and_no_descriptor() -> None:
    from pytest_diagnostics.contract import _Holdings

    class Async(DiagnosticCollector):
        async def collect(self) -> int:
            return 1

    before = _Holdings()
    with DiagnosticManager([Async(), ScriptedCollector(), ScriptedCollector(name="b", blocking=True)]):
        assert threading.active_count() > len(before.threads)

    before.check_against(_Holdings(), "the manager")


def test_results_have_aware_utc_timestamps() -> None:
    began = datetime.now(timezone.utc)
    with DiagnosticManager([ScriptedCollector()], interval=60.0) as manager:
        pass
    result = manager.get_results()[0]

    assert result.timestamp.utcoffset() == timedelta(0)
    # The wall clock is read with the resolution of a jiffy.
    assert began - timedelta(seconds=0.1) <= result.timestamp <= datetime.now(timezone.utc)
    assert result.seconds >= 0


def test_final_collection_is_made_when_paused(run: Run, sink: MemorySink) -> None:
    manager = run()
    first_results(sink)
    manager.pause()
    manager.stop_collecting()

    assert [r.final for r in manager.get_results()] == [False, True]


def test_disabled_and_unavailable_collectors_have_no_final_collection(run: Run, sink: MemorySink) -> None:
    gone = ScriptedCollector(name="gone", unavailable="not on this machine", blocking=True)
    off = ScriptedCollector(name="off")
    manager = run(gone, off)
    first_results(sink, 2)
    manager.disable_collector("off")
    manager.stop_collecting()

    assert [r.collector_name for r in manager.get_results() if r.final] == []
    assert (off.collected, gone.collected) == (1, 0)
    assert off.calls[-2:] == ["stop", "clean"]


def test_pause_holds_the_ticks_and_misses_none(run: Run, sink: MemorySink) -> None:
    clock, collector = FakeClock(), ScriptedCollector()
    manager = run(collector, interval=1.0, clock=clock)
    clock.settle()
    manager.pause()
    assert status(manager) is ManagerStatus.PAUSED
    sink.wait_for(lambda s: s.events(EventKind.PAUSED))
    clock.settle()
    clock.advance(30.5)
    assert collector.collected == 1
    manager.resume()
    sink.wait_for(lambda s: s.events(EventKind.RESUMED))
    clock.settle()
    clock.advance(1.0)

    assert status(manager) is ManagerStatus.RUNNING
    assert (collector.collected, manager.health("scripted").missed) == (2, 0)
    manager.stop_collecting()


def test_pause_and_resume_are_told(run: Run, sink: MemorySink) -> None:
    manager = run()
    first_results(sink)
    manager.pause()
    sink.wait_for(lambda s: s.events(EventKind.PAUSED))
    manager.resume()
    sink.wait_for(lambda s: s.events(EventKind.RESUMED))

    manager.pause()
    manager.stop_collecting()
    manager.resume()
    assert status(manager) is ManagerStatus.STOPPED


def test_collector_added_while_running_is_asked_at_once(run: Run, sink: MemorySink) -> None:
    manager = run()
    manager.add_collector(ScriptedCollector(name="late"))

    sink.wait_for(lambda s: any(r.collector_name == "late" for r in s.results))
    assert manager.collectors == ["scripted", "late"]


@pytest.mark.parametrize("blocking", [True, False])
def test_removal_makes_the_final_collection_and_closes(run: Run, sink: MemorySink, blocking: bool) -> None:
    collector = ScriptedCollector(blocking=blocking)
    manager = run(collector)
    first_results(sink)

    assert manager.remove_collector("scripted")
    assert [r.final for r in manager.get_results()] == [False, True]
    assert collector.calls[-2:] == ["stop", "clean"]
    assert manager.collectors == []
    with pytest.raises(ConfigurationError, match="no collector is named 'scripted'; there are: none"):
        manager.remove_collector("scripted")


def test_removed_collector_that_was_disabled_is_closed_without_a_collection(
    run: Run, sink: MemorySink
) -> None:
    collector = ScriptedCollector(blocking=True)
    manager = run(collector)
    first_results(sink)
    manager.disable_collector("scripted")

    assert manager.remove_collector("scripted")
    assert collector.calls[-3:] == ["store", "stop", "clean"]


def test_removal_before_the_first_tick_does_not_hang(run: Run) -> None:
    manager = run()
    manager.pause()
    collector = ScriptedCollector(name="late", blocking=True)
    manager.add_collector(collector)

    assert manager.remove_collector("late")
    assert collector.calls[-1] == "clean"


def test_disabled_collector_is_asked_again_when_enabled(run: Run, sink: MemorySink) -> None:
    collector = ScriptedCollector(interval=0.01)
    manager = run(collector)
    first_results(sink)
    manager.disable_collector("scripted", "too noisy")
    assert (manager.health("scripted").state, manager.health("scripted").reason) == (
        HealthState.DISABLED,
        "too noisy",
    )
    assert manager.collect_now() == {}
    count = len(sink.results)
    manager.enable_collector("scripted")

    sink.wait_for(lambda s: len(s.results) > count)
    states = [e.details["state"] for e in sink.events(EventKind.HEALTH)]
    assert states[:3] == ["healthy", "disabled", "unknown"]


def test_stop_from_a_subscriber_only_asks(run: Run) -> None:
    manager = run(ScriptedCollector(interval=0.01))
    stopped = threading.Event()

    def stop(record: object) -> None:
        manager.stop_collecting()
        stopped.set()

    manager.subscribe(stop)
    assert stopped.wait(TIMEOUT)
    manager.stop_collecting()
    assert status(manager) is ManagerStatus.STOPPED
    assert manager.get_results()[-1].final


def test_stop_from_a_collector_only_asks(run: Run) -> None:
    managers: list[DiagnosticManager] = []
    started = threading.Event()

    def stop() -> object:
        assert started.wait(TIMEOUT)
        managers[0].stop_collecting()
        return {}

    managers.append(run(ScriptedCollector([stop], blocking=True)))
    started.set()
    managers[0].stop_collecting()
    assert managers[0].get_results()[-1].final


def test_stop_at_the_very_first_record_is_not_lost() -> None:
    for _ in range(20):
        manager = DiagnosticManager([ScriptedCollector()], interval=60.0)
        sink = MemorySink()
        manager.subscribe(lambda record: manager.stop_collecting())  # noqa: B023 - used in this turn
        manager.subscribe(sink)
        manager.start_collecting()
        sink.wait_for(lambda s: s.events(EventKind.STOPPED))


def test_start_waits_for_the_end_of_the_run_before() -> None:
    in_final, go_on = threading.Event(), threading.Event()

    def final() -> object:
        in_final.set()
        assert go_on.wait(TIMEOUT)
        return {}

    collector = ScriptedCollector([{}, final, {}], blocking=True)
    manager = DiagnosticManager([collector], interval=60.0)
    manager.start_collecting()
    stopper = threading.Thread(target=manager.stop_collecting)
    stopper.start()
    assert in_final.wait(TIMEOUT)
    starter = threading.Thread(target=manager.start_collecting)
    starter.start()
    go_on.set()
    starter.join(TIMEOUT)
    stopper.join(TIMEOUT)
    manager.stop_collecting()

    one_run = ["probe", "start", "collect", "store", "collect", "store", "stop", "clean"]
    assert collector.calls == one_run * 2


def test_crash_of_the_managers_thread_is_told_once_at_stop() -> None:
    class Broken(FakeClock):
        broken = False

        def drift(self) -> float | None:
            if self.broken:
                raise ArithmeticError("no clock")
            return super().drift()

    clock, collector = Broken(), ScriptedCollector()
    manager = DiagnosticManager([collector], interval=1.0, clock=clock)
    manager.start_collecting()
    clock.settle()
    clock.broken = True
    clock.advance(1.0)

    assert (manager.status, manager.is_healthy()) == (ManagerStatus.ERROR, False)
    with pytest.raises(ManagerError, match="crashed: ArithmeticError"):
        manager.stop_collecting()
    manager.stop_collecting()
    assert isinstance(manager.error, ArithmeticError)
    assert collector.calls[-2:] == ["stop", "clean"]


def test_programs_own_exception_is_not_hidden_by_ours() -> None:
    with pytest.raises(KeyError, match="mine"), collect_diagnostics(ScriptedCollector()) as manager:
        raise KeyError("mine")
    assert status(manager) is ManagerStatus.STOPPED


def test_history_is_a_ring_and_can_be_cleared(run: Run, sink: MemorySink) -> None:
    manager = run(ScriptedCollector([{"n": n} for n in range(9)]), max_history=3)
    first_results(sink)
    for _ in range(4):
        manager.collect_all()

    assert [r.data for r in manager.get_results()] == [{"n": 2}, {"n": 3}, {"n": 4}]
    manager.get_results().clear()
    assert len(manager.get_results()) == 3
    manager.clear_results()
    assert manager.get_results() == []
    latest = manager.latest("scripted")
    assert latest is not None
    assert latest.data == {"n": 4}


@pytest.mark.parametrize(
    ("collector", "message"),
    [
        (ScriptedCollector, r"did you mean ScriptedCollector\(\)\?"),
        (object(), "derive its class from DiagnosticCollector"),
        (ScriptedCollector(name="timestamp"), "'timestamp' is reserved"),
        (ScriptedCollector(name="taken"), "'taken' is taken"),
        (ScriptedCollector(name="  "), "a name is a text"),
        (ScriptedCollector(interval=-1), "the interval of the collector 'scripted' is -1 s"),
        (ScriptedCollector(timeout=-1), "the timeout of the collector 'scripted' is -1"),
    ],
)
def test_what_cannot_be_collected_from_is_refused(collector: DiagnosticCollector, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DiagnosticManager([ScriptedCollector(name="taken"), collector])


@pytest.mark.parametrize("options", [{"interval": 0}, {"stop_timeout": float("nan")}, {"max_history": -1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="give"):
        DiagnosticManager([], **options)  # type: ignore[arg-type] # that is the point
