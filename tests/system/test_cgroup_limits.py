"""The tightest limit up the tree counts, in every layout of cgroups."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from pytest_diagnostics.system import cgroup
from pytest_diagnostics.system.cgroup import Allowance, Cgroup
from pytest_diagnostics.system.procfs import Files

MEMINFO = "MemTotal:       8388608 kB\n"
V2_MOUNT = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def lay_out(root: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(root)


def v2(root: Path, path: str, files: dict[str, str], mountinfo: str = V2_MOUNT) -> str:
    fixed = {
        "proc/self/cgroup": f"0::{path}\n",
        "proc/self/mountinfo": mountinfo,
        "proc/meminfo": MEMINFO,
        "sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
    }
    return lay_out(root, {**fixed, **{f"sys/fs/cgroup{name}": text for name, text in files.items()}})


def test_version_2_takes_the_tightest_quota_and_memory_up_the_tree(tmp_path: Path) -> None:
    root = v2(
        tmp_path,
        "/a/b",
        {
            "/a/b/cpu.max": "400000 100000\n",
            "/a/cpu.max": "150000 100000\n",
            "/a/b/memory.max": "max\n",
            "/a/memory.max": "1073741824\n",
            "/a/b/pids.max": "100\n",
            "/a/pids.max": "max\n",
            "/a/b/cpuset.cpus.effective": "0-7\n",
        },
    )
    group = Cgroup(root=root)
    quota, memory, pids = group.cpu_quota(), group.memory_limit(), group.pids_limit()
    assert quota is not None
    assert (quota.value, Path(quota.directory).name) == (1.5, "a")
    assert memory is not None
    assert memory.value == 1 << 30
    assert pids is not None
    assert pids.value == 100
    assert group.cpuset_count() == 8
    assert group.throttling_file() == f"{root}/sys/fs/cgroup/a/cpu.stat"
    assert group.oom_file() == f"{root}/sys/fs/cgroup/a/b/memory.events"


def test_no_limit_is_none_and_not_the_largest_number(tmp_path: Path) -> None:
    root = v2(tmp_path, "/a", {"/a/cpu.max": "max 100000\n", "/a/memory.max": "max\n"})
    group = Cgroup(root=root)
    assert group.cpu_quota() is None
    assert group.memory_limit() is None
    assert group.pids_limit() is None
    assert group.cpuset_count() is None
    assert group.throttling_file() == f"{root}/sys/fs/cgroup/a/cpu.stat"


def test_version_1_has_a_path_for_every_controller(tmp_path: Path) -> None:
    mounts = (
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "36 31 0:33 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    )
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/jobs/7\n3:cpuset:/\n2:cpu,cpuacct:/slow\n1:name=systemd:/\n",
            "proc/self/mountinfo": mounts,
            "proc/meminfo": MEMINFO,
            "sys/fs/cgroup/cpu,cpuacct/slow/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/slow/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes": "536870912\n",
            "sys/fs/cgroup/cpuset/cpuset.cpus": "0-1\n",
        },
    )
    group = Cgroup(root=root)
    quota, memory = group.cpu_quota(), group.memory_limit()
    assert quota is not None
    assert quota.value == 0.5
    assert memory is not None
    assert (memory.value, Path(memory.directory).name) == (1 << 29, "jobs")
    assert group.cpuset_count() == 2
    assert group.pids_limit() is None
    assert group.oom_file() == f"{root}/sys/fs/cgroup/memory/jobs/7/memory.oom_control"
    assert group.pressure_file("cpu") is None


def test_version_1_hears_of_a_limit_above_a_container_s_root(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n",
            "proc/self/mountinfo": "35 1 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup c rw,memory\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.stat": "cache 1\nhierarchical_memory_limit 268435456\n",
        },
    )
    limit = Cgroup(root=root).memory_limit()
    assert limit is not None
    assert limit.value == 1 << 28


def test_hybrid_takes_each_controller_where_it_is(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n0::/user\n",
            "proc/self/mountinfo": (
                "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
            ),
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "1000000\n",
            "sys/fs/cgroup/unified/user/cgroup.type": "domain\n",
            "sys/fs/cgroup/unified/user/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/unified/user/cpu.pressure": "some avg10=0.00 total=1\n",
        },
    )
    group = Cgroup(root=root)
    memory, quota = group.memory_limit(), group.cpu_quota()
    assert memory is not None
    assert memory.value == 1_000_000
    assert quota is not None
    assert quota.value == 2.0
    assert group.pressure_file("cpu") == f"{root}/sys/fs/cgroup/unified/user/cpu.pressure"


def test_a_container_without_a_namespace_takes_what_is_mounted_as_its_group(tmp_path: Path) -> None:
    mountinfo = "30 1 0:26 /../../elsewhere /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    root = v2(tmp_path, "/kubepods/pod1/c1", {"/cpu.max": "100000 100000\n"}, mountinfo)
    quota = Cgroup(root=root).cpu_quota()
    assert quota is not None
    assert quota.value == 1.0


def test_a_mount_of_a_subtree_is_walked_from_its_own_root(tmp_path: Path) -> None:
    mountinfo = "30 1 0:26 /pods/p1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    root = v2(tmp_path, "/pods/p1/c1", {"/c1/memory.max": "5000000\n", "/memory.max": "4000000\n"}, mountinfo)
    limit = Cgroup(root=root).memory_limit()
    assert limit is not None
    assert limit.value == 4_000_000


def test_without_cgroups_the_reason_is_told(tmp_path: Path) -> None:
    assert "does not exist" in (Cgroup(root=str(tmp_path)).reason or "")
    root = lay_out(tmp_path, {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": ""})
    assert Cgroup(root=root).reason == "no cgroup file system is mounted here"


def test_throttling_is_nanoseconds_in_version_1_and_microseconds_in_2() -> None:
    assert cgroup.throttling(b"nr_periods 9\nnr_throttled 3\nthrottled_time 1500000000\n") == (1.5, 9, 3)
    two = b"usage_usec 77\nnr_periods 9\nnr_throttled 3\nthrottled_usec 1500000\n"
    assert cgroup.throttling(two) == (1.5, 9, 3)
    assert cgroup.throttling(b"usage_usec 77\n") == (None, None, None)


@pytest.mark.parametrize(
    ("quota", "cpuset", "affinity", "cores"),
    [("150000 100000", "0-7", 8, 1.5), ("max 100000", "0-2", 8, 3), ("max 100000", "0-7", 2, 2)],
)
def test_available_cpus_are_the_least_of_quota_cpuset_and_affinity(
    tmp_path: Path, quota: str, cpuset: str, affinity: int, cores: float
) -> None:
    root = v2(tmp_path, "/a", {"/a/cpu.max": quota, "/a/cpuset.cpus.effective": cpuset})
    with mock.patch.object(Allowance, "_affinity", return_value=set(range(affinity))):
        assert cgroup.available_cpus(root=root) == cores


def test_the_memory_limit_is_at_most_the_machine_s(tmp_path: Path) -> None:
    root = v2(tmp_path, "/a", {"/a/memory.max": str(1 << 50)})
    allowance = Allowance(root=root)
    allowance.refresh(0.0)
    assert allowance.memory_bytes == 8388608 * 1024


def test_limits_are_read_again_after_ten_seconds(tmp_path: Path) -> None:
    root = v2(tmp_path, "/a", {"/a/memory.max": "1000\n"})
    allowance = Allowance(root=root)
    allowance.refresh(0.0)
    (tmp_path / "sys/fs/cgroup/a/memory.max").write_text("2000\n")
    allowance.refresh(9.9)
    assert allowance.memory_bytes == 1000
    allowance.refresh(10.0)
    assert allowance.memory_bytes == 2000


def test_limits_that_cannot_be_read_for_a_moment_hold(tmp_path: Path) -> None:
    root = v2(tmp_path, "/a", {"/a/memory.max": "1000\n"})
    allowance = Allowance(root=root)
    allowance.refresh(0.0)
    exhausted = mock.Mock(side_effect=OSError(24, "Too many open files"))
    with mock.patch.object(Files, "_open", exhausted):
        allowance.refresh(20.0)
    assert allowance.memory_bytes == 1000
    (tmp_path / "sys/fs/cgroup/a/memory.max").write_text("2000\n")
    allowance.refresh(20.1)
    assert allowance.memory_bytes == 2000


def test_who_watches_the_same_process_reads_its_limits_once(tmp_path: Path) -> None:
    root = v2(tmp_path, "/a", {"/a/memory.max": "1000\n"})
    first = Allowance.shared(None, root)
    first.refresh(0.0)
    (tmp_path / "sys/fs/cgroup/a/memory.max").write_text("2000\n")
    second = Allowance.shared(None, root)
    second.refresh(1.0)  # who begins to watch is told what holds now
    assert second is first
    assert (first.memory_bytes, first.readings) == (2000, 2)
    first.refresh(1.0)
    assert first.readings == 2
    assert Allowance.shared(7, root) is not first


def test_a_process_that_moves_to_another_group_has_its_limits(tmp_path: Path) -> None:
    root = v2(tmp_path, "/a", {"/a/memory.max": "1000\n", "/b/memory.max": "3000\n"})
    allowance = Allowance(root=root)
    allowance.refresh(0.0)
    (tmp_path / "proc/self/cgroup").write_text("0::/b\n")
    allowance.refresh(10.0)
    assert allowance.memory_bytes == 3000
    (tmp_path / "proc/self/cgroup").unlink()  # as of a process that has ended
    allowance.refresh(20.0)
    assert allowance.memory_bytes == 3000
