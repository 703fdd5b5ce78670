"""What every collector must keep, whoever wrote it. Public as ``pytest_diagnostics.testing``."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from .core.bounds import bound
from .core.collector import DiagnosticCollector
from .core.manager import DiagnosticManager
from .core.threads import start_thread

#: Real seconds after which a collector counts as hung.
TIMEOUT = 10.0


@dataclass(frozen=True)
class CheckedCollector:
    """What ``check_collector`` found out about a collector that keeps the contract."""

    name: str
    #: Why it cannot work here; then only its name and its probe were checked.
    unavailable: str | None
    #: The data of the last collection that had any.
    data: object
    #: What the second collection took, seconds; the first may open things.
    seconds: float


def check_collector(
    factory: Callable[[], DiagnosticCollector],
    *,
    needs: Callable[[str], object] | None = None,
    timeout: float = TIMEOUT,
) -> CheckedCollector:
    """Put a collector through its life; raises AssertionError with a sentence for the rule it breaks.

    The name is a text, the same at every look and for every instance; ``probe`` returns None or a reason;
    two collections return new objects, within the bounds of a result and JSON-able as they are; stopping
    leaves no thread, descriptor or child behind; it can be started again; collecting without ``start`` and
    from another thread either works or raises; a manager gets data from it within ``timeout`` seconds.

    ``needs`` is called with the reason when the collector cannot work here: ``pytest.skip``, for example.
    """
    collector = factory()
    name = _check_name(collector, factory())
    reason: object = collector.probe()
    if reason is not None:
        assert isinstance(reason, str), f"probe() of {name} returned {reason!r}, not None or a reason"
        assert reason, f"probe() of {name} returned an empty reason"
        if needs is not None:
            needs(reason)
        return CheckedCollector(name, reason, None, 0.0)
    before = _Holdings()
    _check_unstarted(factory())
    first = _check_run(factory, name, timeout)
    _check_run(lambda: first.collector, name, timeout, again=True)
    before.check_against(_Holdings(), name)
    return CheckedCollector(name, None, first.data, first.seconds)


def _check_name(collector: DiagnosticCollector, twin: DiagnosticCollector) -> str:
    assert isinstance(collector, DiagnosticCollector), f"{collector!r} is not a DiagnosticCollector"
    assert collector is not twin, "the factory returned the same collector twice"
    name: object = collector.name
    assert isinstance(name, str), f"the name of {collector!r} is {name!r}, not a text"
    assert name.strip(), f"the name of a {type(collector).__name__} is empty"
    assert collector.name == twin.name == name, (
        f"the name of {type(collector).__name__} changes: {name!r}, {collector.name!r}, {twin.name!r}"
    )
    return name


def _check_unstarted(collector: DiagnosticCollector) -> None:
    """Collect without a start: it may raise an Exception, no more."""
    ended: list[BaseException | None] = []

    def collect() -> None:
        try:
            collector.safe_collect()
            ended.append(None)
        except BaseException as exc:  # noqa: BLE001 - to be told to the author, from another thread
            ended.append(exc)
        finally:
            unawaited = collector.stop()
            if inspect.iscoroutine(unawaited):
                unawaited.close()

    start_thread(collect, "check-unstarted").join(TIMEOUT)
    assert ended, f"collect() of {collector.name} without start() did not return within {TIMEOUT:g} s"
    assert ended[0] is None, f"collect() of {collector.name} without start() raised {ended[0]!r}"


@dataclass
class _Checked:
    collector: DiagnosticCollector
    data: object
    seconds: float


class _Watched:
    """Keeps the very objects that a collector stores: a manager passes them on unchanged."""

    def __init__(self, collector: DiagnosticCollector) -> None:
        self.raw: list[object] = []
        self._store = collector.store

    def store(self, result: object) -> object:
        self.raw.append(result)
        return self._store(result)


def _check_run(
    factory: Callable[[], DiagnosticCollector], name: str, timeout: float, *, again: bool = False
) -> _Checked:
    collector = factory()
    watched = _Watched(collector)
    collector.store = watched.store  # type: ignore[method-assign] # looked on, and put back below
    manager = DiagnosticManager([collector], interval=3600.0, stop_timeout=timeout)
    run = "the second run" if again else "the first run"
    manager.start_collecting()
    try:
        for _ in range(2):
            manager.collect_now(timeout=timeout)
    finally:
        manager.stop_collecting()
        del collector.store
    results = manager.get_results()
    assert manager.sink_failures() == {}
    errors = [f"{result.error} ({result.error.stage})" for result in results if result.error is not None]
    assert not errors, f"{name} failed in {run}: {errors[0]}"
    assert len(results) >= 3, f"{name} gave {len(results)} results in {run}, not 3"
    _check_data(name, watched.raw)
    return _Checked(collector, results[-1].data, results[1].seconds)


def _check_data(name: str, raw: list[object]) -> None:
    for before, after in pairwise(raw):
        same = before is after and isinstance(after, (dict, list))
        assert not same, f"collect() of {name} returned the same object twice; make a new one for each tick"
    for each in raw:
        bounded = bound(each)
        assert bounded.coerced == 0, (
            f"collect() of {name} returned {bounded.coerced} values that JSON does not know, in {each!r:.200}"
        )
        assert not bounded.truncated, f"collect() of {name} returned more than a result may hold"


class _Holdings:
    """What this process has open."""

    def __init__(self) -> None:
        self.threads = {thread for thread in threading.enumerate() if thread.is_alive()}
        self.descriptors = _listed("/proc/self/fd")
        self.children = _children()

    def check_against(self, after: _Holdings, name: str) -> None:
        threads = after.threads - self.threads
        assert not threads, f"{name} left threads behind: {sorted(t.name for t in threads)}"
        children = after.children - self.children
        assert not children, f"{name} left child processes behind: {sorted(children)}"
        descriptors = after.descriptors - self.descriptors
        assert not descriptors, f"{name} left descriptors open: {_targets(descriptors)}"


def _listed(folder: str) -> set[str]:
    """Return the names in a folder of /proc; nothing where there is none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return set()
    try:
        return set(os.listdir(descriptor)) - {str(descriptor)}
    finally:
        os.close(descriptor)


def _children() -> set[str]:
    """Return the pids of this process' children, of all its threads."""
    found: set[str] = set()
    for thread in _listed("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
                found |= set(file.read().split())
        except OSError:
            continue
    return found


def _targets(descriptors: set[str]) -> list[str]:
    told = []
    for descriptor in sorted(descriptors):
        try:
            told.append(f"{descriptor} -> {os.readlink(f'/proc/self/fd/{descriptor}')}")
        except OSError:
            told.append(descriptor)
    return told
