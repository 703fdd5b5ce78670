"""Judges the limits that tests declare, by what the test did and not by what our own threads do meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .attachment import may_be_expected_to_fail
from .core.clock import SystemClock
from .core.threads import Flag

if TYPE_CHECKING:
    from .analysis.schema import Limit
    from .attempt import Attempt
    from .live import LiveCollectors
    from .system.usage import UsageReader

#: How long and how often descriptors are counted where a limit asks for it.
SETTLING_SECONDS = 0.1
SETTLED_COUNTS = 10
PAUSE_SECONDS = 0.0005

_enumerate = threading.enumerate


def own_threads() -> int:
    """Return how many threads of ours there are in this process; each has a name that says so."""
    return sum(thread.name.startswith("diagnostics") for thread in _enumerate())


class Judge:
    """Takes what limits need beyond a phase's figures, for tests that declare some."""

    def __init__(self, reader: UsageReader, live: LiveCollectors) -> None:
        self._reader = reader
        self._live = live
        self._clock = SystemClock()

    def begin(self, attempt: Attempt) -> None:
        """Count, before a test begins, what it may leak."""
        if self._live.limits(attempt.item):
            attempt.own_threads = own_threads()
            self.count(attempt)

    def count(self, attempt: Attempt) -> None:
        """Count descriptors for a limit on them: our threads hold some for a millisecond at a time."""
        if "fds_leaked" not in self._live.limits(attempt.item):
            return
        counts: list[int] = []
        began = self._clock.monotonic()
        while True:
            now = self._reader.edge()
            count = self._reader.delta(now, now)[0].get("fds")
            if count is None:
                return
            counts.append(count)
            settled = len(counts) >= SETTLED_COUNTS and not self._live.collecting()
            if settled or self._clock.monotonic() - began >= SETTLING_SECONDS:
                attempt.fds.append(min(counts))
                return
            Flag().wait(PAUSE_SECONDS)  # lets our threads go on, and calls no sleep that a test may mock

    def exceeded(self, attempt: Attempt | None) -> str:
        """Judge the limits of a test whose call passed; return the message of a failure, empty for none."""
        limits = self._live.limits(attempt.item) if attempt is not None else {}
        if attempt is None or not limits or attempt.failed_subtests():
            return ""
        from .analysis.limits import message

        judged = self._judged(attempt, limits)
        if may_be_expected_to_fail(attempt.item):
            for limit in judged:
                limit["state"] = "not checked"
                limit["detail"] = "the test is expected to fail"
        attempt.limits = [dict(limit) for limit in judged]
        attempt.exceeded = message(judged)
        return attempt.exceeded

    def _judged(self, attempt: Attempt, limits: dict[str, float]) -> list[Limit]:
        from .analysis.limits import judge

        setup, call = dict(attempt.figures("setup")), dict(attempt.figures("call"))
        absent = {**attempt.absent.get("setup", {}), **attempt.absent.get("call", {})}
        if "threads_change" in call:
            call["threads_change"] -= own_threads() - attempt.own_threads
        for usage, change in zip((setup, call), attempt.fds_changes(), strict=False):
            usage["fds_change"] = change
        return judge(limits, setup, call, absent)
