"""What a result may hold."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from collections import OrderedDict, deque, namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import PurePosixPath
from uuid import UUID

import pytest

from pytest_diagnostics import ValidationError
from pytest_diagnostics.core.bounds import MAX_BYTES, TOO_DEEP, bound

Usage = namedtuple("Usage", "user system")


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Node:
    value: int
    next: object = None


class Unreadable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Text(str):
    __slots__ = ()


def written(data: object) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


@pytest.mark.parametrize("data", [None, True, 0, -7, 1.5, "é☃😀", [1, [2]], {"a": {"b": [None, False]}}])
def test_what_json_knows_passes_untouched(data: object) -> None:
    bounded = bound(data)

    assert (bounded.data, bounded.coerced, bounded.truncated) == (data, 0, False)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, None),
        (-math.inf, None),
        (b"\x00\xff", {"base64": "AP8="}),
        (bytearray(b"ab"), {"base64": "YWI="}),
        (memoryview(b"ab"), {"base64": "YWI="}),
        (datetime(2026, 1, 2, 3, tzinfo=timezone.utc), "2026-01-02T03:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(seconds=90), 90.0),
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        (Decimal("sNaN"), None),
        (Decimal("1e999"), None),
        (Fraction(1, 4), 0.25),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset("ba"), ["a", "b"]),
        (deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (Usage(1, 2.5), {"user": 1, "system": 2.5}),
        (Node(1, Color.RED), {"value": 1, "next": "red"}),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Text("a"), "a"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("/a"), "/a"),
        (ValueError("bad"), "bad"),
        (object, "<type>"),
        ((x for x in "ab"), "<generator>"),
        (10**70, hex(10**70)),
        ("\udc80x", "\\udc80x"),
    ],
)
def test_foreign_value_becomes_its_nearest_builtin_and_counts(value: object, plain: object) -> None:
    bounded = bound({"v": value})

    assert bounded.data == {"v": plain}
    assert bounded.coerced >= 1
    assert not bounded.truncated
    written(bounded.data).encode()


def test_each_nan_counts_once() -> None:
    assert bound([math.nan, Decimal("nan"), 1.0]).coerced == 2


def test_keys_become_texts_and_count() -> None:
    bounded = bound(OrderedDict([(1, "a"), (None, "b"), ("c", "d")]))

    assert bounded.data == {"1": "a", "None": "b", "c": "d"}
    assert bounded.coerced == 2


def test_two_keys_of_one_text_are_not_lost_in_silence() -> None:
    assert bound({1: "a", "1": "b"}).truncated


def test_key_without_a_text_is_a_validation_error() -> None:
    with pytest.raises(ValidationError, match="cannot be read: RuntimeError: no text"):
        bound({Unreadable(): 1})


def test_data_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append({"deeper": loop})
    node = Node(1)
    node.next = [node]

    for cyclic in (loop, node):
        with pytest.raises(ValidationError, match="contains itself"):
            bound(cyclic)


def test_the_same_object_twice_is_no_cycle() -> None:
    shared = {"a": 1}

    assert bound([shared, shared]).data == [{"a": 1}, {"a": 1}]


def test_what_lies_too_deep_is_cut_and_said() -> None:
    nested: object = "bottom"
    for _ in range(10_000):
        nested = [nested]

    bounded = bound(nested)

    assert bounded.truncated
    assert TOO_DEEP in json.dumps(bounded.data, ensure_ascii=False)


def test_eight_levels_are_permitted() -> None:
    nested: object = 1
    for _ in range(8):
        nested = {"a": nested}

    assert bound(nested).data == nested


@pytest.mark.parametrize(
    "data",
    [
        "x" * 50_000_000,
        "😀" * 1_000_000,
        "\x00" * 1_000_000,
        '"' * 1_000_000,
        "a" * 65_000 + "é" * 65_000,
        list(range(1_000_000)),
        [0.1234567890123456] * 1_000_000,
        [10**60] * 100_000,
        [None] * 1_000_000,
        {str(n): n for n in range(500_000)},
        {"k" * 100_000: 1, "b": 2},
        b"x" * 50_000_000,
        [[[]] * 1000] * 1000,
        set(range(1_000_000)),
    ],
    ids=lambda data: f"{type(data).__name__} of {len(data)}",
)
def test_written_form_stays_within_64_kib_and_the_cut_is_said(data: object) -> None:
    bounded = bound(data)

    assert bounded.truncated
    assert len(written(bounded.data)) <= MAX_BYTES
    assert len(written(bounded.data)) > MAX_BYTES / 5


def test_fifty_megabytes_cost_neither_time_nor_memory() -> None:
    data = {"rows": [{"text": "x" * 1000, "n": n} for n in range(50_000)]}
    tracemalloc.start()
    began = time.perf_counter()

    bounded = bound(data)

    seconds = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bounded.truncated
    assert peak < 1_000_000
    assert seconds < 0.5


def test_huge_integer_is_cut_in_its_hexadecimal_form() -> None:
    bounded = bound(1 << 10_000_000)

    assert bounded.truncated
    assert str(bounded.data).startswith("0x1000")


class Growing(Mapping[str, int]):
    """A mapping that another thread changes while it is read."""

    def __getitem__(self, key: str) -> int:
        return 1

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        yield "a"
        raise RuntimeError("changed size during iteration")


def test_mapping_that_changes_while_it_is_read_is_a_validation_error() -> None:
    with pytest.raises(ValidationError, match="changed size"):
        bound(Growing())


def test_bounded_data_is_a_copy() -> None:
    data = {"a": [1]}
    bounded = bound(data)
    data["a"].append(2)

    assert bounded.data == {"a": [1]}
