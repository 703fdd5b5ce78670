"""Threads, the interpreter's lock, traces and profiles."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

alone = pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="execnet has a thread of its own")

#: Taken at collection, with execnet's.
THREADS = threading.enumerate()
FRAMES = len(sys._current_frames())
SWITCH_INTERVAL = sys.getswitchinterval()


@alone
def test_there_is_one_thread() -> None:
    assert threading.active_count() == 1


@alone
def test_the_system_knows_of_one_thread() -> None:
    assert os.listdir("/proc/self/task") == [str(os.getpid())]


def test_threads_are_those_that_were_there_at_collection() -> None:
    assert threading.enumerate() == THREADS
    assert len(sys._current_frames()) == FRAMES


def test_the_switch_interval_is_as_it_was() -> None:
    assert sys.getswitchinterval() == SWITCH_INTERVAL


def test_a_switch_interval_stays_as_it_was_set() -> None:
    sys.setswitchinterval(100)
    try:
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            pass
        assert sys.getswitchinterval() == 100
    finally:
        sys.setswitchinterval(SWITCH_INTERVAL)


def test_holds_the_interpreter_s_lock() -> None:
    began = time.monotonic()
    ctypes.PyDLL(None).usleep(300_000)
    assert time.monotonic() - began >= 0.3


def test_computes_undisturbed_beside_a_thread_of_its_own() -> None:
    counted = []
    thread = threading.Thread(target=lambda: counted.append(sum(range(200_000))))
    thread.start()
    thread.join()
    assert counted == [19999900000]


def test_traces_its_own_calls() -> None:
    seen: list[str] = []

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        seen.append(frame.f_code.co_filename)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    time.sleep(0.03)
    (lambda: 1)()
    sys.settrace(before)
    assert set(seen) == {__file__}


def test_profiles_its_own_threads() -> None:
    seen: list[str] = []
    threading.setprofile(lambda frame, *_: seen.append(frame.f_code.co_filename))
    thread = threading.Thread(target=time.sleep, args=(0.05,))
    thread.start()
    thread.join()
    threading.setprofile(None)
    assert set(seen) == {threading.__file__}
