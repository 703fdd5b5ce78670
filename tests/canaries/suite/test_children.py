"""Children: those of the test, and nobody else's. What leaves helpers behind comes last."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

alone = pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="execnet has a thread of its own")


def waited(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_there_is_no_child_to_wait_for() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, 0)
    with pytest.raises(ChildProcessError):
        os.wait()


def test_psutil_shows_no_child() -> None:
    assert psutil.Process().children(recursive=True) == []
    time.sleep(0.03)
    assert psutil.Process().children(recursive=True) == []


def test_wait_sees_its_own_child() -> None:
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
        assert os.wait() == (child.pid, 0)
        child.returncode = 0
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_handler_is_told_of_its_own_child_once() -> None:
    told = []
    previous = signal.signal(signal.SIGCHLD, lambda *_: told.append(time.monotonic()))
    try:
        time.sleep(0.03)
        assert told == []
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
        assert len(told) == 1
    finally:
        signal.signal(signal.SIGCHLD, previous)


def test_kills_a_process_group_of_its_own() -> None:
    command = [sys.executable, "-I", "-S", "-c", "import time; print('up', flush=True); time.sleep(60)"]
    leader = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    assert leader.stdout is not None
    with leader.stdout as up:
        assert up.readline() == b"up\n"
        os.killpg(leader.pid, signal.SIGKILL)
        assert leader.wait() == -signal.SIGKILL


def test_nobody_else_is_in_its_process_group() -> None:
    told = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
    try:
        group, members = os.getpgrp(), []
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError):
                members += [pid] if os.getpgid(pid) == group else []
        assert members == [os.getpid()]
        os.killpg(group, signal.SIGUSR1)
        assert told == [1]
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_forks_while_a_lock_is_held() -> None:
    lock = threading.Lock()
    for _ in range(20):
        with lock:
            pid = os.fork()
            if pid == 0:
                os._exit(3 if lock.locked() and threading.active_count() == 1 else 4)
        assert waited(pid) == 3


def test_a_child_starts_a_thread() -> None:
    pid = os.fork()
    if pid == 0:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join(5)
        os._exit(7)
    assert waited(pid) == 7


def test_a_child_has_a_child() -> None:
    pid = os.fork()
    if pid == 0:
        inner = os.fork()
        if inner == 0:
            os._exit(1)
        os._exit(waited(inner) + 1)
    assert waited(pid) == 2


def test_a_child_becomes_another_program() -> None:
    pid = os.fork()
    if pid == 0:
        count = "import os; raise SystemExit(len(os.listdir('/proc/self/fd')) - 1)"
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", count])
    assert waited(pid) <= 4


def test_a_child_runs_without_diagnostics() -> None:
    code = "import sys; raise SystemExit('pytest_diagnostics' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@alone
def test_a_fork_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert waited(pid) == 0
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str) -> None:
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=queue.put, args=(3,))  # type: ignore[attr-defined]
    process.start()
    assert queue.get() == 3
    process.join(20)
    assert process.exitcode == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_pool_of_forks() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
