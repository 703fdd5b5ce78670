"""The command line: what each command prints, and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.cli import main

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential


@pytest.fixture(scope="module")
def recorded(new_differential: Callable[[], Differential]) -> Path:
    """A directory with two recorded runs, the second of them with a failure."""
    differential = new_differential()
    differential.keeps_directory = True
    for test in (
        "def test_it(): pass",
        "import time\ndef test_it(): time.sleep(0.06)\ndef test_fails(): assert 0",
    ):
        differential.write(test_it=test)
        differential.run("--diagnostics-report=none", on=True)
    return differential.directory


def runs(directory: Path) -> list[str]:
    """Return the names of the runs, the oldest first."""
    names = sorted(path.name for path in (directory / "runs").iterdir() if path.is_dir())
    latest = (directory / "latest").read_text().strip()
    return [*(name for name in names if name != latest), latest]


def command(*args: str, code: int = 0) -> None:
    assert main(list(args)) == code


def wait_for_recorder(run: Path) -> None:
    """Wait until the recorder of a run that was killed has written its last record."""
    deadline = time.monotonic() + 10
    while not any(b'"kind":"end"' in path.read_bytes() for path in (run / "shards").glob("recorder-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_runs_are_listed_with_their_outcomes(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("runs", "--dir", str(recorded))

    first, second = runs(recorded)
    assert capsys.readouterr().out == f"{first}  1 passed\n{second}  1 failed, 1 passed\n"


def test_where_nothing_was_recorded_runs_names_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("runs", "--dir", str(tmp_path / "nowhere"))

    wanted = f"no runs in {tmp_path / 'nowhere'}; record one with: pytest --diagnostics\n"
    assert capsys.readouterr().out == wanted


def test_show_shows_the_latest_run(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("show", "--dir", str(recorded))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"run     {runs(recorded)[1]}, ")
    assert lines[0].endswith("s, finished: 1 failed, 1 passed")
    assert lines[1].startswith("slow    test_it.py::test_it: ")
    assert lines[-2].startswith("health  ")
    name = runs(recorded)[1]
    assert lines[-1] == f"report  write it with: pytest-diagnostics report --dir {recorded} {name}"


def test_show_takes_a_name_a_path_or_a_beginning(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = runs(recorded)[0]

    for name in (first, first[:-1], str(recorded / "runs" / first)):
        command("show", "--dir", str(recorded), name)
        assert capsys.readouterr().out.startswith(f"run     {first}, ")


@pytest.mark.parametrize(("name", "what"), [("nobody", "no run"), ("2", "2 runs")])
def test_a_run_that_is_not_there_is_named_with_those_that_are(
    recorded: Path, capsys: pytest.CaptureFixture[str], name: str, what: str
) -> None:
    command("show", "--dir", str(recorded), name, code=2)

    there = sorted(runs(recorded), key=runs(recorded).index)
    wanted = f"pytest-diagnostics: {what} in {recorded} called {name!r}; the newest there are: "
    err = capsys.readouterr().err
    assert err.startswith(wanted)
    assert all(run in err for run in there)


@pytest.mark.parametrize("args", [("show",), ("report",)])
def test_without_runs_there_is_nothing_to_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    command(*args, "--dir", str(tmp_path), code=2)

    wanted = f"pytest-diagnostics: there are no runs in {tmp_path}; run pytest with --diagnostics first\n"
    assert capsys.readouterr().err == wanted


def test_show_prints_the_summary_for_machines(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("show", "--dir", str(recorded), "--json")

    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads((recorded / "runs" / runs(recorded)[1] / "summary.json").read_text())


def test_report_writes_where_it_is_told(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "page.html"

    command("report", "--dir", str(recorded), "-o", str(target))

    assert target.read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out.startswith(f"{target} (")
    assert not (recorded / "runs" / runs(recorded)[1] / "report.html").exists()


def test_a_killed_run_can_be_shown_and_reported(
    differential: Differential, capsys: pytest.CaptureFixture[str]
) -> None:
    differential.write(
        test_it="""
            import os, signal, time
            def test_first(): time.sleep(0.5)
            def test_killed(): os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert differential.run(on=True).code == -signal.SIGKILL
    where = ("--dir", str(differential.directory))
    (run,) = (differential.directory / "runs").glob("*Z-*")
    wait_for_recorder(run)

    command("runs", *where)
    command("show", *where)
    command("report", *where)

    out = capsys.readouterr().out
    how = "ended without finishing: killed (SIGKILL) in the call of test_it.py::test_killed after "
    listed, shown, tests = out.splitlines()[:3]
    assert listed.startswith(f"{run.name}  {how}")
    assert shown.startswith(f"run     {run.name} {how}")
    assert tests.startswith("tests   1 passed, 1 unfinished in ")
    assert f"health  degraded: the run {how}" in out
    assert f"<bdi>{how}" in (run / "report.html").read_text()
    assert "test_killed" in (run / "report.html").read_text()
    assert json.loads((run / "summary.json").read_text())["counts"] == {"passed": 1, "running": 1}


def test_doctor_says_of_each_collector_whether_it_works(capsys: pytest.CaptureFixture[str]) -> None:
    command("doctor", "memory", "cpu")

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("memory  works        ")
    assert second.startswith("cpu     works        ")
    assert first.endswith(" of CPU a tick")


def test_doctor_refuses_a_collector_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    command("doctor", "cpu", "cpuu", code=2)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pytest-diagnostics: there is no collector 'cpuu'; there are: ")
    assert " cgroup, cpu, " in captured.err


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("Absent", "unavailable  no such device"),
        ("Raising", "unavailable  RuntimeError: cannot be asked"),
        ("BadProbe", "unavailable  AttributeError: in the probe"),
        ("Asynchronous", "works "),
    ],
)
def test_doctor_tries_collectors_of_any_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, shown: str
) -> None:
    from pytest_diagnostics import DiagnosticCollector, cli

    class Absent(DiagnosticCollector):
        def probe(self) -> str | None:
            return "no such device"

        def collect(self) -> object:
            return {}

    class Raising(DiagnosticCollector):
        def collect(self) -> object:
            raise RuntimeError("cannot be asked")

    class BadProbe(Absent):
        def probe(self) -> str | None:
            raise AttributeError("in the probe")

    class Asynchronous(DiagnosticCollector):
        async def collect(self) -> object:
            return {"asked": True}

    made = {"Absent": Absent, "Raising": Raising, "BadProbe": BadProbe, "Asynchronous": Asynchronous}[kind]
    monkeypatch.setattr(cli, "available_names", lambda: ["tried"])
    monkeypatch.setattr(cli, "load", made)
    monkeypatch.setattr(cli, "DOCTOR_PAUSE_SECONDS", 0.0)

    command("doctor")

    assert capsys.readouterr().out.startswith(f"tried  {shown}")


def test_a_reader_that_has_enough_is_no_error(recorded: Path) -> None:
    args = [sys.executable, "-m", "pytest_diagnostics", "show", "--json", "--dir", str(recorded)]
    reading, writing = os.pipe()
    os.close(reading)

    ended = subprocess.run(args, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_module_is_the_command(recorded: Path) -> None:
    args = [sys.executable, "-m", "pytest_diagnostics", "runs", "--dir", str(recorded)]

    ended = subprocess.run(args, capture_output=True, text=True, check=True)

    assert len(ended.stdout.splitlines()) == 2


@pytest.mark.parametrize("args", [(), ("nonsense",), ("show", "--nonsense")])
def test_a_wrong_command_line_has_exit_code_two(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(list(args))

    assert "usage: pytest-diagnostics" in capsys.readouterr().err
