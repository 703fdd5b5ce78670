"""Each type of the driver's has one form in JSON."""

from __future__ import annotations

import json
from collections import namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address
from uuid import UUID

import pytest

from pytest_diagnostics.collectors.cassandra.rows import json_line, plain

Address = namedtuple("Address", "street number")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (2**70, 2**70),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (ip_address("::1"), "::1"),
        (Decimal("1.10"), "1.10"),
        (b"\x00\xff", "0x00ff"),
        (datetime(2026, 11, 23, 12), "2026-11-23T12:00:00+00:00"),
        (datetime(2026, 11, 23, 12, tzinfo=timezone(timedelta(hours=2))), "2026-11-23T10:00:00+00:00"),
        (date(2026, 11, 23), "2026-11-23"),
        (time(1, 2, 3), "01:02:03"),
        ({UUID(int=1): [Decimal(2)]}, {"00000000-0000-0000-0000-000000000001": ["2"]}),
        ({3}, [3]),
        ((1, b"a"), [1, "0x61"]),
        (Address("Elm", None), {"street": "Elm", "number": None}),
        (timedelta(seconds=1), "0:00:01"),
    ],
)
def test_each_type_has_its_form(value: object, written: object) -> None:
    assert plain(value) == written
    assert json.loads(json_line("t", "SELECT 1", "topic", None, data=[plain(value)]))["data"] == [written]


def test_the_drivers_own_types_are_written_as_cql_has_them() -> None:
    util = pytest.importorskip("cassandra.util")
    assert plain(util.SortedSet([3, 1])) == [1, 3]
    assert plain(util.OrderedMap([((1, 2), UUID(int=1))])) == {"[1, 2]": str(UUID(int=1))}
    assert plain(util.Date("2026-11-23")) == "2026-11-23"
    assert plain(util.Duration(1, 2, 3)) == "1mo2d3ns"


def test_half_a_surrogate_pair_costs_no_line() -> None:
    assert json.loads(json_line("t", "SELECT 1", "topic", "\udcff", error="x"))["node"] == "\udcff"
