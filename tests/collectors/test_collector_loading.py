"""Collectors are found by name and imported only when chosen."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from unittest import mock

import pytest

from pytest_diagnostics import collectors
from pytest_diagnostics.core.collector import DiagnosticCollector
from pytest_diagnostics.core.errors import ConfigurationError


class Mine(DiagnosticCollector):
    def collect(self) -> int:
        return 1


def offered(*points: EntryPoint) -> mock._patch[mock.Mock]:
    def find(*, group: str) -> EntryPoints:
        assert group == "pytest_diagnostics.collectors"
        return EntryPoints(points)

    return mock.patch("importlib.metadata.entry_points", mock.Mock(side_effect=find))


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=collectors.GROUP)


@pytest.mark.parametrize("name", list(collectors.BUILT_IN))
def test_every_built_in_collector_is_known_by_its_name(name: str) -> None:
    collector = collectors.load(name)
    assert collector.name == name
    assert isinstance(collector, DiagnosticCollector)


def test_all_but_perf_are_on_by_default() -> None:
    assert set(collectors.DEFAULT) == set(collectors.BUILT_IN) - {"perf_events", *collectors.CASSANDRA}


@pytest.mark.parametrize("name", collectors.DEFAULT)
def test_collectors_of_local_files_share_a_thread_and_an_instant(name: str) -> None:
    collector = collectors.load(name)
    assert not collector.blocking
    assert collector.aligned


def test_options_reach_the_constructor() -> None:
    assert collectors.load("process", pid=1, name="init").name == "init"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown collector 'gpu'; known are: .*cgroup, cpu, disk"):
        collectors.load("gpu")


def test_options_that_a_collector_does_not_take_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'cpu' cannot be made with \['colour'\]"):
        collectors.load("cpu", colour="red")


def test_another_package_s_collector_is_found() -> None:
    with (
        offered(point("mine", f"{__name__}:Mine")),
        mock.patch.dict(sys.modules, {__name__: sys.modules[Mine.__module__]}),
    ):
        assert "mine" in collectors.available_names()
        assert isinstance(collectors.load("mine"), Mine)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "no_such_module_here:Mine",
            r"'mine' \(no_such_module_here:Mine\) cannot be imported: ModuleNotFound",
        ),
        ("os:getcwd", "'mine' is a str, not a DiagnosticCollector"),
        ("os:sep", r"'mine' \(os:sep\) is not a class"),
    ],
)
def test_a_broken_entry_point_is_refused_with_its_cause(value: str, message: str) -> None:
    with offered(point("mine", value)), pytest.raises(ConfigurationError, match=message):
        collectors.load("mine")


def test_nothing_is_imported_that_was_not_chosen_and_psutil_never_on_linux() -> None:
    body = (
        "import sys\n"
        "from pytest_diagnostics.collectors import load, DEFAULT\n"
        "load('cpu')\n"
        "assert 'pytest_diagnostics.collectors.disk' not in sys.modules\n"
        "for name in DEFAULT:\n"
        "    collector = load(name); collector.probe(); collector.start()\n"
        "    collector.collect(); collector.stop()\n"
        "print('psutil' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", body], capture_output=True, text=True, check=False, timeout=30
    )
    expected = "False\n" if sys.platform == "linux" else "True\n"
    assert done.stdout == expected, done.stderr
