"""Numeric leaves, their units, and thinning."""

from __future__ import annotations

import math
import random

import pytest

from pytest_diagnostics.core.model import JsonValue
from pytest_diagnostics.core.series import numeric_leaves, thin, unit_of


@pytest.mark.parametrize(
    ("data", "leaves"),
    [
        (
            {"usage_percent": 3, "per_core": [1.5, 2]},
            ["cpu.usage_percent", "cpu.per_core[0]", "cpu.per_core[1]"],
        ),
        (
            {"interfaces": {"eth0": {"bytes_recv": 1}, "lo": {"bytes_recv": 2}}},
            ["cpu.interfaces[eth0].bytes_recv", "cpu.interfaces[lo].bytes_recv"],
        ),
        ({"partitions": {"/": {"free_bytes": 1}}}, ["cpu.partitions[/].free_bytes"]),
        (
            {"cpu": {"some_percent": 1}, "io": {"some_percent": 2}},
            ["cpu.cpu.some_percent", "cpu.io.some_percent"],
        ),
        (
            {"10.0.0.1": 1, "events": {"L1-dcache-loads": 2, "cycles": 3}},
            ["cpu[10.0.0.1]", "cpu.events[L1-dcache-loads]", "cpu.events.cycles"],
        ),
        (5, ["cpu"]),
        ([1, [2]], ["cpu[0]", "cpu[1][0]"]),
        ({"up": True, "name": "x", "none": None, "nan": math.nan, "inf": math.inf, "huge": 10**400}, []),
        ({"empty": {}, "list": []}, []),
    ],
)
def test_names_lead_to_numbers_and_nothing_else_is_one(data: JsonValue, leaves: list[str]) -> None:
    assert [name for name, _ in numeric_leaves("cpu", data)] == leaves


def test_values_are_those_of_the_data() -> None:
    assert dict(numeric_leaves("m", {"a": 1, "b": {"c": -2.5, "d": 3}})) == {
        "m.a": 1,
        "m.b.c": -2.5,
        "m.b.d": 3,
    }


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("cpu.usage_percent", "percent"),
        ("cpu.per_core[3]", "percent"),
        ("memory.percent", "percent"),
        ("memory.available_bytes", "bytes"),
        ("network.bytes_recv", "bytes"),
        ("network.interfaces[eth0.100].bytes_recv_per_sec", "bytes_per_second"),
        ("disk.read_bytes_per_sec", "bytes_per_second"),
        ("disk.read_count", "count"),
        ("memory_bandwidth.pgpgin_per_sec", "kb_per_second"),
        ("memory_bandwidth.pgfault_per_sec", "per_second"),
        ("x.sent_kb_per_sec", "kb_per_second"),
        ("cpu.frequency_mhz", "mhz"),
        ("cpu.temperature_celsius", "celsius"),
        ("cpu.limit_cores", "cores"),
        ("process.threads", "count"),
        ("process.fds", "count"),
        ("x.wait_seconds", "seconds"),
        ("x.wait_ms", "milliseconds"),
        ("pressure.io_full_avg10", "percent"),
        ("process.tree_threads", "count"),
        ("cpu.load_avg_1m", "number"),
        ("own[a].thing", "number"),
    ],
)
def test_a_name_tells_its_unit(name: str, unit: str) -> None:
    assert unit_of(name) == unit


def test_a_short_series_is_left_as_it_is() -> None:
    assert thin([1.0, 2.0], [3.0, None], 2) == ([1.0, 2.0], [3.0, None])


@pytest.mark.parametrize("size", [101, 1999, 2001, 86_400])
def test_thinning_keeps_bound_order_ends_and_exact_extremes(size: int) -> None:
    source = random.Random(size)
    times = [float(n) for n in range(size)]
    values: list[float | None] = [source.gauss(0, 1) for _ in range(size)]
    values[size // 3] = 1e6
    values[size // 2] = -1e6

    thinned_times, thinned = thin(times, values, 100)
    assert len(thinned) == len(thinned_times) <= 100
    assert len(thinned) >= 50
    assert thinned_times == sorted(set(thinned_times))
    assert (thinned_times[0], thinned_times[-1]) == (times[0], times[-1])
    assert {1e6, -1e6} <= set(thinned)
    assert all(values[int(moment)] == value for moment, value in zip(thinned_times, thinned, strict=True))


def test_thinning_keeps_gaps_where_they_were() -> None:
    times = [float(n) for n in range(3000)]
    values: list[float | None] = [float(n % 7) for n in range(3000)]
    for n in (500, *range(1000, 1400), 2999):
        values[n] = None

    thinned_times, thinned = thin(times, values, 300)
    gaps = [moment for moment, value in zip(thinned_times, thinned, strict=True) if value is None]
    assert 500.0 in gaps
    assert 2999.0 in gaps
    # Nothing is left of the values inside the long gap, so it stays one.
    inside = [value for moment, value in zip(thinned_times, thinned, strict=True) if 1000 <= moment < 1400]
    assert inside
    assert set(inside) == {None}
    assert len(thinned) <= 300


def test_a_series_of_gaps_alone_can_be_thinned() -> None:
    assert set(thin([float(n) for n in range(100)], [None] * 100, 10)[1]) == {None}


def test_a_bound_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="thinned to 4 points"):
        thin([0.0] * 10, [0.0] * 10, 4)
