"""What hosts collectors, wherever it runs, as the pytest edge sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ..core.collector import DiagnosticCollector
from ..core.model import DiagnosticResult


class Pending(Protocol):
    """A collection that was asked for and is awaited later."""

    @property
    def results(self) -> Mapping[str, DiagnosticResult]:
        """What came so far, by the collectors' names."""

    @property
    def missing(self) -> list[str]:
        """The names of the collectors whose result is not there yet."""

    def wait(self, timeout: float) -> bool:
        """Wait until every result is there; False when some are not after ``timeout`` seconds."""


class Recorder(Protocol):
    """What hosts collectors. ``kind`` is process or thread, ``where`` says it for a person."""

    kind: str
    where: str

    def start(self) -> None:
        """Begin to collect; never waits for a collector and never raises for what the system refuses."""

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""

    @property
    def is_collecting(self) -> bool:
        """Whether a collector is being asked by this very process at this moment."""

    @property
    def names(self) -> list[str]:
        """The collectors that run here for this process."""

    def request(self, names: Iterable[str] | None = None) -> Pending | None:
        """Ask for a result of the named collectors (default: all) now; None when nobody can answer."""

    def collect_now(
        self, names: Iterable[str], timeout: float, about: Sequence[str] = ()
    ) -> Mapping[str, DiagnosticResult]:
        """Ask, and wait for the results; those that are not there in time are missing.

        ``about`` names, in parts, what results are to tell of that tell of a part only.
        """

    def latest(self) -> dict[str, DiagnosticResult]:
        """Return the newest result of every collector without asking any."""

    def results(self, since: float) -> list[DiagnosticResult]:
        """Return what was collected since a moment on CLOCK_MONOTONIC, oldest first."""

    def remove(self, name: str, timeout: float) -> None:
        """Make a collector's final collection and let it go."""

    def stop(self, timeout: float) -> None:
        """Make the final collection and end, within ``timeout`` seconds."""

    @property
    def problems(self) -> list[str]:
        """Sentences about what went wrong, for the health line."""


class ObjectRecorder(Recorder, Protocol):
    """A recorder of this process, which takes collectors that are live objects."""

    def add(self, collector: DiagnosticCollector) -> None:
        """Collect from one more collector; raises ConfigurationError for a taken name."""


class NamedRecorder(Recorder, Protocol):
    """A recorder elsewhere, which makes collectors by their names."""

    def add_named(self, names: Iterable[str], interval: float | None) -> None:
        """Collect from more collectors, for this process' tests only."""
