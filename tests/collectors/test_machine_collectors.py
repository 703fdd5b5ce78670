"""What the collectors of the machine say on a tree of files that changes as the test wants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.collectors.cpu import CPUCollector
from pytest_diagnostics.collectors.disk import DiskCollector, local_mounts
from pytest_diagnostics.collectors.memory import MemoryCollector
from pytest_diagnostics.collectors.memory_bandwidth import MemoryBandwidthCollector
from pytest_diagnostics.collectors.network import NetworkCollector
from pytest_diagnostics.collectors.pressure import PressureCollector
from pytest_diagnostics.core.errors import UnavailableError
from pytest_diagnostics.system.parsers import Mount

if TYPE_CHECKING:
    from tests.collectors.conftest import Machine

MEMINFO = (
    "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\nBuffers: 10 kB\nCached: 20 kB\n"
    "SwapTotal: 0 kB\nSwapFree: 0 kB\n"
)


def cpu(machine: Machine, *lines: str) -> None:
    machine.write(proc__stat="".join(f"{line}\n" for line in lines), proc__loadavg="0.5 1.5 2.5 1/9 7\n")


def test_cpu_percentages_are_of_the_time_since_the_last_tick(machine: Machine) -> None:
    cpu(machine, "cpu 100 0 100 800 0 0 0 0 0 0", "cpu0 50 0 50 400 0 0 0 0", "cpu1 50 0 50 400 0 0 0 0")
    collector = CPUCollector(clock=machine, root=machine.root)
    data, reasons = machine.tick(collector)
    assert data["usage_percent"] is None
    assert data["per_core"] is None
    assert "first" in reasons["usage_percent"]
    assert (data["load_avg_1m"], data["load_avg_5m"], data["load_avg_15m"]) == (0.5, 1.5, 2.5)
    cpu(machine, "cpu 130 10 120 820 10 3 2 5 0 0", "cpu0 100 0 50 400 0 0 0 0", "cpu1 50 0 50 450 0 0 0 0")
    data, _ = machine.tick(collector, 1.0)
    assert data["usage_percent"] == 70.0
    assert data["user_percent"] == 40.0
    assert data["system_percent"] == 25.0
    assert (data["idle_percent"], data["iowait_percent"], data["steal_percent"]) == (20.0, 10.0, 5.0)
    assert data["per_core"] == [100.0, 0.0]
    assert data["scope"] == "host"
    collector.stop()


def test_cpu_counters_that_ran_backwards_give_no_percentages_for_one_tick(machine: Machine) -> None:
    collector = CPUCollector(clock=machine, root=machine.root)
    cpu(machine, "cpu 100 0 100 800 0 0 0 0")
    machine.tick(collector)
    cpu(machine, "cpu 1 0 1 8 0 0 0 0")
    data, reasons = machine.tick(collector, 1.0)
    assert data["usage_percent"] is None
    assert "reset" in reasons["usage_percent"]
    cpu(machine, "cpu 2 0 1 9 0 0 0 0")
    assert machine.tick(collector, 1.0)[0]["usage_percent"] == 50.0
    cpu(machine, "cpu 3 0 1 9 0 0 0 0", "cpu0 1 0 0 0 0 0 0 0")
    data, _ = machine.tick(collector, 1.0)
    assert data["per_core"] == [None]  # came online: nothing to compare with
    collector.stop()


def test_cpu_iowait_that_is_recounted_spoils_itself_alone(machine: Machine) -> None:
    collector = CPUCollector(clock=machine, root=machine.root)
    cpu(machine, "cpu 100 0 0 800 50 0 0 0")
    machine.tick(collector)
    cpu(machine, "cpu 150 0 0 850 49 0 0 0")
    data, reasons = machine.tick(collector, 1.0)
    assert data["usage_percent"] == 50.0
    assert data["iowait_percent"] is None
    assert "recount" in reasons["iowait_percent"]
    collector.stop()


def test_cpu_frequency_and_temperature_come_from_sensors_where_there_are_any(machine: Machine) -> None:
    cpu(machine, "cpu 100 0 100 800 0 0 0 0")
    machine.write(
        sys__devices__system__cpu__cpufreq__policy0__scaling_cur_freq="1000000\n",
        sys__devices__system__cpu__cpufreq__policy1__scaling_cur_freq="2000000\n",
        sys__class__hwmon__hwmon0__name="acpitz\n",
        sys__class__hwmon__hwmon0__temp1_input="99000\n",
        sys__class__hwmon__hwmon1__name="coretemp\n",
        sys__class__hwmon__hwmon1__temp1_input="41000\n",
        sys__class__hwmon__hwmon1__temp2_input="52500\n",
    )
    collector = CPUCollector(clock=machine, root=machine.root)
    data, _ = machine.tick(collector)
    assert data["frequency_mhz"] == 1500.0
    assert data["temperature_celsius"] == 52.5
    collector.stop()


def test_a_sensor_that_takes_long_is_given_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu(machine, "cpu 100 0 100 800 0 0 0 0")
    machine.write(proc__cpuinfo="cpu MHz\t\t: 2000.5\n")
    collector = CPUCollector(clock=machine, root=machine.root)
    monkeypatch.setattr(collector._frequency, "LIMIT_SECONDS", 0.0)
    data, reasons = machine.tick(collector)
    assert data["frequency_mhz"] is None
    assert reasons["frequency_mhz"].startswith("reading it takes")
    assert reasons["temperature_celsius"] == "no CPU temperature sensor"
    collector.stop()


def test_memory_is_the_host_s_with_the_limit_beside(machine: Machine) -> None:
    machine.write(
        proc__meminfo=MEMINFO,
        proc__self__cgroup="0::/a\n",
        proc__self__mountinfo="30 1 0:26 / /cg rw - cgroup2 cgroup2 rw\n",
    )
    Path(machine.root, "cg/a").mkdir(parents=True)
    Path(machine.root, "cg/a/memory.max").write_text("512000\n")
    collector = MemoryCollector(clock=machine, root=machine.root)
    data, reasons = machine.tick(collector)
    assert data["total_bytes"] == 1000 * 1024
    assert data["used_bytes"] == 600 * 1024
    assert data["percent"] == 60.0
    assert data["limit_bytes"] == 512000
    assert data["swap_total_bytes"] == 0
    assert data["swap_percent"] is None
    assert reasons["swap_percent"] == "there is no swap"
    collector.stop()


def test_memory_that_is_not_told_is_none(machine: Machine) -> None:
    machine.write(proc__meminfo="MemTotal: 1000 kB\n")
    data, reasons = machine.tick(MemoryCollector(clock=machine, root=machine.root))
    assert data["available_bytes"] is None
    assert data["percent"] is None
    assert data["swap_used_bytes"] is None
    assert "meminfo does not tell" in reasons["percent"]


def test_paging_rates_need_two_ticks_and_stand_a_reset(machine: Machine) -> None:
    collector = MemoryBandwidthCollector(clock=machine, root=machine.root)
    machine.write(proc__vmstat="nr_free_pages 1\npgpgin 100\npgpgout 5\npgfault 1000\n")
    data, reasons = machine.tick(collector)
    assert set(data.values()) == {None}
    assert "first" in reasons["pgfault_per_sec"]
    machine.write(proc__vmstat="nr_free_pages 1\npgpgin 300\npgpgout 5\npgfault 1050\n")
    data, reasons = machine.tick(collector, 2.0)
    assert data["pgpgin_per_sec"] == 100.0
    assert data["pgpgout_per_sec"] == 0.0
    assert data["pgfault_per_sec"] == 25.0
    assert reasons["pswpin_per_sec"] == "it is not counted here"
    machine.write(proc__vmstat="nr_free_pages 1\npgpgin 3\npgpgout 0\npgfault 0\n")
    data, reasons = machine.tick(collector, 1.0)
    assert data["pgpgin_per_sec"] is None
    assert "reset" in reasons["pgpgin_per_sec"]
    collector.stop()


def interfaces(machine: Machine, **counters: tuple[int, int]) -> None:
    lines = [f"{name}: {down} 1 0 0 0 0 0 0 {up} 2 0 0 0 0 0 0" for name, (up, down) in counters.items()]
    machine.write(proc__self__net__dev="Inter-| x\n face |y\n" + "\n".join(lines) + "\n")


def test_network_rates_drop_a_vanished_interface_without_a_jump(machine: Machine) -> None:
    collector = NetworkCollector(clock=machine, root=machine.root)
    interfaces(machine, lo=(100, 100), veth1=(5000, 7000))
    data, reasons = machine.tick(collector)
    assert data["bytes_sent"] == 5100
    assert data["bytes_recv_per_sec"] is None
    assert "snmp does not exist" in reasons["tcp_retransmits_per_sec"]
    interfaces(machine, lo=(300, 200))
    data, _ = machine.tick(collector, 1.0)
    assert (data["bytes_sent_per_sec"], data["bytes_recv_per_sec"]) == (200.0, 100.0)
    interfaces(machine, lo=(300, 200), veth1=(9000, 9000))  # back, with counters of its own
    data, _ = machine.tick(collector, 1.0)
    assert (data["bytes_sent_per_sec"], data["bytes_recv_per_sec"]) == (0.0, 0.0)
    interfaces(machine, lo=(0, 0), veth1=(9100, 9100))
    data, reasons = machine.tick(collector, 1.0)
    assert data["bytes_sent_per_sec"] is None
    assert "reset (lo" in reasons["bytes_sent_per_sec"]
    data, _ = machine.tick(collector, 1.0)  # the very same content
    assert (data["bytes_sent"], data["bytes_sent_per_sec"], data["bytes_recv_per_sec"]) == (9100, 0.0, 0.0)
    collector.stop()


def test_network_counts_retransmits(machine: Machine) -> None:
    collector = NetworkCollector(clock=machine, root=machine.root)
    interfaces(machine, lo=(1, 1))
    machine.write(proc__self__net__snmp="Ip: A\nIp: 1\nTcp: RetransSegs\nTcp: 4\n")
    machine.tick(collector)
    machine.write(proc__self__net__snmp="Ip: A\nIp: 1\nTcp: RetransSegs\nTcp: 9\n")
    assert machine.tick(collector, 0.5)[0]["tcp_retransmits_per_sec"] == 10.0
    interfaces(machine)
    data, reasons = machine.tick(collector, 0.5)
    assert data["interfaces"] is None
    assert "no interface" in reasons["bytes_sent"]
    collector.stop()


def disk_line(name: str, read: int, written: int, busy: int) -> str:
    return f"8 0 {name} 10 0 {read} 0 20 0 {written} 0 0 {busy} 0 0 0 0 0\n"


def test_disk_counts_whole_disks_once(machine: Machine) -> None:
    machine.write(
        proc__self__mountinfo="27 1 254:0 / / rw - ext4 /dev/sda rw\n",
        proc__diskstats=disk_line("sda", 100, 50, 0)
        + disk_line("sda1", 100, 50, 0)
        + disk_line("dm-0", 9, 9, 9),
    )
    collector = DiskCollector(clock=machine, root=machine.root)
    data, reasons = machine.tick(collector)
    assert (data["read_bytes"], data["write_bytes"]) == (100 * 512, 50 * 512)
    assert (data["read_count"], data["write_count"]) == (10, 20)
    assert "first" in reasons["busy_percent"]
    partitions = data["partitions"]
    assert isinstance(partitions, dict)
    assert partitions["/"]["total_bytes"] > 0
    machine.write(proc__diskstats=disk_line("sda", 300, 50, 500) + disk_line("sdb", 7, 7, 7))
    data, _ = machine.tick(collector, 1.0)
    assert data["read_bytes_per_sec"] == 200 * 512
    assert data["write_bytes_per_sec"] == 0.0
    assert data["busy_percent"] == 50.0
    machine.write(proc__diskstats=disk_line("sdb", 7, 7, 7))
    data, _ = machine.tick(collector, 1.0)
    assert data["read_bytes_per_sec"] == 0.0
    data, _ = machine.tick(collector, 1.0)  # the very same content
    assert (data["read_bytes"], data["read_bytes_per_sec"], data["busy_percent"]) == (7 * 512, 0.0, 0.0)
    machine.write(proc__diskstats=disk_line("sdb", 6, 7, 7))
    data, reasons = machine.tick(collector, 1.0)
    assert data["busy_percent"] is None
    assert "reset (sdb read)" in reasons["busy_percent"]
    collector.stop()


def test_disk_asks_file_systems_every_ten_seconds_only(machine: Machine) -> None:
    machine.write(proc__self__mountinfo="27 1 254:0 / / rw - ext4 /dev/sda rw\n", proc__diskstats="")
    asked: list[str] = []
    ask = DiskCollector._statvfs

    class Counting(DiskCollector):
        @staticmethod
        def _statvfs(path: str) -> os.statvfs_result:  # type: ignore[override]
            asked.append(path)
            return ask(path)

    collector = Counting(clock=machine, root=machine.root)
    for _ in range(12):
        _, reasons = machine.tick(collector, 1.0)
    assert len(asked) == 2
    assert reasons["read_bytes"] == "no disk is seen from here"
    collector.stop()


def mount(point: str, kind: str, device: str = "") -> Mount:
    return Mount(device or point, "/", point, kind, "x", "rw")


def test_network_mounts_and_what_lies_below_them_are_never_touched() -> None:
    table = [
        mount("/", "ext4"),
        mount("/proc", "proc"),
        mount("/home", "nfs4"),
        mount("/home/local", "xfs"),
        mount("/homework", "btrfs"),
        mount("/mnt/s", "fuse.sshfs"),
        mount("/auto", "autofs"),
        mount("/share", "9p"),
        mount("/data", "ext4"),
        mount("/data", "cifs"),
        mount("/tmp", "tmpfs"),
        mount("/run", "tmpfs"),
        mount("/bind", "ext4", "/"),
        mount("/new", "somefs"),
    ]
    assert local_mounts(table, 32) == (["/", "/tmp", "/homework"], 0)
    assert local_mounts(table, 1) == (["/"], 2)


def stall(total: int, avg10: float = 0.0) -> str:
    return "".join(f"{kind} avg10={avg10:.2f} avg60=0 avg300=0 total={total}\n" for kind in ("some", "full"))


def test_pressure_is_percent_of_the_interval_and_never_read_within_20_ms(machine: Machine) -> None:
    def write(total: int) -> None:
        content = stall(total, 1.5)
        machine.write(proc__pressure__cpu=content, proc__pressure__memory=content, proc__pressure__io=content)

    write(0)
    collector = PressureCollector(clock=machine, root=machine.root)
    data, reasons = machine.tick(collector)
    assert data["cpu_some_percent"] is None
    assert "first" in reasons["cpu_some_percent"]
    assert data["cpu_some_avg10"] == 1.5
    assert "cpu_full_percent" not in data
    write(500_000)
    data, _ = machine.tick(collector, 1.0)
    assert (data["cpu_some_percent"], data["memory_full_percent"], data["held"]) == (50.0, 50.0, False)
    write(510_000)
    data, _ = machine.tick(collector, 0.015)
    assert (data["cpu_some_percent"], data["held"]) == (50.0, True)
    data, _ = machine.tick(collector, 0.010)
    assert (data["cpu_some_percent"], data["held"]) == (40.0, False)
    data, _ = machine.tick(collector, 1.0)  # the very same content
    assert (data["cpu_some_percent"], data["io_full_percent"], data["cpu_some_avg10"]) == (0.0, 0.0, 1.5)
    write(7)
    data, reasons = machine.tick(collector, 1.0)
    assert data["memory_full_percent"] is None
    assert "reset" in reasons["memory_some_percent"]
    collector.stop()


def test_pressure_of_one_missing_file_has_its_reason_and_of_all_is_an_error(machine: Machine) -> None:
    machine.write(proc__pressure__cpu=stall(0))
    collector = PressureCollector(clock=machine, root=machine.root)
    _, reasons = machine.tick(collector)
    assert "pressure/io does not exist" in reasons["io_full_percent"]
    collector.stop()
    Path(machine.root, "proc/pressure/cpu").unlink()
    with pytest.raises(UnavailableError, match="pressure/cpu does not exist"):
        collector.collect()
    assert "does not exist" in (collector.probe() or "")
