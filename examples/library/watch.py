"""The manager without pytest: watch the machine while a program does its work."""

from __future__ import annotations

import time

from pytest_diagnostics import (
    CPUCollector,
    DiagnosticCollector,
    DiagnosticManager,
    DiagnosticResult,
    ExceptionHandler,
    ExceptionStrategy,
    MemoryCollector,
)
from pytest_diagnostics.core.model import Record


class QueueCollector(DiagnosticCollector):
    """A source of our own; this one is out of order now and then."""

    def __init__(self) -> None:
        """Begin with an empty queue."""
        super().__init__("queue")
        self.waiting = 0

    def collect(self) -> dict[str, int]:
        """Return what waits, or raise: an error becomes a result with a reason."""
        self.waiting += 1
        if self.waiting == 3:
            raise ConnectionError("the queue's server is away")
        return {"waiting": self.waiting}


def tell(record: Record) -> None:
    """Print errors as they happen; subscribers are called in the manager's threads."""
    if isinstance(record, DiagnosticResult) and record.error is not None:
        print(f"{record.collector_name}: {record.error}")


def main() -> None:
    """Do some work and look back at it."""
    manager = DiagnosticManager(
        [CPUCollector(), MemoryCollector(), QueueCollector()],
        interval=0.1,
        exception_handler=ExceptionHandler(ExceptionStrategy.CONTINUE),
    )
    manager.subscribe(tell)
    with manager:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            sum(number * number for number in range(10_000))
        now = manager.collect_all()

    print("asked for:", ", ".join(name for name in now if name != "timestamp"))
    for name in manager.collectors:
        mine = [result for result in manager.get_results() if result.collector_name == name]
        failed = sum(not result.collected for result in mine)
        print(f"{name}: {len(mine)} results, {failed} failed, {manager.health(name).state}")


if __name__ == "__main__":
    main()
