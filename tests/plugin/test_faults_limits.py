"""What a thread in the process changes: pinned as it is, so that the documentation stays true."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diagnostics.collectors import DEFAULT

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")

NOTICING = """
    import json, os, threading, time

    def test_notices():
        time.sleep(0.3)
        block = bytearray(100 << 20)
        del block
        told = {
            "threads": threading.active_count(),
            "named": [thread.name for thread in threading.enumerate()],
            "descriptors": len(os.listdir("/proc/self/fd")),
        }
        with open("noticed.json", "w") as file:
            json.dump(told, file)

    def test_after():
        # ru_maxrss follows this mark, but may begin with the size of a large process that started pytest.
        with open("/proc/self/status") as status:
            mark = next(line for line in status if line.startswith("VmHWM:"))
        with open("peak.json", "w") as file:
            json.dump(int(mark.split()[1]), file)
"""


def noticed(differential: Differential, *, on: bool) -> dict[str, Any]:
    """Run the suite and return what the test counted."""
    assert differential.run(on=on).code == 0
    found: dict[str, Any] = json.loads((differential.path / "noticed.json").read_text())
    return {**found, "peak": json.loads((differential.path / "peak.json").read_text())}


def test_of_a_recorder_process_a_test_counts_kept_descriptors_only(differential: Differential) -> None:
    differential.write(test_it=NOTICING)
    off, on = noticed(differential, on=False), noticed(differential, on=True)
    assert (on["threads"], on["named"]) == (off["threads"], ["MainThread"])
    assert 0 < on["descriptors"] - off["descriptors"] <= 25


def test_one_thread_and_some_descriptors_are_all_that_a_test_can_count(differential: Differential) -> None:
    differential.write(test_it=NOTICING)
    differential.diagnostics = (*differential.diagnostics, "--diagnostics-recorder=thread")
    off, on = noticed(differential, on=False), noticed(differential, on=True)
    assert on["threads"] == off["threads"] + 1
    assert on["named"] == ["MainThread", "diagnostics"]
    assert 0 < on["descriptors"] - off["descriptors"] <= 60


def test_exact_peaks_lower_the_high_water_mark_and_can_be_switched_off(differential: Differential) -> None:
    differential.write(test_it=NOTICING)
    assert noticed(differential, on=True)["peak"] < 100 << 10
    differential.diagnostics = (*differential.diagnostics, "--diagnostics-peak=off")
    assert noticed(differential, on=True)["peak"] > 100 << 10


def test_without_collectors_there_is_no_thread_and_every_figure(differential: Differential) -> None:
    none = ",".join(f"-{name}" for name in DEFAULT)
    differential.write(
        test_it="""
            import os, threading, warnings

            def test_forks(recwarn):
                assert threading.active_count() == 1
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                os.waitpid(pid, 0)
                assert not list(recwarn)
        """
    )
    differential.diagnostics = (f"--diagnostics-collectors={none}",)
    on = differential.pair("-Werror")
    assert on.summary["collectors"] == []
    assert on.phases("test_forks")["call"]["usage"]["rss_bytes"] > 0
    assert on.health.startswith("health  good")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python warns of forks beside threads from 3.12 on")
def test_python_warns_of_a_fork_beside_our_thread(differential: Differential) -> None:
    differential.write(
        test_it="""
            import os
            def test_forks(recwarn):
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                os.waitpid(pid, 0)
                assert [warning.category for warning in recwarn] == [DeprecationWarning]
        """
    )
    assert differential.run(on=False).code == 1
    assert differential.run(on=True).code == 1
    assert differential.run("--diagnostics-recorder=thread", on=True).code == 0


def test_a_timeout_shows_our_stack_beside_those_of_the_test(differential: Differential) -> None:
    differential.plugins = ("pytest_timeout",)
    differential.write(test_it="import time\ndef test_it(): time.sleep(30)\n")
    on = differential.run("--timeout=0.5", "--timeout-method=signal", on=True)
    assert "Stack of diagnostics" not in on.out
    args = ("--timeout=0.5", "--timeout-method=signal", "--diagnostics-recorder=thread")
    on = differential.run(*args, on=True)
    assert "Stack of diagnostics" in on.out


def test_without_kept_descriptors_a_test_counts_none_and_has_the_same_figures(
    differential: Differential,
) -> None:
    differential.write(
        test_it="""
            import os
            def test_counts():
                globals()["kept"] = open(os.devnull)
                assert max(int(name) for name in os.listdir("/proc/self/fd")) < 500
        """
    )
    found = []
    for habit in ("none", "kept"):
        differential.diagnostics = (f"--diagnostics-descriptors={habit}", "--diagnostics-report=none")
        on = differential.run(on=True)
        call = on.phases("test_counts")["call"]
        assert on.code == (0 if habit == "none" else 1)
        found.append((call["usage"]["fds"], call["usage"]["fds_change"], sorted(call["usage"])))
    assert found[0] == found[1]
