"""Places to record to that fail: the tests do not notice, the recording says what was lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

pytestmark = pytest.mark.skipif(os.name != "posix", reason="faults are provoked with POSIX means")

TESTS = """
    import time
    import pytest

    @pytest.mark.parametrize("n", range(4))
    def test_it(n):
        time.sleep(0.1)
        assert n != 2
"""


@pytest.fixture
def disk(differential: Differential) -> Iterator[Path]:
    """A file system of 128 KiB where runs are recorded."""
    where = differential.directory.with_name("disk")
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(where)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    differential.write(test_it=TESTS)
    differential.diagnostics = (*differential.diagnostics, f"--diagnostics-dir={where}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_disk_that_fills_up_during_the_run_loses_records_and_says_so(
    differential: Differential, disk: Path
) -> None:
    differential.write(
        test_it=f"""
            import os, pytest

            def test_before():
                pass

            def test_fills_the_disk():
                with open({str(disk / "filler")!r}, "wb", buffering=0) as file:
                    with pytest.raises(OSError):
                        while True:
                            file.write(bytes(4096))

            @pytest.mark.parametrize("n", range(30))
            def test_it(n):
                pass
        """
    )
    on = differential.run(on=True)
    off = differential.run(on=False)
    differential.same(off, on)
    assert "disk full (ENOSPC)" in on.health + on.out
    shards = b"".join(shard.read_bytes() for shard in disk.glob("runs/*/shards/main-*"))
    assert b"test_before" in shards


def test_a_disk_that_is_full_from_the_start_is_the_error_of_who_named_it(
    differential: Differential, disk: Path
) -> None:
    filled = subprocess.run(["dd", "if=/dev/zero", f"of={disk / 'filler'}"], capture_output=True, check=False)
    assert b"space" in filled.stderr
    on = differential.run(on=True)
    assert on.code == pytest.ExitCode.USAGE_ERROR
    assert "ENOSPC" in on.err
    assert "--diagnostics-dir" in on.err


def test_a_read_only_disk_is_the_error_of_who_named_it(differential: Differential, disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    on = differential.run(on=True)
    assert on.code == pytest.ExitCode.USAGE_ERROR
    assert "EROFS" in on.err
    assert not [line for line in on.told if line[1] == "report"]


def test_a_disk_that_becomes_read_only_during_the_run_is_named(
    differential: Differential, disk: Path
) -> None:
    differential.write(
        test_it=f"""
            import glob, subprocess, time
            def test_before():
                # A process that starts has its standard error in the run's directory for a moment.
                while not glob.glob({str(disk)!r} + "/runs/*/shards/recorder-*"):
                    time.sleep(0.001)
            def test_remounts():
                subprocess.run(["mount", "-o", "remount,ro", {str(disk)!r}], check=True)
            def test_after():
                pass
        """
    )
    on = differential.run(on=True)
    off = differential.run(on=False)
    differential.same(off, on)
    assert "EROFS" in on.out


def test_a_default_directory_that_cannot_be_written_costs_the_files_only(differential: Differential) -> None:
    differential.write(test_it=TESTS)
    (differential.path / "empty").mkdir()
    off = differential.run(on=False)
    for make in (Path.touch, lambda path: path.symlink_to("empty"), os.mkfifo):
        differential.keeps_directory = True
        make(differential.directory)
        on = differential.run(on=True)
        differential.directory.unlink()
        differential.same(off, on)
        assert on.health.startswith("health  degraded: ")
        assert "nothing is on disk" in on.health
        assert "in memory only" in on.out


@pytest.mark.parametrize("place", ["/dev/full", "/dev/null", "/proc/1", "/dev/full/below", "test_it.py"])
def test_a_named_place_that_is_no_directory_is_a_usage_error(differential: Differential, place: str) -> None:
    differential.write(test_it=TESTS)
    differential.diagnostics = (f"--diagnostics-dir={place}",)
    on = differential.run(on=True)
    assert on.code == pytest.ExitCode.USAGE_ERROR
    assert "--diagnostics-dir" in on.err
    assert "Traceback" not in on.err + on.out


@pytest.mark.parametrize(
    "act",
    [
        "shutil.rmtree('pytest-diagnostics', ignore_errors=True)",
        "os.rename(run, 'moved')",
        "os.rename(run, 'moved'); open(run, 'w').close()",
        "os.rename(run, 'moved'); os.symlink('../../elsewhere', run)",
        "os.rename(run + '/shards', 'moved'); os.symlink('../../../elsewhere', run + '/shards')",
        "[(os.unlink(p), os.symlink('/dev/full', p)) for p in glob.glob(run + '/shards/*')]",
        "[(os.unlink(p), os.mkdir(p)) for p in glob.glob(run + '/shards/*')]",
        "[os.truncate(p, 10) for p in glob.glob(run + '/shards/*')]",
        "[open(p, 'r+b').write(b'x' * 300) for p in glob.glob(run + '/*.json')]",
    ],
)
def test_a_recording_that_is_removed_or_replaced_is_told_of_and_followed_nowhere(
    differential: Differential, act: str
) -> None:
    elsewhere = differential.directory.with_name("elsewhere")
    elsewhere.mkdir()
    differential.write(
        test_it=f"""
            import glob, os, shutil
            def test_before():
                pass
            def test_act():
                for run in glob.glob("pytest-diagnostics/runs/*"):
                    {act}
                    break
            def test_after():
                pass
        """
    )
    on = differential.pair()
    assert on.health.startswith("health  degraded: ")
    assert os.listdir(elsewhere) == []


@pytest.mark.parametrize("umask", ["0o777", "0"])
def test_any_umask_gives_private_files(differential: Differential, umask: str) -> None:
    differential.write(
        conftest=f"import os\nos.umask({umask})\n",
        test_it=TESTS,
    )
    differential.diagnostics = ("--diagnostics-interval=0.1",)
    on = differential.pair()
    (run,) = on.runs
    found = [*run.rglob("*"), run, differential.directory]
    assert len(found) > 6
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}


@pytest.mark.parametrize(
    "limit",
    ["RLIMIT_FSIZE, (20_000, 20_000)", "RLIMIT_NOFILE, (3, 3)"],
    ids=["file size", "open files"],
)
def test_a_limit_that_a_test_sets_loses_no_outcome_and_is_named(
    differential: Differential, limit: str
) -> None:
    differential.write(
        test_it=f"""
            import pytest, resource

            @pytest.mark.parametrize("n", range(20))
            def test_before(n):
                pass

            def test_limits():
                resource.setrlimit(resource.{limit})

            def test_after():
                pass
        """
    )
    on = differential.pair("-s", compare=("out",))
    assert on.health.startswith("health  degraded: ")
    assert any(word in on.out for word in ("EFBIG", "EMFILE", "Too many open files"))


def test_memory_limits_cost_figures_not_outcomes(differential: Differential) -> None:
    differential.write(
        test_it="""
            import resource
            def test_limits():
                resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
            def test_after():
                pass
            def test_lifts():
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        """
    )
    on = differential.pair()
    assert set(on.outcomes()) == {"test_limits", "test_after", "test_lifts"}


@pytest.mark.parametrize("name", ["plain", "räum 🔥 \u202eltr", "a\nb", "-x", "%s{0}", "'\"$(false)`"])
def test_a_root_directory_of_any_name_is_recorded_to(differential: Differential, name: str) -> None:
    where = differential.path / name
    where.mkdir()
    (where / "test_it.py").write_text("def test_it(): pass\n")
    (where / "pytest.ini").write_text("[pytest]\n")
    differential.directory = where / "pytest-diagnostics"
    differential.env = {
        "HOME": None,
        "TMPDIR": None,
        "USER": None,
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
    }
    differential.diagnostics = ("--diagnostics-interval=0.1",)
    off = differential.run(f"--rootdir={where}", str(where), on=False)
    on = differential.run(f"--rootdir={where}", str(where), on=True)
    differential.same(off, on, compare=("err",))
    assert on.code == 0
    assert on.summary["counts"] == {"passed": 1}
    assert (on.runs[0] / "report.html").is_file()


def test_runs_at_the_same_time_in_one_directory_are_all_complete(differential: Differential) -> None:
    differential.write(test_it=TESTS)
    command = differential.command(on=True)
    runs = [
        subprocess.Popen(
            command,
            cwd=differential.path,
            env=differential.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    assert [run.wait(60) for run in runs] == [1, 1, 1]
    summaries = list(differential.directory.glob("runs/*/summary.json"))
    assert len(summaries) == 3
    listed = subprocess.run(
        [sys.executable, "-m", "pytest_diagnostics", "runs"],
        cwd=differential.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.count("1 failed, 3 passed") == 3
    shutil.rmtree(differential.directory)
