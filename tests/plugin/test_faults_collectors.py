"""Collectors that misbehave: the tests do not notice, the recording says what happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

HOSTILE = '''
    import datetime, decimal, os, threading
    from pytest_diagnostics import DiagnosticCollector

    class Made(DiagnosticCollector):
        """A collector whose data is made by a function of the number of its call."""
        def __init__(self, name, make, interval=None, blocking=True):
            super().__init__(name)
            self.make, self.calls = make, 0
            self.interval, self.blocking = interval, blocking
        def collect(self):
            self.calls += 1
            return self.make(self.calls)

    def fail(exc):
        raise exc

    class Unspeakable:
        def __repr__(self):
            raise RuntimeError("no words")
        __str__ = __repr__

    class UnspeakableError(Exception):
        def __str__(self):
            raise RuntimeError("no words")
        __repr__ = __str__

    def cyclic(_):
        data = {"n": 1}
        data["self"] = data
        return data

    def deep(_):
        data = {"n": 1}
        for _ in range(3000):
            data = {"in": data}
        return data

    values = {
        "nan": float("nan"), "infinity": float("inf"), "bytes": b"\\xff\\x00", "set": {1},
        "datetime": datetime.datetime(2020, 1, 1), "decimal": decimal.Decimal("1.5"), "object": object(),
        "unspeakable": Unspeakable(), 3: "a key that is no text", "surrogate": "\\udcff",
        "escape": "\\x1b[31m\\n::error::",
    }
    parked = threading.Event()

    def leak(_):
        threading.Thread(target=parked.wait, daemon=True).start()
        return {"leaked": 1}

    def pytest_diagnostics_collectors(config):
        return [
            Made("always", lambda n: fail(RuntimeError("broken again"))),
            Made("shared_always", lambda n: fail(RuntimeError("broken, and not in a lane")), blocking=False),
            Made("once", lambda n: fail(RuntimeError("only once")) if n == 2 else {"n": n}),
            Made("unspeakable", lambda n: fail(UnspeakableError())),
            Made("odd", lambda n: dict(values)),
            Made("cyclic", cyclic),
            Made("deep", deep),
            Made("huge", lambda n: {"n": n, "text": "x" * 50_000_000}, interval=0.5),
            Made("wide", lambda n: {str(k): k for k in range(100_000)}, interval=0.5),
            Made("leaves", lambda n: fail(SystemExit(3))),
            Made("interrupts", lambda n: fail(KeyboardInterrupt())),
            Made("shared_leaves", lambda n: fail(SystemExit(3)), blocking=False),
            Made("generator", lambda n: fail(GeneratorExit())),
            Made("leaking", leak, interval=0.2),
            Made("nothing", lambda n: None),
            Made("steady", lambda n: {"n": n}, blocking=False),
        ]

    def pytest_unconfigure():
        parked.set()
'''

TESTS = """
    import time
    import pytest

    @pytest.mark.parametrize("n", range(4))
    def test_passes(n, recwarn, caplog, capfd):
        time.sleep(0.4)
        assert (list(recwarn), caplog.records, capfd.readouterr()) == ([], [], ("", ""))

    def test_fails():
        assert 0
"""


@pytest.fixture(scope="module")
def hostile(new_differential: Callable[[], Differential]) -> Ran:
    runs = new_differential()
    runs.diagnostics = (*runs.diagnostics, "--diagnostics-collectors=cpu")
    runs.write(conftest=HOSTILE, test_it=TESTS)
    return runs.pair("-Werror", "-v")


def test_hostile_collectors_change_no_outcome_no_output_and_no_exit_code(hostile: Ran) -> None:
    assert hostile.code == 1
    assert hostile.summary["counts"] == {"passed": 4, "failed": 1}


def test_a_collector_beside_hostile_ones_keeps_its_ticks(hostile: Ran) -> None:
    steady = hostile.collector("steady")
    assert (steady["state"], steady["errors"]) == ("healthy", 0)
    assert steady["results"] >= 8  # of sixteen, on a machine that may be busy


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("always", "broken again"),
        ("shared_always", "not in a lane"),
        ("cyclic", "contains itself"),
        ("leaves", "SystemExit"),
        ("shared_leaves", "SystemExit"),
        ("interrupts", "KeyboardInterrupt"),
        ("generator", "GeneratorExit"),
        ("unspeakable", "UnspeakableError"),
    ],
)
def test_a_collector_that_always_fails_is_named_with_its_reason(hostile: Ran, name: str, words: str) -> None:
    state = hostile.collector(name)
    assert state["errors"] == state["results"] > 0
    assert words in str(state["reason"])
    assert name in hostile.problems()


def test_one_failure_is_one_failed_result(hostile: Ran) -> None:
    once = hostile.collector("once")
    assert (once["errors"], once["state"]) == (1, "healthy")
    assert once["results"] > 2


def test_values_that_json_cannot_say_are_converted_and_counted(hostile: Ran) -> None:
    odd = hostile.collector("odd")
    assert odd["errors"] == 0
    assert odd["coerced"] >= 5 * odd["results"]


@pytest.mark.parametrize("name", ["huge", "wide", "deep"])
def test_what_is_too_much_is_cut_and_counted(hostile: Ran, name: str) -> None:
    state = hostile.collector(name)
    assert state["truncated"] == state["results"] > 0
    (run,) = hostile.runs
    assert sum(shard.stat().st_size for shard in run.glob("shards/*")) < 8 << 20


def test_the_recording_of_hostile_values_is_strict_json(hostile: Ran) -> None:
    (run,) = hostile.runs

    def refuse(word: str) -> object:
        raise AssertionError(word)

    json.loads((run / "summary.json").read_bytes(), parse_constant=refuse)
    lines = b"".join(shard.read_bytes() for shard in run.glob("shards/*")).splitlines()
    assert len([json.loads(line, parse_constant=refuse) for line in lines]) > 100


def test_the_health_line_is_one_line_whatever_collectors_say(hostile: Ran) -> None:
    assert hostile.health.startswith("health  degraded: ")
    assert "\x1b" not in hostile.out
    assert "\n::error::" not in hostile.out


def test_collectors_that_hang_or_overrun_end_with_the_run(differential: Differential) -> None:
    differential.write(
        conftest="""
            import threading, time
            from pytest_diagnostics import DiagnosticCollector

            class Hanging(DiagnosticCollector):
                def collect(self):
                    threading.Event().wait()

            class Blocking(DiagnosticCollector):
                blocking, interval = False, 0.05
                def collect(self):
                    return {"n": 1}

            class Slow(DiagnosticCollector):
                interval = 0.05
                def collect(self):
                    time.sleep(0.3)
                    return {"n": 1}

            class HangingAtStop(DiagnosticCollector):
                def collect(self):
                    return {"n": 1}
                def stop(self):
                    threading.Event().wait()

            class HangingAtStart(HangingAtStop):
                def start(self):
                    threading.Event().wait()

            def pytest_diagnostics_collectors(config):
                return [Hanging("hanging"), Hanging("hanging_too"), Blocking("neighbour"), Slow("slow"),
                        HangingAtStop("at_stop"), HangingAtStart("at_start")]
        """,
        test_it="""
            import time
            def test_it():
                time.sleep(1.5)
        """,
    )
    differential.diagnostics = (*differential.diagnostics, "--diagnostics-collectors=cpu")
    on = differential.pair(timeout=20)
    assert on.summary["run"]["wall_seconds"] < 1.5 + 5 + 1.5
    assert on.collector("hanging")["timeouts"] > 0
    assert "hanging" in on.problems()
    assert on.collector("neighbour")["results"] > 15
    slow = on.collector("slow")
    assert slow["missed"] + slow["timeouts"] > 0
    assert slow["results"] <= 12


def test_a_collector_that_cannot_be_taken_costs_no_other(differential: Differential) -> None:
    differential.write(
        conftest="""
            from pytest_diagnostics import DiagnosticCollector

            class Fine(DiagnosticCollector):
                def collect(self):
                    return {"n": 1}

            def pytest_diagnostics_collectors(config):
                return [Fine("twice"), Fine("twice"), Fine("cpu"), Fine("a b\\n"), 7, "no_such_collector",
                        Fine("fine")]
        """,
        test_it="def test_it(): pass",
    )
    on = differential.pair()
    for words in ("twice", "cpu", "no_such_collector", "7"):
        assert words in on.problems()
    assert on.collector("fine")["results"] > 0
    assert on.collector("memory")["results"] > 0


def test_hooks_that_raise_cost_what_plugins_would_have_given(differential: Differential) -> None:
    differential.write(
        conftest="""
            def pytest_diagnostics_collectors(config):
                raise RuntimeError("no collectors today")
            def pytest_diagnostics_sinks(config):
                raise RuntimeError("no sinks today")
            def pytest_diagnostics_processors(config):
                raise RuntimeError("no processors today")
            def pytest_diagnostics_exception_handler(config):
                raise RuntimeError("no handler today")
            def pytest_diagnostics_test_summary(item, summary):
                raise RuntimeError("no summary today")
        """,
        test_it="def test_it(): pass",
    )
    on = differential.pair()
    for words in ("collectors", "sinks", "processors", "handler", "summary"):
        assert f"no {words} today" in on.problems()
    assert on.collector("cpu")["results"] > 0
