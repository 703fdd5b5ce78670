"""Functions that a test mocks are called by the test alone."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from unittest import mock

import psutil
import pytest

let_pass = time.sleep

FUNCTIONS = [
    *("time.sleep", "time.monotonic", "time.time", "time.perf_counter", "time.monotonic_ns"),
    *("time.clock_gettime", "time.clock_gettime_ns", "time.process_time", "time.thread_time"),
    *("builtins.open", "io.open", "os.open", "os.read", "os.write", "os.close", "os.pread", "os.getpid"),
    *("os.stat", "os.fstat", "os.lstat", "os.listdir", "os.scandir", "os.mkdir", "os.replace", "os.urandom"),
    *("os.path.exists", "os.path.abspath", "os.sysconf", "os.getloadavg", "os.statvfs", "os.cpu_count"),
    *("os.sched_getaffinity", "json.dumps", "json.loads", "json.JSONEncoder.encode", "zlib.crc32"),
    *("threading.Thread", "threading.Event", "threading.Lock", "threading.get_ident"),
    *("subprocess.Popen", "subprocess.run", "socket.socket", "resource.getrusage"),
    *("signal.pthread_sigmask", "random.random", "datetime.datetime", "tempfile.mkstemp"),
    *("collections.deque", "platform.node", "os.posix_spawn", "os.waitpid", "select.select"),
    *(
        f"psutil.{name}"
        for name in (
            *("cpu_percent", "cpu_times", "cpu_times_percent", "virtual_memory", "swap_memory"),
            *("disk_usage", "disk_partitions", "disk_io_counters", "net_io_counters", "net_connections"),
            *("Process", "process_iter", "pids", "sensors_temperatures", "cpu_freq", "cpu_count"),
        )
    ),
]


def refuse(*args: object, **kwargs: object) -> object:
    raise AssertionError("called by somebody else")


def test_a_figure_of_psutil_is_asked_for_once() -> None:
    with mock.patch("psutil.cpu_percent", side_effect=[12.5]) as asked:
        let_pass(0.03)
        assert psutil.cpu_percent() == 12.5
        let_pass(0.03)
    asked.assert_called_once_with()


def test_the_memory_it_makes_up_is_its_own() -> None:
    with mock.patch("psutil.virtual_memory", return_value=mock.Mock(percent=12345)) as asked:
        let_pass(0.03)
        assert psutil.virtual_memory().percent == 12345
        let_pass(0.03)
    asked.assert_called_once_with()


def test_sleep_is_called_once() -> None:
    with mock.patch("time.sleep", side_effect=[None]) as slept:
        let_pass(0.03)
        time.sleep(3600)
        let_pass(0.03)
    slept.assert_called_once_with(3600)


def test_nothing_is_called_by_anybody_else() -> None:
    with contextlib.ExitStack() as mocks:
        mocked = {}
        for name in FUNCTIONS:
            importlib.import_module(name.partition(".")[0])
            mocked[name] = mocks.enter_context(mock.patch(name, side_effect=refuse))
        let_pass(0.05)
        calls = {name: one.call_args_list[:] for name, one in mocked.items() if one.call_args_list}
    assert calls == {}


@pytest.fixture(
    params=[
        *("time.monotonic", "os.open", "os.write", "json.dumps", "os.getpid", "builtins.open", "os.close"),
        *("threading.Thread", "threading.get_ident", "os.replace", "os.mkdir", "socket.socket"),
        *("os.pread", "os.read", "resource.getrusage", "time.clock_gettime_ns"),
    ]
)
def mocked_throughout(request: pytest.FixtureRequest) -> Iterator[None]:
    with mock.patch(request.param, side_effect=refuse):
        yield


def test_a_mock_that_outlives_the_call(mocked_throughout: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    let_pass(0.02)


#: Of the above, those that pytest itself does not call to report a failure.
QUIET = [
    *("time.monotonic", "time.clock_gettime_ns", "os.pread", "os.write", "os.replace", "os.mkdir"),
    *("json.dumps", "json.loads", "subprocess.Popen", "os.posix_spawn", "select.select"),
    *("threading.Thread", "threading.Event", "socket.socket", "random.random", "tempfile.mkstemp"),
    *("resource.getrusage", "psutil.Process", "psutil.virtual_memory"),
]


@pytest.fixture
def called_by_the_test_alone() -> Iterator[None]:
    with contextlib.ExitStack() as mocks:
        mocked = {name: mocks.enter_context(mock.patch(name, autospec=True)) for name in QUIET}
        yield
        let_pass(0.03)
        calls = {name: one.call_args_list[:] for name, one in mocked.items() if one.call_args_list}
    assert calls == {}


def test_fails_while_mocks_count(called_by_the_test_alone: None) -> None:
    raise RuntimeError("on purpose")


def test_fails_while_functions_are_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.setattr(name, refuse)
    raise RuntimeError("on purpose")
