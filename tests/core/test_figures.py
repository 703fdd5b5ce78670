"""Figures add up, and a figure that is unknown stays unknown."""

from __future__ import annotations

from pytest_diagnostics.core.figures import KEYS, Usage, add, subtract, total

SETUP = Usage(
    wall_seconds=0.3, cpu_seconds=0.2, rss_bytes=100, rss_change_bytes=50, peak_rss_bytes=500, fds=5
)
CALL = Usage(wall_seconds=0.1, cpu_seconds=0.1, rss_bytes=70, rss_change_bytes=-30, peak_rss_bytes=900, fds=4)


def test_every_figure_adds_up_in_one_way_only() -> None:
    assert set(KEYS) == set(Usage.__annotations__)
    assert len(KEYS) == len(set(KEYS))


def test_sums_add_the_last_value_stays_and_the_largest_peak_counts() -> None:
    together = add(SETUP, CALL)
    assert together["wall_seconds"] == 0.4
    assert together["rss_bytes"] == 70
    assert together["rss_change_bytes"] == 20
    assert together["peak_rss_bytes"] == 900
    assert together["fds"] == 4


def test_a_sum_or_peak_of_which_a_part_is_unknown_is_unknown() -> None:
    assert add(SETUP, Usage(wall_seconds=0.1)) == {"wall_seconds": 0.4}
    assert total([]) == {}


def test_subtracting_reduces_sums_and_keeps_values_and_peaks() -> None:
    left = subtract(SETUP, Usage(wall_seconds=0.1, cpu_seconds=0.5, rss_change_bytes=80))
    assert round(left["wall_seconds"], 6) == 0.2
    assert left["cpu_seconds"] == 0.0  # never below zero
    assert left["rss_change_bytes"] == -30  # but a change may be
    assert left["rss_bytes"] == 100
    assert left["peak_rss_bytes"] == 500


def test_what_remains_of_a_sum_whose_inner_part_is_unknown_is_unknown() -> None:
    assert "cpu_seconds" not in subtract(SETUP, Usage(wall_seconds=0.1))
