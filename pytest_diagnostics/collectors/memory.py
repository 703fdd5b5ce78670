"""The machine's memory."""

from __future__ import annotations

from ..core.errors import UnavailableError
from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.cgroup import Allowance
from ..system.sampling import Answer, LocalCollector, Monotonic, share

_FIELDS = parsers.Fields(
    (b"MemTotal:", b"MemAvailable:", b"Buffers:", b"Cached:", b"SwapTotal:", b"SwapFree:"), b" kB"
)


class MemoryCollector(LocalCollector):
    """The machine's memory: the host's, in a container, too. All from /proc/meminfo.

    - ``total_bytes``, ``available_bytes`` (what could be had without swapping)
    - ``used_bytes``: total less available; ``percent`` of total
    - ``buffers_bytes``, ``cached_bytes``
    - ``swap_total_bytes``, ``swap_used_bytes``, ``swap_percent`` (None without swap)
    - ``limit_bytes``: what this process may use: the tightest cgroup limit up the tree, at most the total
    - ``scope``: "host"

    Off Linux, psutil's ``virtual_memory`` and ``swap_memory``.
    """

    default_name = "memory"
    plain = True
    main_file = "meminfo"
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
        self._meminfo = self.keep("/proc/meminfo", b"MemTotal:")
        self._unknown = f"{self._meminfo.path} does not tell"
        self._allowance: Allowance | None = None

    def fill(self, answer: Answer, now: float) -> None:
        """Read /proc/meminfo."""
        found = _FIELDS.of(self._meminfo.read())
        why, data = self._unknown, answer.data
        total = found.get("MemTotal", 0) * 1024
        if not total:
            raise UnavailableError(f"{self._meminfo.path} does not tell the total")
        data["total_bytes"] = total
        if "MemAvailable" in found:
            data["available_bytes"] = available = found["MemAvailable"] * 1024
            data["used_bytes"] = used = total - available
            data["percent"] = share(used, total)
        else:
            answer.absent(why, "available_bytes", "used_bytes", "percent")
        for key, name in (("buffers_bytes", "Buffers"), ("cached_bytes", "Cached")):
            answer.put(key, found[name] * 1024 if name in found else None, why)
        swap, free = found.get("SwapTotal"), found.get("SwapFree")
        swapped = None if swap is None or free is None else (swap - free) * 1024
        _put_swap(answer, None if swap is None else swap * 1024, swapped, why)
        allowance = self._allowance
        if allowance is None:
            allowance = self._allowance = self.allowance()
        allowance.refresh(now)
        answer.put("limit_bytes", allowance.memory_bytes, why)
        data["scope"] = "host"

    def fill_portable(self, answer: Answer, now: float) -> None:  # noqa: ARG002 - the contract's signature
        """Ask psutil."""
        import psutil

        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        answer.data["total_bytes"] = answer.data["limit_bytes"] = memory.total
        answer.data["available_bytes"] = memory.available
        answer.data["used_bytes"] = memory.total - memory.available
        answer.data["percent"] = share(memory.total - memory.available, memory.total)
        for key in ("buffers", "cached"):
            answer.put(f"{key}_bytes", getattr(memory, key, None), "not counted by this system")
        _put_swap(answer, swap.total, swap.used, "not counted by this system")
        answer.data["scope"] = "host"


def _put_swap(answer: Answer, total: int | None, used: int | None, why: str) -> None:
    answer.put("swap_total_bytes", total, why)
    answer.put("swap_used_bytes", used, why)
    if used is None or not total:
        answer.absent(why if total is None or used is None else "there is no swap", "swap_percent")
    else:
        answer.data["swap_percent"] = share(used, total)
