"""Fixtures above function scope: rows of their own, and no cost to the test that came first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_diagnostics.analysis.schema import Fixture
    from tests.plugin.conftest import Differential, Ran

BURN = """
    import time
    import unittest
    import pytest

    def burn(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
"""

SUITE = (
    BURN
    + """
    held = []

    @pytest.fixture(scope="session")
    def expensive():
        burn(0.3)
        yield
        burn(0.2)

    @pytest.fixture(scope="session")
    def roomy():
        held.append(bytearray(b"x" * (200 << 20)))
        yield
        held.clear()

    @pytest.fixture(scope="session")
    def outer(request):
        request.getfixturevalue("inner")
        burn(0.05)

    @pytest.fixture(scope="session")
    def inner():
        burn(0.15)

    @pytest.fixture(scope="module", params=["one", "two"])
    def reparametrised(request):
        yield request.param
        burn(0.1)

    def setup_module():
        burn(0.1)

    def teardown_module():
        burn(0.1)

    def test_first(expensive):
        pass

    def test_second(roomy):
        pass

    def test_nested(outer):
        burn(0.05)

    def test_param(reparametrised):
        pass

    class TestClass:
        @classmethod
        def setup_class(cls):
            burn(0.1)

        def test_method(self):
            pass

    class Case(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            burn(0.1)

        @classmethod
        def tearDownClass(cls):
            burn(0.1)

        def test_case(self):
            pass
"""
)


@pytest.fixture(scope="module")
def ran(new_differential: Callable[[], Differential]) -> Ran:
    """The suite above, run with diagnostics."""
    differential = new_differential()
    differential.write(test_wide=SUITE)
    return differential.run(on=True)


def rows(ran: Ran, name: str, phase: str = "setup") -> list[Fixture]:
    """Return a fixture's rows of a phase."""
    found = [row for row in ran.summary["fixtures"] if row["name"] == name and row["phase"] == phase]
    assert found, [(row["name"], row["phase"]) for row in ran.summary["fixtures"]]
    return found


def cpu(row: Fixture) -> float:
    return row["usage"]["cpu_seconds"]


@pytest.mark.parametrize(
    ("name", "scope", "seconds"),
    [
        ("expensive", "session", 0.3),
        ("setup_module of test_wide", "module", 0.1),
        ("setup_class of TestClass", "class", 0.1),
        ("setUpClass of Case", "class", 0.1),
    ],
)
def test_a_wide_fixture_has_a_row_of_its_own(ran: Ran, name: str, scope: str, seconds: float) -> None:
    (row,) = rows(ran, name)

    assert row["scope"] == scope
    assert seconds <= cpu(row) < seconds + 0.09
    assert row["during"].startswith("test_wide.py::")


@pytest.mark.parametrize(
    ("name", "seconds"), [("expensive", 0.2), ("setup_module of test_wide", 0.1), ("setUpClass of Case", 0.1)]
)
def test_its_teardown_has_one_too(ran: Ran, name: str, seconds: float) -> None:
    (row,) = rows(ran, name, "teardown")

    assert seconds <= cpu(row) < seconds + 0.09


def test_the_tests_around_are_charged_with_nothing(ran: Ran) -> None:
    for attempt in ran.summary["tests"]:
        if not attempt["nodeid"].endswith("test_nested"):
            assert attempt["usage"]["cpu_seconds"] < 0.09, attempt["nodeid"]
            assert (attempt["wall_seconds"] or 0) < 0.5, attempt["nodeid"]


def test_memory_that_a_wide_fixture_takes_is_its_peak_alone(ran: Ran) -> None:
    (row,) = rows(ran, "roomy")
    setup = ran.phases("test_second")["setup"]

    assert row["usage"]["peak_rss_bytes"] > 200 << 20
    assert setup["usage"]["rss_change_bytes"] < 20 << 20


def test_a_fixture_within_a_fixture_is_not_counted_twice(ran: Ran) -> None:
    (outer,), (inner,) = rows(ran, "outer"), rows(ran, "inner")

    assert 0.15 <= cpu(inner) < 0.24
    assert 0.05 <= cpu(outer) < 0.14
    assert 0.05 <= ran.attempts("test_nested")[0]["usage"]["cpu_seconds"] < 0.14


def test_a_reparametrised_fixture_is_torn_down_in_another_tests_setup(ran: Ran) -> None:
    setups, teardowns = rows(ran, "reparametrised"), rows(ran, "reparametrised", "teardown")

    assert len(setups) == len(teardowns) == 2
    assert all(0.1 <= cpu(row) < 0.19 for row in teardowns)


def test_fixtures_that_fail_keep_their_rows(differential: Differential) -> None:
    differential.write(
        test_it="""
            import pytest

            @pytest.fixture(scope="session")
            def failing():
                raise RuntimeError("in setup")

            @pytest.fixture(scope="module")
            def ending_badly():
                yield
                raise RuntimeError("in teardown")

            def test_one(failing):
                pass

            def test_two(failing):
                pass

            def test_three(ending_badly):
                pass
        """
    )

    on = differential.pair("-rA")

    names = [(row["name"], row["phase"]) for row in on.summary["fixtures"]]
    assert names.count(("failing", "setup")) == 1
    assert ("ending_badly", "teardown") in names
    assert on.outcomes() == {"test_one": "error", "test_two": "error", "test_three": "error"}


def test_function_scoped_fixtures_belong_to_their_test(differential: Differential) -> None:
    differential.write(
        test_it=BURN
        + """
            @pytest.fixture
            def narrow():
                burn(0.15)
                yield
                burn(0.1)

            def test_it(narrow):
                burn(0.2)
        """.replace("\n        ", "\n")
    )

    on = differential.run(on=True)

    assert on.summary["fixtures"] == []
    phases = on.phases("test_it")
    for when, seconds in (("setup", 0.15), ("call", 0.2), ("teardown", 0.1)):
        assert seconds <= phases[when]["usage"]["cpu_seconds"] < seconds + 0.09
