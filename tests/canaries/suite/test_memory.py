"""Memory: what the test allocates, and nobody else."""

from __future__ import annotations

import gc
import time
import tracemalloc

import pytest


def test_nobody_allocates_between_two_snapshots() -> None:
    tracemalloc.start()
    try:
        time.sleep(0.03)
        before = tracemalloc.take_snapshot()
        time.sleep(0.1)
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    own = (__file__, tracemalloc.__file__)
    grown = [line for line in after.compare_to(before, "filename") if line.size_diff > 0]
    assert [str(line) for line in grown if line.traceback[0].filename not in own] == []


def test_traced_memory_is_the_test_s() -> None:
    tracemalloc.start()
    try:
        kept = [bytes(1000) for _ in range(1000)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 1_000_000 < size < 1_300_000
    assert kept


@pytest.fixture
def no_collector() -> object:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_leaves_no_garbage_of_others(no_collector: object) -> None:
    before = gc.get_count()[0]
    time.sleep(0.05)
    assert not gc.isenabled()
    assert gc.get_count()[0] - before < 50
