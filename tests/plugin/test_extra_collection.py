"""A failing phase has every collector asked once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

SUITE = """
    import unittest
    import pytest

    def test_passes(): pass

    def test_fails(): assert 0

    def test_skips(): pytest.skip("so")

    @pytest.mark.xfail
    def test_xfails(): assert 0

    def test_imperative(): pytest.xfail("so")

    @pytest.mark.xfail(strict=True)
    def test_strict(): pass

    @pytest.fixture
    def broken():
        yield
        raise RuntimeError

    def test_twice(broken): assert 0

    @pytest.fixture
    def unusable(): raise RuntimeError

    def test_error(unusable): pass

    class Case(unittest.TestCase):
        def test_unit(self): self.fail("so")
"""


@pytest.fixture(scope="module")
def ran(new_differential: Callable[[], Differential]) -> Ran:
    """The suite above, collected from so seldom that no tick falls into a test."""
    differential = new_differential()
    differential.write(test_it=SUITE)
    return differential.run("--diagnostics-interval=60", "--diagnostics-collectors=memory,process", on=True)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("test_passes", []),
        ("test_fails", ["call failed"]),
        ("test_skips", []),
        ("test_xfails", []),
        ("test_imperative", []),
        ("test_strict", ["call failed"]),
        ("test_twice", ["call failed", "teardown failed"]),
        ("test_error", ["setup failed"]),
        ("test_unit", ["call failed"]),
    ],
)
def test_each_failed_phase_asks_once(ran: Ran, name: str, reasons: list[str]) -> None:
    (attempt,) = ran.attempts(name)

    assert [collection["reason"] for collection in attempt["collections"]] == reasons


def test_what_was_collected_is_kept_with_the_test(ran: Ran) -> None:
    (attempt,) = ran.attempts("test_fails")
    (collection,) = attempt["collections"]

    assert set(collection["data"]) | set(collection["errors"]) == {"memory", "process"}


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 brought subtests")
def test_many_failing_subtests_ask_once(differential: Differential) -> None:
    differential.write(
        test_it="""
            def test_it(subtests):
                for number in range(5):
                    with subtests.test(number=number):
                        assert number % 2
        """
    )

    (attempt,) = differential.run("--diagnostics-interval=60", on=True).attempts("test_it")

    assert [collection["reason"] for collection in attempt["collections"]] == ["call failed"]
    assert attempt["outcome"] == "failed"
    assert attempt["failure"] == "contains 3 failed subtests"


def test_a_collector_that_does_not_answer_costs_a_moment_only(differential: Differential) -> None:
    differential.write(
        conftest="""
            import threading
            from pytest_diagnostics import DiagnosticCollector

            class Silent(DiagnosticCollector):
                def collect(self):
                    threading.Event().wait(1.5)
                    return {}

            def pytest_diagnostics_collectors(config):
                return [Silent("silent")]
        """,
        test_it="def test_it(): assert 0",
    )

    (attempt,) = differential.run(
        "--diagnostics-interval=60", "--diagnostics-collectors=memory", on=True
    ).attempts("test_it")

    assert attempt["wall_seconds"] is not None
    assert attempt["wall_seconds"] < 1
    (collection,) = attempt["collections"]
    assert collection["errors"]["silent"] == "no answer in time"
