"""What the user asked for, decided once.

An option given on the command line wins over its ini twin, the ini twin over the default; a marker on a
test wins over all three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from .options import OPTIONS, Option


@dataclass(frozen=True)
class Settings:
    """What this run does, decided once."""

    scope: str
    interval: float
    #: Where named collectors run: process or thread; and whether the user said so.
    recorder: str
    recorder_named: bool
    burst: str
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
    descriptors: str
    junit: bool
    strict: bool

    @classmethod
    def from_config(cls, config: pytest.Config) -> Settings:
        """Read all options; raises ``pytest.UsageError`` that names option, value and remedy."""
        values: dict[str, tuple[object, str]] = {option.name: value_of(config, option) for option in OPTIONS}
        for option in OPTIONS:
            value, source = values[option.name]
            if option.choices and value not in option.choices:
                raise pytest.UsageError(f"{source}: {value!r} is none of {', '.join(option.choices)}")
        report = values["report"]
        return cls(
            scope=str(values["scope"][0]),
            interval=_number(*values["interval"], at_least=0.001),
            recorder=str(values["recorder"][0]),
            recorder_named=values["recorder"][1] != "default",
            burst=str(values["burst"][0]),
            collectors=str(values["collectors"][0]),
            collectors_source=values["collectors"][1],
            directory=_path(config, *values["dir"]),
            directory_source=values["dir"][1],
            report=None if report[0] == "none" else _path(config, *report),
            report_named=report[0] not in ("", "none"),
            show=str(values["show"][0]),
            keep=int(_number(*values["keep"], at_least=1, whole=True)),
            peak=str(values["peak"][0]),
            descriptors=str(values["descriptors"][0]),
            junit=bool(values["junit"][0]),
            strict=bool(values["strict"][0]),
        )


def value_of(config: pytest.Config, option: Option) -> tuple[object, str]:
    """Return an option's value and where it comes from."""
    value = config.getoption(option.key)
    if value is not None:
        return value, f"--diagnostics-{option.name}"
    value = config.getini(option.key)
    return (option.default, "default") if value in (None, "") else (value, option.key)


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
