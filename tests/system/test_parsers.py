"""Parsers take what kernels write, and leave out what is not there."""

from __future__ import annotations

import pytest

from pytest_diagnostics.system import parsers

STAT = b"""cpu  5809 1 3328 202905 632 2 82 34 7 0
cpu0 1359 0 972 104033 38 0 11 12 0 0
cpu1 4449 0 2356 98871
cpu2 what
intr 251048 0 0
cpufake 1 2 3 4
"""
NET_DEV = b"""Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0
eth0:1:309075296 6561 1 2 0 0 0 0 327299 3482 3 4 0 0 0 0
 torn: 12 13
"""
DISKSTATS = b"""   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 254       0 vda 58821 11349 3679250 16992 26663 16816 2883728 11223 0 9476 29010 9395 29 717888 656 3349 138
   8       1 old 1 2 3
"""
SNMP = (
    b"Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: RtoMin InSegs RetransSegs\nTcp: 200 65 17\nUdp: A\nUdp: 1\n"
)
PROCESS = b"42 (a) (b\nc)) S 7 42 42 0 -1 4194560 98 0 0 0 150 25 0 0 20 0 3 0 9381 4096000 812 18446 1 1 0\n"


def test_a_field_is_the_number_behind_its_key() -> None:
    data = b"MemTotal:       24684084 kB\nMemFree:   12 kB\nOdd: x\nLast: 7"
    assert parsers.field(data, b"MemTotal:") == 24684084
    assert parsers.field(data, b"MemFree:") == 12
    assert parsers.field(data, b"Last:") == 7
    assert parsers.field(data, b"Odd:") is None
    assert parsers.field(data, b"Free:") is None  # not in the middle of a line


def test_fields_leave_out_what_is_not_there() -> None:
    wanted = parsers.Fields((b"pgfault ", b"gone ", b"pgpgin "))
    assert wanted.of(b"pgfault 3\npgpgin 4\n") == {"pgfault": 3, "pgpgin": 4}
    assert wanted.of(b"") == {}


@pytest.mark.parametrize(
    "data",
    [
        b"First: 1 kB\nA:      123 kB\nB: 45 kB\n",
        b"B: 45 kB\nA: 123 kB\n",  # in another order
        b"A: 123\nA2: 7 kB\nB: 45",  # without the unit, and without an end
        b"BB: 7 kB\nAB: 7 kB\nA:123 kB\nCB: 8\nB:45 kB",
    ],
)
def test_fields_are_found_in_any_order_and_with_or_without_their_unit(data: bytes) -> None:
    assert parsers.Fields((b"A:", b"B:"), b" kB").of(data) == {"A": 123, "B": 45}
    assert parsers.Fields((b"A:", b"B:")).of(data) == {"A": 123, "B": 45}


def test_cpu_times_pad_what_old_kernels_do_not_count() -> None:
    times = parsers.cpu_times(STAT)
    assert list(times) == ["cpu", "cpu0", "cpu1"]
    assert times["cpu"] == (5809, 1, 3328, 202905, 632, 2, 82, 34)
    assert times["cpu1"] == (4449, 0, 2356, 98871, 0, 0, 0, 0)


def test_load_averages() -> None:
    assert parsers.load_averages(b"0.16 0.20 3.06 1/128 6258\n") == (0.16, 0.2, 3.06)
    assert parsers.load_averages(b"") is None


def test_interfaces_with_colons_in_their_names_and_torn_lines() -> None:
    found = parsers.Table(parsers.interface).rows(NET_DEV)
    assert list(found) == ["lo", "eth0:1"]
    assert found["eth0:1"] == (309075296, 6561, 1, 2, 327299, 3482, 3, 4)


def test_snmp_values_are_found_by_name() -> None:
    assert parsers.snmp_value(SNMP, b"Tcp", b"RetransSegs") == 17
    assert parsers.snmp_value(SNMP, b"Tcp", b"Nothing") is None
    assert parsers.snmp_value(SNMP, b"Sctp", b"RetransSegs") is None
    assert parsers.snmp_value(b"Tcp: A", b"Tcp", b"A") is None


def test_disks_leave_out_lines_that_are_too_short() -> None:
    found = parsers.Table(parsers.disk).rows(DISKSTATS)
    assert set(found) == {"loop0", "vda"}
    assert found["vda"] == (58821, 3679250, 26663, 2883728, 9476)


def test_only_lines_that_changed_are_parsed_again() -> None:
    table = parsers.Table(parsers.disk)
    before = table.rows(DISKSTATS)
    after = table.rows(DISKSTATS.replace(b" 9476 ", b" 9477 "))
    assert after["loop0"] is before["loop0"]
    assert (before["vda"].busy_ms, after["vda"].busy_ms) == (9476, 9477)
    assert set(table.rows(DISKSTATS[DISKSTATS.index(b"\n") :])) == {"vda"}


def test_pressure() -> None:
    data = b"some avg10=0.21 avg60=0.29 avg300=0.28 total=7829691\nfull avg10=x total=1\n\n"
    assert parsers.pressure(data) == {"some": (0.21, 7829691)}


def test_mounts_undo_the_kernel_s_escapes_and_skip_optional_fields() -> None:
    data = (
        rb"36 35 0:31 /a\040b /mnt/with\040blank\134 rw,noatime shared:1 master:2 - ext3 /dev/root rw,x=y"
        b"\nnonsense\n27 1 254:0 / / rw - ext4 /dev/vda\n"
    )
    found = parsers.mounts(data)
    assert [mount.point for mount in found] == ["/mnt/with blank\\", "/"]
    assert found[0] == ("0:31", "/a b", "/mnt/with blank\\", "ext3", "/dev/root", "rw,x=y")
    assert found[1].options == ""


def test_a_process_name_may_hold_brackets_and_line_ends() -> None:
    stat = parsers.process_stat(PROCESS)
    assert stat is not None
    assert stat == ("a) (b\nc)", 7, 175, 3, 9381, 812)
    assert parsers.process_stat(b"42 no name") is None
    assert parsers.process_stat(b"42 (torn) S 1") is None


@pytest.mark.parametrize(
    ("text", "count"),
    [(b"0-3\n", 4), (b"0", 1), (b"0-3,8,10-11\n", 7), (b"\n", None), (b"x", None)],
)
def test_a_list_of_cpus_is_counted(text: bytes, count: int | None) -> None:
    assert parsers.cpu_list_count(text) == count
