"""When ticks are due."""

from __future__ import annotations

import math

import pytest

from pytest_diagnostics import ConfigurationError
from pytest_diagnostics.core.schedule import Schedule, checked_interval, spread


def test_first_tick_is_at_the_start_whatever_the_offset() -> None:
    assert Schedule(100.0, 1.0, 0.5).due == 100.0


def test_ticks_lie_on_absolute_deadlines() -> None:
    schedule = Schedule(100.0, 0.1)
    dues = []
    for _ in range(1000):
        dues.append(schedule.due)
        assert schedule.advance(schedule.due + 0.03) == 0

    assert dues == pytest.approx([100.0 + 0.1 * n for n in range(1000)])


def test_offset_shifts_every_tick_but_the_first() -> None:
    schedule = Schedule(100.0, 1.0, 0.25)
    schedule.advance(100.0)
    second = schedule.due
    schedule.advance(second)

    assert (second, schedule.due) == (100.25, 101.25)


def test_missed_ticks_are_counted_and_not_replayed() -> None:
    schedule = Schedule(100.0, 1.0)
    schedule.advance(100.0)

    assert schedule.advance(104.5) == 3
    assert schedule.due == 105.0


def test_tick_due_at_this_instant_is_not_in_the_future() -> None:
    schedule = Schedule(0.0, 0.1)
    for n in range(1, 5000):
        schedule.advance(n * 0.1)
        assert schedule.due > n * 0.1


def test_late_comer_ticks_at_once_and_then_on_the_common_grid() -> None:
    schedule = Schedule(100.0, 1.0, first=107.3)

    assert schedule.due == 107.3
    assert schedule.advance(107.3) == 0
    assert schedule.due == 108.0


def test_late_comer_that_comes_right_before_a_tick_stands_for_it() -> None:
    late, later = (Schedule(100.0, 1.0, first=107.998) for _ in range(2))

    assert late.advance(108.003) == 0
    assert late.due == 109.0
    assert later.advance(110.5) == 2
    assert later.due == 111.0


def test_postponed_schedule_stays_on_its_grid() -> None:
    schedule = Schedule(100.0, 1.0, 0.5)
    schedule.postpone(160.1)

    assert schedule.due == 160.5


def test_postponing_into_the_past_changes_nothing() -> None:
    schedule = Schedule(100.0, 1.0)
    schedule.postpone(50.0)

    assert schedule.due == 100.0


@pytest.mark.parametrize("interval", [0, -1, math.nan, math.inf, True, "1", None, 0.0001])
def test_interval_that_is_none_is_refused_by_name(interval: object) -> None:
    with pytest.raises(ConfigurationError, match="the interval of the tests is"):
        checked_interval(interval, "the tests")


def test_places_are_spread_evenly_for_any_number() -> None:
    for count in (2, 4, 8, 16):
        places = sorted(spread(n) for n in range(count))
        assert places == [n / count for n in range(count)]
