"""Wherever pytest is started: a recorder process that no test meets, or a thread and the reason why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import venv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

import pytest_diagnostics
from tests.recorder.conftest import Record, await_no_recorder, recorders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

PACKAGE = Path(pytest_diagnostics.__file__).parent
#: Says when pytest began and ended; the environment's code is what this very start is about.
CONFTEST = """
    import os, sys, time
    begun = time.monotonic()
    exec(os.environ.pop("BEFORE", ""))

    def pytest_unconfigure():
        with open(os.path.join(os.environ["HERE"], "seconds"), "w") as file:
            file.write(str(time.monotonic() - begun))
"""
#: Passes where no child and no thread is seen once the recorder has begun; its last test fails.
SUITE = """
    import glob, os, threading, time
    import psutil, pytest

    KIND = os.environ["KIND"]

    def test_meets_nobody():
        deadline = time.monotonic() + 20
        pattern = os.path.join(os.environ["HERE"], "*", "runs", "*", "shards", "recorder-*")
        if KIND == "late":
            time.sleep(4.3)  # until it is too late to begin
        while KIND in ("process", "thread") and not glob.glob(pattern) and time.monotonic() < deadline:
            time.sleep(0.005)
        for _ in range(2):
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            assert psutil.Process().children(recursive=True) == []
            time.sleep(0.1)
        if KIND == "process":
            with pytest.raises(ChildProcessError):
                os.wait()
            assert threading.active_count() == 1

    def test_fails():
        assert 0
"""
SUBREAPER = "import ctypes, os, subprocess, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); "


@dataclass(frozen=True)
class Started:
    """A run that is over."""

    path: Path
    code: int
    out: str

    @property
    def run(self) -> Path:
        """Its directory."""
        (found,) = self.path.glob("*/runs/*Z-*")
        return found

    @property
    def kinds(self) -> list[str]:
        """What recorded."""
        lines = [shard.read_bytes().split(b"\n") for shard in (self.run / "shards").glob("recorder-*")]
        return [json.loads(shard[0])["recorder"]["kind"] for shard in lines if b'"result"' in b"".join(shard)]

    @property
    def problems(self) -> str:
        """What is wrong, as the summary has it."""
        summary: Record = json.loads((self.run / "summary.json").read_text())
        return "\n".join(cast("dict[str, list[str]]", summary["health"])["problems"])

    @property
    def seconds(self) -> float:
        """From the start of the session to its end."""
        return float((self.path / "seconds").read_text())


def start(
    path: Path,
    *,
    kind: str = "process",
    python: Sequence[str] = (),
    before: str = "",
    wrapper: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    cwd: Path | None = None,
    executable: str = sys.executable,
) -> Started:
    """Run the suite in some environment."""
    for name, text in (("conftest", CONFTEST), ("test_it", SUITE)):
        (path / f"{name}.py").write_text(textwrap.dedent(text))
    ours = ["-ppytest_diagnostics.plugin", "--diagnostics", "--diagnostics-interval=0.1"]
    command = [*wrapper, executable, *python, "-m", "pytest", "-pno:cacheprovider", *ours]
    told = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    told.update(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", KIND=kind, BEFORE=textwrap.dedent(before), HERE=str(path))
    ended = subprocess.run(
        [*command, "--diagnostics-report=none", f"--rootdir={path}", *args, str(path)],
        cwd=cwd or path,
        env={**told, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    await_no_recorder(path)
    return Started(path, ended.returncode, ended.stdout + ended.stderr)


def assert_process(run: Started) -> None:
    """Assert that a process recorded, and that nobody noticed."""
    assert run.code == 1, run.out
    assert "1 failed, 1 passed" in run.out
    assert run.kinds == ["process"], run.problems
    assert not (run.run / "recorder.err").exists()


def assert_thread(run: Started, reason: str) -> None:
    """Assert that a thread recorded, and that health says why."""
    assert run.code == 1, run.out
    assert "1 failed, 1 passed" in run.out
    assert run.kinds == ["thread"], run.problems
    assert reason in run.problems


def needs(*command: str) -> None:
    """Skip where this very command is not allowed."""
    if (
        shutil.which(command[0]) is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{' '.join(command[:2])} does not work here")


@pytest.mark.parametrize(
    "python",
    [("-I",), ("-E",), ("-W", "error"), ("-X", "dev"), ("-B", "-X", "utf8=0")],
    ids=" ".join,
)
def test_options_of_the_interpreter_do_not_reach_the_recorder(tmp_path: Path, python: Sequence[str]) -> None:
    run = start(tmp_path, python=python)
    assert_process(run)
    assert "Warning" not in run.out


def test_odd_entries_of_the_path_are_no_harm(tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / "psutil.py").write_text("raise RuntimeError('not the psutil that is meant')")
    entries = ["/nowhere", "", "relative", str(tmp_path / "with\nnewline"), "/dev/null"]
    before = "sys.path.insert(0, 'relative'); sys.path.append(os.path.join(os.environ['HERE'], 'with space'))"
    assert_process(start(tmp_path, env={"PYTHONPATH": os.pathsep.join(entries)}, before=before))


BEFORE = {
    "a removed directory": """
        os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone"); sys.path.insert(0, "relative")
    """,
    "SIGCHLD ignored": "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "every signal blocked": """
        import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    """,
    "few descriptors": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))",
    "no environment": """
        told = {name: os.environ[name] for name in ("HERE", "KIND")}
        os.environ.clear()
        os.environ.update(told)
    """,
    "another root of what is imported": "sys.path.reverse()",
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=list(BEFORE))
def test_a_process_that_is_in_an_odd_state_has_a_recorder_beside_it(tmp_path: Path, before: str) -> None:
    assert_process(start(tmp_path, before=before))


def test_another_directory_is_no_harm(tmp_path: Path) -> None:
    assert_process(start(tmp_path, cwd=Path("/")))


def test_the_memory_killer_finds_the_recorder_no_sooner_than_pytest(tmp_path: Path) -> None:
    before = """
        import glob
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("300")
        def pytest_runtest_logreport(report):
            for shard in glob.glob("*/runs/*/shards/recorder-*"):
                pid = shard.rpartition("-")[2].partition(".")[0]
                with open(f"/proc/{pid}/oom_score_adj") as theirs, open("score", "w") as file:
                    file.write(theirs.read())
    """
    assert_process(start(tmp_path, before=before))
    assert int((tmp_path / "score").read_text()) == 300


def test_a_package_in_a_zip_file_records(tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for source in PACKAGE.rglob("*.py"):
            file.write(source, source.relative_to(PACKAGE.parent))
    run = start(tmp_path, env={"PYTHONPATH": str(archive)}, before=said_where())
    assert_process(run)
    assert "all.zip" in (tmp_path / "where").read_text()


def test_an_installed_copy_in_an_environment_of_its_own_records(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    shutil.copytree(PACKAGE, site / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    (site / "others.pth").write_text(str(Path(pytest.__file__).parent.parent))
    run = start(tmp_path, executable=str(tmp_path / "env" / "bin" / "python"), before=said_where())
    assert_process(run)
    assert str(site) in (tmp_path / "where").read_text()


def said_where() -> str:
    return """
        import pytest_diagnostics
        with open(os.path.join(os.environ["HERE"], "where"), "w") as file:
            file.write(pytest_diagnostics.__file__)
    """


def test_a_descendant_of_a_subreaper_has_a_recorder_that_is_not_its_child(tmp_path: Path) -> None:
    wrapper = (sys.executable, "-c", f"{SUBREAPER} sys.exit(subprocess.call(sys.argv[1:]))")
    assert_process(start(tmp_path, wrapper=wrapper))


def test_a_subreaper_collects_in_a_thread(tmp_path: Path) -> None:
    wrapper = (sys.executable, "-c", f"{SUBREAPER} os.execv(sys.argv[1], sys.argv[1:])")
    assert_thread(start(tmp_path, kind="thread", wrapper=wrapper), "it is a child subreaper")


def test_the_first_process_of_a_container_collects_in_a_thread(tmp_path: Path) -> None:
    unshare = ("unshare", "-Urpf", "--mount-proc")
    needs(*unshare, "true")
    assert_thread(start(tmp_path, kind="thread", wrapper=unshare), "pytest is process 1")


def test_a_container_s_shell_as_its_first_process_is_no_harm(tmp_path: Path) -> None:
    unshare = ("unshare", "-Urpf", "--mount-proc")
    needs(*unshare, "true")
    shell = ("sh", "-c", '"$@"; code=$?; sleep 0.2; exit $code', "sh")
    assert_process(start(tmp_path, wrapper=(*unshare, *shell)))


def test_nobody_is_found_by_the_numbers_of_another_namespace() -> None:
    unshare = ("unshare", "-Urpf")
    needs(*unshare, "true")
    name = os.urandom(8).hex()
    code = f"from pytest_diagnostics.recorder.launch import started; print(len(started({name!r}) or ()))"
    with subprocess.Popen([sys.executable, "-c", "input()", name], stdin=subprocess.PIPE) as told:
        found = [
            subprocess.run([*wrapper, sys.executable, "-c", code], capture_output=True, check=True)
            for wrapper in ((), unshare)
        ]
        told.communicate(b"\n")
    assert [one.stdout.decode().strip() for one in found] == ["1", "0"]


def test_without_a_shell_the_interpreter_detaches_itself(tmp_path: Path) -> None:
    needs("unshare", "-m", "true")
    (tmp_path / "plain").touch(0o600)
    hide = f'mount --bind {tmp_path}/plain "$(readlink -f /bin/sh)" && exec "$@"'
    run = start(
        tmp_path,
        wrapper=("unshare", "-m", "sh", "-c", hide, "sh"),
        before="assert not os.access('/bin/sh', os.X_OK)",
    )
    assert_process(run)


def test_a_read_only_root_is_no_harm(tmp_path: Path) -> None:
    mount = f'mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro / && exec "$@"'
    wrapper = ("unshare", "-m", "sh", "-c", mount, "sh")
    needs(*wrapper, "true")
    before = "assert not os.access('/usr', os.W_OK)"
    assert_process(start(tmp_path, wrapper=wrapper, before=before, env={"TMPDIR": str(tmp_path)}))


def test_a_user_who_may_start_no_process_has_a_reason_told(tmp_path: Path) -> None:
    nobody = ("setpriv", "--reuid=65534", "--clear-groups")
    needs(*nobody, sys.executable, "-c", "import pytest")
    path = Path(tempfile.mkdtemp())  # what pytest gives is its user's alone
    path.chmod(0o777)
    try:
        before = "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))"
        run = start(path, kind="none", wrapper=nobody, before=before)
        assert run.code == 1, run.out
        assert "1 failed, 1 passed" in run.out
        assert "the system refused a process" in run.problems
    finally:
        shutil.rmtree(path)


WRONG = {
    "empty": ("sys.executable = ''", "sys.executable is empty"),
    "missing": ("sys.executable = '/nowhere/python'", "/nowhere/python"),
    "failing": ("sys.executable = os.path.join(os.environ['HERE'], 'failing')", "this is no Python"),
}


@pytest.mark.parametrize("has_shell", [True, False], ids=["shell", "no shell"])
@pytest.mark.parametrize("name", [*WRONG, "hanging"])
def test_a_wrong_interpreter_delays_nothing_and_a_thread_takes_over(
    tmp_path: Path, name: str, has_shell: bool
) -> None:
    for script, text in (("failing", "echo this is no Python >&2; exit 3"), ("hanging", "sleep 1000")):
        (tmp_path / script).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / script).chmod(0o700)
    hanging = "sys.executable = os.path.join(os.environ['HERE'], 'hanging')"
    before, reason = WRONG.get(name, (hanging, "did not begin within 4 s" if has_shell else "did not start"))
    if not has_shell:
        before += "\nimport pytest_diagnostics.recorder.launch as l\n"
        before += "l.Bound.access = staticmethod(lambda *_: False)"
        reason = "no recorder process" if name == "missing" else reason
    late = name == "hanging" and has_shell
    run = start(tmp_path, kind="late" if late else "thread", before=before)
    assert_thread(run, reason)
    assert run.seconds < 8  # four, and what a busy machine needs
    assert not recorders(tmp_path)


def test_an_interpreter_that_hangs_is_not_waited_for_when_the_run_is_short(tmp_path: Path) -> None:
    (tmp_path / "hanging").write_text("#!/bin/sh\nsleep 1000\n")
    (tmp_path / "hanging").chmod(0o700)
    before = "sys.executable = os.path.join(os.environ['HERE'], 'hanging')"
    run = start(tmp_path, kind="none", before=before)
    assert run.code == 1
    assert "did not begin within 4 s" in run.problems
    assert run.seconds < 8
    assert not recorders(tmp_path)


def test_where_nothing_is_run_nothing_is_started(tmp_path: Path) -> None:
    run = start(tmp_path, kind="none", args=("--collect-only",))
    assert run.code == 0, run.out
    assert not list(tmp_path.glob("pytest-diagnostics/runs/*"))
