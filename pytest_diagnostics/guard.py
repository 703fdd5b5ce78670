"""The guard between our failures and the run that we watch."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest

from .core.clock import Pid

P = ParamSpec("P")
T = TypeVar("T")

#: Different troubles that are told; of more, only the number.
MAX_TROUBLES = 20


class Guard:
    """Runs our own calls so that nothing they raise reaches pytest, and remembers what they raised.

    It wraps calls of ours, never a hook's ``yield``. What is not ours passes: ``pytest.exit`` (an
    ``Exception``, whose loss would change the exit code), outcomes, ``KeyboardInterrupt``. In a forked
    child that goes on running tests, nothing is called at all: its parent owns the files.
    """

    def __init__(self) -> None:
        self._current = Pid.current
        self._pid = self._current()
        self._troubles: dict[str, int] = {}

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what ``call`` returns, or None when it fails."""
        if self._pid != self._current():
            return None
        try:
            return call(*args, **kwargs)
        except pytest.exit.Exception:
            raise
        except Exception as exc:  # noqa: BLE001 - the point of a guard
            self.note(f"{getattr(call, '__qualname__', call)} failed: {type(exc).__name__}: {exc}")
            return None

    @property
    def active(self) -> bool:
        """Whether this is the process that the guard was made in."""
        return self._pid == self._current()

    def note(self, trouble: str) -> None:
        """Remember a trouble for the health line."""
        if trouble in self._troubles or len(self._troubles) < MAX_TROUBLES:
            self._troubles[trouble] = self._troubles.get(trouble, 0) + 1
        else:
            self._troubles["and others"] = self._troubles.get("and others", 0) + 1

    @property
    def troubles(self) -> list[str]:
        """What failed, each once, with its number when it failed more often."""
        return [f"{text} ({count} times)" if count > 1 else text for text, count in self._troubles.items()]
