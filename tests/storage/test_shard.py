"""Writing shards where everything goes wrong."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from pytest_diagnostics.core.errors import RecordingError
from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.shard import ShardWriter

BIG = "x" * 4000

pytestmark = pytest.mark.skipif(os.name != "posix", reason="faults are provoked with POSIX means")


def numbers(path: Path | str) -> list[object]:
    """Return the ``n`` of all readable records of a file."""
    found: list[object] = []
    for line in Path(path).read_bytes().split(b"\n"):
        try:
            found.append(records.decode(line).get("n"))
        except records.RecordError:
            continue
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shards" / "main-1.jsonl"


@pytest.fixture
def writer(path: Path) -> ShardWriter:
    path.parent.mkdir(mode=0o700)
    return ShardWriter(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    where = tmp_path / "small"
    where.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(where)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_records_are_in_the_file_when_append_returns(writer: ShardWriter, path: Path) -> None:
    for n in range(3):
        assert writer.append("test", {"n": n}) is True
        assert numbers(path) == list(range(n + 1))
    assert (writer.written, writer.bytes) == (3, path.stat().st_size)
    assert writer.problems == []


def test_no_descriptor_is_kept_between_records(writer: ShardWriter) -> None:
    before = os.listdir("/proc/self/fd")
    writer.append("test", {"n": 1})
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("umask", [0, 0o777])
def test_a_shard_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "main-1.jsonl"
    old = os.umask(umask)
    try:
        writer = ShardWriter(path)
        assert writer.append("test", {"n": 1})
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_existing_file_is_never_appended_to(path: Path, writer: ShardWriter) -> None:
    with pytest.raises(RecordingError, match="EEXIST"):
        ShardWriter(path)


def test_a_planted_symlink_is_refused_and_its_target_untouched(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "main-1.jsonl"
    link.symlink_to(victim)
    dangling = tmp_path / "main-2.jsonl"
    dangling.symlink_to(tmp_path / "nowhere")

    for path in (link, dangling):
        with pytest.raises(RecordingError, match="cannot create"):
            ShardWriter(path)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_symlink_put_in_the_place_of_a_running_shard_is_not_followed(
    writer: ShardWriter, path: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.unlink()
    path.symlink_to(victim)

    assert writer.append("test", {"n": 1}) is False
    assert victim.read_text() == "precious"
    assert "ELOOP" in writer.problems[0]


def test_on_a_full_disk_records_are_kept_and_written_when_there_is_room(small_disk: Path) -> None:
    path = small_disk / "main-1.jsonl"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    writer = ShardWriter(path)
    writer.retry_seconds = 0.0  # type: ignore[misc]  # one instance only

    acknowledged = [writer.append("phase", {"n": n, "pad": BIG}) for n in range(12)]
    assert True in acknowledged
    assert acknowledged[-1] is False
    assert "written at the end: not yet" in writer.problems[0]
    on_disk = acknowledged.count(True)
    ballast.unlink()
    writer.close({"reason": "finished"})

    assert numbers(path) == [*range(12), None]
    assert writer.problems[0].startswith(f"disk full (ENOSPC) after {on_disk} records; {12 - on_disk} kept")
    assert writer.problems[0].endswith("written at the end: yes")
    last = records.decode(path.read_bytes().splitlines()[-1])
    assert last["problems"] == writer.problems[:1]


def test_on_a_disk_that_stays_full_the_loss_is_counted_and_the_file_readable(small_disk: Path) -> None:
    path = small_disk / "main-1.jsonl"
    writer = ShardWriter(path)

    acknowledged = [writer.append("phase", {"n": n, "pad": BIG}) for n in range(40)]
    writer.close()

    whole = acknowledged.count(True)
    assert numbers(path)[:whole] == list(range(whole))
    assert writer.written == whole
    assert f"{40 - whole} kept in memory, {40 - whole} lost, written at the end: no" in writer.problems[0]


def test_a_write_cut_short_costs_no_record(path: Path) -> None:
    """The kernel cuts a write at the process' file size limit, as it does at a disk's end."""
    path.parent.mkdir()
    writer = ShardWriter(path)
    writer.retry_seconds = 0.0  # type: ignore[misc]
    line = len(records.encode("test", {"n": 0, "pad": BIG}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (line * 2 + 100, hard))
        acknowledged = [writer.append("test", {"n": n, "pad": BIG}) for n in range(4)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert acknowledged == [True, True, False, False]
    assert path.stat().st_size == line * 2 + 100  # the torn third

    assert writer.append("test", {"n": 4, "pad": BIG}) is True
    assert numbers(path) == [0, 1, 2, 3, 4]


def test_a_record_that_lacked_only_its_line_end_is_not_written_twice(path: Path) -> None:
    path.parent.mkdir()
    writer = ShardWriter(path)
    line = len(records.encode("test", {"n": 0}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (line - 1, hard))
        assert writer.append("test", {"n": 0}) is True
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    writer.append("test", {"n": 1})
    assert numbers(path) == [0, 1]
    assert writer.written == 2


def test_the_queue_is_bounded_and_drops_the_oldest(writer: ShardWriter, path: Path) -> None:
    writer.queue_bytes = 3 * len(records.encode("test", {"n": 10, "pad": BIG}))  # type: ignore[misc]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        for n in range(10, 20):
            assert writer.append("test", {"n": n, "pad": BIG}) is False
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    writer.close()

    assert numbers(path) == [17, 18, 19]
    assert writer.problems == [
        "too many open files in this process (EMFILE) after 0 records; "
        "10 kept in memory, 7 lost, written at the end: yes"
    ]


def test_a_directory_removed_once_is_made_again_and_its_loss_told(writer: ShardWriter, path: Path) -> None:
    writer.append("run", {"n": -1})
    writer.append("test", {"n": 0})
    writer.append("test", {"n": 1})
    shutil.rmtree(path.parent)

    assert writer.append("test", {"n": 2}) is True
    assert numbers(path) == [-1, 2]  # the header too: without its clock anchor nothing has a time
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert writer.problems == ["the recording was removed during the run; 2 records lost"]

    shutil.rmtree(path.parent)
    assert writer.append("test", {"n": 3}) is False
    writer.close()
    assert not path.exists()
    assert "file removed again (ENOENT)" in writer.problems[0]


def test_a_forked_child_writes_nothing(writer: ShardWriter, path: Path) -> None:
    writer.append("test", {"n": 0})
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child
        took = writer.append("test", {"n": 1})
        writer.close({"reason": "child"})
        os._exit(int(took))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert writer.append("test", {"n": 2}) is True
    assert numbers(path) == [0, 2]


def test_every_record_acknowledged_before_a_kill_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "main-1.jsonl"
    code = (
        "import sys, os\n"
        "from pytest_diagnostics.storage.shard import ShardWriter\n"
        "writer = ShardWriter(sys.argv[1])\n"
        "n = 0\n"
        "while True:\n"
        "    if writer.append('phase', {'n': n, 'pad': 'x' * (n % 5000)}):\n"
        "        os.write(1, b'%d\\n' % n)\n"
        "    n += 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        head = process.stdout.read(2000)
        process.kill()
        acknowledged = (head + process.stdout.read()).splitlines()
    found = numbers(path)
    assert len(acknowledged) > 100
    assert found[: len(acknowledged)] == [int(n) for n in acknowledged]
    assert len(found) - len(acknowledged) in (0, 1)


def test_threads_do_not_tear_each_others_records(writer: ShardWriter, path: Path) -> None:
    def append(start: int) -> None:
        for n in range(start, start + 200):
            writer.append("test", {"n": n, "pad": BIG})

    threads = [threading.Thread(target=append, args=(start,)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = numbers(path)
    assert len(found) == writer.written == 600
    assert [n for n in found if isinstance(n, int) and n < 1000] == list(range(200))


def test_two_writers_in_one_directory_both_complete(tmp_path: Path) -> None:
    writers = [ShardWriter(tmp_path / f"gw{n}-{n}.jsonl") for n in range(2)]
    for n in range(50):
        for writer in writers:
            assert writer.append("test", {"n": n})
    assert [numbers(writer.path) for writer in writers] == [list(range(50))] * 2


def test_mocks_of_the_modules_underneath_do_not_reach_the_writer(writer: ShardWriter, path: Path) -> None:
    broken = mock.Mock(side_effect=AssertionError("reached"))
    targets = ["os.open", "os.write", "os.close", "os.getpid", "os.fstat", "os.path.abspath", "builtins.open"]
    targets += ["json.dumps", "json.loads", "time.time", "time.monotonic", "zlib.crc32", "os.mkdir"]
    shutil.rmtree(path.parent)
    with mock.patch.multiple("threading", RLock=broken):
        patches = [mock.patch(target, broken) for target in targets]
        for patch in patches:
            patch.start()
        try:
            took = writer.append("test", {"n": 1}), writer.append("test", {"n": 2})
            writer.flush()
        finally:
            for patch in reversed(patches):
                patch.stop()
    assert took == (True, True)
    assert numbers(path) == [1, 2]


def test_a_fake_file_system_does_not_swallow_records(writer: ShardWriter, path: Path) -> None:
    fake = pytest.importorskip("pyfakefs.fake_filesystem_unittest")
    with fake.Patcher():
        assert writer.append("test", {"n": 1}) is True
    assert numbers(path) == [1]


def test_frozen_time_does_not_stop_retries(writer: ShardWriter, path: Path) -> None:
    freezegun = pytest.importorskip("freezegun")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with freezegun.freeze_time("2020-01-01"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            assert writer.append("test", {"n": 0}) is False
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        real = time.clock_gettime
        until = real(time.CLOCK_MONOTONIC) + 10
        n = 1
        while not writer.append("test", {"n": n}):
            n += 1
            assert real(time.CLOCK_MONOTONIC) < until
    assert numbers(path) == list(range(n + 1))


def test_a_changed_working_directory_does_not_move_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    writer = ShardWriter("main-1.jsonl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    writer.append("test", {"n": 1})
    assert numbers(tmp_path / "main-1.jsonl") == [1]


def test_what_cannot_be_encoded_is_counted_not_raised(writer: ShardWriter, path: Path) -> None:
    class Hostile:
        def __iter__(self) -> Iterator[object]:
            raise RuntimeError("no")

        def keys(self) -> object:
            raise RuntimeError("no keys")

    assert writer.append("test", {"n": 0, "value": float("nan")}) is True
    assert writer.append("dream", {}) is False
    assert writer.append("test", Hostile()) is False  # type: ignore[arg-type]  # what a plugin may pass
    assert numbers(path) == [0]
    told = " ".join(writer.problems)
    assert "1 records held values that JSON cannot say" in told
    assert "no record kind 'dream'" in told
    assert "1 test records could not be encoded" in told


def test_beyond_the_cap_results_are_thinned_then_dropped_and_phases_always_written(tmp_path: Path) -> None:
    path = tmp_path / "main-1.jsonl"
    line = len(records.encode("result", {"collector": "cpu", "n": 10, "pad": BIG}))
    writer = ShardWriter(path, cap_bytes=10 * line)

    for n in range(10, 120):
        writer.append("result", {"collector": "cpu", "n": n, "pad": BIG})
    assert writer.append("phase", {"n": 0})

    found = [n for n in numbers(path) if isinstance(n, int)]
    assert found[:11] == list(range(10, 21))
    assert found[11:] == [21, 31, 41, 51, 61, 0]
    assert (
        "only every 10th result of a collector was written from then on (36 left out)" in writer.problems[0]
    )
    assert "58 results were left out" in writer.problems[1]


def test_errors_are_named_by_their_symbol(writer: ShardWriter, path: Path) -> None:
    path.unlink()
    path.mkdir()
    assert writer.append("test", {"n": 1}) is False
    assert errno.errorcode[errno.EISDIR] in writer.problems[0]
