"""From successes and failures to one state."""

from __future__ import annotations

from pytest_diagnostics import HealthState
from pytest_diagnostics.core.health import HealthTracker


def failing(times: int) -> HealthTracker:
    tracker = HealthTracker("x")
    for _ in range(times):
        tracker.failed("why")
    return tracker


def test_health_is_unknown_before_anything_happened() -> None:
    assert HealthTracker("x").account().state is HealthState.UNKNOWN


def test_one_failure_degrades_nobody() -> None:
    assert failing(1).state is HealthState.UNKNOWN


def test_two_failures_in_a_row_degrade_and_five_make_failing() -> None:
    states = [failing(times).state for times in range(1, 6)]

    assert states[1:4] == [HealthState.DEGRADED] * 3
    assert states[4] is HealthState.FAILING


def test_one_success_heals() -> None:
    tracker = failing(7)

    assert tracker.succeeded(12.0)
    account = tracker.account()
    assert (account.state, account.reason, account.failures_in_row) == (HealthState.HEALTHY, None, 0)
    assert (account.failures, account.last_success) == (7, 12.0)


def test_change_is_told_once() -> None:
    tracker = HealthTracker("x")

    assert [tracker.failed("why") for _ in range(6)] == [False, True, False, False, True, False]
    assert tracker.previous is HealthState.DEGRADED


def test_disabled_collector_is_not_brought_back_by_a_call_in_flight() -> None:
    tracker = HealthTracker("x")
    tracker.disable("by hand")
    tracker.succeeded(1.0)
    for _ in range(5):
        tracker.failed("why")
    tracker.unavailable("gone")

    assert (tracker.state, tracker.reason) == (HealthState.DISABLED, "by hand")
    assert not tracker.is_active


def test_enabled_collector_begins_as_unknown() -> None:
    tracker = failing(5)
    tracker.disable("by hand")

    assert tracker.enable()
    assert not tracker.enable()
    assert (tracker.state, tracker.failures_in_row) == (HealthState.UNKNOWN, 0)


def test_back_off_doubles_up_to_a_minute() -> None:
    pauses = [failing(times).back_off_seconds(1.0) for times in range(4, 13)]

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_back_off_is_never_shorter_than_the_interval() -> None:
    assert failing(9).back_off_seconds(300.0) == 300.0


def test_failed_probes_back_off_too_until_one_succeeds() -> None:
    tracker = HealthTracker("x")
    tracker.unavailable("no perf")
    tracker.unavailable("no perf")

    assert tracker.back_off_seconds(1.0) == 4.0
    assert tracker.available()
    assert tracker.state is HealthState.UNKNOWN
    assert tracker.back_off_seconds(1.0) == 1.0
