"""Descriptors: counts that stay, numbers that are the test's, limits that hold."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO

import psutil
import pytest

FILES = 40


def test_the_number_of_descriptors_stays() -> None:
    process = psutil.Process()
    before = process.num_fds()
    seen = set()
    for _ in range(300):
        seen.add(process.num_fds())
        time.sleep(0.0002)
    assert seen == {before}


def test_the_list_of_descriptors_stays() -> None:
    before = os.listdir("/proc/self/fd")
    seen = set()
    for _ in range(100):
        seen.add(len(os.listdir("/proc/self/fd")))
        time.sleep(0.001)
    assert seen == {len(before)}
    assert os.listdir("/proc/self/fd") == before


def test_a_new_descriptor_has_the_lowest_free_number() -> None:
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    lowest = min(set(range(4096)) - used | {max(used)})
    for _ in range(50):
        fd = os.open("/dev/null", os.O_RDONLY)
        os.close(fd)
        assert fd <= lowest
        time.sleep(0.001)


def test_numbers_below_five_hundred_are_pytest_s_and_the_test_s() -> None:
    links = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            links[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    ours = {fd: link for fd, link in links.items() if fd < 500 and link.startswith(("/proc", "/sys"))}
    assert ours == {}


def test_opens_as_many_files_as_it_may() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    opened: list[int] = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            opened.extend(iter(lambda: os.open("/dev/null", os.O_RDONLY), None))
        time.sleep(0.03)
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(opened) > 150


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[IO[bytes]]]:
    """Files that take the numbers of whatever was closed, over the ends of tests."""
    opened: list[IO[bytes]] = []
    folder = tmp_path_factory.mktemp("files")
    yield opened
    for number, file in enumerate(opened):
        file.close()
        assert (folder.parent / f"mine{number}").read_bytes() == b"%d" % number


def test_closes_all_descriptors_and_opens_its_own(
    close_everything: Callable[[], None], files: list[IO[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    close_everything()
    folder = tmp_path_factory.getbasetemp()
    for number in range(FILES):
        file = open(folder / f"mine{number}", "w+b", buffering=0)  # noqa: SIM115 - closed by the fixture
        file.write(b"%d" % number)
        files.append(file)
    time.sleep(0.05)


def test_finds_its_files_as_it_wrote_them(files: list[IO[bytes]]) -> None:
    assert len(files) == FILES
    for number, file in enumerate(files):
        file.seek(0)
        assert file.read() == b"%d" % number


def test_opens_pipes_on_the_numbers_of_files(
    close_everything: Callable[[], None], files: list[IO[bytes]]
) -> None:
    for file in files:
        file.close()
    close_everything()
    pipes = [os.pipe() for _ in range(20)]
    time.sleep(0.05)
    for read, write in pipes:
        os.write(write, b"x")
        assert os.read(read, 100) == b"x"
        os.close(read)
        os.close(write)


def test_children_inherit_no_descriptor() -> None:
    code = """if 1:
        import os
        for path in (f"/proc/self/fd/{number}" for number in range(3, 1024)):
            if os.path.lexists(path):
                print(os.readlink(path))
    """
    command = [sys.executable, "-I", "-S", "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, close_fds=False, check=True).stdout
    assert "/proc/" not in said
    assert "/sys/" not in said
    assert "pytest-diagnostics" not in said
