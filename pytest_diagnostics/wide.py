"""Fixtures above function scope have rows of their own: what they cost is not charged to any test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .attachment import fixture_name

if TYPE_CHECKING:
    from .phases import PhaseHooks
    from .system.usage import Window


class WideFixture:
    """The set-up and teardown of one fixture above function scope: kept out of the test around it."""

    def __init__(
        self, hooks: PhaseHooks, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> None:
        self._hooks = hooks
        self._name = fixture_name(fixturedef.argname)
        self._scope = request.scope
        self._phase = ""
        self._window: Window | None = None

    def begin(self, phase: str) -> None:
        """Open the window."""
        self._phase = phase
        self._window = self._hooks.reader.open(exclude=True)

    def end(self) -> None:
        """Close the window and write its record."""
        window, self._window = self._window, None
        if window is None:
            return
        usage, absent = self._hooks.reader.close(window)
        attempt = self._hooks.attempt
        self._hooks.shard.append(
            "fixture",
            {
                "name": self._name,
                "scope": self._scope,
                "worker": self._hooks.worker,
                "phase": self._phase,
                "during": attempt.item.nodeid if attempt is not None else "",
                "start": window.start,
                "end": window.end,
                "usage": usage,
                "absent": absent,
            },
        )

    def begin_teardown(self) -> None:
        """Run as the first of the fixture's finalizers."""
        self._hooks.guard(self.begin, "teardown")

    def end_teardown(self) -> None:
        """Run as the last of the fixture's finalizers."""
        self._hooks.guard(self.end)
