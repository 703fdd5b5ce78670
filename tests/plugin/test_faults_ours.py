"""Failures of our own: whatever of us breaks, the tests' outcomes and the exit code are what they were."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.core.errors import RecordingError
from pytest_diagnostics.storage import records, runs
from pytest_diagnostics.storage.files import Files
from pytest_diagnostics.storage.shard import ShardWriter

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

BROKEN = """
    import pytest

    def pytest_configure(config):
        from pytest_diagnostics import {module} as module
        def broken(*args, **kwargs):
            raise {error}
        owner = module
        for name in {names!r}[:-1]:
            owner = getattr(owner, name)
        assert hasattr(owner, {names!r}[-1])
        setattr(owner, {names!r}[-1], broken)
"""

TESTS = """
    import pytest

    def test_passes(request):
        pass

    @pytest.fixture(scope="module")
    def wide():
        yield 1

    def test_fails(wide):
        assert 0

    @pytest.mark.diagnostics_limit(fds_leaked=1000)
    def test_limited():
        pass

    @pytest.mark.parametrize("n", range(2))
    def test_skips(n):
        pytest.skip("no")
"""

PARTS = [
    "session:DiagnosticsSession._open_run",
    "session:DiagnosticsSession._watch_tests",
    "session:DiagnosticsSession._shard",
    "session:DiagnosticsSession._start_process",
    "session:DiagnosticsSession._header_line",
    "session:DiagnosticsSession._close_shards",
    "session:DiagnosticsSession._summarise",
    "session:DiagnosticsSession._write_terminal",
    "phases:PhaseHooks._number",
    "phases:PhaseHooks._begin_attempt",
    "phases:PhaseHooks._begin",
    "phases:PhaseHooks._end",
    "phases:PhaseHooks._reported",
    "phases:PhaseHooks._logged",
    "judging:Judge.begin",
    "judging:Judge.count",
    "judging:Judge.exceeded",
    "phases:PhaseHooks._after_teardown",
    "phases:PhaseHooks.finish",
    "phases:PhaseHooks.identity",
    "live:LiveCollectors.request",
    "live:LiveCollectors.stop",
    "live:LiveCollectors.limits",
    "live:LiveCollectors.end_added",
    "attachment:attach",
    "attachment:_section",
    "wide:WideFixture.begin",
    "wide:WideFixture.end",
    "hosting:Hosting.launch",
    "hosting:Hosting.stop",
    "hosting:Hosting._check",
    "recorder.process:ProcessRecorder.start",
    "recorder.process:ProcessRecorder.stop",
    "recorder.process:ProcessRecorder.request",
    "recorder.process:ProcessRecorder.latest",
    "recorder.launch:_spawn",
    "recorder.channel:Channel.ask",
    "storage.shard:ShardWriter.append",
    "storage.shard:ShardWriter.close",
    "storage.runs:create_run",
    "storage.runs:retain",
    "rendering:summary_of",
    "rendering:write_summary",
    "rendering:write_report",
    "report.terminal:lines",
    "report.html:write",
    "system.usage_linux:LinuxUsageReader.open",
    "system.usage_linux:LinuxUsageReader.close",
    "system.peak:PeakOwner.begin",
    "system.peak:PeakOwner.close",
    "hosting:Hosting.start_thread",
]
#: Those of a thread of this process.
THREAD_PARTS = [
    "recorder.thread:ThreadRecorder.start",
    "recorder.thread:ThreadRecorder.stop",
    "recorder.thread:ThreadRecorder.request",
    "core.manager:DiagnosticManager.start_collecting",
    "core.manager:DiagnosticManager.stop_collecting",
    "core.loop:Loop._sleep",
    "core.execution:Executor.execute",
]


#: Not asked in a run whose other parts work, or where there is nobody left to tell.
UNCALLED = ("DiagnosticsSession._write_terminal", "lines", "LiveCollectors.stop")


@pytest.fixture(scope="module")
def plain(new_differential: Callable[[], Differential]) -> Differential:
    suite = new_differential()
    suite.write(test_it=TESTS)
    suite.diagnostics = ("--diagnostics-interval=0.1",)
    return suite


@pytest.fixture(scope="module")
def off(plain: Differential) -> object:
    return plain.run(on=False)


@pytest.mark.parametrize("part", [*PARTS, *THREAD_PARTS])
def test_a_part_of_ours_that_fails_changes_nothing_but_our_own_lines(
    plain: Differential, off: object, part: str
) -> None:
    module, _, path = part.partition(":")
    package, _, name = module.rpartition(".")
    source = BROKEN.format(
        module=name, names=path.split("."), error="RuntimeError('broken for the test')"
    ).replace(
        "from pytest_diagnostics import",
        f"from {'.'.join(filter(None, ['pytest_diagnostics', package]))} import",
    )
    plain.write(breaking=source)
    plain.plugins = ("breaking",)
    on = plain.run(f"--diagnostics-recorder={'thread' if part in THREAD_PARTS else 'process'}", on=True)
    plain.same(off, on)  # type: ignore[arg-type] # a fixture's type may not be imported at run time
    assert "broken for the test" in on.out or "broken for the test" in on.problems() or path in UNCALLED


ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.EACCES]
CALLS = ["open", "write", "close", "mkdir", "replace", "fstat", "set_mode", "lstat"]


class Failing:
    """Lets the n-th call of a system function fail, that one alone or all from then on."""

    def __init__(self, real: Callable[..., object], nth: int, code: int, lasting: bool) -> None:
        self.calls = 0
        self.struck = False
        self._real, self._nth, self._code, self._lasting = real, nth, code, lasting

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        if self.calls == self._nth or (self._lasting and self.calls > self._nth):
            self.struck = True
            if self._real is os.close:
                os.close(*args)  # type: ignore[arg-type] # the kernel closes, whatever it then says
            raise OSError(self._code, os.strerror(self._code))
        return self._real(*args, **kwargs)


def _record(base: Path) -> list[str]:
    """Record a small run; return the problems told. RecordingError when it cannot begin."""
    run = runs.create_run(base, {"settings": {}})
    writer = ShardWriter(run.shard("main", os.getpid()))
    writer.retry_seconds = 0.0  # type: ignore[misc] # this one shall not wait
    for n in range(6):
        writer.append("test", {"n": n})
    writer.close({"reason": "finished"})
    return writer.problems


def _numbers(base: Path) -> list[object]:
    found: list[object] = []
    for path in base.glob("runs/*/shards/*"):
        for line in path.read_bytes().split(b"\n"):
            try:
                record = records.decode(line)
            except records.RecordError:
                continue
            found += [record["n"]] if record["kind"] == "test" else []
    return found


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        yield patch


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("call", CALLS)
def test_the_nth_failing_system_call_loses_nothing_before_it_and_is_named(
    tmp_path: Path, files: pytest.MonkeyPatch, call: str, lasting: bool
) -> None:
    for code in ERRORS:
        for nth in range(1, 200):
            base = tmp_path / f"{errno.errorcode[code]}-{nth}"
            failing = Failing(getattr(Files, call), nth, code, lasting)
            files.setattr(Files, call, failing if call == "set_mode" else staticmethod(failing))
            try:
                problems, refused = _record(base), ""
            except RecordingError as exc:
                problems, refused = [], str(exc)
            finally:
                files.undo()
            if not failing.struck:
                assert (problems, refused, _numbers(base)) == ([], "", list(range(6)))
                break
            told = " ".join([*problems, refused])
            assert errno.errorcode[code] in told or _unharmed(base, lasting), (nth, told)
            numbers = _numbers(base)
            assert numbers == sorted(set(map(int, map(str, numbers))))
            if not lasting and not refused:
                assert numbers == list(range(6)), (nth, code, told)
        else:
            pytest.fail("it never ran clean")


def _unharmed(base: Path, lasting: bool) -> bool:
    """Return whether everything was recorded in spite of a failure: then there is nothing to tell."""
    return _numbers(base) == list(range(6))
