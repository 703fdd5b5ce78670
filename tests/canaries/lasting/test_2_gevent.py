"""gevent's patches, made when this module is collected."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    pytest.skip("execnet does not survive the patches", allow_module_level=True)

gevent: Any = pytest.importorskip("gevent")
pytest.importorskip("gevent.monkey").patch_all()

THREADS = threading.active_count()


def test_greenlets_take_turns() -> None:
    said: list[str] = []

    def say(word: str, delay: float) -> None:
        for _ in range(3):
            said.append(word)
            time.sleep(delay)

    gevent.joinall([gevent.spawn(say, "slow", 0.02), gevent.spawn(say, "quick", 0.001)], raise_error=True)
    assert said[:2] == ["slow", "quick"]
    assert said[-1] == "slow"


def test_threads_are_greenlets() -> None:
    done = threading.Event()
    threading.Thread(target=done.set).start()
    assert done.wait(5)


def test_threads_are_those_that_were_there_at_collection() -> None:
    assert threading.active_count() == THREADS


def test_sleeps_while_nobody_else_runs() -> None:
    with gevent.Timeout(5):
        time.sleep(0.1)


def test_fails_patched() -> None:
    raise RuntimeError("on purpose")
