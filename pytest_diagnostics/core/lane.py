"""A lane: the daemon thread of one blocking collector, with one call in flight."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from .threads import start_thread

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Lane:
    """Runs one job after another; refuses a job while one is running."""

    def __init__(self, name: str, notify: Callable[[], None]) -> None:
        """``notify`` is called, in the lane's thread, after each job."""
        self._name = name
        self._notify = notify
        self._wake = threading.Condition(threading.Lock())
        #: Guarded by _wake: the job that waits or runs, and whether the lane shall end.
        self._job: Callable[[], None] | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        #: Set to cut a wait between retries short.
        self.interrupted = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def busy(self) -> bool:
        """Whether a job waits or runs."""
        return self._job is not None

    @property
    def closed(self) -> bool:
        """Whether the lane was closed and its last job has ended."""
        return self._closing and self._job is None

    def submit(self, job: Callable[[], None]) -> bool:
        """Run ``job`` in the lane's thread; False when the lane is busy or closed.

        Raises RuntimeError when the system refuses the thread.
        """
        with self._wake:
            if self._job is not None or self._closing:
                return False
            if self._thread is None:
                self._thread = start_thread(self._run, self._name)
            self._job = job
            self._wake.notify()
        return True

    def close(self) -> None:
        """End the thread after the running job; never waits."""
        self.interrupted.set()
        with self._wake:
            self._closing = True
            self._wake.notify()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False when it is still there after ``timeout`` seconds."""
        if self._thread is None:
            return True
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def is_current(self) -> bool:
        """Whether the caller runs in this lane."""
        return self._thread is threading.current_thread()

    def run_async(self, awaitable: Awaitable[T], timeout: float) -> T:
        """Run an awaitable to its end in a loop of the lane's own; cancels it after ``timeout`` seconds."""
        import asyncio  # only who has an async collector pays for it

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(asyncio.wait_for(awaitable, timeout))

    def _run(self) -> None:
        while True:
            with self._wake:
                while self._job is None and not self._closing:
                    self._wake.wait()
                job = self._job
            if job is None:
                break
            try:
                job()
            finally:
                with self._wake:
                    self._job = None
                self._notify()
        if self._loop is not None:
            self._loop.close()
