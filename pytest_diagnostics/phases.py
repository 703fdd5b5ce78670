"""The hooks around every test: exact usage per phase, records, limits, collections on demand."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING

import pytest

from .attachment import (
    attach,
    collection,
    may_yet_be_xfailed,
    outcome_of,
    subtest_name,
)
from .attempt import Attempt
from .core.clock import Pid, SystemClock
from .guard import Guard
from .judging import Judge
from .live import LiveCollectors
from .wide import WideFixture

if TYPE_CHECKING:
    from .core.figures import Usage
    from .settings import Settings
    from .storage.shard import Shard
    from .system.usage import UsageReader, Window

#: How long the end of a test waits for the collection that its failure asked for, and all tests together.
REPLY_SECONDS = 0.05
REPLY_SECONDS_A_RUN = 5.0

_OCCURRENCE = pytest.StashKey[int]()
_ATTEMPTS = pytest.StashKey[int]()


class PhaseHooks:
    """Registered where tests run: in the main process, or in every worker."""

    def __init__(
        self, settings: Settings, guard: Guard, shard: Shard, reader: UsageReader, live: LiveCollectors
    ) -> None:
        self.settings = settings
        self.guard = guard
        self.shard = shard
        self.reader = reader
        self.live = live
        self.worker = live.worker
        self.pid = Pid.current()
        self.clock = SystemClock()
        self.judge = Judge(reader, live)
        self.attempt: Attempt | None = None
        self.edges = 0
        self.edge_seconds = 0.0
        self._reply_seconds_left = REPLY_SECONDS_A_RUN
        self._debugger: Window | None = None

    # -- identity

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Number tests that were collected more than once."""
        self.guard(self._number, items)
        refusal = self.guard(self.live.check_markers, items)
        if refusal and self.worker == "main":
            # In an xdist worker this would be a crash: there the tests concerned fail.
            raise pytest.UsageError(refusal)

    # -- phases

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Account the setup."""
        __tracebackhide__ = True  # pytest shows a wrapper's frame when a test's own decorator raises
        self.guard(self._begin_attempt, item)
        self.guard(self._begin, "setup")
        try:
            if self.live.refusal(item):
                pytest.fail(self.live.refusal(item), pytrace=False)
            return (yield)
        finally:
            self.guard(self._end)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Account the call, and judge the limits of a test that passed."""
        __tracebackhide__ = True
        self.guard(self._begin, "call")
        try:
            result = yield
        finally:
            self.guard(self._end)
        attempt = self.attempt
        if attempt is not None and attempt.limited:
            exceeded = self.guard(self.judge.exceeded, attempt)
            if exceeded:
                pytest.fail(exceeded, pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """Account the teardown, then take what the failing phases asked for."""
        __tracebackhide__ = True
        # A collector that a fixture added may use what that fixture closes: it ends before any of them.
        if self.live.has_added:
            self.guard(self.live.end_added)
        self.guard(self._begin, "teardown")
        passed = False
        try:
            result = yield
            passed = True
            return result
        finally:
            self.guard(self._end)
            self.guard(self._after_teardown, passed)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Write the phase's record and attach to its report; innermost, so that others see it attached."""
        report = yield
        self.guard(self._reported, item, call, report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what only the final report knows: subtests, and outcomes changed after the fact."""
        self.guard(self._logged, report)

    # -- what is not a test's own: wide fixtures and time in a debugger

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Give fixtures above function scope rows of their own."""
        __tracebackhide__ = True
        if fixturedef.scope == "function":
            return (yield)
        wide = WideFixture(self, fixturedef, request)
        self.guard(wide.begin, "setup")
        # Finalizers run in reverse: this one after the fixture's own, the one below before it.
        request.addfinalizer(wide.end_teardown)
        try:
            return (yield)
        finally:
            self.guard(wide.end)
            request.addfinalizer(wide.begin_teardown)

    def pytest_enter_pdb(self) -> None:
        """Stop the clock of the phase while a person debugs it."""
        if self.attempt is not None and self.attempt.window is not None:
            self._debugger = self.guard(self.reader.open, exclude=True)

    def pytest_leave_pdb(self) -> None:
        """Let it run again."""
        window, self._debugger = self._debugger, None
        if window is not None:
            self.guard(self.reader.close, window)

    # -- inside

    def identity(self) -> Mapping[str, object]:
        """Return what names the attempt that runs, for records that belong to it."""
        return self.attempt.identity if self.attempt is not None else {}

    def finish(self) -> None:
        """Write the phase that an interruption left without a report."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None and attempt.pending is not None:
            self.shard.append("phase", {**attempt.pending, "outcome": "interrupted"})

    def _number(self, items: Iterable[pytest.Item]) -> None:
        seen: dict[str, int] = {}
        for item in items:
            count = seen.get(item.nodeid, 0)
            seen[item.nodeid] = count + 1
            if count:
                item.stash[_OCCURRENCE] = count

    def _begin_attempt(self, item: pytest.Item) -> None:
        number = item.stash[_ATTEMPTS] = item.stash.get(_ATTEMPTS, 0) + 1
        watched = item.get_closest_marker("no_diagnostics") is None
        identity = {
            "nodeid": item.nodeid,
            "occurrence": item.stash.get(_OCCURRENCE, 0),
            "attempt": number,
            "worker": self.worker,
            "pid": self.pid,
        }
        self.attempt = Attempt(item, watched, identity)
        self.shard.append("test", {**identity, "monotonic": self.clock.monotonic()})
        if watched:
            self.guard(self.live.begin_test, item)
            self.attempt.limited = bool(self.live.limits(item))
            if self.attempt.limited:
                self.guard(self.judge.begin, self.attempt)

    def _begin(self, when: str) -> None:
        attempt = self.attempt
        if attempt is None:
            return
        began = self.clock.monotonic()
        attempt.when = when
        attempt.start = began
        if attempt.watched:
            window = attempt.window = self.guard(self.reader.open)
            if window is not None:
                attempt.start = window.start
            self.edges += 1
            self.edge_seconds += self.clock.monotonic() - began

    def _end(self) -> None:
        attempt = self.attempt
        if attempt is None or not attempt.when:
            return
        self.pytest_leave_pdb()  # whoever quits the debugger never leaves it
        began = end = self.clock.monotonic()
        window, attempt.window = attempt.window, None
        usage: Usage = {}
        absent = {"usage": "could not be read"}
        if not attempt.watched:
            absent = {"usage": "switched off for this test by no_diagnostics"}
        elif window is not None:
            usage, absent = self.guard(self.reader.close, window) or (usage, absent)
            end = window.end or end
            if attempt.limited:
                attempt.inner_fds.append(sum(inner.get("fds_change", 0) for inner in window.inner))
                self.guard(self.judge.count, attempt)
        when, attempt.when = attempt.when, ""
        attempt.usage[when], attempt.absent[when] = usage, absent
        attempt.pending = {
            **self.identity(),
            "when": when,
            "start": attempt.start,
            "end": end,
            "usage": usage,
            "absent": absent,
        }
        self.edges += 1
        self.edge_seconds += self.clock.monotonic() - began

    def _reported(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        began = self.clock.monotonic()
        attempt = self.attempt
        if attempt is None or attempt.item is not item:
            return
        # What pytest will call xfailed is still called failed here: only the final report tells.
        expected = report.failed and may_yet_be_xfailed(item, call)
        if attempt.pending is None:  # a subtest's report, inside the call
            if report.failed and not expected:
                self._ask(attempt, f"{report.when} failed")
            return
        record, attempt.pending = attempt.pending, None
        outcome = record["outcome"] = attempt.outcomes[report.when] = attempt.outcome(report)
        failed = outcome == "failed" and not expected
        if failed:
            record["failure"] = self._tell_failure(attempt, report)
        if report.when == "call":
            record.update(self._of_call(attempt, call))
        self.shard.append("phase", record)
        self._attach(attempt, report, failed=failed)
        self.edge_seconds += self.clock.monotonic() - began
        if report.when == "teardown" and attempt.watched:
            self.guard(self._tell_plugins, attempt)

    def _tell_failure(self, attempt: Attempt, report: pytest.TestReport) -> str:
        attempt.told.add(report.when)
        self._ask(attempt, f"{report.when} failed")
        return attempt.failure(report)

    def _of_call(self, attempt: Attempt, call: pytest.CallInfo[None]) -> dict[str, object]:
        """Return what the call's record has beyond every phase's: limits and subtests."""
        if attempt.exceeded and (call.excinfo is None or str(call.excinfo.value) != attempt.exceeded):
            # unittest keeps a test's own failure back until now; limits are judged of tests that pass.
            attempt.limits = []
        found: dict[str, object] = {"limits": attempt.limits, "subtests": attempt.subtests}
        return {key: value for key, value in found.items() if value}

    def _attach(self, attempt: Attempt, report: pytest.TestReport, *, failed: bool) -> None:
        if failed or report.when == "teardown":
            attach(
                report,
                attempt.usage,
                attempt.absent,
                failed=failed,
                limits=attempt.limits,
                settings=self.settings,
                sampled=self.live.sampled,
            )

    def _logged(self, report: pytest.TestReport) -> None:
        attempt = self.attempt
        if attempt is None or report.nodeid != attempt.item.nodeid:
            return
        if attempt.when == "call" and hasattr(report, "context"):
            name = subtest_name(report)
            attempt.subtests.append({"name": name, "outcome": outcome_of(report)})
            return
        known, outcome = attempt.outcomes.get(report.when), attempt.outcome(report)
        untold = outcome == "failed" and report.when not in attempt.told
        if known is None or (outcome == known and not untold):
            return
        # Plugins that run a test again change the outcome of the reports of the earlier attempt, pytest
        # itself that of tests expected to fail.
        attempt.outcomes[report.when] = outcome
        record = {**self.identity(), "when": report.when, "amends": True, "outcome": outcome}
        if untold:
            record["failure"] = self._tell_failure(attempt, report)
        self.shard.append("phase", record)
        if untold:
            self._attach(attempt, report, failed=True)

    def _ask(self, attempt: Attempt, reason: str) -> None:
        """Post a request for a collection; its results are awaited after the teardown."""
        if reason in attempt.asked:
            return
        attempt.asked.add(reason)
        demands = self.live.request()
        if demands:
            attempt.demands.append((reason, demands))

    def _after_teardown(self, passed: bool) -> None:
        attempt = self.attempt
        if attempt is None:
            return
        if not passed:
            self._ask(attempt, "teardown failed")  # its report comes too late to wait for an answer
        for reason, demands in attempt.demands:
            for demand in demands:
                patience = min(REPLY_SECONDS, self._reply_seconds_left)
                asked = self.clock.monotonic()
                demand.wait(patience)
                self._reply_seconds_left -= self.clock.monotonic() - asked
            self.shard.append("collection", {**self.identity(), **collection(reason, demands)})
        attempt.demands = []
        if attempt.watched:
            self.live.end_test()

    def _tell_plugins(self, attempt: Attempt) -> None:
        # Those that are there at all are fewer to look at than those that this item's place permits.
        if not attempt.item.config.hook.pytest_diagnostics_test_summary.get_hookimpls():
            return
        hook = attempt.item.ihook.pytest_diagnostics_test_summary
        summary = {
            **self.identity(),
            "outcomes": dict(attempt.outcomes),
            "usage": {when: dict(usage) for when, usage in attempt.usage.items()},
        }
        hook(item=attempt.item, summary=summary)
