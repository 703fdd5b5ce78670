"""Run directories."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_diagnostics.core.errors import ConfigurationError, RecordingError
from pytest_diagnostics.storage import alive
from pytest_diagnostics.storage.files import write_atomically
from pytest_diagnostics.storage.runs import (
    RunDirectory,
    create_run,
    find_run,
    list_runs,
    retain,
    run_info,
    shard_header,
)
from pytest_diagnostics.storage.shard import ShardWriter

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and files")


def finished_run(directory: Path, stamp: str, *, end: bool = True) -> RunDirectory:
    """Make a run of a process that is gone."""
    run = create_run(directory, {})
    header = json.loads(run.header.read_bytes())
    header["process"]["start_ticks"] = 1  # nobody's but init's
    header["process"]["boot_id"] = alive.process_identity()["boot_id"]
    write_atomically(run.header, json.dumps(header).encode())
    writer = ShardWriter(run.shard("main", os.getpid()))
    writer.append("run", shard_header(run.name, "main"))
    writer.close({"reason": "finished"} if end else None)
    moved = run.path.with_name(f"{stamp}-{run.name[-8:]}")
    run.path.rename(moved)
    return RunDirectory(moved)


def test_a_run_has_its_documented_layout_and_is_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        run = create_run(tmp_path / "pytest-diagnostics", {"environment": {"python": "3.11"}})
    finally:
        os.umask(old)
    base = tmp_path / "pytest-diagnostics"

    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", run.name)
    assert run.path == base / "runs" / run.name
    assert run.shard("gw0", 12) == run.path / "shards" / "gw0-12.jsonl"
    assert (base / "latest").read_text() == run.name + "\n"
    assert not (base / "latest").is_symlink()
    assert (base / ".gitignore").read_text() == "*\n"
    header = json.loads(run.header.read_text())
    assert (header["id"], header["format"], header["environment"]) == (run.name, 1, {"python": "3.11"})
    assert header["process"]["pid"] == os.getpid()
    assert set(header["anchor"]) == {"wall", "monotonic"}
    if os.name == "posix":
        for path in (base, base / "runs", run.path, run.shards):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        for path in (run.header, base / "latest", base / ".gitignore"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


@posix
def test_a_umask_that_takes_every_right_does_not_hinder(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        run = create_run(tmp_path / "new" / "pytest-diagnostics", {})
    finally:
        os.umask(old)
    assert stat.S_IMODE(run.shards.stat().st_mode) == 0o700
    assert json.loads(run.header.read_text())["id"] == run.name


def test_a_directory_with_other_things_in_it_is_not_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    create_run(tmp_path, {})

    assert not (tmp_path / ".gitignore").exists()
    assert (tmp_path / "runs" / ".gitignore").read_text() == "*\n"


def test_a_gitignore_of_the_users_is_left_alone(tmp_path: Path) -> None:
    base = tmp_path / "pytest-diagnostics"
    create_run(base, {})
    (base / ".gitignore").write_text("mine\n")
    create_run(base, {})

    assert (base / ".gitignore").read_text() == "mine\n"


@posix
@pytest.mark.parametrize(
    ("what", "name"), [("file", "ENOTDIR"), ("fifo", "ENOTDIR"), ("symlink", "ELOOP"), ("below", "ENOTDIR")]
)
def test_what_is_no_directory_is_refused_with_path_cause_and_remedy(
    tmp_path: Path, what: str, name: str
) -> None:
    path = tmp_path / "place"
    if what == "file":
        path.write_text("x")
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "symlink":
        (tmp_path / "real").mkdir()
        path.symlink_to(tmp_path / "real")
    else:
        path.write_text("x")
        path = path / "deeper"

    with pytest.raises(RecordingError, match=f"{name}.*--diagnostics-dir") as caught:
        create_run(path, {})
    assert str(path) in str(caught.value)
    assert not (tmp_path / "real" / "runs").exists()


@posix
def test_a_planted_symlink_in_the_place_of_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RecordingError, match="ELOOP"):
        create_run(tmp_path, {})
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "ro"
    where.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(where)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


@posix
def test_a_read_only_file_system_is_named(read_only: Path) -> None:
    for path in (read_only, read_only / "new"):
        with pytest.raises(RecordingError, match="EROFS"):
            create_run(path, {})


def test_a_header_that_json_cannot_say_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="header cannot be written"):
        create_run(tmp_path, {"environment": object()})


@posix
def test_latest_replaces_a_planted_symlink_and_spares_its_target(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    base = tmp_path / "d"
    base.mkdir()
    (base / "latest").symlink_to(victim)

    run = create_run(base, {})
    assert victim.read_text() == "precious"
    assert (base / "latest").read_text().strip() == run.name


def test_two_processes_in_one_directory_make_two_runs(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pytest_diagnostics.storage.runs import create_run\n"
        "for _ in range(10): print(create_run(sys.argv[1], {}).name)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "d")], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    names = [name for process in both for name in process.communicate()[0].split()]
    assert [process.returncode for process in both] == [0, 0]
    assert len(set(names)) == 20
    assert sorted(info.name for info in list_runs(tmp_path / "d")) == sorted(names)
    assert (tmp_path / "d" / "latest").read_text().strip() in names
    assert [path.name for path in (tmp_path / "d").iterdir() if path.suffix == ".tmp"] == []


def test_runs_are_listed_oldest_first_with_what_is_known_of_them(tmp_path: Path) -> None:
    newest = create_run(tmp_path, {})
    done = finished_run(tmp_path, "20200101T000000Z")
    died = finished_run(tmp_path, "20210101T000000Z", end=False)
    write_atomically(done.summary, b'{"counts": {"passed": 3}}')
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "20220101T000000Z-00000000").touch()

    infos = list_runs(tmp_path)
    assert [info.name for info in infos] == [done.name, died.name, newest.name]
    assert [info.finished for info in infos] == [True, False, False]
    assert infos[0].counts == {"passed": 3}
    assert infos[1].counts is None
    assert infos[2].alive is True
    if sys.platform == "linux":
        assert [info.alive for info in infos[:2]] == [False, False]


def test_a_run_is_finished_when_its_process_said_so(tmp_path: Path) -> None:
    run = create_run(tmp_path, {})
    writer = ShardWriter(run.shard("main", os.getpid()))
    writer.append("test", {"nodeid": "x"})
    assert run_info(run).finished is False
    writer.close({"reason": "finished"})
    assert run_info(run).finished is True


def test_a_run_is_found_by_every_name_it_has(tmp_path: Path) -> None:
    old = finished_run(tmp_path, "20200101T000000Z")
    other = finished_run(tmp_path, "20200101T000001Z")
    new = create_run(tmp_path, {})

    assert find_run(tmp_path, "latest") == new
    assert find_run(tmp_path, old.name) == old
    assert find_run(tmp_path, "20200101T000000") == old
    assert find_run(tmp_path / "nowhere", str(other.path)) == other
    with pytest.raises(ConfigurationError, match=f"2 runs .* called '2020'.*{new.name}"):
        find_run(tmp_path, "2020")
    for name in ("nonsense", "", "..", "/"):
        with pytest.raises(ConfigurationError, match="no run in"):
            find_run(tmp_path, name)
    with pytest.raises(ConfigurationError, match="there are no runs in"):
        find_run(tmp_path / "nowhere", "latest")


@pytest.mark.parametrize("content", [b"../../etc", b"20200101T000000Z-ffffffff", b"\xff" * 300, b""])
def test_a_latest_that_names_no_run_means_the_newest(tmp_path: Path, content: bytes) -> None:
    run = create_run(tmp_path, {})
    (tmp_path / "latest").write_bytes(content)
    assert find_run(tmp_path, "latest") == run


@pytest.mark.skipif(sys.platform != "linux", reason="whether a process is gone is told by /proc")
def test_retention_removes_the_oldest_runs_and_never_a_living_one(tmp_path: Path) -> None:
    living = create_run(tmp_path, {})
    aged = living.path.with_name(f"20190101T000000Z-{living.name[-8:]}")
    living.path.rename(aged)
    dead = [finished_run(tmp_path, f"202{n}0101T000000Z", end=n != 1) for n in range(4)]

    assert retain(tmp_path, 2) == [dead[0].name, dead[1].name]
    assert [info.name for info in list_runs(tmp_path)] == [aged.name, dead[2].name, dead[3].name]
    assert retain(tmp_path, 2) == []
    with pytest.raises(ConfigurationError):
        retain(tmp_path, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="whether a process is gone is told by /proc")
def test_retention_follows_no_symlink_and_removes_nothing_but_runs(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "run.json").write_text("{}")
    base = tmp_path / "d"
    run = finished_run(base, "20200101T000000Z")
    (run.path / "link").symlink_to(victim)
    (base / "runs" / "20180101T000000Z-00000000").symlink_to(victim)
    (base / "runs" / "mine").mkdir()
    create_run(base, {})

    assert retain(base, 1) == [run.name]
    assert (victim / "run.json").exists()
    assert (base / "runs" / "mine").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="start times come from /proc")
def test_a_process_that_got_a_dead_ones_id_is_not_taken_for_it() -> None:
    me = alive.process_identity()
    assert alive.running(me, 0.0) is True
    assert alive.running({**me, "start_ticks": 1}, 0.0) is False
    assert alive.running({**me, "boot_id": "another"}, 0.0) is False


def test_where_nobody_can_tell_the_last_write_decides() -> None:
    elsewhere = {**alive.process_identity(), "node": "another-machine"}
    assert alive.running(elsewhere, 0.0) is False
    assert alive.running(elsewhere, 4e9) is True
    assert alive.running({}, 4e9) is True


def test_a_zombie_is_not_alive() -> None:
    if sys.platform != "linux":
        pytest.skip("states come from /proc")
    process = subprocess.Popen([sys.executable, "-c", "import os; os.read(0, 1)"], stdin=subprocess.PIPE)
    assert alive.start_ticks(process.pid) is not None
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert alive.start_ticks(process.pid) is None
    process.wait()


def test_an_atomic_write_that_fails_leaves_the_old_content_and_no_rest(tmp_path: Path) -> None:
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(RecordingError, match=r"cannot write .*summary\.json"):
        write_atomically(tmp_path / "summary.json", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_run_does_without_the_name_of_the_newest_and_says_so(tmp_path: Path) -> None:
    base = tmp_path / "pytest-diagnostics"
    (base / "latest").mkdir(parents=True)
    (base / "latest" / "theirs").touch()
    told: list[str] = []
    run = create_run(base, {}, told.append)

    assert run.header.is_file()
    assert find_run(base, "latest").name == run.name
    assert len(told) == 1
    assert str(base / "latest") in told[0]


@pytest.mark.skipif(sys.platform != "linux", reason="whether a process is gone is told by /proc")
def test_an_old_run_that_cannot_be_removed_is_told_with_its_reason(tmp_path: Path) -> None:
    old, newest = (finished_run(tmp_path, f"202{n}0101T000000Z") for n in range(2))
    held = old.shards / "held"
    held.touch()
    immutable = shutil.which("chattr")
    if (
        immutable is None
        or subprocess.run([immutable, "+i", held], check=False, capture_output=True).returncode
    ):
        pytest.skip("this file system or user cannot make a file immutable")
    told: list[str] = []
    try:
        assert retain(tmp_path, 1, told.append) == []
    finally:
        subprocess.run([immutable, "-i", held], check=True)

    assert len(told) == 1
    assert f"cannot remove the old run {old.path}" in told[0]
    assert "EPERM" in told[0]
    assert newest.path.is_dir()
