"""What the user asked for: one table of options behind the command line and the ini file.

An option given on the command line wins over its ini twin, the ini twin over the default; a marker on a
test wins over all three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

import pytest


class Option(NamedTuple):
    """One row of the table: ``--diagnostics-<name>`` and ``diagnostics_<name>``."""

    name: str
    default: object
    help: str
    kind: str = "string"
    choices: tuple[str, ...] = ()
    metavar: str | None = None


OPTIONS = (
    Option("scope", "session", "collect for the whole session, or test by test", choices=("session", "test")),
    Option("interval", 1.0, "seconds between two collections", "float", metavar="SECONDS"),
    Option(
        "collectors",
        "",
        "'cpu,memory' replaces the default collectors, '+perf_events,-disk' edits them",
        metavar="NAMES",
    ),
    Option("dir", "pytest-diagnostics", "where runs are recorded", metavar="DIR"),
    Option("report", "", "write the HTML report to PATH, or 'none'", metavar="PATH|none"),
    Option("show", "failed", "which tests the terminal lists", choices=("failed", "slow", "all", "none")),
    Option("keep", 20, "how many runs are kept", "int", metavar="RUNS"),
    Option(
        "peak",
        "exact",
        "peak memory of a test: exact resets the process' high-water mark (and with it ru_maxrss)",
        choices=("exact", "sampled", "off"),
    ),
    Option("junit", False, "put each test's figures into its JUnit XML properties", "bool"),
    Option("strict", False, "fail the run when the diagnostics themselves are degraded", "bool"),
)

#: pytest knows number types for ini values from 8.4 on, and then a TOML file may hold real numbers.
_NATIVE_NUMBERS = pytest.version_tuple >= (8, 4)

#: Options with which no test runs, of plugins that may be switched off; --markers starts no session.
_RUNS_NO_TEST = ("collectonly", "help", "version", "showfixtures", "show_fixtures_per_test", "cacheshow")


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and its ini twin."""
    group = parser.getgroup("diagnostics", "what the machine and the process tree did while each test ran")
    group.addoption(
        "--diagnostics", dest="diagnostics", action="store_true", default=None, help="record this run"
    )
    group.addoption(
        "--no-diagnostics",
        dest="diagnostics",
        action="store_false",
        default=None,
        help="do not, even if the ini file says so",
    )
    parser.addini("diagnostics", "record every run", type="bool", default=None)
    for option in OPTIONS:
        flag, dest = f"--diagnostics-{option.name}", f"diagnostics_{option.name}"
        shown = "on" if option.default is True else "off" if option.default is False else option.default
        text = f"{option.help} (default: {shown})" if shown != "" else option.help
        if option.kind == "bool":
            group.addoption(flag, dest=dest, action="store_true", default=None, help=text)
        else:
            # Values are read in from_settings, where a bad one can be refused with its remedy.
            metavar = option.metavar or "|".join(option.choices)
            group.addoption(flag, dest=dest, default=None, metavar=metavar, help=text)
        native = option.kind == "bool" or _NATIVE_NUMBERS
        kind = cast("Literal['string']", option.kind if native else "string")  # any of pytest's own kinds
        parser.addini(dest, option.help, type=kind, default=None)


@dataclass(frozen=True)
class Settings:
    """What this run does, decided once."""

    scope: str
    interval: float
    collectors: str
    collectors_source: str
    directory: Path
    directory_source: str  # "default", or the option or ini key that names it
    #: None for no report, the run directory's own ``report.html`` for an empty path.
    report: Path | None
    report_named: bool
    show: str
    keep: int
    peak: str
    junit: bool
    strict: bool

    @classmethod
    def enabled(cls, config: pytest.Config) -> bool:
        """Return whether this run is to be recorded."""
        value = config.getoption("diagnostics")
        if value is None:
            value = config.getini("diagnostics")
        return bool(value) and not any(config.getoption(name, False) for name in _RUNS_NO_TEST)

    @classmethod
    def from_config(cls, config: pytest.Config) -> Settings:
        """Read all options; raises ``pytest.UsageError`` that names option, value and remedy."""
        values: dict[str, tuple[object, str]] = {option.name: _value(config, option) for option in OPTIONS}
        for option in OPTIONS:
            value, source = values[option.name]
            if option.choices and value not in option.choices:
                raise pytest.UsageError(f"{source}: {value!r} is none of {', '.join(option.choices)}")
        report = values["report"]
        return cls(
            scope=str(values["scope"][0]),
            interval=_number(*values["interval"], at_least=0.001),
            collectors=str(values["collectors"][0]),
            collectors_source=values["collectors"][1],
            directory=_path(config, *values["dir"]),
            directory_source=values["dir"][1],
            report=None if report[0] == "none" else _path(config, *report),
            report_named=report[0] not in ("", "none"),
            show=str(values["show"][0]),
            keep=int(_number(*values["keep"], at_least=1, whole=True)),
            peak=str(values["peak"][0]),
            junit=bool(values["junit"][0]),
            strict=bool(values["strict"][0]),
        )


def _value(config: pytest.Config, option: Option) -> tuple[object, str]:
    """Return an option's value and where it comes from."""
    value = config.getoption(f"diagnostics_{option.name}")
    if value is not None:
        return value, f"--diagnostics-{option.name}"
    value = config.getini(f"diagnostics_{option.name}")
    return (option.default, "default") if value in (None, "") else (value, f"diagnostics_{option.name}")


def _number(value: object, source: str, *, at_least: float, whole: bool = False) -> float:
    what = "a whole number" if whole else "a number of seconds"
    try:
        number = float(str(value))
        good = math.isfinite(number) and number >= at_least and not (whole and number != int(number))
    except ValueError:
        good = False
    if not good:
        raise pytest.UsageError(f"{source}: {value!r} is not usable; give {what}, at least {at_least:g}")
    return number


def _path(config: pytest.Config, value: object, source: str) -> Path:
    """Return an absolute path: an option's is relative to where pytest was called, an ini file's to rootdir.

    An ini file comes with a repository that may be anybody's: it may not name places outside of it.
    """
    base = config.invocation_params.dir if source.startswith("--") else config.rootpath
    if source == "default":
        return base / str(value)  # not resolved: a link that a repository put there is refused later
    path = (base / str(value)).resolve()
    if source.startswith("diagnostics_") and config.rootpath.resolve() not in (path, *path.parents):
        option = "--" + source.replace("_", "-")
        raise pytest.UsageError(f"{source}: {path} lies outside {config.rootpath}; give {option} to mean it")
    return path
