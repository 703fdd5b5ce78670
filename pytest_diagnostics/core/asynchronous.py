"""The event loop of one lane. Imported only where a collector is asynchronous: asyncio costs 95 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class _LaneEventLoop(asyncio.SelectorEventLoop):
    """A loop whose time a test cannot freeze, and which tells nobody's log what a collector left undone."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        super().__init__()
        self.set_debug(False)
        self.set_exception_handler(_ignore)

    def time(self) -> float:
        return self._monotonic()


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Say nothing: asyncio's own handler writes to a log that a test may be reading."""


class AsyncRunner:
    """Runs awaitables, one after another, in the thread that made it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """``monotonic`` gives the time by which timeouts are measured."""
        self._loop = _LaneEventLoop(monotonic)

    def run(self, awaitable: Awaitable[T], timeout: float) -> T:
        """Run an awaitable to its end; cancels it after ``timeout`` seconds and raises TimeoutError."""
        return self._loop.run_until_complete(_within(awaitable, timeout))

    def close(self) -> None:
        """Cancel what is left and close the loop."""
        try:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=1.0))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


async def _within(awaitable: Awaitable[T], timeout: float) -> T:
    task = asyncio.ensure_future(awaitable)
    done, _ = await asyncio.wait({task}, timeout=timeout)
    if not done:
        task.cancel()
        # One that refuses to be cancelled keeps its lane busy, as any call that hangs does.
        await asyncio.wait({task})
        raise TimeoutError(f"no answer within {timeout:g} s; the call was cancelled")
    return task.result()
