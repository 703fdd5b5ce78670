"""What collectors have in common that hand the answers of a poll to a reader of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from ...core.clock import SystemClock
from ...core.handlers import ExceptionHandler
from .queries import Answers, Query
from .target import Target
from .watch import CassandraCollector


class Reader(Protocol):
    """Makes data of answers; it remembers earlier ones."""

    def queries(self, moment: float) -> Sequence[Query]:
        """Return what to ask at a moment on CLOCK_MONOTONIC: what changes slowly is asked for rarely."""

    def read(self, answers: Answers) -> dict[str, object]:
        """Return the data of one poll."""

    def attend(self, keyspace: str, name: str) -> None:
        """Tell of this view or index in any case from now on."""


class ReadingCollector(CassandraCollector):
    """Asks what its reader wants to know."""

    def __init__(
        self,
        target: Target | Mapping[str, object] | None = None,
        *,
        session: object | None = None,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
    ) -> None:
        """See ``CassandraCollector``."""
        super().__init__(target, session=session, name=name, exception_handler=exception_handler)
        self._clock = SystemClock()
        self._reader = self.make_reader(self._clock)

    @abstractmethod
    def make_reader(self, clock: SystemClock) -> Reader:
        """Return a new reader, which tells the time of day by ``clock``."""

    def wanted(self) -> Sequence[Query]:
        """Return what the reader wants to know now."""
        return self._reader.queries(self._clock.monotonic())

    def read(self, answers: Answers) -> dict[str, object]:
        """Return the data of one poll."""
        return self._reader.read(answers)

    def attend(self, name: Sequence[str]) -> None:
        """Tell of a view or an index, ``(keyspace, …, name)``, in a large cluster, too."""
        self._reader.attend(name[0], name[-1])
