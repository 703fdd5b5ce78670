"""Namespaces, limits and privileges that a test takes and gives back, and sockets that it forbids."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x20000, 0x4000000, 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534


@contextlib.contextmanager
def namespace(flag: int, name: str) -> Iterator[None]:
    """Another namespace for a while; skips where that is not allowed."""
    fd = os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY)
    try:
        if LIBC.unshare(flag):
            error = ctypes.get_errno()
            assert error != 22, "the process has several threads"
            pytest.skip(f"no new {name} namespace: {os.strerror(error)}")
        yield
        assert LIBC.setns(fd, flag) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(fd)


def test_another_network() -> None:
    with namespace(CLONE_NEWNET, "net"):
        time.sleep(0.03)
        assert [name for _, name in socket.if_nameindex()] == ["lo"]


@pytest.fixture
def no_network() -> Iterator[None]:
    with namespace(CLONE_NEWNET, "net"):
        yield


def test_fails_in_another_network(no_network: None) -> None:
    raise RuntimeError("on purpose")


def test_another_host_name() -> None:
    before = socket.gethostname()
    with namespace(CLONE_NEWUTS, "uts"):
        socket.sethostname("canary")
        time.sleep(0.03)
        assert socket.gethostname() == "canary"
    assert socket.gethostname() == before


@pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="execnet has a thread of its own")
def test_other_mounts_and_back() -> None:
    here = os.getcwd()
    with namespace(CLONE_NEWNS, "mnt"):
        time.sleep(0.03)
    os.chdir(here)  # setns goes to the root of the mounts


@pytest.fixture
def no_more_processes() -> Iterator[None]:
    limits, ids = resource.getrlimit(resource.RLIMIT_NPROC), os.getresuid()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, limits[1]))
    if ids[1] == 0:  # the limit is not for root
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if ids[1] == 0:
            os.setresuid(0, 0, 0)
        resource.setrlimit(resource.RLIMIT_NPROC, limits)


def test_no_thread_is_granted(no_more_processes: None) -> None:
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threading.Thread(target=int).start()
    with pytest.raises(BlockingIOError):
        os.fork()
    time.sleep(0.03)


def test_fails_without_privileges(no_more_processes: None) -> None:
    raise RuntimeError("on purpose")


def test_sockets_are_forbidden(request: pytest.FixtureRequest) -> None:
    pytest_socket = pytest.importorskip("pytest_socket")
    request.getfixturevalue("socket_disabled")
    time.sleep(0.03)
    with pytest.raises(pytest_socket.SocketBlockedError):
        socket.socket()


def test_fails_with_sockets_forbidden(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("pytest_socket")
    request.getfixturevalue("socket_disabled")
    raise RuntimeError("on purpose")
