"""The public doubles, and the contract that they and every collector keep."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import pytest

from pytest_diagnostics import DiagnosticCollector, DiagnosticManager, DiagnosticResult, ExceptionStrategy
from pytest_diagnostics.core.protocols import Clock, Sink
from pytest_diagnostics.core.threads import new_condition
from pytest_diagnostics.testing import (
    TIMEOUT,
    FakeClock,
    MemorySink,
    RecordingHandler,
    RecordingProcessor,
    ScriptedCollector,
    check_collector,
)


def test_fake_clock_stands_still_until_it_is_moved() -> None:
    clock: Clock = FakeClock(5.0, datetime(2020, 1, 1, tzinfo=timezone.utc))

    assert clock.monotonic() == clock.monotonic() == 5.0
    assert clock.wall(65.0) == datetime(2020, 1, 1, 0, 1, tzinfo=timezone.utc)
    assert (clock.drift(), clock.suspended()) == (0.0, 0.0)


def test_fake_clock_wakes_waiters_in_the_order_of_their_moments() -> None:
    clock, woken = FakeClock(0.0), list[tuple[float, float]]()

    def sleep(seconds: float) -> None:
        condition = new_condition()
        with condition:
            assert not clock.wait(condition, seconds)
        woken.append((seconds, clock.monotonic()))

    threads = [threading.Thread(target=sleep, args=(s,), daemon=True) for s in (3.0, 1.0, 2.0)]
    for thread in threads:
        thread.start()
    clock.settle(3)
    clock.advance(2.5)
    assert woken == [(1.0, 1.0), (2.0, 2.0)]
    assert clock.monotonic() == 2.5
    clock.advance(1.0)
    assert woken[-1] == (3.0, 3.0)


def test_fake_clock_tells_a_notification_from_a_timeout() -> None:
    clock, condition = FakeClock(), new_condition()
    answers: list[bool] = []

    def wait() -> None:
        with condition:
            answers.append(clock.wait(condition, 60.0))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    clock.settle()
    with condition:
        condition.notify_all()
        assert clock.wait(condition, 0) is False
    thread.join(TIMEOUT)

    assert answers == [True]


def test_scripted_collector_repeats_its_last_answer() -> None:
    collector = ScriptedCollector([1, lambda: 2, ValueError("three"), 4])
    assert [collector.collect(), collector.collect()] == [1, 2]
    with pytest.raises(ValueError, match="three"):
        collector.collect()
    assert [collector.collect(), collector.collect()] == [4, 4]


def test_memory_sink_is_a_sink_and_a_subscriber() -> None:
    sink = MemorySink()
    assert isinstance(sink, Sink)
    with DiagnosticManager([ScriptedCollector()], sinks=[sink]) as manager:
        manager.subscribe(sink)
    with pytest.raises(AssertionError, match=r"not within 0.01 s; the last records are \[.*STOPPED"):
        sink.wait_for(lambda s: False, timeout=0.01)


def test_recording_processor_and_handler_keep_what_they_are_given() -> None:
    processor, handler = RecordingProcessor(), RecordingHandler(ExceptionStrategy.DISABLE)
    error = OSError("x")
    manager = DiagnosticManager([ScriptedCollector([error])], 60.0, handler, processors=[processor])
    with manager:
        manager.collect_all()

    assert handler.asked == [("collect", "scripted", error)]
    assert [type(seen) for seen in processor.seen] == [DiagnosticResult]


class Good(DiagnosticCollector):
    def collect(self) -> object:
        return {"n": 1}


def test_good_collector_keeps_the_contract() -> None:
    found = check_collector(Good)

    assert (found.name, found.unavailable, found.data) == ("Good", None, {"n": 1})
    assert 0 <= found.seconds < 1


def test_async_collector_can_keep_the_contract() -> None:
    class Async(DiagnosticCollector):
        async def collect(self) -> object:
            return {"n": 1}

    assert check_collector(Async).data == {"n": 1}


def test_unavailable_collector_is_checked_no_further() -> None:
    reasons: list[str] = []
    found = check_collector(lambda: ScriptedCollector(unavailable="no perf"), needs=reasons.append)

    assert found.unavailable == "no perf"
    assert reasons == ["no perf"]


names = iter(range(1000))
held: list[object] = []
started: set[int] = set()


class Renaming(Good):
    @property
    def name(self) -> str:
        return f"n{next(names)}"

    @name.setter
    def name(self, value: str) -> None:
        """Ignore it."""


class Nameless(Good):
    name = ""


class BadProbe(Good):
    def probe(self) -> str | None:
        return False  # type: ignore[return-value] # that is the point


class EmptyProbe(Good):
    def probe(self) -> str | None:
        return ""


class SameObject(Good):
    data = {"n": 0}  # noqa: RUF012 - that is the point

    def collect(self) -> object:
        self.data["n"] += 1
        return self.data


class Foreign(Good):
    def collect(self) -> object:
        return {"when": datetime(2026, 1, 1)}


class TooMuch(Good):
    def collect(self) -> object:
        return "x" * 70_000


class LeavesThread(Good):
    end = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self.end.wait, args=(TIMEOUT,), name="left", daemon=True).start()


class LeavesDescriptor(Good):
    def start(self) -> None:
        held.append(os.open("/dev/null", os.O_RDONLY))


class LeavesChild(Good):
    def start(self) -> None:
        held.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))


class StartsOnce(Good):
    def start(self) -> None:
        if id(self) in started:
            raise RuntimeError("started before")
        started.add(id(self))


class Exits(Good):
    ready = False

    def start(self) -> None:
        self.ready = True

    def collect(self) -> object:
        if not self.ready:
            raise SystemExit("not started")
        return 1


class FailsStop(Good):
    used = False

    def collect(self) -> object:
        self.used = True
        return {"n": 1}

    def start(self) -> None:
        self.opened = True

    def stop(self) -> None:
        if hasattr(self, "opened"):
            raise OSError("closed twice")


class Slow(Good):
    timeout = 0.05

    def collect(self) -> object:
        time.sleep(0.2)
        return 1


@pytest.fixture
def _tidy() -> Iterator[None]:
    LeavesThread.end.clear()
    yield
    LeavesThread.end.set()
    while held:
        left = held.pop()
        if isinstance(left, int):
            os.close(left)
        elif isinstance(left, subprocess.Popen):
            left.communicate(b"\n")


@pytest.mark.usefixtures("_tidy")
@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: 3, "3 is not a DiagnosticCollector"),
        ((lambda one: lambda: one)(Good()), "the factory returned the same collector twice"),
        (Renaming, "the name of Renaming changes"),
        (Nameless, "the name of a Nameless is empty"),
        (BadProbe, r"probe\(\) of BadProbe returned False"),
        (EmptyProbe, "empty reason"),
        (SameObject, r"collect\(\) of SameObject returned the same object twice"),
        (Foreign, "returned 1 values that JSON does not know"),
        (TooMuch, "more than a result may hold"),
        (StartsOnce, "StartsOnce failed in the second run: processing: RuntimeError: started before"),
        (Exits, r"collect\(\) of Exits without start\(\) raised SystemExit"),
        (FailsStop, "FailsStop failed in the first run: processing: OSError: closed twice"),
        (Slow, "Slow failed in the first run: timeout"),
        pytest.param(LeavesThread, r"left threads behind: \['left", id="thread"),
        pytest.param(LeavesDescriptor, r"left descriptors open: \['\d+ -> /dev/null'", id="descriptor"),
        pytest.param(LeavesChild, "left child processes behind", id="child"),
    ],
)
def test_broken_rule_is_named(factory: Callable[[], DiagnosticCollector], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_collector(factory, timeout=2.0)
