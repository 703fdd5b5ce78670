"""The diagnostics fixture, with the option and without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

#: A database session that a collector uses, and that must never be used once it is closed.
SESSION = """
    import threading
    import pytest
    from pytest_diagnostics import DiagnosticCollector

    class Database:
        open = True
        asked = 0
        refused = 0

        def query(self):
            if not self.open:
                self.refused += 1
                raise RuntimeError("closed")
            self.asked += 1
            return self.asked

    database = Database()

    class Views(DiagnosticCollector):
        interval = 0.01

        def __init__(self):
            super().__init__("views")
            self.enough = threading.Event()

        def collect(self):
            count = database.query()
            if count >= 3:
                self.enough.set()
            return {"asked": count}
"""

both = pytest.mark.parametrize("on", [True, False], ids=["with the option", "without the option"])


def passes(differential: Differential, test: str, *args: str, on: bool) -> None:
    """Assert that all tests of a file pass."""
    differential.write(test_it=test)
    ran = differential.run(*args, on=on)
    assert ran.code == pytest.ExitCode.OK, ran.out + ran.err


@both
def test_collect_asks_now(differential: Differential, on: bool) -> None:
    passes(
        differential,
        """
        import pytest
        from datetime import datetime

        def test_named(diagnostics):
            report = diagnostics.collect("cpu", "memory")
            assert set(report) == {"timestamp", "cpu", "memory"}
            assert report["memory"]["total_bytes"] > 0
            assert datetime.fromisoformat(report["timestamp"]).utcoffset().total_seconds() == 0

        def test_all(diagnostics):
            assert {"cpu", "memory", "process", "disk"} <= set(diagnostics.collect())

        def test_unknown(diagnostics):
            with pytest.raises(pytest.UsageError, match="diagnostics.collect: there is no collector 'cpuu'"):
                diagnostics.collect("cpuu")
        """,
        on=on,
    )


@both
def test_a_collector_that_fails_says_why_there_is_no_data(differential: Differential, on: bool) -> None:
    passes(
        differential,
        """
        from pytest_diagnostics import DiagnosticCollector

        class Refused(DiagnosticCollector):
            def collect(self):
                raise ConnectionError("nobody listens")

        def test_it(diagnostics):
            diagnostics.add(Refused("db"))
            assert diagnostics.collect("db")["db"] == {
                "error": {"type": "connection", "message": "nobody listens"}
            }
        """,
        on=on,
    )


@both
def test_what_was_added_ends_before_its_fixture_closes(differential: Differential, on: bool) -> None:
    passes(
        differential,
        SESSION
        + """
    @pytest.fixture
    def session(diagnostics):
        views = Views()
        diagnostics.add(views)
        yield views
        database.open = False

    @pytest.fixture
    def session_first():
        yield
        database.open = False

    def test_depends_on_diagnostics(session):
        assert session.enough.wait(10)

    def test_in_the_end():
        assert (database.open, database.refused) == (False, 0)
        assert database.asked >= 4  # the final collection among them
        database.open = True

    def test_diagnostics_came_last(session_first, diagnostics):
        diagnostics.add(Views())

    def test_at_last():
        assert (database.open, database.refused) == (False, 0)
        """,
        on=on,
    )


@both
def test_collecting_ends_with_its_block(differential: Differential, on: bool) -> None:
    passes(
        differential,
        SESSION
        + """
    @pytest.fixture
    def session(diagnostics):
        views = Views()
        with diagnostics.collecting(views):
            yield views
        database.open = False

    def test_it(session, diagnostics):
        assert session.enough.wait(10)
        assert "views" in diagnostics.collect()

    def test_within(diagnostics):
        assert database.refused == 0
        database.open = True
        with diagnostics.collecting(Views()):
            pass
        database.open = False
        assert database.refused == 0
        with pytest.raises(ValueError, match="taken"), diagnostics.collecting(Views()):
            diagnostics.add(Views())
        """,
        on=on,
    )


@both
def test_a_stretch_has_figures_of_its_own(differential: Differential, on: bool) -> None:
    passes(
        differential,
        """
        import time
        import pytest

        def burn(seconds):
            end = time.process_time() + seconds
            while time.process_time() < end:
                pass

        def test_it(diagnostics):
            with diagnostics.stretch("query") as query:
                assert query.usage == {}
                burn(0.1)
            burn(0.1)
            assert 0.1 <= query.usage["cpu_seconds"] < 0.19
            assert query.name == "query"

        def test_raising(diagnostics):
            with pytest.raises(KeyError), diagnostics.stretch("query") as query:
                raise KeyError
            assert query.usage["wall_seconds"] > 0
        """,
        on=on,
    )


@both
def test_usage_is_that_of_the_test_so_far(differential: Differential, on: bool) -> None:
    passes(
        differential,
        """
        import time
        import pytest

        def burn(seconds):
            end = time.process_time() + seconds
            while time.process_time() < end:
                pass

        @pytest.fixture(scope="module")
        def wide():
            burn(0.2)

        def test_it(diagnostics, request):
            burn(0.1)
            first = diagnostics.usage()
            request.getfixturevalue("wide")
            burn(0.1)
            second = diagnostics.usage()
            assert 0.1 <= first["cpu_seconds"] < 0.19
            charged = %s
            assert 0.2 + charged <= second["cpu_seconds"] < 0.29 + charged
        """
        % ("0.0" if on else "0.2"),
        on=on,
    )


@both
def test_results_are_those_since_the_fixture(differential: Differential, on: bool) -> None:
    passes(
        differential,
        SESSION
        + """
    def test_before(diagnostics):
        diagnostics.add(Views())
        diagnostics.collect("views")

    def test_it(diagnostics):
        assert diagnostics.results("views") == []
        database.asked = 0  # else the first call may already be "enough", and its answer collect's, too
        views = Views()
        diagnostics.add(views)
        assert views.enough.wait(10)
        diagnostics.collect("views")
        found = diagnostics.results("views")
        assert len(found) >= 2
        assert [result.monotonic for result in found] == sorted(result.monotonic for result in found)
        assert {result.collector_name for result in found} == {"views"}
        assert len(diagnostics.results()) >= len(found)
        """,
        on=on,
    )


@pytest.mark.xdist
@both
def test_it_works_in_a_worker(xdist: Differential, on: bool) -> None:
    passes(
        xdist,
        """
        def test_one(diagnostics):
            assert diagnostics.collect("memory")["memory"]["total_bytes"] > 0
            with diagnostics.stretch("part"):
                pass

        def test_two(diagnostics):
            assert "process" in diagnostics.collect()
        """,
        "-n2",
        on=on,
    )


def test_unused_it_costs_no_thread_and_no_import(inside: pytest.Pytester) -> None:
    inside.makepyfile(
        """
        import sys
        import threading

        def test_it():
            assert threading.active_count() == 1
            ours = {name for name in sys.modules if name.startswith("pytest_diagnostics")}
            assert ours == {"pytest_diagnostics", "pytest_diagnostics.plugin", "pytest_diagnostics.hookspecs",
                            "pytest_diagnostics.options"}

        def test_plugins(pytestconfig):
            ours = [plugin for name, plugin in pytestconfig.pluginmanager.list_name_plugin()
                    if name and "diagnostics" in name]
            assert len(ours) == 1
            assert [name for name in vars(ours[0]) if name.startswith("pytest_runtest")] == []

        def test_used(diagnostics):
            assert threading.active_count() == 1
        """
    )

    result = inside.runpytest_subprocess()

    result.assert_outcomes(passed=3)
    assert not (inside.path / "pytest-diagnostics").exists()


def test_no_thread_is_left_behind(differential: Differential) -> None:
    differential.write(
        test_it="def test_it(diagnostics): diagnostics.collect('cpu')",
        conftest="""
            import threading
            import pytest

            @pytest.hookimpl(trylast=True)
            def pytest_unconfigure():
                print("THREADS", [thread.name for thread in threading.enumerate()])
        """,
    )

    for on in (True, False):
        assert "THREADS ['MainThread']" in differential.run(on=on).out


def test_stretches_and_collections_are_recorded(differential: Differential) -> None:
    differential.write(
        test_it="""
            def test_it(diagnostics):
                diagnostics.collect("memory")
                with diagnostics.stretch("slow query"):
                    pass
        """
    )

    (attempt,) = differential.run(on=True).attempts("test_it")

    assert [stretch["name"] for stretch in attempt["stretches"]] == ["slow query"]
    (collection,) = attempt["collections"]
    assert collection["reason"] == "asked for by the test"
    assert set(collection["data"]) == {"memory"}
