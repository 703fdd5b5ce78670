"""The ports: what the manager needs from the outside, and what a recorder is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, runtime_checkable

from .model import DiagnosticResult, Record

#: Changes a result on its way to the sinks, or drops it by returning None.
Processor = Callable[[DiagnosticResult], "DiagnosticResult | None"]

#: Is told every record; its return value is ignored.
Subscriber = Callable[[Record], object]


@runtime_checkable
class Sink(Protocol):
    """Takes the records of a manager, in order, from one thread at a time.

    One that gathers records, to write several at once, may have a method ``settle()``: it is called at
    the end of each tick, when every record of it was handed out. One whose attribute
    ``wants_executions`` is False is not told of calls that succeeded: their results tell of them.
    """

    def write(self, record: Record) -> object:
        """Take one record. Raising is counted against the sink and reaches nobody else."""

    def close(self) -> object:
        """Write what is held back. Called at the end of a run, after its last record.

        A manager that is started again writes to its sinks again.
        """


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""

    def wall(self, monotonic: float) -> datetime:
        """Return the UTC time of a monotonic moment, by the anchor taken when the clock was made."""

    def drift(self) -> float | None:
        """Return how far the wall clock has moved against the anchor, in seconds; None where unknown."""

    def suspended(self) -> float | None:
        """Return how long the machine was suspended since the anchor, in seconds; None where unknown."""

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        """Wait on a held condition; True when notified, False after ``timeout`` seconds."""
