"""Sums of hashes: equal tables cancel out in whatever order, and one wrong row shows in its bucket."""

from __future__ import annotations

import random

import pytest

from pytest_diagnostics.collectors.cassandra.consistency_digests import Buckets, RawRow


def rows(count: int) -> list[RawRow]:
    return [(number.to_bytes(4, "big"), f"v{number}".encode(), None) for number in range(count)]


def compared(ours: list[RawRow], theirs: list[RawRow], bits: int = 10) -> Buckets:
    buckets = Buckets(bits, 1)
    buckets.add(ours)
    buckets.subtract(theirs)
    return buckets


def test_equal_tables_in_different_order_leave_no_bucket() -> None:
    ours = rows(5_000)
    theirs = random.Random(1).sample(ours, len(ours))

    buckets = compared(ours, theirs)

    assert buckets.differing == 0
    assert buckets.suspects(ours) == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda row: [], id="missing"),
        pytest.param(lambda row: [(row[0], b"other", None)], id="differs"),
        pytest.param(lambda row: [(row[0], row[1], b"")], id="empty is not null"),
        pytest.param(lambda row: [(row[0], None, row[1])], id="another column"),
        pytest.param(lambda row: [row, (row[0], b"stale", None)], id="ghost"),
        pytest.param(lambda row: [row, row], id="twice"),
    ],
)
def test_one_wrong_row_is_in_the_bucket_that_differs(wrong: object) -> None:
    ours = rows(5_000)
    theirs = [*ours[:1234], *wrong(ours[1234]), *ours[1235:]]  # type: ignore[operator] # one of those above

    buckets = compared(ours, theirs)

    assert buckets.differing == 1
    suspects = buckets.suspects(ours)
    assert ours[1234] in suspects
    assert len(suspects) < 30


def test_rows_that_exchange_a_value_do_not_cancel_out() -> None:
    some = rows(400)
    for one, other in zip(some[::2], some[1::2], strict=True):
        theirs: list[RawRow] = [(one[0], other[1], None), (other[0], one[1], None)]

        assert compared([one, other], theirs, bits=0).differing == 1


def test_buckets_take_eight_bytes_each() -> None:
    assert Buckets(20, 1)._sums.itemsize * len(Buckets(20, 1)._sums) == 8 << 20
