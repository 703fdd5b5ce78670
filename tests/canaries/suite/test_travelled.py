"""time-machine: in a call, by a fixture, for a module."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

import pytest

time_machine = pytest.importorskip("time_machine")

let_pass = time.sleep


@pytest.fixture(scope="module", autouse=True)
def epoch() -> Iterator[None]:
    with time_machine.travel("2050-01-14", tick=False):
        yield


@pytest.fixture
def century() -> Iterator[None]:
    with time_machine.travel("2100-01-01", tick=False):
        yield


def test_the_module_s_time() -> None:
    before = time.time()
    let_pass(0.03)
    assert time.time() == before
    assert datetime.datetime.now().year == 2050


def test_a_fixture_s_time(century: None) -> None:
    let_pass(0.03)
    assert datetime.datetime.now().year == 2100


def test_a_travelled_call_takes_its_time() -> None:
    with time_machine.travel("1970-01-02", tick=False):
        let_pass(0.1)
        assert time.time() == 86400.0


def test_fails_travelled(century: None) -> None:
    raise RuntimeError("on purpose")
