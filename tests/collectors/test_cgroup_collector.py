"""What the collector of cgroups says of groups that change as the test wants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from pytest_diagnostics.collectors.cgroup import CgroupCollector
from pytest_diagnostics.core.errors import UnavailableError
from pytest_diagnostics.system.cgroup import Allowance

if TYPE_CHECKING:
    from tests.collectors.conftest import Machine

MEMINFO = "MemTotal: 1000 kB\n"


def cgroup_v2(machine: Machine, **files: str) -> None:
    machine.write(
        proc__meminfo=MEMINFO,
        proc__self__cgroup="0::/a\n",
        proc__self__mountinfo="30 1 0:26 / /cg rw - cgroup2 cgroup2 rw\n",
    )
    for name, content in files.items():
        path = Path(machine.root, "cg/a", name.replace("_", ".", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_cgroup_tells_limits_usage_throttling_and_kills(machine: Machine) -> None:
    cgroup_v2(
        machine,
        cpu_max="50000 100000\n",
        cpu_stat="usage_usec 1\nnr_periods 10\nnr_throttled 1\nthrottled_usec 100000\n",
        memory_max="1000000\n",
        memory_current="250000\n",
        memory_events="low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
        pids_current="7\n",
        pids_max="max\n",
    )
    collector = CgroupCollector(clock=machine, root=machine.root)
    assert collector.probe() is None
    data, reasons = machine.tick(collector)
    assert (data["version"], data["limit_cores"], data["limit_bytes"]) == (2, 0.5, 1_000_000)
    assert (data["usage_bytes"], data["percent"]) == (250_000, 25.0)
    assert (data["oom_kills"], data["limit_hits"], data["pids"]) == (2, 3, 7)
    assert data["throttled_seconds"] == 0.1
    assert data["throttled_percent"] is None
    assert reasons["pids_limit"] == "no limit of pids is set"
    cgroup_v2(machine, cpu_stat="usage_usec 1\nnr_periods 20\nnr_throttled 6\nthrottled_usec 600000\n")
    data, _ = machine.tick(collector, 1.0)
    assert data["throttled_percent"] == 50.0
    assert data["throttled_periods_percent"] == 50.0
    collector.stop()


def test_cgroup_without_limits_says_so_and_never_zero(machine: Machine) -> None:
    cgroup_v2(machine, cpu_stat="usage_usec 1\n")
    data, reasons = machine.tick(CgroupCollector(clock=machine, root=machine.root))
    known = {key: value for key, value in data.items() if value is not None}
    assert known == {"version": 2}
    assert reasons["limit_bytes"] == "no memory limit is set"
    assert "does not exist" in reasons["usage_bytes"]


def test_cgroup_files_that_were_missing_are_looked_for_with_the_limits(machine: Machine) -> None:
    cgroup_v2(machine, cpu_stat="usage_usec 1\n")
    collector = CgroupCollector(clock=machine, root=machine.root)
    assert "does not exist" in machine.tick(collector)[1]["pids"]
    cgroup_v2(machine, pids_current="7\n")
    assert "does not exist" in machine.tick(collector, 9.0)[1]["pids"]
    assert machine.tick(collector, 1.0)[0]["pids"] == 7
    Path(machine.root, "cg/a/pids.current").write_text("many\n")
    assert "holds no number" in machine.tick(collector, 1.0)[1]["pids"]
    collector.stop()


def test_cgroup_limits_that_could_not_be_read_are_not_said_to_be_none(machine: Machine) -> None:
    cgroup_v2(machine, memory_max="1000\n", cpu_stat="usage_usec 1\n")
    collector = CgroupCollector(clock=machine, root=machine.root)
    exhausted = mock.Mock(side_effect=OSError(24, "Too many open files"))
    with mock.patch.object(Allowance, "_read_limits", exhausted):
        data, reasons = machine.tick(collector)
    assert data["limit_bytes"] is None
    assert "could not be read" in reasons["limit_bytes"]
    assert machine.tick(collector, 1.0)[0]["limit_bytes"] == 1000
    collector.stop()


def test_cgroup_of_another_group_is_another_series(machine: Machine) -> None:
    counted = "usage_usec 1\nnr_periods 10\nnr_throttled 1\nthrottled_usec 100000\n"
    cgroup_v2(machine, cpu_stat=counted)
    Path(machine.root, "cg/b").mkdir()
    Path(machine.root, "cg/b/cpu.stat").write_text(counted.replace("100000", "900000"))
    collector = CgroupCollector(clock=machine, root=machine.root)
    machine.tick(collector)
    assert machine.tick(collector, 1.0)[0]["throttled_percent"] == 0.0
    machine.write(proc__self__cgroup="0::/b\n")
    data, reasons = machine.tick(collector, 10.0)
    assert data["throttled_seconds"] == 0.9
    assert "first" in reasons["throttled_percent"]
    collector.stop()


def test_without_any_cgroup_the_probe_says_why(machine: Machine) -> None:
    collector = CgroupCollector(clock=machine, root=machine.root)
    assert "does not exist" in (collector.probe() or "")
    with pytest.raises(UnavailableError):
        collector.collect()
