"""The first look at the machine, taken before anything is imported and kept as the kernel wrote it.

A recorder process takes longer to import its collectors than to read all that they want to know first. So it
reads first: what happened while it imported is between its first and its second sample. This module imports
nothing that an interpreter has not loaded when it begins to run.
"""

from __future__ import annotations

import sys
import time

if sys.platform != "win32":
    import posix

#: Older than this, it is no first sample any more: something held us up for long, and is to be seen.
MAX_AGE_SECONDS = 2.0

_MACHINE = (
    "/proc/stat",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/vmstat",
    "/proc/self/net/dev",
    "/proc/self/net/snmp",
    "/proc/pressure/cpu",
    "/proc/pressure/memory",
    "/proc/pressure/io",
    "/proc/pressure/irq",
)
#: Where cgroups of version 2 are mounted, but for odd machines.
_CGROUPS = "/sys/fs/cgroup"
_PRESSURE = ("cpu.pressure", "memory.pressure", "io.pressure")


class Alone:
    """What no file holds of a watched process that has no children yet."""

    __slots__ = ("cpu_seconds", "pid")

    def __init__(self, pid: int, cpu_seconds: float) -> None:
        self.pid = pid
        self.cpu_seconds = cpu_seconds


class Glance:
    """Files' contents, each with the moment at which it was read."""

    __slots__ = ("alone", "files", "over")

    def __init__(self) -> None:
        #: Path -> (seconds on CLOCK_MONOTONIC, content; of a directory the number of its names).
        self.files: dict[str, tuple[float, bytes]] = {}
        #: The watched process; None when it was not seen, or had children.
        self.alone: Alone | None = None
        #: True once somebody may ask for what is: who did not take what was, by then, reads anew.
        self.over = False

    def read_at(self, paths: list[str], now: float) -> float | None:
        """Return when these files were read, at ``now`` not long ago; None unless all of them were."""
        if self.over or not all(path in self.files for path in paths):
            return None
        moment = min((self.files[path][0] for path in paths), default=float("-inf"))
        return moment if 0 <= now - moment <= MAX_AGE_SECONDS else None

    def identify(self, start_ticks: int | None) -> None:
        """Forget the process, unless it began at ``start_ticks`` after boot and had not ended."""
        if self.alone is None:
            return
        # The name, field 2, may hold spaces and brackets.
        fields = self.files[f"/proc/{self.alone.pid}/stat"][1].rpartition(b")")[2].split()
        began = int(fields[19]) if len(fields) > 19 and fields[0] not in (b"Z", b"X") else None
        if began is None or began != start_ticks:
            self.alone = None


def look(pid: int) -> Glance:
    """Read what the machine says, and what it says of process ``pid``; what cannot be read is left out."""
    glance = Glance()
    if sys.platform == "linux":
        for path in _MACHINE:
            _read(glance, path)
        _read_cgroup(glance)
        glance.alone = _process(glance, pid)
    return glance


if sys.platform == "linux":

    def _read(glance: Glance, path: str) -> None:
        """Read one file, if that is possible."""
        moment = time.clock_gettime(time.CLOCK_MONOTONIC)
        try:
            content = _content(path)
        except OSError:
            return  # no such file here; its collector says why
        glance.files[path] = moment, content

    def _content(path: str) -> bytes:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            content = more = posix.read(fd, 65536)
            while more:
                more = posix.read(fd, 65536)
                content += more
        finally:
            posix.close(fd)
        return content

    def _read_cgroup(glance: Glance) -> None:
        """Read the pressure of our own cgroup of version 2, which is pytest's."""
        try:
            lines = _content("/proc/self/cgroup").split(b"\n")
        except OSError:
            return
        for line in lines:
            if line.startswith(b"0::/"):
                group = line[3:].rstrip(b"/").decode("utf-8", "surrogateescape")
                for name in _PRESSURE:
                    _read(glance, f"{_CGROUPS}{group}/{name}")

    def _process(glance: Glance, pid: int) -> Alone | None:
        """Read the process; None if that fails, or if it has children, which it does not read."""
        directory = f"/proc/{pid}"
        for name in ("stat", "io"):
            _read(glance, f"{directory}/{name}")
        moment = time.clock_gettime(time.CLOCK_MONOTONIC)
        try:
            # clock_getcpuclockid(3): the complement of the pid, and 2 for the scheduler's clock.
            seconds = time.clock_gettime((~pid << 3) | 2)
            # The directory's size since Linux 6.2, 0 before.
            names = posix.stat(f"{directory}/fd").st_size or len(posix.listdir(f"{directory}/fd"))
            for thread in posix.listdir(f"{directory}/task"):
                if _content(f"{directory}/task/{thread}/children"):
                    return None
        except OSError:
            return None  # it is gone, or not ours to look at: its collector says so
        glance.files[f"{directory}/fd"] = moment, b"%d" % names
        return Alone(pid, seconds) if f"{directory}/stat" in glance.files else None
