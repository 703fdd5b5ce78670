"""Widths on the token ring."""

from __future__ import annotations

import pytest

from pytest_diagnostics.collectors.cassandra.queries import Ring
from pytest_diagnostics.collectors.cassandra.tokens import (
    RING_WIDTH,
    done_width,
    gone_through,
    shares,
    width,
)

LOWEST = -(2**63)
#: The ring of one node of 5.0.8 with num_tokens 4, and the ranges of a finished build on it.
TOKENS = (-5613817627765285519, 2141980624888489618, 5217213256156953602, 6752173345216052412)
RANGES = (
    (-1735918501438397950, 2141980624888489618),
    (-5613817627765285519, -1735918501438397950),
    (-8654194178129392361, -5613817627765285519),
    (2141980624888489618, 3679596940522721610),
    (3679596940522721610, 5217213256156953602),
    (5217213256156953602, 5984693300686503007),
    (5984693300686503007, 6752173345216052412),
    (6752173345216052412, -8654194178129392361),
)


def row(start: int, end: int, last: int | None) -> dict[str, object]:
    return {
        "start_token": str(start),
        "end_token": str(end),
        "last_token": None if last is None else str(last),
    }


def test_a_range_may_go_over_the_end_of_the_ring() -> None:
    assert width(-10, 10) == 20
    assert width(10, -10) == RING_WIDTH - 20
    assert width(2**63 - 1, LOWEST) == 1


def test_a_range_from_a_token_to_itself_is_the_whole_ring() -> None:
    assert width(7, 7) == RING_WIDTH
    assert done_width(7, 7, 7) == RING_WIDTH
    assert done_width(LOWEST, LOWEST, 0) == RING_WIDTH // 2


def test_a_range_without_a_last_token_is_not_begun() -> None:
    assert done_width(0, 100, None) == 0
    assert gone_through([row(0, 100, None)]) == 0


def test_a_range_at_its_last_token_is_done() -> None:
    assert done_width(0, 100, 100) == 100
    assert done_width(100, 0, 0) == RING_WIDTH - 100


def test_no_more_than_the_range_is_done() -> None:
    assert done_width(0, 100, 150) == 100


def test_the_ranges_of_a_finished_build_are_the_ring() -> None:
    assert gone_through([row(start, end, end) for start, end in RANGES]) == RING_WIDTH


def test_other_tokens_cannot_be_measured() -> None:
    assert gone_through([{"start_token": "00ff", "end_token": "a0", "last_token": None}]) is None


def test_one_node_holds_everything() -> None:
    ring = Ring(TOKENS, {"k": (frozenset({"a"}),) * 4})

    assert shares(ring, "k") == {"a": RING_WIDTH}


def test_each_node_holds_the_ranges_that_end_at_its_tokens() -> None:
    owners = (frozenset({"a"}), frozenset({"a", "b"}), frozenset({"b"}), frozenset({"c"}))
    found = shares(Ring((0, 10, 30, 60), {"k": owners}), "k")

    assert found == {"a": RING_WIDTH - 60 + 10, "b": 10 + 20, "c": 30}


@pytest.mark.parametrize("ring", [Ring(), Ring(TOKENS, {"other": (frozenset({"a"}),) * 4})])
def test_without_a_ring_nothing_is_known(ring: Ring) -> None:
    assert shares(ring, "k") == {}


def test_one_token_is_the_whole_ring() -> None:
    assert shares(Ring((5,), {"k": (frozenset({"a"}),)}), "k") == {"a": RING_WIDTH}
