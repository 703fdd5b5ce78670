"""perf counts, says what it cannot count, and never stays behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_diagnostics.collectors.perf_events import PerfEventsCollector, parse_line
from pytest_diagnostics.core.threads import start_thread

posix = pytest.mark.skipif(sys.platform == "win32", reason="perf is Linux's")

KEYS = {
    "available",
    "cpu_cores",
    "interval_ms",
    "sample_time",
    "events",
    "missing_events",
    "unsupported_events",
    "error",
    "scope",
}

FAKE = """#!/bin/sh
# Stands for perf: writes what the test wants to the descriptor behind --log-fd.
while [ $# -gt 0 ]; do
  case "$1" in --log-fd) fd=$2; shift;; -a) all=1;; esac
  shift
done
"""


def fake(tmp_path: Path, body: str) -> str:
    path = tmp_path / "perf"
    path.write_text(FAKE + body)
    path.chmod(0o755)
    return str(path)


def collect_until(collector: PerfEventsCollector, key: str) -> dict[str, object]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        data = collector.collect()
        if data[key]:
            return data
        time.sleep(0.01)
    raise AssertionError(f"no {key} in {data}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("     1.001055186;2003.48;msec;cpu-clock;2003481270;100.00;2.002;CPUs utilized", 2003.48),
        ("1.0;7;;page-faults:u;1;100.00;;", 7.0),
        ("1.0;7;;cpu_core/cycles/;1;100.00;;", 7.0),
        ("1.0;<not counted>;;cycles;0;0.00;;", None),
        ("1.0;<not supported>;;cycles;0;100.00;;", None),
    ],
)
def test_a_line_is_one_event(line: str, expected: float | None) -> None:
    parsed = parse_line(line)
    assert parsed is not None
    assert parsed.value == expected
    assert parsed.event in {"cpu-clock", "page-faults", "cycles"}


@pytest.mark.parametrize("line", ["", "# started on Sun", "1.0;;;;;;2.1;stalled", "x;1;;cycles", "1.0;7;;"])
def test_other_lines_are_none(line: str) -> None:
    assert parse_line(line) is None


def test_kernel_events_counted_in_user_space_only_are_unsupported_and_not_zero() -> None:
    parsed = parse_line("1.0;0;;context-switches:u;1;100.00;;")
    assert parsed is not None
    assert (parsed.value, parsed.state) == (None, "not supported")


@posix
def test_values_missing_and_unsupported_events_are_told_apart(tmp_path: Path) -> None:
    perf = fake(
        tmp_path,
        """
for line in "1.0;5;;page-faults;1;100;;" "1.0;<not counted>;;cycles;0;0;;" \
  "1.0;<not supported>;;LLC-loads;0;0;;"
do echo "$line" >>/dev/fd/$fd; done
exec sleep 60
""",
    )
    collector = PerfEventsCollector(events=("page-faults", "cycles", "LLC-loads"), perf=perf)
    collector.start()
    data = collect_until(collector, "events")
    collector.stop()
    assert set(data) == KEYS
    assert data["events"] == {
        "page-faults": {"value": 5.0, "unit": ""},
        "cycles": {"value": None, "unit": ""},
    }
    assert data["missing_events"] == ["cycles"]
    assert data["unsupported_events"] == ["LLC-loads"]
    assert (data["available"], data["error"], data["sample_time"]) == (True, None, 1.0)


@posix
def test_before_the_first_interval_is_over_nothing_is_told(tmp_path: Path) -> None:
    collector = PerfEventsCollector(perf=fake(tmp_path, "exec sleep 60\n"))
    collector.start()
    data = collector.collect()
    collector.stop()
    assert data["available"] is True
    assert data["events"] is None
    assert data["reasons"] == dict.fromkeys(
        ("events", "sample_time", "missing_events", "unsupported_events"),
        "the first interval is not over yet",
    )


@posix
def test_where_the_machine_is_not_permitted_the_process_is_counted(tmp_path: Path) -> None:
    perf = fake(
        tmp_path,
        """
if [ "$all" ]; then echo 'Error:' >&2; echo 'Access is limited.' >&2; exit 255; fi
echo '1.0;5;;page-faults:u;1;100;;' >>/dev/fd/$fd
exec sleep 60
""",
    )
    collector = PerfEventsCollector(events=("page-faults",), perf=perf)
    collector.start()
    data = collect_until(collector, "events")
    collector.stop()
    assert data["scope"] == "process"
    assert data["error"] is None


@posix
def test_where_nothing_is_permitted_the_reason_is_data(tmp_path: Path) -> None:
    perf = fake(tmp_path, "echo 'Error:' >&2; echo 'Access is limited.' >&2; exit 255\n")
    collector = PerfEventsCollector(perf=perf)
    assert collector.probe() == f"{perf} cannot count: Access is limited."
    collector.start()
    data = collector.collect()
    assert (data["available"], data["error"], data["events"]) == (False, "Access is limited.", None)
    collector.stop()


@posix
def test_a_perf_that_ends_on_its_own_is_told(tmp_path: Path) -> None:
    collector = PerfEventsCollector(perf=fake(tmp_path, "sleep 0.2; echo 'lost it' >&2; exit 3\n"))
    collector.start()
    data = collect_until(collector, "error")
    collector.stop()
    assert (data["available"], data["error"]) == (False, "perf ended with 3: lost it")


def test_without_perf_the_probe_says_so_and_so_does_the_data(tmp_path: Path) -> None:
    collector = PerfEventsCollector(perf=str(tmp_path / "no-perf"))
    assert "is not installed" in (collector.probe() or "")
    collector.start()
    data = collector.collect()
    assert data["available"] is False
    assert "is not installed" in str(data["error"])
    collector.stop()


@posix
def test_a_perf_that_ignores_signals_is_killed_and_reaped(tmp_path: Path) -> None:
    class Impatient(PerfEventsCollector):
        _SIGNALS = tuple((number, min(patience, 0.2)) for number, patience in PerfEventsCollector._SIGNALS)

    collector = Impatient(perf=fake(tmp_path, "trap '' INT TERM; while :; do sleep 1; done\n"))
    collector.start()
    process = collector._process
    assert process is not None
    collector.stop()
    assert process.returncode == -9


@posix
def test_a_perf_started_in_a_thread_that_blocks_all_signals_still_hears_the_kind_one(tmp_path: Path) -> None:
    heard, program = tmp_path / "heard", tmp_path / "perf.py"
    # Python, unlike a shell, leaves the mask that it inherits alone. What the real one writes while it ends
    # is its last, partial interval.
    program.write_text(
        "import pathlib, sys, time\n"
        "try:\n"
        f"    pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        f"    pathlib.Path({str(heard)!r}).write_text('yes')\n"
    )
    collector = PerfEventsCollector(perf=fake(tmp_path, f"exec {sys.executable} {program}\n"))
    done = threading.Event()

    def life() -> None:
        collector.start()
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        collector.stop()
        done.set()

    start_thread(life, "diagnostics-perf").join(10)

    assert done.is_set()
    assert heard.read_text() == "yes"


@posix
def test_starting_and_stopping_leaves_no_descriptor_and_no_process(tmp_path: Path) -> None:
    collector = PerfEventsCollector(perf=fake(tmp_path, "exec sleep 60\n"))
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        collector.start()
        collector.collect()
        collector.stop()
    refused = PerfEventsCollector(perf=fake(tmp_path, "exit 1\n"))
    refused.start()
    refused.stop()
    assert len(os.listdir("/dev/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@posix
@pytest.mark.perf
def test_the_real_perf_counts_the_machine_or_the_process() -> None:
    path = shutil.which("perf")
    collector = PerfEventsCollector(interval_ms=100)
    reason = collector.probe()
    if path is None or reason is not None:
        pytest.skip(reason or "perf is not installed")
    collector.start()
    subprocess.run([sys.executable, "-S", "-c", "sum(range(100000))"], check=True)
    data = collect_until(collector, "events")
    process = collector._process
    collector.stop()
    events = data["events"]
    assert isinstance(events, dict)
    assert events["cpu-clock"]["value"] > 0
    assert events["cpu-clock"]["unit"] == "msec"
    assert process is not None
    assert process.returncode is not None
