"""The base class of collectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .handlers import ExceptionHandler


class DiagnosticCollector(ABC):
    """Asks one source. A subclass implements ``collect``; everything else is optional.

    A subclass need not call ``super().__init__()``: name and handler have defaults of their own.
    """

    #: Seconds between two collections; None means the manager's interval.
    interval: ClassVar[float | None] = None
    #: Seconds after which a call counts as hung; None means the interval, but 1 to 30 seconds.
    timeout: ClassVar[float | None] = None
    #: True gives the collector a thread (a lane) of its own. False is for collectors that only read
    #: local kernel files: they share the manager's thread and must never wait for anything.
    blocking: ClassVar[bool] = True
    #: True when ticks must fall on the same instant as the other aligned collectors', so that their
    #: values can be compared. Others of equal interval are spread over it.
    aligned: ClassVar[bool] = False
    #: True promises that ``collect`` returns a new dict of what JSON can say (text keys, finite numbers), at
    #: most 64 KiB and 8 levels deep: then it is recorded as it is, without being looked through and copied.
    #: A derived class promises it anew, or does not.
    plain: ClassVar[bool] = False
    #: Where collectors that write files of their own put them, relative to a directory they are given.
    root_dir: ClassVar[Path] = Path("diagnostics")

    _name: str | None = None
    exception_handler: ExceptionHandler | None = None
    #: When what ``collect`` just returned was read, in seconds on CLOCK_MONOTONIC; None: when the call began.
    #: For data that lay ready, and of which nothing is younger. A result carries this moment as its time.
    as_of: float | None = None
    #: For how many seconds (up to 60) no tick asks again once this call ended: set by a ``collect`` that
    #: finds its source slow. Such ticks are not missed ones; who asks for a collection has it all the same.
    rest_seconds: float = 0.0

    def __init__(self, name: str | None = None, exception_handler: ExceptionHandler | None = None) -> None:
        """Name the collector (default: its class's name) and give it a handler (default: the manager's)."""
        self._name = name
        self.exception_handler = exception_handler

    @property
    def name(self) -> str:
        """The name by which results, health and series know this collector."""
        return self._name or type(self).__name__

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    def probe(self) -> str | None:
        """Return why this collector cannot work here, or None when it can. Called before ``start``."""
        return None

    def start(self) -> object:
        """Open what is needed for a run. Called in the thread that will collect; may be ``async def``.

        All signals are blocked there, and a child process inherits that: end it with SIGKILL, or spawn it
        by ``os.posix_spawn`` with an empty ``setsigmask``.
        """
        return None

    @abstractmethod
    def collect(self) -> object:
        """Return this tick's data, JSON-able, as a new object. May be ``async def``."""

    def attend(self, name: Sequence[str]) -> object:  # noqa: ARG002 - part of the contract
        """Have results tell of the thing of this name from now on.

        For collectors that tell of a part of what there is. ``name`` is in parts, as keyspace and view;
        called from any thread, by whoever waits for that thing.
        """
        return None

    def store(self, result: object) -> object:  # noqa: ARG002 - part of the contract, unused by default
        """Keep the very object that ``collect`` returned. Raising is an error of stage STORE."""
        return None

    def stop(self) -> object:
        """Close what ``start`` opened. Called even when ``start`` failed; may be ``async def``."""
        return None

    def clean(self) -> object:
        """Forget the run's data. Called once after ``stop``, and not when the collector hangs."""
        return None

    def safe_collect(self) -> object:
        """Return what ``collect`` returns, or None when it raises. Never raises an ``Exception``.

        For use outside a manager; a manager keeps the error. A collector with an ``async def``
        ``collect`` needs a manager, which has a loop for it: here it gives None.
        """
        try:
            data = self.collect()
        except Exception:  # noqa: BLE001 - the promise of this method
            return None
        close = getattr(data, "close", None)
        if hasattr(data, "__await__"):
            if callable(close):
                close()
            return None
        return data

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
