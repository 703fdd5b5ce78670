"""What was used lands where it was used, and what cannot be known has a reason, never a zero."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

MIB = 1 << 20


def test_cpu_time_lands_in_the_phase_that_burnt_it(differential: Differential) -> None:
    differential.write(
        test_it="""
            import time
            import pytest

            def burn(seconds):
                end = time.process_time() + seconds
                while time.process_time() < end:
                    pass

            @pytest.fixture
            def around():
                burn(0.3)
                yield
                burn(0.2)

            @pytest.fixture(scope="module")
            def wide():
                burn(0.4)
                yield
                burn(0.25)

            def test_burns(around):
                burn(0.1)

            def test_comes_first(wide):
                burn(0.05)

            def test_sleeps():
                time.sleep(0.2)
        """
    )
    on = differential.pair()
    spent = {when: phase["usage"]["cpu_seconds"] for when, phase in on.phases("test_burns").items()}
    assert spent == {
        "setup": pytest.approx(0.3, abs=0.04),
        "call": pytest.approx(0.1, abs=0.04),
        "teardown": pytest.approx(0.2, abs=0.04),
    }
    (first,) = on.attempts("test_comes_first")
    assert first["usage"]["cpu_seconds"] == pytest.approx(0.05, abs=0.04)
    wide = {
        row["phase"]: row["usage"]["cpu_seconds"] for row in on.summary["fixtures"] if row["name"] == "wide"
    }
    assert wide == {"setup": pytest.approx(0.4, abs=0.05), "teardown": pytest.approx(0.25, abs=0.05)}
    slept = on.phases("test_sleeps")["call"]["usage"]
    assert slept["cpu_seconds"] < 0.05
    assert slept["wall_seconds"] >= 0.2


@pytest.mark.skipif(sys.platform != "linux", reason="exact peaks need Linux")
def test_memory_held_for_a_moment_is_the_peak_of_its_test_alone(differential: Differential) -> None:
    differential.write(
        test_it="""
            import mmap, time

            def test_before():
                time.sleep(0.02)

            def test_holds():
                with mmap.mmap(-1, 200 << 20) as block:
                    for page in range(0, 200 << 20, mmap.PAGESIZE):
                        block[page] = 1
                    time.sleep(0.02)

            def test_after():
                time.sleep(0.02)
        """
    )
    on = differential.pair()
    peaks = [attempt["usage"].get("peak_rss_bytes", 0) for attempt in on.summary["tests"]]
    assert peaks[1] - max(peaks[0], peaks[2]) > 195 * MIB
    assert abs(peaks[2] - peaks[0]) < 5 * MIB
    assert on.summary["cost"]["session_peak_rss_bytes"] >= peaks[1] - MIB


@pytest.mark.skipif(sys.platform != "linux", reason="exact peaks need Linux")
def test_a_run_inside_a_test_disturbs_neither_its_peak_nor_its_records(differential: Differential) -> None:
    differential.plugins = ("pytester",)
    differential.write(
        test_it="""
            import mmap
            import pytest

            OPTIONS = ("-p", "pytest_diagnostics.plugin", "--diagnostics", "--diagnostics-report=none")

            @pytest.mark.parametrize("how", ["runpytest_inprocess", "runpytest_subprocess"])
            def test_nests(pytester, how):
                with mmap.mmap(-1, 150 << 20) as block:
                    for page in range(0, 150 << 20, mmap.PAGESIZE):
                        block[page] = 1
                pytester.makepyfile("def test_inner(): pass\\ndef test_fails(): assert 0")
                # In process the plugin is registered already: by its module, under another name.
                result = getattr(pytester, how)(*OPTIONS)
                result.assert_outcomes(passed=1, failed=1)
                assert len(list(pytester.path.glob("pytest-diagnostics/runs/*/summary.json"))) == 1

            def test_after():
                pass
        """
    )
    off = differential.run("-pno:terminal", on=False)
    on = differential.run("-pno:terminal", on=True)
    differential.same(off, on, compare=())
    assert on.code == 0
    nests = on.attempts("test_nests[runpytest_inprocess]") + on.attempts("test_nests[runpytest_subprocess]")
    after = on.attempts("test_after")
    for attempt in nests:
        assert attempt["usage"]["peak_rss_bytes"] - after[0]["usage"]["peak_rss_bytes"] > 120 * MIB
    assert [attempt["nodeid"].rpartition("::")[2].partition("[")[0] for attempt in on.summary["tests"]] == [
        "test_nests",
        "test_nests",
        "test_after",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="needs mount namespaces")
def test_without_proc_every_absent_value_has_its_reason_and_none_is_zero(differential: Differential) -> None:
    script = 'mount -t tmpfs none /proc && exec "$@"'
    unshared = ("unshare", "-m", "sh", "-c", script, "sh")
    try:
        tried = subprocess.run([*unshared, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if tried.returncode != 0:
        pytest.skip("mount namespaces are not permitted here")
    differential.write(
        test_it="""
            import os, time

            def test_sees_no_proc():
                assert os.listdir("/proc") == []
                time.sleep(0.5)

            def test_fails():
                assert 0
        """
    )
    differential.wrapper = unshared
    differential.diagnostics = ("--diagnostics-interval=0.1",)
    on = differential.pair()
    assert on.outcomes() == {"test_sees_no_proc": "passed", "test_fails": "failed"}
    for attempt in on.summary["tests"]:
        for phase in attempt["phases"]:
            usage, absent = phase["usage"], phase["absent"]
            for key in ("rss_bytes", "peak_rss_bytes", "read_chars", "fds", "threads", "cpu_wait_seconds"):
                assert key not in usage
                assert absent[key]
            assert usage["wall_seconds"] > 0
    for name in ("memory.total_bytes", "memory.percent", "process.rss_bytes", "cpu.usage_percent"):
        assert not [series for series in on.summary["series"] if series["name"] == name]
    for state in on.summary["collectors"]:
        if state["name"] in ("cpu", "memory", "network", "process", "memory_bandwidth", "pressure"):
            assert state["state"] in ("unavailable", "failing", "degraded"), state
            assert state["reason"], state
    assert on.health
