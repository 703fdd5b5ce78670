"""What a session leaves behind in its process: nothing."""

from __future__ import annotations

import gc
import os
import sys
import threading

import psutil
import pytest

OPTIONS = ("-pno:asyncio", "-pno:rerunfailures", "--diagnostics", "--diagnostics-interval=0.02")


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(
        """
        import time, pytest
        from pytest_diagnostics import DiagnosticCollector

        class Mine(DiagnosticCollector):
            def collect(self):
                return {"n": 1}

        def test_passes(diagnostics):
            diagnostics.add(Mine())
            time.sleep(0.05)

        @pytest.mark.diagnostics("cpu")
        def test_fails():
            assert 0
        """
    )
    return pytester


def run(suite: pytest.Pytester, *args: str) -> None:
    suite.inline_run(*OPTIONS, *args)


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
@pytest.mark.parametrize("scope", ["session", "test"])
def test_twenty_sessions_leave_no_thread_no_descriptor_and_no_child(
    suite: pytest.Pytester, scope: str, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = (f"--diagnostics-scope={scope}", "--diagnostics-report=none")
    run(suite, *arguments)
    gc.collect()
    threads, descriptors = threading.enumerate(), len(os.listdir("/proc/self/fd"))
    children = psutil.Process().children()  # of other tests, which have left theirs
    for _ in range(20):
        run(suite, *arguments)
    gc.collect()
    assert threading.enumerate() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert psutil.Process().children() == children
    recorded = list(suite.path.glob("pytest-diagnostics/runs/*Z-*"))
    assert len(recorded) == 21


def test_sessions_are_collected_with_all_that_they_held(suite: pytest.Pytester) -> None:
    # In a process of its own: pytester keeps its sessions itself.
    script = suite.makepyfile(
        repeated="""
        import gc, sys
        import pytest
        from pytest_diagnostics.core.manager import DiagnosticManager
        from pytest_diagnostics.session import DiagnosticsSession

        def alive():
            gc.collect()
            return sum(isinstance(one, (DiagnosticManager, DiagnosticsSession)) for one in gc.get_objects())

        counts = []
        for _ in range(4):
            pytest.main(["-pno:asyncio", "-pno:rerunfailures", "--diagnostics", "--diagnostics-report=none"])
            counts.append(alive())
        print(f"counts: {counts}")
        """
    )
    result = suite.runpython(script)
    (line,) = [line for line in result.outlines if line.startswith("counts: ")]
    counts = [int(word) for word in line.removeprefix("counts: ").strip("[]").split(",")]
    assert counts[1] == counts[2] == counts[3] <= 6  # the last two runs' at most
