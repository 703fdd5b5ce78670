"""Series through the whole run, thinned for charts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..core.recording import CollectorResults, Column, Recording
from ..core.series import thin
from .processes import host_of
from .schema import Series
from .windows import rank, typical_interval

MAX_POINTS = 2000
#: Series in one summary; the page that holds them must still open.
MAX_SERIES = 600
#: Two points further apart than this many intervals have a gap between them.
GAP_INTERVALS = 2.5


def series_of(recording: Recording, interval: float) -> tuple[list[Series], int]:
    """Return every series with its gaps, and how many were left out because there are too many.

    They keep the order of their shards and their collectors' data. Of too many, the telling ones stay, then
    the long ones: those of processes that came and went are many and short.
    """
    bursting = {
        shard.name
        for shard in recording.shards
        if any(fields.get("event") == "burst" for fields in shard.of_kind("event"))
    }
    columns = [
        (shard, results, column)
        for shard in recording.shards
        for results in shard.collectors.values()
        for column in results.columns.values()
    ]
    beyond = max(0, len(columns) - MAX_SERIES)
    if beyond:
        order = sorted(range(len(columns)), key=lambda place: _priority(*columns[place][1:]))
        columns = [columns[place] for place in sorted(order[:MAX_SERIES])]
    distances: dict[int, float] = {}
    series = []
    for shard, results, column in columns:
        distance = distances.get(id(results))
        if distance is None:
            usual = typical_interval(results.times, interval)
            # Between bursts the run's own interval is no gap.
            usual = max(usual, interval) if shard.name in bursting else usual
            distance = distances[id(results)] = GAP_INTERVALS * usual
        times, values = thin(*_with_gaps(column, shard.zero, distance), MAX_POINTS)
        series.append(
            Series(
                name=column.name,
                collector=results.name,
                unit=column.unit,
                source=f"{shard.name} on {host_of(shard)}" if host_of(shard) else shard.name,
                times=[round(moment, 3) for moment in times],
                values=[None if value is None else _short(value) for value in values],
            )
        )
    return series, beyond


def _priority(results: CollectorResults, column: Column) -> tuple[float, int]:
    position = rank(column.name, results.name)
    return (math.inf if position is None else position, -len(column.times))


def _with_gaps(
    column: Column, zero: float, distance: float
) -> tuple[Sequence[float], Sequence[float | None]]:
    times: list[float] = []
    values: list[float | None] = []
    previous = math.inf
    for moment, value in zip(column.times, column.values, strict=True):
        if moment - previous > distance:
            # The gap begins where the next point should have been.
            times.append(previous + distance / GAP_INTERVALS - zero)
            values.append(None)
        times.append(moment - zero)
        values.append(value)
        previous = moment
    return times, values


def _short(value: float) -> float:
    """Return a value to six significant digits below 10^6, whole above: a chart shows no more."""
    if value == int(value) and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.6g}") if abs(value) < 1e6 else float(round(value))
