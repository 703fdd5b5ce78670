"""Session and test scope, the markers that change them, and runs in which there is nothing to record."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

SUITE = """
    import threading
    import pytest
    from pytest_diagnostics import DiagnosticCollector

    #: As long as it takes until a collector was asked so often.
    class Asked(DiagnosticCollector):
        times = 0
        enough = threading.Event()

        def collect(self):
            Asked.times += 1
            if Asked.times >= 3:
                Asked.enough.set()
            return {"times": Asked.times}

    @pytest.mark.diagnostics("process", interval=0.02)
    def test_marked():
        names = [thread.name for thread in threading.enumerate()]
        assert names == ["MainThread"]

    def test_plain():
        pass

    @pytest.mark.no_diagnostics
    def test_not_watched():
        pass

    @pytest.mark.diagnostics(scope="session")
    def test_session():
        pass
"""


def results(ran: Ran, shard: str) -> list[str]:
    """Return the collectors of all results in the shards of a role, in order."""
    (run,) = ran.runs
    found = []
    for path in sorted((run / "shards").glob(f"{shard}-*.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        found += [record["collector"] for record in records if record["kind"] == "result"]
    return found


@pytest.fixture(scope="module")
def test_by_test(new_differential: Callable[[], Differential]) -> Ran:
    """The suite above at test scope."""
    differential = new_differential()
    differential.write(test_it=SUITE)
    return differential.run("--diagnostics-scope=test", "--diagnostics-collectors=memory,cpu", on=True)


@pytest.fixture(scope="module")
def whole_session(new_differential: Callable[[], Differential]) -> Ran:
    """The suite above at session scope."""
    differential = new_differential()
    differential.write(test_it=SUITE)
    return differential.run("--diagnostics-collectors=memory", on=True)


def test_at_test_scope_each_test_has_a_first_and_a_final_sample(test_by_test: Ran) -> None:
    (plain,) = test_by_test.attempts("test_plain")

    assert plain["samples"]["memory.percent"]["count"] >= 2
    assert results(test_by_test, "recorder") == []
    assert "diagnostics: test by test, every 0.1 s, recorded to " in test_by_test.out


def test_at_session_scope_tests_share_the_samples(whole_session: Ran) -> None:
    assert set(results(whole_session, "recorder")) == {"memory"}
    assert "diagnostics: the whole session, every 0.1 s, recorded to " in whole_session.out


@pytest.mark.parametrize("fixture", ["test_by_test", "whole_session"])
def test_a_marker_adds_its_collectors_to_its_test(request: pytest.FixtureRequest, fixture: str) -> None:
    ran: Ran = request.getfixturevalue(fixture)
    (marked,) = ran.attempts("test_marked")

    assert marked["samples"]["process.rss_bytes"]["count"] >= 1
    assert ran.outcomes()["test_marked"] == "passed"


def test_a_marker_at_session_scope_costs_other_tests_nothing(whole_session: Ran) -> None:
    assert set(results(whole_session, "process_live")) == {"process"}
    assert "process.rss_bytes" not in whole_session.attempts("test_plain")[0]["samples"]


def test_a_marker_can_spare_a_test_the_test_scope(test_by_test: Ran) -> None:
    (spared,) = test_by_test.attempts("test_session")

    assert all(sampled["count"] == 0 for sampled in spared["samples"].values())
    assert spared["usage"]["wall_seconds"] >= 0


@pytest.mark.parametrize("fixture", ["test_by_test", "whole_session"])
def test_no_diagnostics_leaves_outcomes_alone(request: pytest.FixtureRequest, fixture: str) -> None:
    ran: Ran = request.getfixturevalue(fixture)
    (spared,) = ran.attempts("test_not_watched")

    assert spared["outcome"] == "passed"
    assert spared["usage"] == {}
    reasons = {reason for phase in spared["phases"] for reason in phase["absent"].values()}
    assert reasons == {"switched off for this test by no_diagnostics"}


def test_a_marker_has_an_interval_of_its_own(differential: Differential) -> None:
    differential.write(
        test_it="""
            import time
            import pytest

            @pytest.mark.diagnostics("memory", interval=0.02)
            def test_often():
                time.sleep(0.5)
        """
    )

    on = differential.run("--diagnostics-collectors=cpu", on=True)

    # 25 ticks are due; a loaded machine misses some, ten of the run's own would be 0.1 s apart.
    assert len(results(on, "process_live")) > 10


def test_runs_without_tests_end_cleanly(differential: Differential) -> None:
    differential.write(test_none="")

    on = differential.pair()

    assert on.code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert on.summary["tests"] == []
    assert on.summary["health"]["state"] == "good"


def test_collection_errors_are_those_without_us(differential: Differential) -> None:
    differential.write(test_broken="import nothing_of_that_name", test_fine="def test_it(): pass")

    on = differential.pair("-rA")

    assert on.code == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    "args",
    [
        ("--markers",),
        ("--help",),
        ("--version",),
        ("--fixtures",),
        ("--fixtures-per-test",),
        ("--collect-only",),
        ("--cache-show",),
    ],
    ids=lambda args: args[0],
)
def test_where_no_test_runs_nothing_is_started_or_written(
    inside: pytest.Pytester, args: tuple[str, ...]
) -> None:
    inside.makepyfile(
        test_it="def test_it(diagnostics): pass",
        conftest="""
            import threading
            def pytest_unconfigure():
                assert threading.active_count() == 1
        """,
    )

    result = inside.runpytest_subprocess("--diagnostics", *args)

    assert result.ret == pytest.ExitCode.OK
    assert not (inside.path / "pytest-diagnostics").exists()
    result.stdout.no_fnmatch_line("diagnostics: *recorded*")


@pytest.mark.parametrize(
    "args",
    [
        ("-pno:terminal",),
        ("-q",),
        ("-qq",),
        ("--no-summary",),
        ("-pno:logging",),
        ("-pno:threadexception",),
        ("-pno:unraisableexception",),
        ("-pno:skipping",),
        ("-pno:junitxml",),
        ("-s",),
        ("-pno:capture",),
        ("-pno:faulthandler",),
        ("-Werror",),
        ("--setup-show",),
        ("--setup-only",),
        ("--setup-plan",),
        ("-x",),
        ("--maxfail=2",),
    ],
    ids=lambda args: args[0],
)
def test_runs_are_recorded_whatever_is_switched_off(
    differential: Differential, args: tuple[str, ...]
) -> None:
    differential.write(
        test_it="""
            import pytest

            @pytest.fixture
            def number():
                print("in a fixture")
                return 1

            def test_passes(number, request):
                assert request.config.stash
            def test_fails(number):
                print("in the test")
                assert number == 2
            def test_fails_too():
                assert 0
            def test_last():
                pass
        """
    )

    on = differential.pair(*args)

    problems = on.summary["health"]["problems"]
    assert [problem for problem in problems if "without samples" not in problem] == []
    assert on.summary["tests"]
