"""A lane: the daemon thread of one blocking collector, with one call in flight."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from .protocols import Clock
from .threads import current_ident, new_condition, start_thread

if TYPE_CHECKING:
    from .asynchronous import AsyncRunner

T = TypeVar("T")


class Lane:
    """Runs one job after another; refuses a job while one is running."""

    def __init__(self, name: str, clock: Clock, notify: Callable[[], None]) -> None:
        """``notify`` is called, in the lane's thread, after each job and at the thread's end."""
        self._name = name
        self._clock = clock
        self._notify = notify
        #: Guards everything below.
        self._wake = new_condition()
        #: The job that waits or runs.
        self._job: Callable[[], None] | None = None
        #: What is to be done after it, before the thread ends.
        self._last: Callable[[], None] | None = None
        self._closing = False
        self._ended = False
        self._interrupted = False
        self._thread: threading.Thread | None = None
        self._runner: AsyncRunner | None = None

    @property
    def busy(self) -> bool:
        """Whether a job waits or runs, the last one included."""
        return self._job is not None or (self._closing and not self._ended)

    @property
    def closed(self) -> bool:
        """Whether the lane was closed and its last job has ended."""
        return self._ended

    def submit(self, job: Callable[[], None]) -> bool:
        """Run ``job`` in the lane's thread; False when the lane is busy or closed.

        Raises RuntimeError when the system refuses the thread.
        """
        with self._wake:
            if self._job is not None or self._closing:
                return False
            self._need_thread()
            self._job = job
            self._wake.notify_all()
        return True

    def close(self, last: Callable[[], None] | None = None) -> bool:
        """End the thread after the running job and ``last``; never waits. False when closed before.

        Raises RuntimeError when there is no thread yet and the system refuses one.
        """
        with self._wake:
            if self._closing:
                return False
            if last is not None:
                self._need_thread()
            self._closing = self._interrupted = True
            self._last = last
            self._ended = self._thread is None
            self._wake.notify_all()
        return True

    def interrupt(self) -> None:
        """Cut this and every later wait between retries short."""
        with self._wake:
            self._interrupted = True
            self._wake.notify_all()

    def pause(self, seconds: float) -> bool:
        """Wait, in the lane's thread, between two tries; False when the wait was cut short."""
        until = self._clock.monotonic() + seconds
        with self._wake:
            while not self._interrupted:
                remaining = until - self._clock.monotonic()
                if remaining <= 0:
                    return True
                self._clock.wait(self._wake, remaining)
        return False

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False when it is still there after ``timeout`` seconds."""
        if self._thread is None:
            return True
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def after_fork_in_child(self) -> None:
        """End, should it be this very thread that forked: the child is not ours to collect in."""
        self._wake = new_condition()
        self._job = self._last = None
        self._closing = True
        self._notify = _nobody

    def is_current(self) -> bool:
        """Whether the caller runs in this lane."""
        return self._thread is not None and self._thread.ident == current_ident()

    def run_async(self, awaitable: Awaitable[T], timeout: float) -> T:
        """Run an awaitable to its end in a loop of the lane's own; cancels it after ``timeout`` seconds."""
        if self._runner is None:
            from .asynchronous import AsyncRunner  # only who has an async collector pays for it

            self._runner = AsyncRunner(self._clock.monotonic)
        return self._runner.run(awaitable, timeout)

    def _need_thread(self) -> None:
        if self._thread is None:
            self._thread = start_thread(self._run, self._name)

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                try:
                    job()
                finally:
                    with self._wake:
                        self._job = None
                    self._notify()
            if self._last is not None:
                self._last()
        finally:
            try:
                if self._runner is not None:
                    self._runner.close()
            finally:
                self._ended = True
                self._notify()

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while self._job is None and not self._closing:
                self._wake.wait()
            return self._job


def _nobody() -> None:
    """Stand for the owner, who is in the parent process."""
