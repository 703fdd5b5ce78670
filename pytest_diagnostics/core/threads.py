"""Threads that a test does not notice by its signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

# Bound here: a test that mocks threading.Thread or signal.pthread_sigmask shall not meet our call.
_Thread = threading.Thread
_start = threading.Thread.start
_mask = getattr(signal, "pthread_sigmask", None)
_every_signal = signal.valid_signals() if hasattr(signal, "valid_signals") else set()


def start_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread with all signals blocked, so that signals go to the threads of the test.

    The mask is inherited, hence set around the start: a thread that blocked its signals itself would be
    open to them for a moment. Raises RuntimeError when the system refuses a thread.
    """
    thread = _Thread(target=target, name=name, daemon=True)
    if _mask is None:  # Windows has no masks
        _start(thread)
        return thread
    previous = _mask(signal.SIG_BLOCK, _every_signal)
    try:
        _start(thread)
    finally:
        _mask(signal.SIG_SETMASK, previous)
    return thread
