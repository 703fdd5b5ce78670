"""One table of options behind the command line and the ini file, declared whether used or not."""

from __future__ import annotations

import sys
from typing import Literal, NamedTuple, cast

import pytest


class Option(NamedTuple):
    """One row of the table: ``--diagnostics-<name>`` and its ini twin."""

    name: str
    default: object
    help: str
    kind: str = "string"
    choices: tuple[str, ...] = ()
    metavar: str | None = None

    @property
    def key(self) -> str:
        """The ini key, and the name by which the config has the option."""
        return f"diagnostics_{self.name.replace('-', '_')}"


OPTIONS = (
    Option("scope", "session", "collect for the whole session, or test by test", choices=("session", "test")),
    Option("interval", 1.0, "seconds between two collections", "float", metavar="SECONDS"),
    Option(
        "collectors",
        "",
        "'cpu,memory' replaces the default collectors, '+perf_events,-disk' edits them",
        metavar="NAMES",
    ),
    Option(
        "recorder",
        # Windows has no processes that belong to nobody.
        "process" if sys.platform in ("linux", "darwin") else "thread",
        "collect in a process beside pytest, which tests cannot see, or in a thread of pytest",
        choices=("process", "thread"),
    ),
    Option(
        "burst", "on", "sample tests that run for seconds ten times a second at first", choices=("on", "off")
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
    Option(
        "descriptors",
        "kept",
        "none: open the kernel's files anew at each edge, so that tests count no descriptor of ours (slower)",
        choices=("kept", "none"),
    ),
    Option("cassandra", "", "watch the views and indexes of this cluster", metavar="HOST[:PORT],..."),
    Option("cassandra-user", "", "as whom", metavar="NAME"),
    Option(
        "cassandra-password-variable",
        "",
        "the variable of the environment with the password",
        metavar="NAME",
    ),
    Option("cassandra-password-file", "", "the file that does, of mode 0600", metavar="PATH"),
    Option("cassandra-datacenter", "", "ask the nodes of this datacenter only", metavar="NAME"),
    Option(
        "cassandra-tls",
        "off",
        "off, on, or the file of the authority that signed the server's certificate",
        metavar="off|on|PATH",
    ),
    Option("cassandra-certificate", "", "our certificate, with its key", metavar="PATH"),
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
        flag, dest = f"--diagnostics-{option.name}", option.key
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


def enabled(config: pytest.Config) -> bool:
    """Return whether this run is to be recorded."""
    value = config.getoption("diagnostics")
    if value is None:
        value = config.getini("diagnostics")
    return bool(value) and not any(config.getoption(name, False) for name in _RUNS_NO_TEST)
