"""A collector's one state, from its successes and failures. Pure."""

from __future__ import annotations

from .model import Health, HealthState

#: Failures in a row that make a collector DEGRADED, then FAILING.
DEGRADED_AFTER = 2
FAILING_AFTER = 5
#: The longest pause between two tries of a FAILING or UNAVAILABLE collector, unless its interval is longer.
MAX_BACK_OFF_SECONDS = 60.0


class HealthTracker:
    """Keeps the account of one collector. Every method that may change the state returns whether it did."""

    def __init__(self, collector_name: str) -> None:
        self.collector_name = collector_name
        self.state = HealthState.UNKNOWN
        #: The state before the last change.
        self.previous = HealthState.UNKNOWN
        self.reason: str | None = None
        self.next_run: float | None = None
        self.last_run: float | None = None
        self.last_success: float | None = None
        self.failures_in_row = 0
        self.runs = 0
        self.failures = 0
        self.timeouts = 0
        self.missed = 0
        self.seconds_total = 0.0
        self.coerced = 0
        self.truncated = 0
        self._probes_failed = 0

    @property
    def is_active(self) -> bool:
        """Whether the collector is to be asked at its ticks and in the final collection."""
        return self.state not in (HealthState.DISABLED, HealthState.UNAVAILABLE)

    def succeeded(self, at: float) -> bool:
        """Note a success; it does not bring back what was disabled while the call was in flight."""
        self.last_success = at
        self.failures_in_row = 0
        if self.state is HealthState.DISABLED:
            return False
        return self._become(HealthState.HEALTHY, None)

    def failed(self, reason: str) -> bool:
        """Note a failure; its state is DEGRADED from the second in a row, FAILING from the fifth."""
        self.failures += 1
        self.failures_in_row += 1
        if self.state is HealthState.DISABLED:
            return False
        if self.failures_in_row >= FAILING_AFTER:
            return self._become(HealthState.FAILING, reason)
        if self.failures_in_row >= DEGRADED_AFTER:
            return self._become(HealthState.DEGRADED, reason)
        return False

    def disable(self, reason: str) -> bool:
        """Note that the collector is asked no more."""
        return self._become(HealthState.DISABLED, reason)

    def enable(self) -> bool:
        """Note that a disabled collector is to be asked again."""
        if self.state is not HealthState.DISABLED:
            return False
        self.failures_in_row = 0
        return self._become(HealthState.UNKNOWN, None)

    def unavailable(self, reason: str) -> bool:
        """Note that the collector's probe says that it cannot work here."""
        self._probes_failed += 1
        if self.state is HealthState.DISABLED:
            return False
        return self._become(HealthState.UNAVAILABLE, reason)

    def available(self) -> bool:
        """Note that a probe that had failed succeeded."""
        self._probes_failed = 0
        if self.state is not HealthState.UNAVAILABLE:
            return False
        self.failures_in_row = 0
        return self._become(HealthState.UNKNOWN, None)

    def back_off_seconds(self, interval: float) -> float:
        """Return the pause before the next try: the interval, doubled for each failure beyond the state's."""
        if self.state is HealthState.FAILING:
            doublings = self.failures_in_row - FAILING_AFTER + 1
        elif self.state is HealthState.UNAVAILABLE:
            doublings = self._probes_failed
        else:
            return interval
        return max(interval, min(interval * 2.0 ** min(doublings, 30), MAX_BACK_OFF_SECONDS))

    def account(self) -> Health:
        """Return the state as a frozen value."""
        return Health(
            collector_name=self.collector_name,
            state=self.state,
            reason=self.reason,
            next_run=self.next_run,
            last_run=self.last_run,
            last_success=self.last_success,
            failures_in_row=self.failures_in_row,
            runs=self.runs,
            failures=self.failures,
            timeouts=self.timeouts,
            missed=self.missed,
            seconds_total=self.seconds_total,
            coerced=self.coerced,
            truncated=self.truncated,
        )

    def _become(self, state: HealthState, reason: str | None) -> bool:
        changed = state is not self.state
        if changed:
            self.previous = self.state
        self.state = state
        self.reason = reason
        return changed
