"""The network interfaces of this network namespace."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.parsers import InterfaceCounters
from ..system.sampling import FIRST, NO_TIME, RESET, Answer, LocalCollector, Monotonic, Speeds

_TOTALS = InterfaceCounters._fields
_RATES = ("bytes_sent_per_sec", "bytes_recv_per_sec")


class NetworkCollector(LocalCollector):
    """Traffic of all interfaces of this network namespace, loopback among them, from /proc/self/net/dev.

    - ``bytes_sent``, ``bytes_recv``, ``packets_sent``, ``packets_recv``, ``errin``, ``errout``, ``dropin``,
      ``dropout``: counted since the interfaces came up; what a vanished one had counted goes with it
    - ``bytes_sent_per_sec``, ``bytes_recv_per_sec``: since the last tick, of the interfaces there at both
    - ``interfaces``: {name: {bytes_sent, bytes_recv}}, of the first 256 there
    - ``tcp_retransmits_per_sec``: /proc/self/net/snmp

    Off Linux, psutil's ``net_io_counters``, without retransmits.
    """

    default_name = "network"
    plain = True
    main_file = "self/net/dev"
    #: Some machines have one for each container. All of them are in the totals.
    MAX_INTERFACES = 256
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
        self._dev = self.keep("/proc/self/net/dev", b"Inter-", chunked=512)
        self._snmp = self.keep("/proc/self/net/snmp", b"Ip: ")
        self._interfaces = parsers.Memo(parsers.Table(parsers.interface).rows)
        self._segments = parsers.Memo(_retransmits)
        self._before: Mapping[str, InterfaceCounters] | None = None
        self._totals: tuple[int, ...] = ()
        self._when = 0.0
        self._retransmits = Speeds("tcp_retransmits")

    def start(self) -> None:
        """Begin a new series of differences."""
        self._before = None
        self._retransmits.forget()

    def fill(self, answer: Answer, now: float) -> None:
        """Read net/dev and net/snmp."""
        self._fill_traffic(answer, now, self._interfaces.of(self._dev.read()))
        content = answer.read(self._snmp.read, "tcp_retransmits_per_sec")
        if content is None:
            self._retransmits.forget()
            return
        self._retransmits.put(now, self._segments.of(content), answer)

    def fill_portable(self, answer: Answer, now: float) -> None:
        """Ask psutil, without its memory of wraps: a vanished interface makes it add whole counters."""
        import psutil

        found = {
            name: InterfaceCounters(
                bytes_recv=io.bytes_recv,
                packets_recv=io.packets_recv,
                errin=io.errin,
                dropin=io.dropin,
                bytes_sent=io.bytes_sent,
                packets_sent=io.packets_sent,
                errout=io.errout,
                dropout=io.dropout,
            )
            for name, io in psutil.net_io_counters(pernic=True, nowrap=False).items()
        }
        self._fill_traffic(answer, now, found)
        answer.absent("read on Linux only", "tcp_retransmits_per_sec")

    def _fill_traffic(self, answer: Answer, now: float, found: Mapping[str, InterfaceCounters]) -> None:
        before, elapsed = self._before, now - self._when
        self._before, self._when = found, now
        data = answer.data
        if not found:
            answer.absent("this network namespace has no interface", *_TOTALS, *_RATES, "interfaces")
            return
        if found is not before:
            self._totals = tuple(map(sum, zip(*found.values(), strict=True)))
        data.update(zip(_TOTALS, self._totals, strict=True))
        data["interfaces"] = {
            name: {"bytes_sent": interface.bytes_sent, "bytes_recv": interface.bytes_recv}
            for name, interface in islice(found.items(), self.MAX_INTERFACES)
        }
        if len(found) > self.MAX_INTERFACES:
            answer.reasons["interfaces"] = f"{len(found) - self.MAX_INTERFACES} more were left out"
        grown = _grown(before, found) if elapsed > 0 else NO_TIME
        if isinstance(grown, str):
            answer.absent(grown, *_RATES)
        else:
            data["bytes_sent_per_sec"] = round(grown[0] / elapsed, 1)
            data["bytes_recv_per_sec"] = round(grown[1] / elapsed, 1)


def _grown(
    before: Mapping[str, InterfaceCounters] | None, now: Mapping[str, InterfaceCounters]
) -> tuple[int, int] | str:
    """Return what the interfaces of both ticks sent and received between them, or why that is not known."""
    if before is None:
        return FIRST
    if before is now:
        return 0, 0
    compared, sent, received = False, 0, 0
    for name, interface in now.items():
        earlier = before.get(name)
        if earlier is None:
            continue
        compared = True
        if earlier is interface:
            continue  # its line is the same
        if interface.bytes_sent < earlier.bytes_sent:
            return f"{RESET} ({name} sent)"
        if interface.bytes_recv < earlier.bytes_recv:
            return f"{RESET} ({name} received)"
        sent += interface.bytes_sent - earlier.bytes_sent
        received += interface.bytes_recv - earlier.bytes_recv
    return (sent, received) if compared else FIRST


def _retransmits(snmp: bytes) -> dict[str, int]:
    count = parsers.snmp_value(snmp, b"Tcp", b"RetransSegs")
    return {} if count is None else {"tcp_retransmits": count}
