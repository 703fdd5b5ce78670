"""Paging and faults: how much memory traffic the kernel had to serve."""

from __future__ import annotations

from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.sampling import Answer, LocalCollector, Monotonic, Speeds

_NAMES = ("pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault")
_FIELDS = parsers.Fields(name.encode() + b" " for name in _NAMES)


class MemoryBandwidthCollector(LocalCollector):
    """Rates of the machine's paging since the last tick, from /proc/vmstat.

    - ``pgpgin_per_sec``, ``pgpgout_per_sec``: KB/s between memory and disks
    - ``pswpin_per_sec``, ``pswpout_per_sec``: pages/s between memory and swap
    - ``pgfault_per_sec``, ``pgmajfault_per_sec``: faults/s, and those that had to wait for a disk

    The first tick has no rates, and says so.
    """

    default_name = "memory_bandwidth"
    plain = True
    main_file = "vmstat"
    takes_glance = True

    def __init__(
        self,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
        *,
        clock: Monotonic | None = None,
        root: str = "",
    ) -> None:
        """See ``LocalCollector``."""
        super().__init__(name, exception_handler, clock=clock, root=root)
        self._vmstat = self.keep("/proc/vmstat", b"nr_free_pages ", chunked=128, size=16384)
        self._speeds = Speeds(*_NAMES)

    def start(self) -> None:
        """Begin a new series of differences."""
        self._speeds.forget()

    def fill(self, answer: Answer, now: float) -> None:
        """Read /proc/vmstat."""
        counters = _FIELDS.of(self._vmstat.read())
        if not counters:
            raise UnavailableError(f"{self._vmstat.path} counts no paging")
        self._speeds.put(now, counters, answer)
