"""The figures of a run beside busy neighbours: nothing is said that cannot be."""

from __future__ import annotations

import sys

import pytest

from tests.plugin.conftest import Differential

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="figures of Linux")

#: What the reading of several clocks takes, and what a summary rounds away.
NOISE_SECONDS = 50e-6
#: What an interrupt between two of them may work at the expense of who runs.
INTERRUPT_SECONDS = 1e-3


def test_no_phase_waits_or_works_longer_than_it_lasts_nor_into_the_next(differential: Differential) -> None:
    differential.write(
        test_it="""
            import os, subprocess, sys, time
            import pytest

            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

            @pytest.fixture(scope="session", autouse=True)
            def neighbours():
                busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(2)]
                yield
                for process in busy:
                    process.kill()
                    process.wait()

            @pytest.mark.parametrize("number", range(400))
            def test_does_nothing(number): pass

            def test_works():
                end = time.process_time() + 0.2
                while time.process_time() < end: pass
        """
    )
    on = differential.run(on=True)

    wrong = []
    for attempt in on.summary["tests"]:
        end = 0.0
        for phase in attempt["phases"]:
            usage, name = phase["usage"], (attempt["nodeid"], phase["when"])
            wall = usage["wall_seconds"] + NOISE_SECONDS
            if usage["cpu_wait_seconds"] > wall:
                wrong.append((*name, "waited", usage["cpu_wait_seconds"], wall))
            if usage["cpu_seconds"] > wall + INTERRUPT_SECONDS:
                wrong.append((*name, "worked", usage["cpu_seconds"], wall))
            if phase["start_seconds"] < end - NOISE_SECONDS:
                wrong.append((*name, "began early", phase["start_seconds"], end))
            end = phase["start_seconds"] + usage["wall_seconds"]
    assert on.code == 0, on.out
    assert wrong == []
    # It was as crowded as that.
    assert on.phases("test_works")["call"]["usage"]["cpu_wait_seconds"] > 0.05
