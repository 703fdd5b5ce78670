"""Parsers of kernel files: pure functions from bytes, which leave out what is not there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


def field(data: bytes, key: bytes) -> int | None:
    """Return the number behind the line that begins with ``key`` (with its colon or blank), or None."""
    if data.startswith(key):
        start = len(key)
    else:
        at = data.find(b"\n" + key)
        if at < 0:
            return None
        start = at + 1 + len(key)
    end = data.find(b"\n", start)
    words = (data[start:] if end < 0 else data[start:end]).split(None, 1)
    return _integer(words[0]) if words else None


def _integer(word: bytes) -> int | None:
    try:
        return int(word)
    except ValueError:
        return None


def fields(data: bytes, keys: Iterable[bytes]) -> dict[str, int]:
    """Return those of ``keys`` ("name " or "name:") that are there, without blank and colon."""
    found: dict[str, int] = {}
    for key in keys:
        value = field(data, key)
        if value is not None:
            found[key.rstrip(b": ").decode()] = value
    return found


def cpu_times(stat: bytes) -> dict[str, tuple[int, ...]]:
    """Return the lines of /proc/stat: "cpu", "cpu0" … -> (user, nice, system, idle, iowait, irq …), ticks."""
    end = stat.find(b"\nintr")
    times: dict[str, tuple[int, ...]] = {}
    for line in (stat if end < 0 else stat[:end]).split(b"\n"):
        if not line.startswith(b"cpu"):
            continue
        name, *rest = line.split()
        try:
            values = tuple(map(int, rest[:8]))
        except ValueError:
            continue
        if len(values) >= 4:
            # Old kernels know no iowait, irq, softirq or steal: nothing was counted there.
            times[name.decode()] = values + (0,) * (8 - len(values))
    return times


def load_averages(loadavg: bytes) -> tuple[float, float, float] | None:
    """Return the three averages of /proc/loadavg."""
    words = loadavg.split()
    try:
        return float(words[0]), float(words[1]), float(words[2])
    except (IndexError, ValueError):
        return None


class InterfaceCounters(NamedTuple):
    """One line of /proc/net/dev."""

    bytes_recv: int
    packets_recv: int
    errin: int
    dropin: int
    bytes_sent: int
    packets_sent: int
    errout: int
    dropout: int


def interfaces(net_dev: bytes) -> dict[str, InterfaceCounters]:
    """Return the counters of every interface of /proc/net/dev."""
    found: dict[str, InterfaceCounters] = {}
    for line in net_dev.split(b"\n"):
        name, colon, rest = line.rpartition(b":")
        if not colon:
            continue
        words = rest.split()
        try:
            numbers = [int(words[place]) for place in (0, 1, 2, 3, 8, 9, 10, 11)]
        except (IndexError, ValueError):
            continue
        found[name.strip().decode("utf-8", "replace")] = InterfaceCounters(*numbers)
    return found


def snmp_value(snmp: bytes, protocol: bytes, name: bytes) -> int | None:
    """Return one counter of /proc/net/snmp, whose lines come in pairs: names, then values."""
    start = snmp.find(protocol + b": ")
    if start < 0:
        return None
    lines = snmp[start:].split(b"\n", 2)
    if len(lines) < 2:
        return None
    names, values = lines[0].split(), lines[1].split()
    if name not in names or len(values) != len(names):
        return None
    return _integer(values[names.index(name)])


class DiskCounters(NamedTuple):
    """One line of /proc/diskstats; sectors are of 512 bytes whatever the disk's are."""

    read_count: int
    read_sectors: int
    write_count: int
    write_sectors: int
    busy_ms: int


def disks(diskstats: bytes) -> dict[str, DiskCounters]:
    """Return the counters of every block device, partitions and virtual ones among them."""
    found: dict[str, DiskCounters] = {}
    for line in diskstats.split(b"\n"):
        words = line.split(None, 14)
        try:
            numbers = [int(words[place]) for place in (3, 5, 7, 9, 12)]
        except (IndexError, ValueError):
            continue
        found[words[2].decode("utf-8", "replace")] = DiskCounters(*numbers)
    return found


class Stall(NamedTuple):
    """One line of a pressure file."""

    avg10: float
    total_us: int


def pressure(data: bytes) -> dict[str, Stall]:
    """Return the lines "some" and "full" of a pressure file, as far as they are there."""
    found: dict[str, Stall] = {}
    for line in data.splitlines():
        # some avg10=0.21 avg60=0.29 avg300=0.28 total=7829691
        kind, _, rest = line.partition(b" avg10=")
        average, _, rest = rest.partition(b" ")
        try:
            found[kind.decode()] = Stall(float(average), int(rest.rpartition(b" total=")[2]))
        except ValueError:
            continue
    return found


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo."""

    device: str  # major:minor
    root: str
    point: str
    kind: str
    source: str
    options: str  # of the super block: a v1 cgroup mount names its controllers here


_OCTAL = re.compile(r"\\([0-7]{3})")


def unescape(text: str) -> str:
    r"""Undo the kernel's escapes of blanks and the like (\040) in paths."""
    if "\\" not in text:
        return text
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text)


def mounts(mountinfo: bytes) -> list[Mount]:
    """Return the mounts in the order in which the kernel lists them; of two on one point the last is seen."""
    found: list[Mount] = []
    for line in mountinfo.decode("utf-8", "surrogateescape").split("\n"):
        left, dash, right = line.partition(" - ")
        words, tail = left.split(" "), right.split(" ")
        if not dash or len(words) < 5 or len(tail) < 2:
            continue
        found.append(
            Mount(
                device=words[2],
                root=unescape(words[3]),
                point=unescape(words[4]),
                kind=tail[0],
                source=unescape(tail[1]),
                options=tail[2] if len(tail) > 2 else "",
            )
        )
    return found


class ProcessStat(NamedTuple):
    """What /proc/<pid>/stat says of a process."""

    name: str
    ppid: int
    cpu_ticks: int
    threads: int
    start_ticks: int
    rss_pages: int


def process_stat(data: bytes) -> ProcessStat | None:
    """Return the fields of /proc/<pid>/stat; the name may hold blanks, brackets and line ends."""
    open_at, close_at = data.find(b"("), data.rfind(b")")
    if open_at < 0 or close_at < open_at:
        return None
    words = data[close_at + 1 :].split(None, 23)
    try:
        return ProcessStat(
            name=data[open_at + 1 : close_at].decode("utf-8", "replace"),
            ppid=int(words[1]),
            cpu_ticks=int(words[11]) + int(words[12]),
            threads=int(words[17]),
            start_ticks=int(words[19]),
            rss_pages=int(words[21]),
        )
    except (IndexError, ValueError):
        return None


def cpu_list_count(data: bytes) -> int | None:
    """Return how many CPUs a list like "0-3,8" names; None when it names none."""
    count = 0
    for part in data.strip().split(b","):
        first, dash, last = part.partition(b"-")
        try:
            count += int(last) - int(first) + 1 if dash else int(first) >= 0
        except ValueError:
            return None
    return count or None
