"""What is watched from outside is noticed and told truly, whatever the kernel offers, whenever it ends."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_diagnostics.recorder.follow import SHORT_TAIL_BYTES, Follower
from pytest_diagnostics.recorder.pace import LOOK_SECONDS, TICK_SECONDS, Pace
from pytest_diagnostics.recorder.watched import Watched, is_odd
from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.alive import start_ticks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def child(code: str) -> subprocess.Popen[bytes]:
    """Start a process that does something once its standard input is closed."""
    text = f"import os, sys; sys.stdin.read(); {code}"
    return subprocess.Popen([sys.executable, "-S", "-c", text], stdin=subprocess.PIPE)


def let_end(process: subprocess.Popen[bytes], *, reap: bool) -> None:
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | (0 if reap else os.WNOWAIT))


def test_a_zombie_that_is_only_now_looked_at_tells_how_it_ended() -> None:
    with child("os._exit(7)") as process:
        let_end(process, reap=False)
        told = Watched(process.pid, "gw0").ending()
        assert (told["exit_code"], told["signal"], told["source"]) == (7, None, "zombie")
        assert told["last_rss_bytes"] is None


def test_a_process_that_was_held_tells_how_it_ended_although_it_is_gone() -> None:
    with child("os.kill(os.getpid(), 9)") as process:
        pidfd, ticks = os.pidfd_open(process.pid), start_ticks(process.pid)
        let_end(process, reap=True)
        process.returncode = 0
        told = Watched(process.pid, "main", ticks, pidfd).ending()
        assert told["signal"] == "SIGKILL" or "Linux 6.15" in str(told["unknown"])


def test_a_process_is_watched_where_there_are_no_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refused)
    with child("os._exit(7)") as process:
        watched = Watched(process.pid, "main", start_ticks(process.pid))
        assert (watched.fileno(), watched.is_there()) == (-1, True)
        let_end(process, reap=False)
        assert not watched.is_there()
        assert watched.ending()["exit_code"] == 7


def test_a_number_that_is_another_process_by_now_is_not_watched() -> None:
    with pytest.raises(ProcessLookupError):
        Watched(os.getpid(), "main", 1)


def test_a_shard_that_is_made_within_the_same_tick_of_the_clock_is_noticed(tmp_path: Path) -> None:
    follower = Follower(str(tmp_path))
    (tmp_path / "gw0-100.jsonl").touch()
    modified = tmp_path.stat().st_mtime_ns
    assert [one.role for one in follower.read_on()] == ["gw0"]
    (tmp_path / "gw1-101.jsonl").touch()
    os.utime(tmp_path, ns=(modified, modified))
    assert [one.role for one in follower.read_on()] == ["gw1"]


def test_the_running_test_is_found_behind_more_than_a_short_tail_holds(tmp_path: Path) -> None:
    shard = tmp_path / "gw0-100.jsonl"
    test, _ = records.encode_leniently("test", {"nodeid": "test_it", "monotonic": 7.5})
    shard.write_bytes(test + b'{"noise":"%s"}\n' % (b"x" * 2 * SHORT_TAIL_BYTES))
    follower = Follower(str(tmp_path))
    follower.read_on()
    assert follower.began_test(100) == 7.5


def test_a_look_goes_with_the_tick_that_comes_at_about_its_time() -> None:
    pace = Pace(LOOK_SECONDS)
    pace.tick()
    assert select.select([pace], [], [], 0)[0] == [pace]
    now = time.monotonic()
    pace.take_nudge(now)
    assert pace.at <= now
    pace.looked(now, LOOK_SECONDS)
    assert LOOK_SECONDS < pace.at - now <= LOOK_SECONDS + TICK_SECONDS
    pace.tick()
    assert select.select([pace], [], [], 0)[0] == []


@pytest.mark.parametrize(("interval", "pause"), [(1.0, 1.0), (5.0, 1.0), (0.1, LOOK_SECONDS)])
def test_what_is_calm_is_looked_at_with_the_ticks_of_a_second(interval: float, pause: float) -> None:
    assert Pace(interval).calm_seconds == pause


@pytest.mark.parametrize(
    ("waited", "wakes", "odd"),
    [
        (0.0, 0, False),  # asleep
        (0.02, 8, False),  # busy
        (0.0, 40, True),  # a fifth of a second behind the interpreter's lock
        (0.15, 9, True),  # neighbours take its CPU
        (0.02, 900, False),  # a server
    ],
)
def test_what_looks_like_the_beginning_of_a_stall_is_odd(waited: float, wakes: int, odd: bool) -> None:
    assert is_odd(1.0, waited, wakes) is odd


def test_a_look_waits_for_no_tick_that_does_not_come() -> None:
    pace = Pace(LOOK_SECONDS)
    now = time.monotonic()
    pace.looked(now, LOOK_SECONDS)
    assert pace.at == now + LOOK_SECONDS


def test_a_process_that_is_no_longer_watched_leaves_no_descriptor_behind() -> None:
    before = os.listdir("/proc/self/fd")
    Watched(os.getpid(), "main").close()
    assert os.listdir("/proc/self/fd") == before
