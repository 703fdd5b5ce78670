"""Fake file systems, and a working directory, home, umask and environment that change."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyfakefs")


def test_fake_files(fs: Any) -> None:
    fs.create_file("/proc/stat", contents="nonsense")
    fs.create_dir("/pytest-diagnostics")
    assert os.listdir("/proc") == ["stat"]
    time.sleep(0.05)
    assert os.listdir("/pytest-diagnostics") == []
    found = [name for _, _, names in os.walk("/") for name in names]
    assert not [name for name in found if "jsonl" in name]
    assert Path("/proc/stat").read_text() == "nonsense"


def test_fails_among_fake_files(fs: Any) -> None:
    raise RuntimeError("on purpose")


def test_real_files() -> None:
    assert len(os.listdir("/proc")) > 10


def test_removes_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    time.sleep(0.03)
    with pytest.raises(FileNotFoundError):
        os.getcwd()


def test_leaves_its_directory(tmp_path: Path) -> None:
    os.chdir(tmp_path)


def test_finds_itself_in_the_directory_of_the_test_before(pytestconfig: pytest.Config) -> None:
    assert Path.cwd() != pytestconfig.rootpath
    time.sleep(0.03)
    assert os.listdir() == []
    os.chdir(pytestconfig.rootpath)


@pytest.mark.parametrize("mask", [0, 0o777])
def test_creates_files_by_its_umask(tmp_path: Path, mask: int) -> None:
    old = os.umask(mask)
    try:
        time.sleep(0.03)
        fd = os.open(tmp_path / "mine", os.O_CREAT | os.O_WRONLY, 0o666)
        os.close(fd)
        assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o666 & ~mask
    finally:
        assert os.umask(old) == mask


def test_has_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    time.sleep(0.03)
    assert dict(os.environ).keys() == {"HOME", "TMPDIR"}
    assert list(Path.home().iterdir()) == []


def test_fails_without_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    raise RuntimeError("on purpose")
