"""Sampled results cut to windows."""

from __future__ import annotations

import pytest

from pytest_diagnostics.analysis.windows import MAX_SERIES, Windows, rank, typical_interval
from pytest_diagnostics.core.model import JsonValue
from pytest_diagnostics.core.recording import Recording, ShardRecords


def shard(name: str, *, zero: float = 100.0) -> ShardRecords:
    return ShardRecords(name, zero=zero)


def sample(into: ShardRecords, collector: str, seconds: float, data: JsonValue) -> None:
    into.add({"kind": "result", "collector": collector, "monotonic": into.zero + seconds, "data": data})


def windows(*shards: ShardRecords) -> Windows:
    return Windows(Recording({}, list(shards)), 1.0)


def test_samples_inside_a_window_are_digested_exactly() -> None:
    recorder = shard("recorder-1")
    for second, value in enumerate((5.0, 1.0, 9.0, 2.0, 7.0)):
        sample(recorder, "cpu", second, {"usage_percent": value})

    cut = windows(recorder).cut(1, 1.0, 3.0, until=3.0)
    assert cut == {"cpu.usage_percent": {"min": 1.0, "max": 9.0, "mean": 4.0, "last": 2.0, "count": 3}}


def test_without_a_sample_inside_the_nearest_is_shown_and_counted_as_none() -> None:
    recorder = shard("recorder-1")
    for second in (0, 1, 2, 3):
        sample(recorder, "cpu", second, {"usage_percent": second * 10})
    cut = windows(recorder).cut

    assert cut(1, 1.2, 1.3, until=1.3)["cpu.usage_percent"] == {
        "min": 10.0,
        "max": 10.0,
        "mean": 10.0,
        "last": 10.0,
        "count": 0,
    }
    assert cut(1, 1.7, 1.8, until=1.8)["cpu.usage_percent"]["last"] == 20.0
    assert cut(1, 5.0, 5.1, until=5.1)["cpu.usage_percent"]["last"] == 30.0


def test_a_sample_more_than_two_intervals_away_says_nothing() -> None:
    recorder = shard("recorder-1")
    for second in (0, 1, 2, 3):
        sample(recorder, "cpu", second, {"usage_percent": 1})
    assert windows(recorder).cut(1, 5.01, 5.02, until=5.02) == {}
    assert windows(recorder).cut(1, -2.5, -2.1, until=-2.1) == {}
    assert windows(shard("recorder-2")).cut(1, 0.0, 1.0, until=1.0) == {}


def test_a_leaf_that_some_results_lack_is_cut_by_its_own_times() -> None:
    recorder = shard("recorder-1")
    for second in range(6):
        data: dict[str, JsonValue] = {"usage_percent": second}
        if second != 2:
            data["steal_percent"] = second * 10
        sample(recorder, "cpu", second, data)

    cut = windows(recorder).cut(1, 2.0, 4.0, until=4.0)
    assert cut["cpu.usage_percent"]["count"] == 3
    assert (cut["cpu.steal_percent"]["min"], cut["cpu.steal_percent"]["count"]) == (30.0, 2)


def test_a_window_without_end_reaches_to_the_last_sample() -> None:
    recorder = shard("recorder-1")
    for second in range(6):
        sample(recorder, "cpu", second, {"usage_percent": second})
    assert windows(recorder).cut(1, 3.0, float("inf"), until=float("inf"))["cpu.usage_percent"]["count"] == 3


def test_each_shard_is_read_by_its_own_clock() -> None:
    far = shard("recorder-1", zero=-5000.0)
    sample(far, "cpu", 1.0, {"usage_percent": 4})
    assert windows(far).cut(1, 0.9, 1.1, until=1.1)["cpu.usage_percent"]["count"] == 1


def test_what_a_worker_sampled_in_its_process_is_for_its_own_tests_only() -> None:
    workers = [shard(f"gw{n}-live-{n}") for n in range(2)]
    recorder = shard("recorder-9")
    for n, worker in enumerate(workers):
        sample(worker, "process", 1.0, {"rss_bytes": n + 1})
    sample(recorder, "cpu", 1.0, {"usage_percent": 50})
    sample(recorder, "process", 1.0, {"rss_bytes": 999})
    cut = windows(*workers, recorder).cut

    for n in range(2):
        found = cut(n, 0.5, 1.5, until=1.5)
        assert found["process.rss_bytes"]["last"] == n + 1
        assert found["cpu.usage_percent"]["last"] == 50
    assert (
        cut(77, 0.5, 1.5, until=1.5)["process.rss_bytes"]["last"] == 999
    )  # a worker that took over the name


def test_the_telling_series_are_chosen_and_their_number_bounded() -> None:
    recorder = shard("recorder-1")
    sample(recorder, "cpu", 1.0, {"usage_percent": 1, "per_core": [1.0] * 64, "user_percent": 1})
    sample(
        recorder, "network", 1.0, {"bytes_recv_per_sec": 1, "interfaces": {"eth0": {"bytes_recv_per_sec": 2}}}
    )
    sample(recorder, "pressure", 1.0, {"io": {"some_percent": 1, "full_percent": 2, "avg10": 3}})
    sample(recorder, "queue", 1.0, {"depth": 3})
    assert set(windows(recorder).cut(1, 0.0, 2.0, until=2.0)) == {
        "cpu.usage_percent",
        "network.bytes_recv_per_sec",
        "pressure.io.some_percent",
        "pressure.io.full_percent",
        "queue.depth",
    }
    sample(recorder, "own", 1.0, {f"k{n}": n for n in range(200)})
    many = windows(recorder).cut(1, 0.0, 2.0, until=2.0)
    assert len(many) == MAX_SERIES
    assert "cpu.usage_percent" in many


def test_series_of_foreign_collectors_rank_after_ours() -> None:
    assert rank("cpu.usage_percent", "cpu") == 0
    assert rank("cpu.per_core[0]", "cpu") is None
    foreign, ours = rank("queue.depth", "queue"), rank("memory_bandwidth.pgfault_per_sec", "memory_bandwidth")
    assert foreign is not None
    assert ours is not None
    assert foreign > ours


def test_a_final_collection_after_the_teardown_counts_for_the_test_it_was_made_for() -> None:
    live = shard("live-7")
    for second, value in ((1.0, 1), (2.5, 5), (4.0, 9)):
        sample(live, "cpu", second, {"usage_percent": value})

    found = windows(live).cut(7, 0.5, 2.0, until=3.0)

    assert found["cpu.usage_percent"]["max"] == 5
    assert found["cpu.usage_percent"]["count"] == 2


def test_collections_on_demand_do_not_turn_the_ticks_between_them_into_gaps() -> None:
    times = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5, 5.6, 5.7, 5.8]

    assert typical_interval(times, 1.0) == pytest.approx(1.0)
