"""What is known of the attempt at a test that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest

from .attachment import failure_line, outcome_of

if TYPE_CHECKING:
    from .core.figures import Usage
    from .recorder.kinds import Pending
    from .system.usage import Window


@dataclass
class Attempt:
    """What is known of the test that runs."""

    item: pytest.Item
    #: False for a test marked no_diagnostics.
    watched: bool
    #: What names it in every record that belongs to it.
    identity: Mapping[str, object]
    #: Whether it declares limits.
    limited: bool = False
    when: str = ""
    window: Window | None = None
    start: float = 0.0
    #: The record of a phase whose outcome its report has yet to tell.
    pending: dict[str, object] | None = None
    usage: dict[str, Usage] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    subtests: list[dict[str, object]] = field(default_factory=list)
    limits: list[dict[str, object]] = field(default_factory=list)
    #: How many threads of ours there were when it began; counted for tests with limits only.
    own_threads: int = 0
    #: Open descriptors before setup, after it and after the call, and what wide fixtures opened in each.
    fds: list[int] = field(default_factory=list)
    inner_fds: list[int] = field(default_factory=list)
    #: What the test was failed with for its limits, if it was.
    exceeded: str = ""
    #: Phases whose failure was recorded, attached and asked about.
    told: set[str] = field(default_factory=set)
    #: Collections asked for by failing phases: reason and what waits for the results.
    demands: list[tuple[str, list[Pending]]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def failed_subtests(self) -> int:
        """Return how many subtests failed so far."""
        return sum(subtest["outcome"] == "failed" for subtest in self.subtests)

    def outcome(self, report: pytest.TestReport) -> str:
        """Return the outcome that a report means: pytest fails a test for its subtests later, in places."""
        if report.when == "call" and report.passed and self.failed_subtests():
            return "failed"
        return outcome_of(report)

    def failure(self, report: pytest.TestReport) -> str:
        """Return why a phase failed, in one line."""
        if report.failed and report.longrepr:
            return failure_line(report)
        count = self.failed_subtests()
        return f"contains {count} failed subtest{'s' if count > 1 else ''}"

    def figures(self, when: str) -> Mapping[str, float]:
        """Return a phase's figures by name."""
        return cast("Mapping[str, float]", self.usage.get(when, {}))

    def fds_changes(self) -> list[int]:
        """Return how many descriptors setup and call opened and left open, where they were counted."""
        if len(self.fds) < 3:
            return []
        changes = [after - before for before, after in pairwise(self.fds)]
        return [change - inner for change, inner in zip(changes, self.inner_fds, strict=False)]
