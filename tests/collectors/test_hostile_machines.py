"""Collectors on a machine, or beside a test, that means no good: reasons, never zeros."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from unittest import mock

import pytest

from pytest_diagnostics.collectors import DEFAULT, load
from pytest_diagnostics.core.collector import DiagnosticCollector
from pytest_diagnostics.system.sampling import LocalCollector
from pytest_diagnostics.system.usage import NO_PEAK, open_usage_reader
from pytest_diagnostics.system.usage_portable import PortableUsageReader

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
PORTABLE = ("cpu", "memory", "network", "disk", "process")


@pytest.fixture
def collectors() -> Iterator[list[DiagnosticCollector]]:
    made = [load(name) for name in DEFAULT]
    for collector in made:
        if collector.probe() is None:
            collector.start()
    yield made
    for collector in made:
        collector.stop()


def check(data: object) -> None:
    """Every absent value has its reason, and the data is JSON."""
    assert isinstance(data, dict)
    json.dumps(data, allow_nan=False)
    absent = {key for key, value in data.items() if value is None}
    assert absent <= set(data.get("reasons", {})), data


@linux
def test_the_first_sample_right_after_start_works(collectors: list[DiagnosticCollector]) -> None:
    for collector in collectors:
        if collector.probe() is None:
            check(collector.collect())


@linux
def test_a_second_run_begins_without_the_first_one_s_baselines() -> None:
    collector = load("memory_bandwidth")
    for _ in range(2):
        collector.start()
        data = collector.collect()
        assert isinstance(data, dict)
        assert data["pgfault_per_sec"] is None
        data = collector.collect()
        assert isinstance(data, dict)
        assert data["pgfault_per_sec"] is not None
        collector.stop()


@linux
def test_mocks_do_not_reach_a_tick(collectors: list[DiagnosticCollector]) -> None:
    broken = mock.Mock(side_effect=AssertionError("a test's mock"))
    usable = [collector for collector in collectors if collector.probe() is None]
    for collector in usable:
        collector.collect()
    with (
        mock.patch.multiple("os", open=broken, pread=broken, fstat=broken, getpid=broken, listdir=broken),
        mock.patch.multiple("os", stat=broken, statvfs=broken, close=broken, sched_getaffinity=broken),
        mock.patch.multiple("time", clock_gettime=broken, monotonic=broken, sleep=broken, time=broken),
        mock.patch("builtins.open", broken),
        mock.patch("os.path.exists", broken),
    ):
        for collector in usable:
            check(collector.collect())


@linux
def test_frozen_time_does_not_stop_rates_or_windows() -> None:
    freezegun = pytest.importorskip("freezegun")
    collector = load("memory_bandwidth")
    reader = open_usage_reader("off")
    with freezegun.freeze_time("2020-01-01"):
        collector.start()
        collector.collect()
        window = reader.open()
        data = collector.collect()
        usage, _ = reader.close(window)
    collector.stop()
    reader.release()
    assert isinstance(data, dict)
    assert data["pgfault_per_sec"] is not None
    assert usage["wall_seconds"] > 0


@linux
def test_stopping_closes_every_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in DEFAULT:
        collector = load(name)
        if collector.probe() is None:
            collector.start()
            collector.collect()
            collector.collect()
        collector.stop()
    assert len(os.listdir("/proc/self/fd")) == before


@linux
def test_one_default_tick_costs_less_than_three_milliseconds(collectors: list[DiagnosticCollector]) -> None:
    """A guard against a scan in the fast path; the budget of 1 ms is shown by the benchmarks."""
    usable = [collector for collector in collectors if collector.probe() is None]
    costs = []
    for _ in range(30):
        began = time.thread_time()
        for collector in usable:
            collector.collect()
        costs.append(time.thread_time() - began)
    assert sorted(costs)[len(costs) // 2] < 0.003


@linux
def test_closed_and_reused_descriptors_do_not_spoil_a_tick() -> None:
    body = """
import os
from pytest_diagnostics.collectors import DEFAULT, load
made = [load(name) for name in DEFAULT]
made = [collector for collector in made if collector.probe() is None]
for collector in made: collector.start(); collector.collect()
before = {collector.name: collector.collect() for collector in made}
os.closerange(3, 4096)
mine = [os.open("/etc/passwd", os.O_RDONLY) for _ in range(700)]
for collector in made:
    after = collector.collect()
    assert set(after) - {"reasons"} == set(before[collector.name]) - {"reasons"}, collector.name
    lost = {key for key, value in after.items() if value is None and before[collector.name][key] is not None}
    # Two ticks within one of the kernel's have nothing between them.
    why = {after["reasons"][key] for key in lost}
    assert not [reason for reason in why if "clock tick" not in reason], (collector.name, why)
    collector.stop()
for number in mine: assert os.pread(number, 4, 0) == b"root"
print("ok")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", body], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout == "ok\n", done.stderr


@linux
def test_without_a_free_descriptor_what_is_kept_is_read_and_the_rest_has_reasons() -> None:
    body = """
import resource, subprocess, sys
from pytest_diagnostics.collectors import DEFAULT, load
child = subprocess.Popen(["sleep", "60"])
made = [load(name) for name in DEFAULT]
made = [collector for collector in made if collector.probe() is None]
for collector in made: collector.start(); collector.collect()
before = {collector.name: collector.collect() for collector in made}
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
after = {collector.name: collector.collect() for collector in made}
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
child.kill(); child.wait()
for name, data in after.items():
    absent = {key for key, value in data.items() if value is None}
    assert absent <= set(data.get("reasons", ())), (name, data)
assert before["process"]["children"] == 1
assert after["process"]["children"] is None
assert "Too many open files" in after["process"]["reasons"]["per_child"]
assert after["process"]["rss_bytes"] > 0
assert after["process"]["limit_bytes"] == before["process"]["limit_bytes"]
assert after["memory"]["available_bytes"] > 0
for collector in made: collector.stop()
print("ok")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", body], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout == "ok\n", done.stderr


@linux
def test_an_empty_proc_gives_reasons_and_no_zeros() -> None:
    body = f"""
import sys
sys.path[:0] = {sys.path!r}
from pytest_diagnostics.collectors import DEFAULT, load
for name in DEFAULT:
    collector = load(name)
    reason = collector.probe()
    try:
        collector.start()
        data = collector.collect()
    except Exception as exc:
        assert str(exc), name
        assert reason, (name, exc)
        continue
    absent = set(key for key, value in data.items() if value is None)
    assert absent <= set(data.get("reasons", ())), (name, data)
    # What psutil can still ask the kernel is true; a bare 0 would be a file that was not read.
    zeros = [key for key, value in data.items() if value == 0 or value == [] or value == {{}}]
    assert not zeros, (name, zeros, data)
print("ok")
"""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" -c "$1"', sys.executable, body],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.parametrize("name", PORTABLE)
def test_the_portable_way_has_the_same_keys(name: str) -> None:
    portable, native = load(name), load(name)
    assert isinstance(portable, LocalCollector)
    portable.__dict__["raw"] = False
    assert portable.probe() is None
    portable.start()
    portable.collect()
    data = portable.collect()
    check(data)
    native.start()
    expected = native.collect()
    native.stop()
    portable.stop()
    assert set(data) - {"reasons"} == set(expected) - {"reasons"}  # type: ignore[call-overload]


@pytest.mark.parametrize("name", sorted(set(DEFAULT) - set(PORTABLE)))
def test_what_needs_linux_says_so_elsewhere(name: str) -> None:
    collector = load(name)
    assert isinstance(collector, LocalCollector)
    collector.__dict__["raw"] = False
    assert "needs Linux" in (collector.probe() or "")


def test_portable_usage_has_figures_or_reasons() -> None:
    reader = PortableUsageReader("exact")
    outer = reader.open()
    inner = reader.open(exclude=True)
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    inside, _ = reader.close(inner)
    usage, absent = reader.close(outer)
    assert inside["cpu_seconds"] >= 0.05
    assert usage["cpu_seconds"] < 0.04
    assert usage["rss_bytes"] > 1 << 20
    assert "Linux" in absent["peak_rss_bytes"]
    assert not set(usage) & set(absent)
    assert set(NO_PEAK) == {"sampled", "off"}
    reader.release()
