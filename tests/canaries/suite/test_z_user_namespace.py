"""The last: a user namespace, from which there is no way back. Processes with threads are refused one."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import pytest

CLONE_NEWUSER = 0x10000000


@pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="execnet has a thread of its own")
def test_becomes_root_of_its_own() -> None:
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER):
        error = ctypes.get_errno()
        assert error != 22, "the process has several threads"
        pytest.skip(f"no user namespace: {os.strerror(error)}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    time.sleep(0.03)
    assert (os.getuid(), os.getgid()) == (uid, gid)


def test_after() -> None:
    time.sleep(0.03)
