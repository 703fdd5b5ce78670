"""Suites of every shape: what pytest reports is the same with diagnostics, and each test has its record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

SHAPES = r'''
    """
    >>> 1 + 1
    2
    >>> 1 + 1
    3
    """
    import unittest
    import pytest
    from decorating import refusing

    def test_passes():
        pass

    def test_fails():
        print("said before it failed")
        assert 1 == 2

    def test_skips():
        pytest.skip("not today")

    @pytest.mark.xfail(reason="known")
    def test_xfails():
        assert 0

    @pytest.mark.xfail(strict=True, reason="mended")
    def test_strict_xpasses():
        pass

    @pytest.mark.xfail
    def test_xpasses():
        pass

    @pytest.fixture
    def broken():
        raise RuntimeError("no set-up")

    def test_setup_fails(broken):
        pass

    @pytest.fixture
    def breaks_after():
        yield
        raise RuntimeError("no teardown")

    def test_teardown_fails(breaks_after):
        pass

    def test_all_fail(breaks_after):
        assert 0

    def test_subtests(subtests):
        for n in range(4):
            with subtests.test("same name"):
                assert n != 2

    @refusing
    def test_decorated():
        pass

    @pytest.fixture(params=["module", "function"])
    @refusing
    def decorated():
        pass

    def test_fixture_decorated(decorated):
        pass

    class CaseOfUnittest(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.ready = True
        def test_passes(self):
            assert self.ready
        def test_fails(self):
            self.fail("on purpose")
        def test_subtests(self):
            for n in range(3):
                with self.subTest(n=n):
                    self.assertNotEqual(n, 1)
        @unittest.skip("never")
        def test_skipped(self):
            pass
        @unittest.expectedFailure
        def test_expected(self):
            assert 0

    class TestRepeated:
        @pytest.mark.parametrize("text", [
            "\x1b[31mred\x07", "a\nb\tc", "\udcff", "\u202eltr", "\U0001f525", "a/../b", "CON", "",
            "<img src=x onerror=alert(1)>",
        ])
        def test_odd_id(self, text):
            pass
        @pytest.mark.parametrize("n", range(4), ids=["\udcff", "same", "same_too", "x" * 300])
        def test_odd_explicit_id(self, n):
            assert n != 1
'''

DECORATING = """
    import functools

    def refusing(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            raise ValueError("refused by a decorator")
        return wrapped
"""

ASYNC = """
    import asyncio
    import pytest

    @pytest.mark.asyncio
    async def test_asyncio():
        await asyncio.sleep(0.01)

    @pytest.mark.asyncio
    async def test_asyncio_fails():
        assert 0

    @pytest.mark.anyio
    async def test_anyio():
        await asyncio.sleep(0)

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    async def number():
        yield 7

    @pytest.mark.anyio
    async def test_anyio_fixture(number):
        assert number == 7
        assert len(asyncio.all_tasks()) == 2  # anyio's runner and its call
"""

RERUN = """
    import pytest
    calls = []

    @pytest.mark.flaky(reruns=2)
    def test_third_time():
        calls.append(1)
        assert len(calls) == 3

    @pytest.mark.flaky(reruns=1)
    def test_never():
        assert 0
"""


@pytest.fixture(scope="module")
def shapes(new_differential: Callable[[], Differential]) -> Ran:
    runs = new_differential()
    runs.plugins = ("pytest_asyncio.plugin", "anyio.pytest_plugin", "pytest_rerunfailures")
    runs.write(test_shapes=SHAPES, test_async=ASYNC, test_rerun=RERUN, decorating=DECORATING)
    (runs.path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return runs.pair("-v", "-rA", "--doctest-modules", "-Werror", "--keep-duplicates", ".", "test_rerun.py")


def test_every_shape_of_test_has_the_outcome_that_pytest_reports(shapes: Ran) -> None:
    outcomes = shapes.outcomes()
    assert shapes.code == 1
    assert {name: outcomes[name] for name in outcomes if "[" not in name} == {
        "test_asyncio": "passed",
        "test_asyncio_fails": "failed",
        "test_anyio": "passed",
        "test_anyio_fixture": "passed",
        "test_third_time": "failed",  # the second occurrence
        "test_never": "failed",
        "test_shapes": "failed",
        "test_passes": "passed",
        "test_fails": "failed",
        "test_skips": "skipped",
        "test_xfails": "xfailed",
        "test_strict_xpasses": "failed",
        "test_xpasses": "xpassed",
        "test_setup_fails": "error",
        "test_teardown_fails": "error",
        "test_all_fail": "failed",
        "test_subtests": "failed",
        "test_skipped": "skipped",
        "test_expected": "xfailed",
        "test_decorated": "failed",
    }


def test_every_collected_test_has_a_record_in_the_order_of_pytest(shapes: Ran) -> None:
    (collected,) = [line[2] for line in shapes.told if line[1] == "collected"]
    assert isinstance(collected, list)
    recorded = [attempt["nodeid"] for attempt in shapes.summary["tests"] if attempt["attempt"] == 1]
    assert recorded == collected
    assert all(attempt["complete"] for attempt in shapes.summary["tests"])


def test_reruns_keep_a_record_of_every_attempt(shapes: Ran) -> None:
    attempts = [attempt for attempt in shapes.attempts("::test_third_time") if attempt["occurrence"] == 0]
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in attempts] == [
        (1, "rerun"),
        (2, "rerun"),
        (3, "passed"),
    ]


def test_a_file_given_twice_keeps_both_occurrences(shapes: Ran) -> None:
    last = [attempt for attempt in shapes.attempts("::test_never") if attempt["outcome"] != "rerun"]
    assert [attempt["occurrence"] for attempt in last] == [0, 1]


def test_subtests_belong_to_their_test(shapes: Ran) -> None:
    for name in ("test_shapes.py::test_subtests", "::CaseOfUnittest::test_subtests"):
        (attempt,) = shapes.attempts(name)
        assert "failed" in [subtest["outcome"] for subtest in attempt["subtests"]]
        assert len(attempt["phases"]) == 3


def test_a_failing_setup_has_no_call_and_a_failing_teardown_its_outcome(shapes: Ran) -> None:
    assert {when: phase["outcome"] for when, phase in shapes.phases("::test_setup_fails").items()} == {
        "setup": "failed",
        "teardown": "passed",
    }
    assert {when: phase["outcome"] for when, phase in shapes.phases("::test_all_fail").items()} == {
        "setup": "passed",
        "call": "failed",
        "teardown": "failed",
    }


def test_ids_of_any_length_and_character_are_recorded_as_they_are(shapes: Ran) -> None:
    odd = [name for name in shapes.outcomes() if name.startswith("test_odd_id[")]
    assert len(odd) == 9
    assert "test_odd_explicit_id[" + "x" * 300 + "]" in shapes.outcomes()


def test_no_frame_of_ours_is_in_a_traceback(shapes: Ran) -> None:
    assert "refused by a decorator" in shapes.out
    assert "pytest_diagnostics" not in shapes.out


def test_no_shape_of_test_degrades_the_recording(shapes: Ran) -> None:
    assert not [line for line in shapes.problems().splitlines() if "gap" not in line]


def test_hardly_anything_is_left_of_a_run_without_tests_but_its_exit_code(differential: Differential) -> None:
    differential.write(test_none="x = 1")
    assert differential.pair().code == pytest.ExitCode.NO_TESTS_COLLECTED
    differential.write(test_none="import no_such_module_anywhere")
    assert differential.pair().code == pytest.ExitCode.INTERRUPTED
    differential.write(test_none="def test_it(): pass")
    assert differential.pair("-knothing").summary["tests"] == []
    assert differential.pair("--collect-only").runs == []
    assert differential.pair("--no-such-option", compare=()).runs == []


def test_recordings_add_no_tests_to_a_suite_that_collects_every_json_file(differential: Differential) -> None:
    differential.write(
        conftest="""
            import pytest

            class File(pytest.File):
                def collect(self):
                    yield pytest.Item.from_parent(self, name="item")

            def pytest_collect_file(file_path, parent):
                if file_path.suffix in (".json", ".jsonl"):
                    return File.from_parent(parent, path=file_path)
        """,
        test_it="def test_it(): pass",
    )
    differential.keeps_directory = True
    differential.env = {"WITNESS": str(differential.path.with_name("told.jsonl"))}
    codes = [differential.run("-k", "test_it or item", on=on).code for on in (True, True, False)]
    assert codes == [0, 0, 0]


def test_a_recorded_run_is_clean_under_dev_mode_and_warnings_as_errors(differential: Differential) -> None:
    differential.python = ("-X", "dev", "-W", "error")
    differential.env = {"PYTHONWARNDEFAULTENCODING": "1"}
    differential.diagnostics = ("--diagnostics-interval=0.05",)
    differential.write(
        test_it="""
            import gc, time
            def test_passes(recwarn):
                time.sleep(0.3)
                gc.collect()
                assert not list(recwarn)
            def test_fails():
                assert 0
        """
    )
    on = differential.pair("-Werror", "-rA")
    assert (on.runs[0] / "report.html").stat().st_size > 10_000
    assert "report  " in on.out
    assert on.err == ""
