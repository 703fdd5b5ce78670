"""Threads that a test does not notice by its signals, and locks that its mocks do not reach."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

# Bound here: a test that mocks threading.Thread or signal.pthread_sigmask shall not meet our call.
_Thread = threading.Thread
_Condition = threading.Condition
_RLock = threading.RLock
_start = threading.Thread.start
_mask = getattr(signal, "pthread_sigmask", None)
_every_signal = signal.valid_signals() if hasattr(signal, "valid_signals") else set()
#: The identity of the calling thread.
current_ident = threading.get_ident


def new_lock() -> threading.RLock:
    """Return a re-entrant lock.

    Re-entrant because a signal handler runs between two instructions of the main thread, also of those
    that hold the lock, and may well call ``stop_collecting``.
    """
    return _RLock()


def new_condition(lock: threading.RLock | None = None) -> threading.Condition:
    """Return a condition on a re-entrant lock, its own or one that is given.

    To take the lock itself is several times cheaper where nobody waits and nobody is woken.
    """
    return _Condition(lock or _RLock())


def is_held(condition: threading.Condition) -> bool:
    """Whether the calling thread holds the condition: then it is a signal handler that asks."""
    owned = getattr(condition, "_is_owned", None)  # every Condition has it, but undocumented
    return owned is not None and bool(owned())


class Flag:
    """What ``threading.Event`` is; that class builds itself from names that a test may have replaced."""

    __slots__ = ("_condition", "_set")

    def __init__(self) -> None:
        self._condition = new_condition()
        self._set = False

    def is_held(self) -> bool:
        """Whether the calling thread is at this very moment inside one of the calls below."""
        return is_held(self._condition)

    def is_set(self) -> bool:
        """Whether the flag was set."""
        return self._set

    def set(self) -> None:
        """Set the flag and wake everybody who waits for it."""
        with self._condition:
            self._set = True
            self._condition.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait for the flag; False when it is not set after ``timeout`` seconds."""
        with self._condition:
            if not self._set:
                self._condition.wait(max(0.0, timeout))
            return self._set


def start_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread with all signals blocked, so that signals go to the threads of the test.

    The mask is inherited, hence set around the start: a thread that blocked its signals itself would be
    open to them for a moment. Raises RuntimeError when the system refuses a thread.
    """
    thread = _Thread(target=target, name=name, daemon=True)
    if _mask is None:  # Windows has no masks
        _start(thread)
        return thread
    # Read before it is changed: a signal that arrives in between raises here, with nothing to restore.
    previous = _mask(signal.SIG_BLOCK, ())
    try:
        _mask(signal.SIG_BLOCK, _every_signal)
        _start(thread)
    finally:
        _mask(signal.SIG_SETMASK, previous)
    return thread
