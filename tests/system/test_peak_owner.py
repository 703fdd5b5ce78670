"""One owner of the high-water mark keeps every interval's peak apart, and the session's whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_diagnostics.system import peak
from pytest_diagnostics.system.peak import Interval, PeakOwner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="clear_refs is Linux's")
MIB = 1 << 20


class Scripted(PeakOwner):
    """An owner whose process has the size that the test says, and forgets its peak at a reset."""

    size = 0
    high = 0

    def _try_out(self) -> str | None:
        return None

    def grow_to(self, size: int) -> None:
        self.size = size
        self.high = max(self.high, size)

    def _mark(self) -> int:
        return self.high

    def _reset(self) -> None:
        self.high = self.size


def opened(owner: PeakOwner, *, exclude: bool = False) -> Interval:
    interval = owner.open(exclude=exclude)
    assert interval is not None
    return interval


def spike(owner: Scripted, size: int) -> None:
    before = owner.size
    owner.grow_to(size)
    owner.grow_to(before)


def test_intervals_one_after_another_have_peaks_of_their_own() -> None:
    owner = Scripted()
    owner.grow_to(10)
    peaks = []
    for size in (20, 90, 30):
        interval = opened(owner)
        spike(owner, size)
        peaks.append(owner.close(interval))
    assert peaks == [20, 90, 30]


def test_an_inner_reset_does_not_lose_the_outer_peak() -> None:
    owner = Scripted()
    outer = opened(owner)
    spike(owner, 90)
    inner = opened(owner)
    spike(owner, 40)
    assert owner.close(inner) == 40
    spike(owner, 50)
    assert owner.close(outer) == 90


def test_an_included_inner_peak_is_the_outer_one_too() -> None:
    owner = Scripted()
    outer, inner = opened(owner), opened(owner)
    spike(owner, 80)
    assert owner.close(inner) == 80
    assert owner.close(outer) == 80


def test_an_excluded_inner_peak_is_not_charged_to_any_outer_interval() -> None:
    owner = Scripted()
    outer = opened(owner)
    spike(owner, 30)
    fixture = opened(owner, exclude=True)
    inner = opened(owner)
    spike(owner, 99)
    assert owner.close(inner) == 99
    assert owner.close(fixture) == 99
    assert owner.close(outer) == 30
    assert owner.session_peak_bytes() == 99


def test_closing_twice_or_after_the_outer_one_gives_nothing() -> None:
    owner = Scripted()
    outer, forgotten = opened(owner), opened(owner)
    assert owner.close(outer) is not None
    assert owner.close(forgotten) is None
    assert owner.close(outer) is None


def test_in_a_forked_child_the_parent_s_intervals_are_nobody_s() -> None:
    owner = PeakOwner()
    interval = opened(owner)
    child = os.fork()
    if not child:
        try:
            own = opened(owner)
            os._exit(0 if owner.close(interval) is None and owner.close(own) else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert owner.close(interval) is not None
    owner.release()


def test_there_is_one_owner_a_process() -> None:
    assert peak.owner() is peak.owner()


def test_the_session_s_peak_outlives_resets() -> None:
    owner = peak.owner()
    interval = opened(owner)
    block = bytearray(64 * MIB)
    block[::4096] = b"x" * len(block[::4096])
    del block
    inside = owner.close(interval)
    after = owner.close(opened(owner))
    session = peak.session_peak_bytes()
    assert inside is not None
    assert after is not None
    assert session is not None
    assert session >= inside > after + 32 * MIB


def test_a_large_parent_before_exec_does_not_spoil_peaks() -> None:
    """getrusage starts at the size of the process that forked us: VmHWM is read instead."""
    inner = (
        "from pytest_diagnostics.system import peak\n"
        "owner = peak.owner(); interval = owner.open(); size = owner.close(interval)\n"
        "print(size < 100 << 20)"
    )
    outer = (
        "import os, sys\n"
        "block = bytearray(200 << 20); block[::4096] = b'x' * len(block[::4096])\n"
        "child = os.fork()\n"
        "if not child: os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])\n"
        "os.waitpid(child, 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", outer, inner], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout == "True\n", done.stderr


def test_a_kernel_that_takes_the_write_and_does_nothing_is_found_out() -> None:
    body = (
        "from pytest_diagnostics.system.peak import PeakOwner\n"
        "class Deaf(PeakOwner):\n"
        "    def _reset(self): pass\n"
        "print(Deaf().unavailable())"
    )
    done = subprocess.run(
        [sys.executable, "-c", body], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout == "the kernel's high-water mark does not follow resets here\n", done.stderr


def test_without_clear_refs_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = PeakOwner()
    monkeypatch.setattr(owner._clear, "path", "/proc/self/no_clear_refs")
    assert "/proc/self/no_clear_refs does not exist" in (owner.unavailable() or "")
    assert owner.open() is None
    assert owner.session_peak_bytes() is None
