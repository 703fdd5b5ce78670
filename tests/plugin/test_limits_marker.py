"""diagnostics_limit: what fails, with which words, and what is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_diagnostics.analysis.schema import Limit
    from tests.plugin.conftest import Differential, Ran

#: Limits that every test exceeds, and that none does.
SUITE = """
    import unittest
    import pytest

    exceeded = pytest.mark.diagnostics_limit(wall_seconds=0)
    kept = pytest.mark.diagnostics_limit(wall_seconds="10 min", peak_rss="100 GB")

    @exceeded
    def test_passes():
        pass

    @kept
    def test_keeps():
        pass

    @exceeded
    def test_fails():
        raise ValueError("its own failure")

    @exceeded
    def test_skips():
        pytest.skip("its own reason")

    @exceeded
    @pytest.mark.xfail(strict=True)
    def test_strict_xpass():
        pass

    @exceeded
    @pytest.mark.xfail
    def test_xpass():
        pass

    @exceeded
    @pytest.mark.xfail
    def test_xfail():
        assert 0

    @exceeded
    @pytest.mark.xfail(False, reason="no")
    def test_not_expected():
        pass

    @exceeded
    def test_imperative_xfail():
        pytest.xfail("its own")

    @pytest.fixture
    def broken():
        raise RuntimeError("its own set-up")

    @exceeded
    def test_error(broken):
        pass

    @exceeded
    class Case(unittest.TestCase):
        def test_unit_passes(self):
            pass

        def test_unit_fails(self):
            self.fail("its own failure")

        def test_unit_skips(self):
            self.skipTest("its own reason")

        @unittest.expectedFailure
        def test_unit_xfail(self):
            self.fail("expected")

        @unittest.expectedFailure
        def test_unit_xpass(self):
            pass
"""


def limits_of(ran: Ran, name: str) -> list[Limit]:
    """Return what became of the limits of the only attempt at a test."""
    (attempt,) = ran.attempts(name)
    return attempt["limits"]


@pytest.fixture(scope="module")
def ran(new_differential: pytest.FixtureRequest) -> Ran:
    """The suite above, run with diagnostics."""
    differential: Differential = new_differential()  # type: ignore[operator] # a factory
    differential.write(test_limits=SUITE)
    return differential.run("-rA", on=True)


def test_only_what_passed_fails_for_its_limit(ran: Ran) -> None:
    assert ran.outcomes() == {
        "test_passes": "failed",
        "test_keeps": "passed",
        "test_fails": "failed",
        "test_skips": "skipped",
        "test_strict_xpass": "failed",
        "test_xpass": "xpassed",
        "test_xfail": "xfailed",
        "test_not_expected": "failed",
        "test_imperative_xfail": "xfailed",
        "test_error": "error",
        "test_unit_passes": "failed",
        "test_unit_fails": "failed",
        "test_unit_skips": "skipped",
        "test_unit_xfail": "xfailed",
        "test_unit_xpass": "failed",
    }
    assert ran.code == pytest.ExitCode.TESTS_FAILED


def test_the_message_has_limit_value_and_where(ran: Ran) -> None:
    assert "\ndiagnostics_limit exceeded: wall_seconds " in ran.out
    (limit,) = limits_of(ran, "test_passes")
    assert limit["state"] == "exceeded"
    assert limit["value"] is not None
    assert limit["value"] > limit["limit"] == 0
    failure = ran.attempts("test_passes")[0]["failure"] or ""
    assert failure.startswith("Failed: diagnostics_limit exceeded: wall_seconds ")
    assert ", limit 0 ms (" in failure
    assert "call: " in failure
    assert "setup: " in failure


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_fails", "its own failure"),
        ("test_unit_fails", "its own failure"),
        ("test_error", "its own set-up"),
        ("test_unit_xpass", "Unexpected success"),
        ("test_strict_xpass", "XPASS(strict)"),
    ],
)
def test_a_test_keeps_its_own_failure(ran: Ran, name: str, words: str) -> None:
    (attempt,) = ran.attempts(name)
    assert words in (attempt["failure"] or "")
    assert [limit for limit in attempt["limits"] if limit["state"] == "exceeded"] == []


@pytest.mark.parametrize("name", ["test_strict_xpass", "test_xpass"])
def test_a_limit_of_an_unexpected_pass_is_not_checked(ran: Ran, name: str) -> None:
    (limit,) = limits_of(ran, name)
    assert (limit["state"], limit["detail"]) == ("not checked", "the test is expected to fail")
    assert "; 2 limits not checked\n" in ran.out


@pytest.mark.parametrize("name", ["test_skips", "test_xfail", "test_unit_skips", "test_unit_xfail"])
def test_a_limit_of_a_test_that_did_not_pass_is_not_judged(ran: Ran, name: str) -> None:
    assert limits_of(ran, name) == []


def test_limits_within_reach_pass(ran: Ran) -> None:
    assert {limit["name"]: limit["state"] for limit in limits_of(ran, "test_keeps")} == {
        "wall_seconds": "ok",
        "peak_rss": "ok",
    }


def test_runxfail_has_limits_judged(differential: Differential) -> None:
    differential.write(test_limits=SUITE)

    on = differential.run("--runxfail", "-k", "xpass and not unit", on=True)

    assert set(on.outcomes().values()) == {"failed"}
    assert "exceeded" in {limit["state"] for limit in limits_of(on, "test_strict_xpass")}


def test_limits_are_inert_without_the_option(differential: Differential) -> None:
    differential.write(
        test_limits=SUITE + "\n    @pytest.mark.diagnostics_limit(nonsense=1)\n    def test_n(): pass"
    )

    off = differential.run("-k", "passes or keeps or test_n or not_expected", "--strict-markers", on=False)

    assert off.code == pytest.ExitCode.OK


def test_what_setup_used_counts(differential: Differential) -> None:
    differential.write(
        test_it="""
            import time
            import pytest

            @pytest.fixture
            def busy():
                end = time.process_time() + 0.1
                while time.process_time() < end:
                    pass

            @pytest.mark.diagnostics_limit(cpu_seconds="50 ms")
            def test_it(busy):
                pass
        """
    )

    on = differential.run(on=True)

    (limit,) = limits_of(on, "test_it")
    assert limit["state"] == "exceeded"
    assert limit["detail"].startswith("setup: ")
    assert {when: phase["outcome"] for when, phase in on.phases("test_it").items()} == {
        "setup": "passed",
        "call": "failed",
        "teardown": "passed",
    }


def test_a_wide_fixture_is_not_charged_to_a_limit(differential: Differential) -> None:
    differential.write(
        test_it="""
            import time
            import pytest

            @pytest.fixture(scope="session")
            def busy():
                end = time.process_time() + 0.2
                while time.process_time() < end:
                    pass

            @pytest.mark.diagnostics_limit(cpu_seconds="150 ms")
            def test_it(busy):
                pass
        """
    )

    assert differential.run(on=True).outcomes() == {"test_it": "passed"}


def test_a_leak_is_found(differential: Differential) -> None:
    differential.write(
        test_it="""
            import os
            import pytest

            @pytest.mark.diagnostics_limit(fds_leaked=0, rss_growth="1 GB")
            def test_it():
                os.open(os.devnull, os.O_RDONLY)
        """
    )

    on = differential.run(on=True)

    assert "fds_leaked 1, limit 0 (call: 1, setup: 0)\n" in on.out
    assert [limit["state"] for limit in limits_of(on, "test_it")] == ["exceeded", "ok"]


def test_what_our_own_threads_hold_is_no_leak(differential: Differential) -> None:
    differential.write(
        test_it="""
            import os
            import threading
            import pytest
            from pytest_diagnostics import DiagnosticCollector

            opened, ended = threading.Event(), threading.Event()

            class Opening(DiagnosticCollector):
                def collect(self):
                    fd = os.open(os.devnull, os.O_RDONLY)
                    opened.set()
                    ended.wait(10)
                    os.close(fd)
                    return {}

            @pytest.mark.diagnostics_limit(fds_leaked=0, threads_leaked=0)
            def test_it(diagnostics):
                diagnostics.add(Opening())
                assert opened.wait(10)
                ended.set()

            @pytest.mark.diagnostics_limit(threads_leaked=0)
            def test_own():
                opened.clear()
                threading.Thread(target=opened.wait, daemon=True).start()
        """
    )

    assert differential.run(on=True).outcomes() == {"test_it": "passed", "test_own": "failed"}


def test_the_closest_limit_wins(differential: Differential) -> None:
    differential.write(
        test_it="""
            import pytest

            pytestmark = pytest.mark.diagnostics_limit(wall_seconds=0)

            @pytest.mark.diagnostics_limit(cpu_seconds="1 h")
            class TestClass:
                @pytest.mark.diagnostics_limit(wall_seconds="1 h")
                def test_closest(self):
                    pass

                def test_class(self):
                    pass

            def test_module():
                pass
        """
    )

    on = differential.run(on=True)

    assert on.outcomes() == {"test_closest": "passed", "test_class": "failed", "test_module": "failed"}
    named = {limit["name"]: limit["limit"] for limit in limits_of(on, "test_closest")}
    assert named == {"wall_seconds": 3600.0, "cpu_seconds": 3600.0}


def test_a_limit_without_its_figure_is_said_aloud(differential: Differential) -> None:
    differential.write(
        test_it="""
            import pytest

            @pytest.mark.diagnostics_limit(peak_rss="1 MB")
            def test_it():
                pass
        """
    )

    on = differential.run("--diagnostics-peak=off", on=True)

    assert on.code == pytest.ExitCode.OK
    (limit,) = limits_of(on, "test_it")
    assert limit["state"] == "not checked"
    assert limit["detail"] == "peak_rss_bytes is not available for setup and call: switched off (peak=off)"
    assert "\nlimits  1 limit not checked\n" in on.out


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 brought subtests")
def test_a_limit_is_judged_over_all_subtests(differential: Differential) -> None:
    differential.write(
        test_it="""
            import pytest

            @pytest.mark.diagnostics_limit(wall_seconds=0)
            def test_passing(subtests):
                for number in range(3):
                    with subtests.test(number=number):
                        pass

            @pytest.mark.diagnostics_limit(wall_seconds=0)
            def test_failing(subtests):
                with subtests.test("bad"):
                    assert 0
        """
    )

    on = differential.run(on=True)

    assert on.outcomes() == {"test_passing": "failed", "test_failing": "failed"}
    assert [subtest["outcome"] for subtest in on.attempts("test_passing")[0]["subtests"]] == ["passed"] * 3
    assert [limit["state"] for limit in limits_of(on, "test_passing")] == ["exceeded"]
    assert limits_of(on, "test_failing") == []
    assert on.attempts("test_failing")[0]["failure"] == "contains 1 failed subtest"


REFUSED = (
    ("peak_rss='200 XB'", "diagnostics_limit(peak_rss='200 XB'): give bytes, or a text such as "),
    ("memory='1 GB'", "diagnostics_limit(memory='1 GB'): there is no such limit; there are: wall_seconds, "),
    ("", "diagnostics_limit names no limit; there are: wall_seconds, "),
    ("'200 MB'", "diagnostics_limit('200 MB',): limits have names, as in peak_rss='200 MB'"),
)


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_a_limit_that_makes_no_sense_is_refused(
    inside: pytest.Pytester, arguments: str, message: str
) -> None:
    inside.makepyfile(
        test_it=f"""
            import pytest
            def test_first(): pass
            @pytest.mark.diagnostics_limit({arguments})
            def test_it(): pass
        """
    )

    result = inside.runpytest_inprocess("--diagnostics")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    assert f"ERROR: test_it.py::test_it: {message}" in result.stderr.str()
