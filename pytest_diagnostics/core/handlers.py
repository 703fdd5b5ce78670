"""What to do when a collector fails."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .collector import DiagnosticCollector


class ExceptionStrategy(str, Enum):
    """The answer of a handler."""

    #: Record the error; the next tick comes as planned.
    CONTINUE = "continue"
    #: Try again at once, a bounded number of times, in the collector's own lane.
    RETRY = "retry"
    #: Record the error and collect from this collector no more.
    DISABLE = "disable"
    #: Record the error and stop the whole manager, after a final collection.
    STOP = "stop"

    def __str__(self) -> str:
        return self.value


class ExceptionHandler:
    """Decides what a failure means. One serves a manager, or a collector that has its own.

    Both may be exchanged while a manager runs: it asks at the moment of the failure.
    """

    #: RETRY tries this many times more, waiting ``retry_delay_seconds``, then twice that, and so on.
    max_retries: int = 3
    retry_delay_seconds: float = 0.1

    def __init__(self, strategy: ExceptionStrategy = ExceptionStrategy.CONTINUE) -> None:
        """Answer every failure with ``strategy``; subclasses decide case by case."""
        self.strategy = strategy

    def handle_exception_during_collecting(
        self,
        collector: DiagnosticCollector,  # noqa: ARG002 - for subclasses that decide by collector
        exc: Exception,  # noqa: ARG002 - for subclasses that decide by exception
    ) -> ExceptionStrategy:
        """Return the strategy for an exception from ``collect``."""
        return self.strategy

    def handle_exception_during_storing(
        self,
        collector: DiagnosticCollector,  # noqa: ARG002 - for subclasses that decide by collector
        exc: Exception,  # noqa: ARG002 - for subclasses that decide by exception
    ) -> ExceptionStrategy:
        """Return the strategy for an exception from ``store``; RETRY means CONTINUE here."""
        return self.strategy
