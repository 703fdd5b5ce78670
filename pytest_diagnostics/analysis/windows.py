"""Sampled results cut to a test's window."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from ..core.recording import CollectorResults, Column, Recording, ShardRecords, text
from .processes import host_of, hosts_of
from .schema import Sampled

#: Series in one test's samples, the most telling first.
MAX_SERIES = 40
#: Series whose nearest sample is shown where none lies inside: it tells little about a test. As many again
#: of collectors that are not ours.
MAX_NEAREST = 12
#: How far the nearest sample may be, in intervals of its collector.
NEAREST_INTERVALS = 2.0

_TELLING = tuple(
    re.compile(pattern)
    for pattern in (
        r"cpu\.usage_percent",
        r"memory\.(available_bytes|percent)",
        r"process\.(rss_bytes|cpu_percent|children_rss_bytes|workers\[[^]]*\]\.(rss_bytes|cpu_percent))",
        r"cgroup\.throttled_percent",
        r"pressure\b.*(some|full)_percent",
        r"cpu\.(steal_percent|iowait_percent|load_avg_1m)",
        r"disk\.(\w+_per_sec|busy_percent)",
        r"network\.\w+_per_sec",
        r"memory_bandwidth\.\w+",
    )
)
#: Collectors of ours whose other series are left to the charts.
_BUILT_IN = frozenset(
    {
        "cpu",
        "memory",
        "network",
        "disk",
        "perf_events",
        "memory_bandwidth",
        "process",
        "pressure",
        "cgroup",
        "cassandra_views",
        "cassandra_indexes",
    }
)

#: What the process collector says of one of several workers.
_OF_WORKER = re.compile(r"process\.workers\[([^]]*)\]\.")


def rank(series: str, collector: str) -> int | None:
    """Return how telling a series is for one test, 0 for the most; None when it is left to the charts."""
    for position, pattern in enumerate(_TELLING):
        if pattern.fullmatch(series):
            return position
    return None if collector in _BUILT_IN else len(_TELLING)


def typical_interval(times: Sequence[float], default: float) -> float:
    """Return the interval at which moments follow each other; ``default`` when there are too few.

    Collections on demand come in between: where they are many, the median distance is theirs. The longer
    distances are then the interval's, as long as they do not exceed the run's own.
    """
    if len(times) < 3:
        return default
    recent = times[: 1 + min(len(times) - 1, 999)]
    distances = sorted(after - before for before, after in pairwise(recent))
    long = distances[(9 * (len(distances) - 1) + 9) // 10]
    return max(median(distances), min(default, long)) or default


@dataclass
class _Track:
    """The chosen series of one collector, and a memory of what single samples look like."""

    collector: str
    times: Sequence[float]
    reach: float
    columns: list[Column] = field(default_factory=list)
    singles: dict[tuple[str, int], Sampled] = field(default_factory=dict)

    #: Series of which the nearest sample is shown when there is none inside.
    nearest: set[str] = field(default_factory=set)

    def cut(self, start: float, end: float, into: dict[str, Sampled], *, nearest: bool) -> None:
        low, high = bisect_left(self.times, start), bisect_right(self.times, end)
        if low == high and not nearest:
            return
        size = len(self.times)
        for column in self.columns:
            if len(column.times) != size:  # a leaf that some results lack
                first, beyond = bisect_left(column.times, start), bisect_right(column.times, end)
            else:
                first, beyond = low, high
            if beyond > first:
                part = column.values[first:beyond]
                into[column.name] = Sampled(
                    min=min(part), max=max(part), mean=sum(part) / len(part), last=part[-1], count=len(part)
                )
            elif nearest and column.name in self.nearest:
                index = _nearest(column.times, first, (start, end), self.reach)
                if index is not None:
                    into[column.name] = self._single(column, index)

    def _single(self, column: Column, index: int) -> Sampled:
        # Thousands of short tests lie between the same two samples: they share one dict.
        single = self.singles.get((column.name, index))
        if single is None:
            value = column.values[index]
            single = Sampled(min=value, max=value, mean=value, last=value, count=0)
            self.singles[column.name, index] = single
        return single


def _nearest(times: Sequence[float], following: int, window: tuple[float, float], reach: float) -> int | None:
    """Return the index of the moment nearest to a window without any; None beyond ``reach``."""
    before = window[0] - times[following - 1] if following > 0 else math.inf
    after = times[following] - window[1] if following < len(times) else math.inf
    if min(before, after) > reach:
        return None
    return following - 1 if before <= after else following


class Windows:
    """Cuts a recording's results to windows. Moments are on the clock of the run, seconds from its start."""

    def __init__(self, recording: Recording, interval: float) -> None:
        """``interval`` is the run's, for collectors that were too seldom to show theirs."""
        self._interval = interval
        #: By host: what one machine sampled says nothing about the tests of another.
        self._shared: dict[str, list[tuple[float, _Track]]] = defaultdict(list)
        self._private: dict[tuple[str, int], list[tuple[float, _Track]]] = defaultdict(list)
        self._of_worker: dict[tuple[str, str], list[tuple[float, _Track]]] = defaultdict(list)
        self._hosts = hosts_of(recording)
        for shard in recording.shards:
            host, pid = host_of(shard), _test_by_test(shard)
            for worker, found in self._tracks(shard).items():
                tracks = [(shard.zero, track) for track in found]
                if pid is not None:
                    # What a process sampled for its own tests says nothing about another worker's.
                    self._private[host, pid] += tracks
                elif worker:
                    self._of_worker[host, worker] += tracks
                else:
                    self._shared[host] += tracks

    def cut(
        self,
        pid: int,
        start: float,
        end: float,
        *,
        until: float,
        worker: str = "main",
        nearest: bool = True,
    ) -> dict[str, Sampled]:
        """Return what was sampled between two moments, for a test of this process: on its own host.

        Collectors that ran for this test alone made their final collection after its teardown: theirs
        counts up to ``until``. ``nearest`` shows the nearest sample where none lies inside.
        """
        host = self._hosts.get((worker, pid), "")
        samples: dict[str, Sampled] = {}
        own = self._of_worker.get((host, worker), ())
        for zero, track in own:
            track.cut(start + zero, end + zero, samples, nearest=nearest)
        for zero, track in self._shared.get(host, ()):
            # The process that the workers descend from runs no test.
            if not own or track.collector != "process":
                track.cut(start + zero, end + zero, samples, nearest=nearest)
        for zero, track in self._private.get((host, pid), ()):
            track.cut(start + zero, until + zero, samples, nearest=False)
        return samples if len(samples) <= MAX_SERIES else dict(list(samples.items())[:MAX_SERIES])

    def _tracks(self, shard: ShardRecords) -> dict[str, list[_Track]]:
        """Return the chosen series of a shard: those of each worker by its name, all others by ""."""
        ranked: dict[str, list[tuple[int, str, Column, CollectorResults]]] = defaultdict(list)
        for results in shard.collectors.values():
            for column in results.columns.values():
                position = rank(column.name, results.name)
                if position is not None:
                    worker = _OF_WORKER.match(column.name) if results.name == "process" else None
                    entry = (position, column.name, column, results)
                    ranked[worker[1] if worker is not None else ""].append(entry)
        return {worker: self._best(found) for worker, found in ranked.items()}

    def _best(self, ranked: list[tuple[int, str, Column, CollectorResults]]) -> list[_Track]:
        ranked.sort(key=lambda entry: entry[:2])
        ranked = ranked[:MAX_SERIES]
        foreign = [entry for entry in ranked if entry[0] == len(_TELLING)]
        nearest = {entry[1] for entry in (*ranked[:MAX_NEAREST], *foreign[:MAX_NEAREST])}
        tracks: dict[str, _Track] = {}
        for _, _, column, results in ranked:
            track = tracks.get(results.name)
            if track is None:
                reach = NEAREST_INTERVALS * typical_interval(results.times, self._interval)
                track = tracks[results.name] = _Track(results.name, results.times, reach, nearest=nearest)
            track.columns.append(column)
        return list(tracks.values())


def _test_by_test(shard: ShardRecords) -> int | None:
    """Return the process id of a shard whose collectors ran for single tests; None for any other."""
    role, _, digits = shard.name.rpartition("-")
    if text(shard.header, "role", role).rpartition("-")[2] != "live":
        return None
    return int(digits) if digits.isdecimal() else None
