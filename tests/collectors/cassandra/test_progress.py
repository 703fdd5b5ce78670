"""Speed and remaining time of a build."""

from __future__ import annotations

import pytest

from pytest_diagnostics.collectors.cassandra.progress import Progress


def seen(*points: tuple[float, float | None]) -> Progress:
    progress = Progress()
    for moment, percent in points:
        progress.add(moment, percent)
    return progress


def test_a_speed_needs_three_percentages() -> None:
    two = seen((0.0, 0.0), (1.0, 10.0), (2.0, 10.0), (3.0, 10.0))

    assert two.rate_percent_per_second is None
    assert two.eta_seconds is None


def test_the_rest_is_reckoned_from_the_speed() -> None:
    progress = seen((0.0, 0.0), (1.0, 10.0), (2.0, 20.0))

    assert progress.rate_percent_per_second == pytest.approx(10.0)
    assert progress.eta_seconds == pytest.approx(8.0)


def test_a_pause_slows_the_speed_down() -> None:
    progress = seen((0.0, 0.0), (1.0, 10.0), (2.0, 20.0), (8.0, 20.0))

    assert progress.rate_percent_per_second == pytest.approx(2.5)
    assert progress.changed_at == 2.0


def test_a_lower_figure_does_not_undo_what_was_done() -> None:
    progress = seen((0.0, 40.0))

    assert progress.add(1.0, 30.0) == 40.0
    assert progress.percent == 40.0


def test_what_could_not_be_read_is_no_figure() -> None:
    progress = seen((0.0, 40.0))

    assert progress.add(1.0, None) == 40.0
    assert Progress().add(1.0, None) is None


def test_the_speed_is_that_of_the_last_half_minute() -> None:
    slow = [(float(second), second / 10) for second in range(60)]
    quick = [(60.0 + second, 6.0 + second) for second in range(40)]

    assert seen(*slow, *quick).rate_percent_per_second == pytest.approx(1.0, rel=0.05)


def test_a_slow_build_has_a_speed_too() -> None:
    progress = seen(*((60.0 * minute, float(minute)) for minute in range(10)))

    assert progress.rate_percent_per_second == pytest.approx(1 / 60)


def test_an_outage_says_nothing_of_the_pace() -> None:
    progress = seen((0.0, 0.0), (1.0, 10.0), (2.0, 20.0), (40.0, 22.0), (41.0, 32.0))

    assert progress.rate_percent_per_second is None
    assert progress.add(42.0, 42.0) == 42.0
    assert progress.rate_percent_per_second == pytest.approx(10.0)


def test_another_build_begins_anew() -> None:
    progress = seen((0.0, 0.0), (1.0, 50.0), (2.0, 99.0))
    progress.forget()

    assert progress.add(3.0, 1.0) == 1.0
    assert progress.rate_percent_per_second is None
