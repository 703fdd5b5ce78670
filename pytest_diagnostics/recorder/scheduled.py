"""What the kernel's scheduler counted of one process, and what a CPU quota took from it."""

from __future__ import annotations

import os
from contextlib import suppress

from ..core.errors import UnavailableError
from ..system.cgroup import Cgroup, throttled_seconds
from ..system.procfs import KeptFile


def counted_between(before: bytes, after: bytes) -> tuple[float, float, int] | None:
    """Return what two schedstats differ by: seconds run, seconds waited, how often a CPU was given.

    None where one of them was not read.
    """
    try:
        run, wait, slices = (
            int(new) - int(old) for old, new in zip(before.split(), after.split(), strict=True)
        )
    except ValueError:
        return None
    return run / 1e9, wait / 1e9, slices


class Scheduled:
    """Reads how long a process' main thread ran and waited for a CPU, and its group's throttling."""

    def __init__(self, pid: int) -> None:
        # No test runs here that could close it: its identity need not be checked with each read.
        try:
            self._schedstat = os.open(f"/proc/{pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._schedstat = -1
        group = Cgroup(pid)
        path = group.throttling_file()
        self._cpu_stat = None if path is None else KeptFile(path, group.throttling_prefix())
        #: What ``throttled`` returned last. As long as that is 0 there was no quota, or none was reached:
        #: it need not be read before the process has waited.
        self.throttled_until_now = 0.0
        self.throttled()

    def read(self) -> bytes:
        """Return /proc/<pid>/schedstat; empty where the kernel does not count."""
        try:
            return os.pread(self._schedstat, 128, 0)
        except OSError:
            return b""

    def throttled(self) -> float:
        """Return for how long the group was throttled, all CPUs together; 0 where there is no quota."""
        if self._cpu_stat is not None:
            with suppress(UnavailableError, OSError):
                self.throttled_until_now = throttled_seconds(self._cpu_stat.read()) or 0.0
        return self.throttled_until_now

    def close(self) -> None:
        """Close what is kept."""
        if self._schedstat >= 0:
            os.close(self._schedstat)
            self._schedstat = -1
        if self._cpu_stat is not None:
            self._cpu_stat.close()
