"""Runs of the canaries: one process of pytest for all of them in one configuration."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

HERE = Path(__file__).parent
#: What they hold is run by the tests here, in processes of its own.
collect_ignore = ["suite", "lasting"]

PLUGINS = ("pytester", "pyfakefs.pytest_plugin", "pytest_socket")


class Configuration(NamedTuple):
    """How the canaries are run: ``kind`` is "off", or that of the recorder."""

    kind: str
    scope: str
    xdist: bool

    @property
    def name(self) -> str:
        """What a test's id says."""
        return "-".join([self.kind, self.scope, "xdist" if self.xdist else "alone"])

    @property
    def off(self) -> Configuration:
        """The same without diagnostics."""
        return Configuration("off", "session", self.xdist)


#: when -> moment of the phase -> what the process looked like.
States = dict[str, dict[str, Any]]


@dataclass
class Canaries:
    """What one run of the canaries came to."""

    ran: Ran
    #: node id -> when -> [outcome, message of the failure, captured output].
    reports: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    #: node id -> moment -> what the process looked like.
    states: dict[str, States] = field(default_factory=dict)

    def outcome(self, nodeid: str) -> str:
        """Return failed, skipped or passed."""
        outcomes = {str(report[0]) for report in self.reports[nodeid].values()}
        return next((one for one in ("failed", "skipped") if one in outcomes), "passed")


@functools.cache
def _harness() -> Callable[[Path], Differential]:
    """Return the class that runs pytest; conftest files of other folders cannot be imported by name."""
    spec = importlib.util.spec_from_file_location("canaries_harness", HERE.parent / "plugin" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    harness: Callable[[Path], Differential] = module.Differential
    return harness


def _installed(plugin: str) -> bool:
    return plugin == "pytester" or importlib.util.find_spec(plugin.partition(".")[0]) is not None


def _run(path: Path, suite: str, configuration: Configuration) -> Canaries:
    runs = _harness()(path)
    shutil.copytree(HERE / suite, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "suite" / "conftest.py", path)
    states = path / "states.jsonl"
    runs.env = {"CANARY_STATES": str(states)}
    runs.plugins = tuple(name for name in PLUGINS if _installed(name))
    args = [f"--basetemp={path / 'tmp'}"]
    if configuration.xdist:
        runs.plugins += ("xdist.plugin",)
        args += ["-n2", "--dist=loadfile"]
    runs.diagnostics = (
        "--diagnostics-interval=0.01",
        "--diagnostics-report=none",
        f"--diagnostics-scope={configuration.scope}",
        f"--diagnostics-recorder={configuration.kind}",
    )
    ran = runs.run(*args, on=configuration.kind != "off", timeout=120)
    found = Canaries(ran)
    for who, what, *told in ran.told:
        if (who, what) == ("main", "report"):
            nodeid, when, outcome, _, message, sections = told
            found.reports.setdefault(str(nodeid), {})[str(when)] = [outcome, message, sections]
        elif (who, what) == ("main", "warning"):
            found.warnings.append(re.sub("pid=[0-9]+", "pid=N", str(told)))
    found.warnings.sort()
    found.states = dict(json.loads(line) for line in states.read_text().splitlines())
    return found


Runs = Callable[[str, Configuration], Canaries]


@pytest.fixture(scope="session")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The runs of a suite, each made once."""

    @functools.cache
    def run(suite: str, configuration: Configuration) -> Canaries:
        return _run(tmp_path_factory.mktemp("canaries"), suite, configuration)

    yield run
    run.cache_clear()


def _configurations() -> list[Configuration]:
    return [
        Configuration(kind, scope, xdist)
        for kind in ("process", "thread")
        for scope in ("session", "test")
        for xdist in (False, True)
    ]


def _marked(configuration: Configuration) -> Any:
    marks = [pytest.mark.xdist] if configuration.xdist else []
    return pytest.param(configuration, marks=marks, id=configuration.name)


@pytest.fixture(scope="session", params=[_marked(one) for one in _configurations()])
def configuration(request: pytest.FixtureRequest) -> Configuration:
    """With diagnostics, in every way."""
    chosen: Configuration = request.param
    if chosen.xdist:
        pytest.importorskip("xdist")
    return chosen
