"""freezegun: in a call, by a fixture, for a module."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

import pytest

freezegun = pytest.importorskip("freezegun")

let_pass = time.sleep


@pytest.fixture(scope="module", autouse=True)
def epoch() -> Iterator[None]:
    with freezegun.freeze_time("2012-01-14"):
        yield


@pytest.fixture
def day() -> Iterator[None]:
    with freezegun.freeze_time("2015-06-07 08:09"):
        yield


def test_the_module_s_time() -> None:
    assert time.time() == 1326499200.0
    let_pass(0.03)
    assert time.time() == 1326499200.0


def test_a_fixture_s_time(day: None) -> None:
    let_pass(0.03)
    assert datetime.datetime.now().isoformat() == "2015-06-07T08:09:00"


def test_every_look_at_the_clock_is_the_test_s() -> None:
    with freezegun.freeze_time("1999-12-31", auto_tick_seconds=10):
        let_pass(0.05)
        first = time.time()
        assert time.time() - first == 10


def test_a_frozen_call_takes_its_time() -> None:
    with freezegun.freeze_time("1999-12-31"):
        let_pass(0.1)
        assert datetime.date.today().year == 1999


def test_fails_frozen() -> None:
    raise RuntimeError("on purpose")
