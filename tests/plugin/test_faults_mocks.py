"""Frozen time, mocks and fake file systems: tests count their own calls, records keep real values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

MOCKS = """
    import builtins, json, os, socket, subprocess, sys, threading, time
    from unittest import mock
    import psutil
    import pytest

    real_sleep = time.sleep

    def refuse(*args, **kwargs):
        raise AssertionError("called by somebody else")

    @pytest.mark.parametrize("name", [
        "time.sleep", "time.monotonic", "time.time", "time.perf_counter", "time.monotonic_ns",
        "time.clock_gettime", "time.clock_gettime_ns", "time.process_time", "time.thread_time",
        "builtins.open", "io.open", "os.open", "os.read", "os.write", "os.close", "os.pread", "os.getpid",
        "os.stat", "os.fstat", "os.lstat", "os.listdir", "os.scandir", "os.mkdir", "os.replace", "os.urandom",
        "os.path.exists", "os.path.abspath", "os.sysconf", "os.getloadavg", "os.statvfs", "os.cpu_count",
        "os.sched_getaffinity", "json.dumps", "json.loads", "json.JSONEncoder.encode", "zlib.crc32",
        "threading.Thread", "threading.Event", "threading.Lock", "threading.get_ident",
        "threading.Thread.start",
        "subprocess.Popen", "subprocess.run", "socket.socket", "resource.getrusage", "signal.pthread_sigmask",
        "random.random", "datetime.datetime", "tempfile.mkstemp", "collections.deque", "platform.node",
        *(f"psutil.{name}" for name in (
            "cpu_percent", "cpu_times", "cpu_times_percent", "virtual_memory", "swap_memory", "disk_usage",
            "disk_partitions", "disk_io_counters", "net_io_counters", "net_connections", "Process",
            "process_iter", "pids", "sensors_temperatures", "cpu_freq", "cpu_count", "getloadavg")),
    ])
    def test_mocked(name):
        importing = name.rpartition(".")[0]
        if importing.count(".") == 0:
            __import__(importing)
        with mock.patch(name, side_effect=refuse) as mocked:
            real_sleep(0.06)
            calls = mocked.call_args_list[:]
        assert calls == []

    @pytest.fixture(params=[
        "time.monotonic", "os.open", "os.write", "json.dumps", "os.getpid", "builtins.open", "os.close",
        "threading.Thread", "threading.get_ident", "os.replace", "os.mkdir",
    ])
    def mocked_throughout(request):
        with mock.patch(request.param, side_effect=refuse) as mocked:
            yield mocked

    def test_mocked_by_a_fixture(mocked_throughout, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda _: None)
        real_sleep(0.05)

    def test_sees_only_its_own_machine():
        with mock.patch("psutil.virtual_memory", return_value=mock.Mock(percent=12345)) as one:
            real_sleep(0.2)
            psutil.virtual_memory()
        one.assert_called_once()
"""

FROZEN = """
    import datetime, time
    import freezegun, pytest

    real_sleep = time.sleep

    @pytest.fixture(scope="module", autouse=True)
    def epoch():
        with freezegun.freeze_time("2012-01-14"):
            yield

    def test_frozen_by_a_module_fixture():
        assert time.time() == 1326499200.0
        real_sleep(0.2)

    @freezegun.freeze_time("1999-12-31", tick=False)
    def test_freezegun():
        real_sleep(0.2)
        assert datetime.datetime.now().year == 1999

    def test_fails_frozen():
        assert 0
"""

TRAVELLED = """
    import datetime, time
    import pytest, time_machine

    real_sleep = time.sleep

    @pytest.fixture(scope="module", autouse=True)
    def epoch():
        with time_machine.travel("2050-01-14", tick=False):
            yield

    @time_machine.travel("1970-01-02", tick=False)
    def test_time_machine():
        real_sleep(0.2)
        assert time.time() == 86400.0

    @pytest.fixture
    def travelled():
        with time_machine.travel("2100-01-01", tick=False):
            yield

    def test_time_machine_by_a_fixture(travelled):
        real_sleep(0.2)
        assert datetime.datetime.now().year == 2100

    def test_fails_travelled(travelled):
        assert 0
"""

FAKED = """
    import os, time

    def test_fake_files(fs):
        fs.create_file("/proc/stat", contents="nonsense")
        fs.create_dir("/pytest-diagnostics")
        assert os.listdir("/proc") == ["stat"]
        time.sleep(0.3)
        assert os.listdir("/pytest-diagnostics") == []
        found = [name for _, _, names in os.walk("/") for name in names]
        assert not [name for name in found if "jsonl" in name]

    def test_fake_files_fail(fs):
        assert 0

    def test_real_files():
        assert len(os.listdir("/proc")) > 10
"""


@pytest.fixture(scope="module")
def mocked(new_differential: Callable[[], Differential]) -> Ran:
    runs = new_differential()
    runs.diagnostics = ("--diagnostics-interval=0.04", "--diagnostics-report=none")
    # A plugin's own fixtures would add what it imports.
    runs.plugins = ("pyfakefs.pytest_plugin",)
    runs.write(test_frozen=FROZEN, test_travelled=TRAVELLED, test_faked=FAKED, test_mocks=MOCKS)
    return runs.pair("-Wignore")


def test_mocks_are_called_by_the_test_alone(mocked: Ran) -> None:
    assert mocked.code == 1
    failed = [name for name, outcome in mocked.outcomes().items() if outcome not in ("passed", "rerun")]
    assert failed == ["test_fake_files_fail", "test_fails_frozen", "test_fails_travelled"]


def test_records_are_complete_under_every_mock(mocked: Ran) -> None:
    for attempt in mocked.summary["tests"]:
        assert [phase["when"] for phase in attempt["phases"]] == ["setup", "call", "teardown"]
        call = attempt["phases"][1]
        assert call["wall_seconds"] is not None
        assert "wall_seconds" in call["usage"]
    assert not [
        line for line in mocked.problems().splitlines() if "gap" not in line and "wall clock" not in line
    ]


def test_frozen_time_changes_neither_spans_nor_the_order_of_tests(mocked: Ran) -> None:
    starts = [attempt["start_seconds"] for attempt in mocked.summary["tests"]]
    assert starts == sorted(starts)
    for name in ("test_freezegun", "test_time_machine", "test_time_machine_by_a_fixture"):
        wall = mocked.phases(f"::{name}")["call"]["usage"]["wall_seconds"]
        assert 0.2 <= wall < 2
    assert mocked.summary["run"]["started"][:4] not in ("1970", "1999", "2012", "2050", "2100")
    (run,) = mocked.runs
    records = b"".join(shard.read_bytes() for shard in run.glob("shards/*"))
    for year in (b"1970-", b"1999-", b"2012-", b"2050-", b"2100-"):
        assert b'"' + year not in records


def test_samples_are_the_machine_s_under_every_mock(mocked: Ran) -> None:
    for attempt in mocked.summary["tests"]:
        for name, sampled in attempt["samples"].items():
            if name == "memory.percent":
                assert 0 < sampled["max"] <= 100
    assert all(state["errors"] == 0 for state in mocked.summary["collectors"])
