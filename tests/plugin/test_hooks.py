"""The hook contract: when and where each is called, and what a bad answer costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.conftest import Differential, Ran

SECRET = "s3cret-token"

#: Every hook, each telling that it was called, in which process and thread.
CONFTEST = f"""
    import json
    import os
    import threading
    from pytest_diagnostics import DiagnosticCollector, ExceptionHandler, ExceptionStrategy

    def tell(*what):
        where = os.environ.get("PYTEST_XDIST_WORKER", "main"), threading.current_thread().name
        with open(os.environ["TOLD"], "a") as file:
            file.write(json.dumps([*where, *what]) + "\\n")

    class Named(DiagnosticCollector):
        def collect(self):
            return {{"token": "{SECRET}", "count": 1}}

    class Failing(DiagnosticCollector):
        interval = 0.01

        def collect(self):
            raise RuntimeError("refused")

    class Sink:
        def __init__(self):
            self.kinds = set()

        def write(self, record):
            self.kinds.add(type(record).__name__)
            text = repr(record)
            assert "{SECRET}" not in text

        def close(self):
            tell("sink", sorted(self.kinds))

    class Handler(ExceptionHandler):
        def handle_exception_during_collecting(self, collector, exc):
            tell("handler", collector.name, str(exc))
            return ExceptionStrategy.DISABLE

    def redact(result):
        import dataclasses
        if isinstance(result.data, dict) and "token" in result.data:
            return dataclasses.replace(result, data={{**result.data, "token": "***"}})
        return result

    def pytest_diagnostics_collectors(config):
        tell("collectors")
        return [Named("named"), Failing("failing"), "memory", "memory"]

    def pytest_diagnostics_sinks(config):
        tell("sinks")
        return [Sink()]

    def pytest_diagnostics_processors(config):
        tell("processors")
        return [redact]

    def pytest_diagnostics_exception_handler(config):
        tell("exception_handler")
        return Handler()

    def pytest_diagnostics_test_summary(item, summary):
        tell("test_summary", item.name, summary["outcomes"], sorted(summary["usage"]), summary["attempt"],
             summary["worker"])
        summary.clear()
        return "ignored"
"""
SUITE = """
    import pytest

    def test_passes():
        pass

    @pytest.fixture
    def broken():
        yield
        raise RuntimeError

    def test_teardown(broken):
        pass

    @pytest.mark.no_diagnostics
    def test_spared():
        pass
"""
HOOKS = {"collectors", "sinks", "processors", "exception_handler"}

Told = list[list[object]]


def told(differential: Differential, *args: str) -> tuple[Ran, Told]:
    path = differential.path / "told.jsonl2"
    differential.env["TOLD"] = str(path)
    differential.write(test_it=SUITE, conftest=CONFTEST)
    ran = differential.run("--diagnostics-collectors=cpu", *args, on=True)
    return ran, [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def session(new_differential: Callable[[], Differential]) -> tuple[Ran, Told]:
    """A run without workers, with all hooks."""
    return told(new_differential())


def test_hooks_are_called_once_on_the_main_thread(session: tuple[Ran, Told]) -> None:
    _, calls = session
    made = [(worker, thread, what) for worker, thread, what, *_ in calls if what in HOOKS]

    assert sorted(made) == sorted(("main", "MainThread", what) for what in HOOKS)


def test_collectors_are_objects_or_names(session: tuple[Ran, Told]) -> None:
    ran, _ = session

    assert ran.collector("named")["results"] >= 2
    assert ran.collector("memory")["results"] >= 2
    assert ran.collector("cpu")["results"] >= 2


def test_sinks_get_every_kind_of_record(session: tuple[Ran, Told]) -> None:
    _, calls = session
    ((_, _, _, kinds),) = [call for call in calls if call[2] == "sink"]

    assert {"DiagnosticResult", "Event", "Execution"} <= set(cast("list[str]", kinds))


def test_processors_redact_before_anything_is_written(session: tuple[Ran, Told]) -> None:
    ran, _ = session
    (run,) = ran.runs
    files = [path for path in run.rglob("*") if path.is_file()]

    assert len(files) >= 4
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert any(b'"***"' in path.read_bytes() for path in files)


def test_the_handler_decides_what_a_failure_means(session: tuple[Ran, Told]) -> None:
    ran, calls = session
    asked = [call[3:] for call in calls if call[2] == "handler"]

    assert asked == [["failing", "refused"]]
    assert ran.collector("failing")["state"] == "disabled"


def test_each_attempt_is_told_with_all_its_outcomes(session: tuple[Ran, Told]) -> None:
    _, calls = session

    phases = ["call", "setup", "teardown"]
    passed = dict.fromkeys(("setup", "call", "teardown"), "passed")
    assert [call[3:] for call in calls if call[2] == "test_summary"] == [
        ["test_passes", passed, phases, 1, "main"],
        ["test_teardown", {**passed, "teardown": "failed"}, phases, 1, "main"],
    ]


def test_a_summary_is_a_copy(session: tuple[Ran, Told]) -> None:
    ran, _ = session

    assert ran.attempts("test_passes")[0]["usage"]["wall_seconds"] > 0


def test_no_hook_is_called_when_diagnostics_are_off(differential: Differential) -> None:
    differential.env["TOLD"] = str(differential.path / "told")
    differential.write(test_it=SUITE, conftest=CONFTEST)

    off = differential.run(on=False)

    assert not (differential.path / "told").exists()
    assert off.code == pytest.ExitCode.TESTS_FAILED


@pytest.mark.xdist
def test_with_workers_the_machine_is_the_controllers_and_tests_the_workers(xdist: Differential) -> None:
    _, calls = told(xdist, "-n2")

    assert sorted(call[2] for call in calls if call[0] == "main" and call[2] in HOOKS) == sorted(HOOKS)
    assert [call for call in calls if call[0] != "main" and call[2] in HOOKS] == []
    assert {call[0] for call in calls if call[2] == "test_summary"} <= {"gw0", "gw1"}
    assert sorted(str(call[3]) for call in calls if call[2] == "test_summary") == [
        "test_passes",
        "test_teardown",
    ]


def test_at_test_scope_collectors_are_asked_for_once_a_test(differential: Differential) -> None:
    ran, calls = told(differential, "--diagnostics-scope=test")

    assert [call[2] for call in calls if call[2] == "collectors"] == ["collectors"] * 2
    assert "taken" not in ran.problems()


def test_none_means_nothing_to_add(differential: Differential) -> None:
    hooks = (*sorted(HOOKS), "test_summary")
    arguments = {"test_summary": "item, summary"}
    differential.write(
        test_it="def test_it(): pass",
        conftest="\n".join(
            f"def pytest_diagnostics_{name}({arguments.get(name, 'config')}): return None" for name in hooks
        ),
    )

    assert differential.pair().summary["health"]["problems"] == []


def test_an_answer_that_is_no_list_is_told_and_costs_nothing_else(differential: Differential) -> None:
    differential.write(
        test_it="def test_it(): pass",
        conftest="""
            def pytest_diagnostics_collectors(config): return 7
            def pytest_diagnostics_sinks(config): return 8
            def pytest_diagnostics_processors(config): return 9
        """,
    )

    on = differential.pair()

    assert on.problems().count("'int' object is not iterable") >= 1
    assert on.collector("cpu")["results"] >= 2
