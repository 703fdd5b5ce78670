"""Kept descriptors tell the truth, whatever a test does to descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from pytest_diagnostics.core.errors import UnavailableError
from pytest_diagnostics.system.procfs import Files, KeptFile, reason_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "counters"
    path.write_text("count 1\n")
    return path


def test_a_kept_file_is_opened_once_and_shows_new_content(text: Path) -> None:
    file = KeptFile(str(text))
    assert file.read() == b"count 1\n"
    with mock.patch.object(KeptFile, "_open", side_effect=AssertionError("opened again")):
        text.write_text("count 2\n")
        assert file.read() == b"count 2\n"
    file.close()


@linux
def test_its_descriptor_is_high_and_closed_on_exec(text: Path) -> None:
    file = KeptFile(str(text))
    file.read()
    assert file._fd >= 512
    assert not os.get_inheritable(file._fd)
    file.close()


def test_a_closed_descriptor_is_opened_again(text: Path) -> None:
    file = KeptFile(str(text))
    file.read()
    os.close(file._fd)
    assert file.read() == b"count 1\n"
    file.close()


@pytest.mark.parametrize("prefix", [b"", b"count "])
def test_a_reused_number_is_neither_believed_nor_closed(text: Path, tmp_path: Path, prefix: bytes) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("foreign\n")
    file = KeptFile(str(text), prefix)
    file.read()
    number = file._fd
    opened = os.open(foreign, os.O_RDONLY)
    os.dup2(opened, number)  # what closerange and an unlucky open come to
    os.close(opened)
    assert file.read() == b"count 1\n"
    assert os.pread(number, 100, 0) == b"foreign\n"
    file.close()
    os.close(number)


def test_closing_leaves_a_foreign_file_alone(text: Path, tmp_path: Path) -> None:
    file = KeptFile(str(text))
    file.read()
    number = file._fd
    opened = os.open(tmp_path, os.O_RDONLY)
    os.dup2(opened, number)
    os.close(opened)
    file.close()
    os.fstat(number)  # still open
    os.close(number)


def test_writing_never_reaches_a_foreign_file(text: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("untouched")
    file = KeptFile(str(text), writable=True)
    file.write(b"a")
    number = file._fd
    opened = os.open(foreign, os.O_RDWR)
    os.dup2(opened, number)
    os.close(opened)
    file.write(b"b")
    assert foreign.read_text() == "untouched"
    file.close()
    os.close(number)


def test_a_file_longer_than_the_buffer_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * 10_000)
    file = KeptFile(str(path), size=64)
    assert len(file.read()) == 10_000
    assert len(file.read()) == 10_000
    file.close()


@linux
def test_a_file_that_comes_in_pages_is_read_whole() -> None:
    file = KeptFile("/proc/vmstat", chunked=128, size=16384)
    assert file.read().count(b"\n") == Files.read("/proc/vmstat").count(b"\n")
    file.close()


def test_a_missing_file_is_unavailable_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nowhere does not exist"):
        KeptFile(str(tmp_path / "nowhere")).read()


def test_a_wrong_beginning_is_unavailable(text: Path) -> None:
    with pytest.raises(UnavailableError, match="does not begin with 'rchar: '"):
        KeptFile(str(text), b"rchar: ").read()


def test_an_error_keeps_its_class_and_names_the_path(text: Path) -> None:
    refused = mock.Mock(side_effect=PermissionError(13, "Permission denied"))
    with mock.patch.object(KeptFile, "_open", refused), pytest.raises(PermissionError) as caught:
        KeptFile(str(text)).read()
    assert reason_of(caught.value) == f"{text}: Permission denied"


def test_mocks_of_os_and_open_do_not_reach_it(text: Path) -> None:
    file = KeptFile(str(text))
    broken = mock.Mock(side_effect=AssertionError("a test's mock"))
    with (
        mock.patch("os.open", broken),
        mock.patch("os.pread", broken),
        mock.patch("os.fstat", broken),
        mock.patch("os.getpid", broken),
        mock.patch("os.close", broken),
        mock.patch("builtins.open", broken),
    ):
        assert file.read() == b"count 1\n"
        assert Files.read(str(text)) == b"count 1\n"
        file.close()


SCRIPT = """
import os, resource, sys
from pytest_diagnostics.system.procfs import KeptFile
"""


def run(body: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT + body],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@linux
def test_after_a_fork_the_child_reads_itself() -> None:
    body = """
file = KeptFile("/proc/self/stat")
assert int(file.read().split()[0]) == os.getpid()
child = os.fork()
if not child:
    os._exit(0 if int(file.read().split()[0]) == os.getpid() else 1)
print(os.waitpid(child, 0)[1])
"""
    assert run(body) == "0"


@linux
def test_a_low_limit_of_files_leaves_the_descriptor_low() -> None:
    body = """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
file = KeptFile("/proc/self/statm")
file.read()
print(file._fd < 64)
"""
    assert run(body) == "True"


@linux
def test_kept_files_are_read_and_others_say_why_when_no_descriptor_is_left() -> None:
    body = """
kept, late = KeptFile("/proc/self/statm"), KeptFile("/proc/self/io")
kept.read()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
assert kept.read()
try:
    late.read()
except OSError as exc:
    print(exc.filename, exc.strerror)
"""
    assert run(body) == "/proc/self/io Too many open files"


@linux
def test_closing_every_descriptor_and_opening_others_changes_nothing() -> None:
    body = """
files = [KeptFile("/proc/self/statm"), KeptFile("/proc/self/io", b"rchar: "), KeptFile("/proc/loadavg")]
for file in files: file.read()
os.closerange(3, 4096)
for number in range(700): os.open("/etc/passwd", os.O_RDONLY)
contents = [file.read() for file in files]
print(len(contents[0].split()), contents[1][:7], len(contents[2].split()))
"""
    assert run(body) == "7 b'rchar: ' 5"
