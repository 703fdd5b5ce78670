"""The last: pytest catches the child's exit, and the child goes on with the run."""

from __future__ import annotations

import os
import sys

import pytest

pytestmark = pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="both would talk to xdist")


def test_in_parent_and_child() -> None:
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitpid(pid, 0)[0] == pid


def test_last() -> None:
    assert os.getpid()
