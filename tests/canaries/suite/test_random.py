"""Seeded generators draw what they drew at their writing."""

from __future__ import annotations

import random
import time

import pytest


def test_random() -> None:
    random.seed(7)
    state = random.getstate()
    time.sleep(0.03)
    assert random.getstate() == state
    assert [random.randrange(1000) for _ in range(5)] == [331, 970, 154, 404, 666]


@pytest.fixture
def seeded() -> None:
    random.seed(8)


def test_random_seeded_by_a_fixture(seeded: None) -> None:
    time.sleep(0.03)
    assert [random.randrange(1000) for _ in range(5)] == [232, 379, 985, 384, 129]


def test_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    numpy.random.seed(7)
    time.sleep(0.03)
    assert numpy.random.randint(0, 1000, 5).tolist() == [175, 196, 537, 502, 579]
