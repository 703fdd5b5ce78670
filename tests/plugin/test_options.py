"""Options and their ini twins: precedence, and what is refused with which words."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_diagnostics.options import OPTIONS
from pytest_diagnostics.settings import Settings


class Row(NamedTuple):
    """One option: what its ini twin and its flag say, and what each of them must come to."""

    name: str
    default: object
    ini: str
    from_ini: object
    flag: str
    from_flag: object


HERE = Path()
TABLE = (
    Row("scope", "session", "test", "test", "--diagnostics-scope=session", "session"),
    Row("interval", 1.0, "0.5", 0.5, "--diagnostics-interval=0.25", 0.25),
    Row("collectors", "", "cpu", "cpu", "--diagnostics-collectors=memory", "memory"),
    Row("recorder", "process", "thread", "thread", "--diagnostics-recorder=process", "process"),
    Row("burst", "on", "off", "off", "--diagnostics-burst=on", "on"),
    Row("dir", "pytest-diagnostics", "by-ini", "by-ini", "--diagnostics-dir=by-flag", "by-flag"),
    Row("report", "", "ini.html", "ini.html", "--diagnostics-report=flag.html", "flag.html"),
    Row("show", "failed", "slow", "slow", "--diagnostics-show=all", "all"),
    Row("keep", 20, "3", 3, "--diagnostics-keep=4", 4),
    Row("peak", "exact", "off", "off", "--diagnostics-peak=sampled", "sampled"),
    Row("descriptors", "kept", "none", "none", "--diagnostics-descriptors=kept", "kept"),
    Row("junit", False, "true", True, "--diagnostics-junit", True),
    Row("strict", False, "true", True, "--diagnostics-strict", True),
)


def decided(inside: pytest.Pytester, name: str, *args: str) -> object:
    """Return what an option comes to, paths relative to the root directory."""
    settings = Settings.from_config(inside.parseconfig("-p", "no:cacheprovider", *args))
    value = getattr(settings, {"dir": "directory"}.get(name, name))
    return os.path.relpath(value, inside.path) if isinstance(value, Path) else value


def test_the_table_below_has_every_option() -> None:
    others = [option.name for option in OPTIONS if not option.name.startswith("cassandra")]
    assert [row.name for row in TABLE] == others  # those of databases are together, in a test of their own


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_an_option_wins_over_ini_and_ini_over_default(inside: pytest.Pytester, row: Row) -> None:
    default = decided(inside, row.name)
    inside.makeini(f"[pytest]\ndiagnostics_{row.name} = {row.ini}\n")

    by_ini, by_flag = decided(inside, row.name), decided(inside, row.name, row.flag)

    assert (default if row.name != "report" else "") == row.default
    assert (by_ini, by_flag) == (row.from_ini, row.from_flag)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_an_option_can_be_set_in_pyproject(inside: pytest.Pytester, row: Row) -> None:
    inside.makepyprojecttoml(f'[tool.pytest.ini_options]\ndiagnostics_{row.name} = "{row.ini}"\n')

    assert decided(inside, row.name) == row.from_ini


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 brought native TOML")
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_an_option_has_its_own_type_in_native_toml(inside: pytest.Pytester, row: Row) -> None:
    native = row.ini if isinstance(row.from_ini, (bool, int, float)) else f'"{row.ini}"'
    inside.makepyprojecttoml(f"[tool.pytest]\ndiagnostics_{row.name} = {native}\n")

    assert decided(inside, row.name) == row.from_ini


@pytest.mark.parametrize(
    ("ini", "args", "recorded"),
    [
        ("", (), False),
        ("", ("--diagnostics",), True),
        ("diagnostics = true", (), True),
        ("diagnostics = true", ("--no-diagnostics",), False),
        ("diagnostics = false", ("--diagnostics",), True),
        ("diagnostics = false", (), False),
        ("addopts = --diagnostics", ("--no-diagnostics",), False),
    ],
)
def test_the_switch_works_both_ways(
    inside: pytest.Pytester, ini: str, args: tuple[str, ...], recorded: bool
) -> None:
    inside.makeini(f"[pytest]\n{ini}\n")
    inside.makepyfile("def test_it(): pass")

    result = inside.runpytest_inprocess(*args)

    result.assert_outcomes(passed=1)
    assert (inside.path / "pytest-diagnostics").exists() is recorded


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 brought native TOML")
def test_native_toml_alone_records_a_run(inside: pytest.Pytester) -> None:
    inside.makepyprojecttoml("[tool.pytest]\ndiagnostics = true\ndiagnostics_interval = 0.5\n")
    inside.makepyfile("def test_it(): pass")

    result = inside.runpytest_inprocess()

    result.stdout.fnmatch_lines(
        "diagnostics: the whole session, every 0.5 s, recorded to pytest-diagnostics/*"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cpu,memory", {"cpu", "memory"}),
        ("memory, cpu ,memory", {"cpu", "memory"}),
        ("-cpu,-memory,-network,-disk,-memory_bandwidth,-process", {"pressure", "cgroup"}),
        (
            "-pressure,+perf_events,-cgroup,-disk,-network,-process",
            {"cpu", "memory", "memory_bandwidth", "perf_events"},
        ),
    ],
)
def test_collectors_are_replaced_or_edited(inside: pytest.Pytester, text: str, words: set[str]) -> None:
    inside.makepyfile("def test_it(): pass")

    inside.runpytest_inprocess("--diagnostics", f"--diagnostics-collectors={text}").assert_outcomes(passed=1)

    (header,) = inside.path.glob("pytest-diagnostics/runs/*/run.json")
    listed = re.search(r'"collectors": \[([^]]*)\]', header.read_text())
    assert listed is not None
    assert set(re.findall(r"\w+", listed[1])) == words


REFUSED = (
    (
        "collectors",
        "cpuu",
        "--diagnostics-collectors: there is no collector 'cpuu'; there are: cassandra_consistency, "
        "cassandra_indexes, cassandra_views, cgroup, cpu, disk, memory, "
        "memory_bandwidth, network, perf_events, pressure, process",
    ),
    (
        "collectors",
        "cpu,+disk",
        "--diagnostics-collectors: 'cpu,+disk' mixes names that replace the default with +names and -names "
        "that edit it; use one form",
    ),
    (
        "interval",
        "0",
        "--diagnostics-interval: '0' is not usable; give a number of seconds, at least 0.001",
    ),
    (
        "interval",
        "fast",
        "--diagnostics-interval: 'fast' is not usable; give a number of seconds, at least 0.001",
    ),
    (
        "interval",
        "nan",
        "--diagnostics-interval: 'nan' is not usable; give a number of seconds, at least 0.001",
    ),
    ("keep", "0", "--diagnostics-keep: '0' is not usable; give a whole number, at least 1"),
    ("keep", "1.5", "--diagnostics-keep: '1.5' is not usable; give a whole number, at least 1"),
    ("scope", "tests", "--diagnostics-scope: 'tests' is none of session, test"),
    ("show", "some", "--diagnostics-show: 'some' is none of failed, slow, all, none"),
    ("peak", "on", "--diagnostics-peak: 'on' is none of exact, sampled, off"),
)


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_a_value_that_cannot_be_used_is_refused(
    inside: pytest.Pytester, name: str, value: str, message: str
) -> None:
    inside.makepyfile("def test_it(): pass")

    result = inside.runpytest_inprocess("--diagnostics", f"--diagnostics-{name}={value}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {message}" in result.stderr.lines
    assert not (inside.path / "pytest-diagnostics").exists()


def test_an_ini_value_that_cannot_be_used_is_refused_by_its_key(inside: pytest.Pytester) -> None:
    inside.makeini("[pytest]\ndiagnostics_collectors = nothing\n")

    result = inside.runpytest_inprocess("--diagnostics")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        "ERROR: diagnostics_collectors: there is no collector 'nothing'; there are: *"
    )


def test_bad_values_harm_nobody_who_records_nothing(inside: pytest.Pytester) -> None:
    inside.makeini("[pytest]\ndiagnostics_interval = -1\ndiagnostics_dir = ../elsewhere\n")
    inside.makepyfile("def test_it(): pass")

    inside.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("named", ["a_file", "a_file/below", "/proc/nobody/writes/here"])
def test_a_named_directory_that_cannot_be_written_is_refused(inside: pytest.Pytester, named: str) -> None:
    (inside.path / "a_file").write_text("in the way")
    inside.makepyfile("def test_it(): pass")

    result = inside.runpytest_inprocess("--diagnostics", f"--diagnostics-dir={named}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    path = os.path.normpath(inside.path / named)
    result.stderr.fnmatch_lines(
        f"ERROR: --diagnostics-dir: cannot record to {path}: *; "
        "give a directory that can be written with --diagnostics-dir"
    )
    result.stdout.no_fnmatch_line("*passed*")


def test_an_ini_file_may_not_name_a_place_outside_its_repository(inside: pytest.Pytester) -> None:
    inside.makeini("[pytest]\ndiagnostics_dir = ../elsewhere\n")
    inside.makepyfile("def test_it(): pass")

    result = inside.runpytest_inprocess("--diagnostics")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    place = (inside.path / "../elsewhere").resolve()
    wanted = f"ERROR: diagnostics_dir: {place} lies outside {inside.path}; give --diagnostics-dir to mean it"
    assert wanted in result.stderr.lines


def test_a_link_out_of_the_repository_is_not_followed(
    inside: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (inside.path / "pytest-diagnostics").symlink_to(elsewhere)
    inside.makepyfile("def test_it(): pass")

    result = inside.runpytest_inprocess("--diagnostics")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("health  degraded: main (pid *): nothing is on disk: * is a symbolic link *")
    assert list(elsewhere.iterdir()) == []


def test_the_default_directory_may_be_unwritable(inside: pytest.Pytester) -> None:
    (inside.path / "pytest-diagnostics").write_text("in the way")
    inside.makepyfile("def test_it(): pass\ndef test_fails(): assert 0")

    result = inside.runpytest_inprocess("--diagnostics")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "diagnostics: the whole session, every 1 s, recorded in memory only",
            "failed  test_the_default_directory_may_be_unwritable.py::test_fails: *",
            "health  degraded: main (pid *): nothing is on disk: cannot record to *: is not a directory "
            "(ENOTDIR); give a directory that can be written with --diagnostics-dir*",
        ]
    )


def test_a_report_can_be_written_elsewhere_or_not_at_all(inside: pytest.Pytester) -> None:
    inside.makepyfile("def test_it(): pass")

    inside.runpytest_inprocess("--diagnostics", "--diagnostics-report=out/mine.html")
    inside.runpytest_inprocess("--diagnostics", "--diagnostics-report=none")

    assert (inside.path / "out" / "mine.html").read_text().startswith("<!doctype html>")
    assert list(inside.path.glob("pytest-diagnostics/runs/*/report.html")) == []


def test_a_directory_is_no_report(inside: pytest.Pytester) -> None:
    result = inside.runpytest_inprocess("--diagnostics", "--diagnostics-report=.")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    wanted = f"ERROR: --diagnostics-report: {inside.path} is a directory; give a file's path, or 'none'"
    assert wanted in result.stderr.lines


def test_a_report_that_cannot_be_written_costs_the_report_alone(inside: pytest.Pytester) -> None:
    inside.makepyfile("def test_it(): pass")

    result = inside.runpytest_inprocess("--diagnostics", "--diagnostics-report=/proc/nobody/report.html")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines("health  degraded: write_report failed: *")
    assert len(list(inside.path.glob("pytest-diagnostics/runs/*/summary.json"))) == 1


def test_only_the_newest_runs_are_kept(inside: pytest.Pytester) -> None:
    inside.makepyfile("def test_it(): pass")

    for _ in range(3):
        inside.runpytest_subprocess("--diagnostics", "--diagnostics-keep=2", "--diagnostics-report=none")

    names = sorted(path.name for path in inside.path.glob("pytest-diagnostics/runs/*-*"))
    assert len(names) == 2
    assert (inside.path / "pytest-diagnostics" / "latest").read_text().strip() in names
