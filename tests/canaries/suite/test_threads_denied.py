"""A module in which no thread can be started."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def no_thread_can_start() -> Iterator[None]:
    def refuse(*args: object, **kwargs: object) -> object:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (_thread, "start_new_thread"),
            (_thread, "start_joinable_thread"),
            (threading, "_start_new_thread"),
            (threading, "_start_joinable_thread"),
        ):
            if hasattr(module, name):
                patch.setattr(module, name, refuse)
        yield


@pytest.mark.parametrize("number", range(2))
def test_no_thread_can_start(no_thread_can_start: None, number: int) -> None:
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threading.Thread(target=number.bit_count).start()
