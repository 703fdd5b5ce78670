"""Parsers of kernel files: pure functions from bytes, which leave out what is not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar


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


class Fields:
    """The numbers behind some keys ("name " or "name:") of a file of one key a line.

    Each key is looked for behind the one before, which finds all at once when they are given in the order
    of the file. ``unit`` is what follows the numbers.
    """

    __slots__ = ("_needles", "_unit")

    def __init__(self, keys: Iterable[bytes], unit: bytes = b"\n") -> None:
        self._needles = tuple((key.rstrip(b": ").decode(), key, b"\n" + key, len(key) + 1) for key in keys)
        self._unit = unit

    def of(self, data: bytes) -> dict[str, int]:
        """Return those that are there, by their names without blank and colon."""
        found: dict[str, int] = {}
        start = 0
        for name, key, needle, length in self._needles:
            at = data.find(needle, start)
            if at >= 0:
                start = at + length
                end = data.find(self._unit, start)
                if end >= 0:
                    try:
                        found[name] = int(data[start:end])
                    except ValueError:
                        pass  # the line ends without the unit
                    else:
                        continue
            # The first line, the last, one in another order, or none.
            value = field(data, key)
            if value is not None:
                found[name] = value
        return found


def cpu_times(stat: bytes) -> dict[str, tuple[int, ...]]:
    """Return the lines of /proc/stat: "cpu", "cpu0" … -> (user, nice, system, idle, iowait, irq …), ticks."""
    end = stat.find(b"\nintr")
    times: dict[str, tuple[int, ...]] = {}
    for line in (stat if end < 0 else stat[:end]).split(b"\n"):
        if not line.startswith(b"cpu"):
            continue
        words = line.split(None, 9)
        try:
            values = tuple(map(int, words[1:9]))
        except ValueError:
            continue
        if len(values) >= 4:
            # Old kernels know no iowait, irq, softirq or steal: nothing was counted there.
            times[words[0].decode()] = values + (0,) * (8 - len(values)) if len(values) < 8 else values
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


def interface(line: bytes) -> tuple[str, InterfaceCounters] | None:
    """Return the name and the counters of a line of /proc/net/dev; None when it holds none."""
    name, colon, rest = line.rpartition(b":")
    if not colon:
        return None
    words = rest.split(None, 12)
    try:
        down = (int(words[0]), int(words[1]), int(words[2]), int(words[3]))
        up = (int(words[8]), int(words[9]), int(words[10]), int(words[11]))
    except (IndexError, ValueError):
        return None
    return name.strip().decode("utf-8", "replace"), InterfaceCounters(*down, *up)


def snmp_value(snmp: bytes, protocol: bytes, name: bytes) -> int | None:
    """Return one counter of /proc/net/snmp, whose lines come in pairs: names, then values."""
    start = snmp.find(protocol + b": ")
    middle = snmp.find(b"\n", start)
    if start < 0 or middle < 0:
        return None
    end = snmp.find(b"\n", middle + 1)
    names = snmp[start:middle].split()
    values = (snmp[middle:] if end < 0 else snmp[middle:end]).split()
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


def disk(line: bytes) -> tuple[str, DiskCounters] | None:
    """Return the name and the counters of a line of /proc/diskstats; None when it is too short."""
    words = line.split(None, 13)
    try:
        counters = DiskCounters(int(words[3]), int(words[5]), int(words[7]), int(words[9]), int(words[12]))
    except (IndexError, ValueError):
        return None
    return words[2].decode("utf-8", "replace"), counters


Parsed = TypeVar("Parsed")


class Memo(Generic[Parsed]):
    """A parser that is asked only for a content that is not the last one: many do not change for long.

    Whoever takes the result leaves it as it is. That it is the very object of the time before tells in one
    look that nothing changed.
    """

    __slots__ = ("_data", "_parse", "_result")

    def __init__(self, parse: Callable[[bytes], Parsed]) -> None:
        self._parse = parse
        self._data = b""
        self._result = parse(b"")

    def of(self, data: bytes) -> Parsed:
        """Return what the parser says of a content."""
        if data != self._data:
            self._result = self._parse(data)
            self._data = data
        return self._result


class Table(Generic[Parsed]):
    """The rows of a file that has a line for each device. Lines that did not change are not parsed again.

    Their counters are then the very object of the time before.
    """

    __slots__ = ("_lines", "_parse")

    def __init__(self, parse: Callable[[bytes], tuple[str, Parsed] | None]) -> None:
        self._parse = parse
        self._lines: dict[bytes, tuple[str, Parsed] | None] = {}

    def rows(self, data: bytes) -> dict[str, Parsed]:
        """Return name -> counters, of the lines that hold any."""
        known, parse = self._lines, self._parse
        self._lines = lines = {
            line: known[line] if line in known else parse(line) for line in data.split(b"\n")
        }
        return dict([row for row in lines.values() if row is not None])


class Stall(NamedTuple):
    """One line of a pressure file."""

    avg10: float
    total_us: int


def pressure(data: bytes) -> dict[str, Stall]:
    """Return the lines "some" and "full" of a pressure file, as far as they are there."""
    found: dict[str, Stall] = {}
    for line in data.split(b"\n"):
        # some avg10=0.21 avg60=0.29 avg300=0.28 total=7829691
        words = line.split()
        if len(words) < 3 or not (words[1].startswith(b"avg10=") and words[-1].startswith(b"total=")):
            continue
        try:
            found[words[0].decode()] = Stall(float(words[1][6:]), int(words[-1][6:]))
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
            data[open_at + 1 : close_at].decode("utf-8", "replace"),
            int(words[1]),
            int(words[11]) + int(words[12]),
            int(words[17]),
            int(words[19]),
            int(words[21]),
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
