"""The network interfaces of this network namespace."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.parsers import InterfaceCounters
from ..system.sampling import FIRST, Answer, LocalCollector, Monotonic, Rates

_TOTALS = InterfaceCounters._fields


class NetworkCollector(LocalCollector):
    """Traffic of all interfaces of this network namespace, loopback among them, from /proc/self/net/dev.

    - ``bytes_sent``, ``bytes_recv``, ``packets_sent``, ``packets_recv``, ``errin``, ``errout``, ``dropin``,
      ``dropout``: counted since the interfaces came up; what a vanished one had counted goes with it
    - ``bytes_sent_per_sec``, ``bytes_recv_per_sec``: since the last tick, of the interfaces there at both
    - ``interfaces``: {name: {bytes_sent, bytes_recv}}
    - ``tcp_retransmits_per_sec``: /proc/self/net/snmp

    Off Linux, psutil's ``net_io_counters``, without retransmits.
    """

    default_name = "network"
    main_file = "self/net/dev"
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
        self._traffic, self._retransmits = Rates(), Rates()

    def start(self) -> None:
        """Begin a new series of differences."""
        self._traffic.forget()
        self._retransmits.forget()

    def fill(self, answer: Answer, now: float) -> None:
        """Read net/dev and net/snmp."""
        self._fill_traffic(answer, now, parsers.interfaces(self._dev.read()))
        content = answer.read(self._snmp.read, "tcp_retransmits_per_sec")
        if content is None:
            self._retransmits.forget()
            return
        count = parsers.snmp_value(content, b"Tcp", b"RetransSegs")
        counters = {} if count is None else {"tcp_retransmits": count}
        self._retransmits.per_second(now, counters, answer, ("tcp_retransmits",))

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
        counters: dict[str, float] = {}
        for name, interface in found.items():
            counters[f"{name} sent"] = interface.bytes_sent
            counters[f"{name} received"] = interface.bytes_recv
        grown, elapsed, reason = self._traffic.differences(now, counters)
        rates = ("bytes_sent_per_sec", "bytes_recv_per_sec")
        if not found:
            answer.absent("this network namespace has no interface", *_TOTALS, *rates, "interfaces")
            return
        for key, values in zip(_TOTALS, zip(*found.values(), strict=True), strict=True):
            answer.data[key] = sum(values)
        answer.data["interfaces"] = {
            name: {"bytes_sent": interface.bytes_sent, "bytes_recv": interface.bytes_recv}
            for name, interface in found.items()
        }
        if reason is not None or not grown:
            answer.absent(reason or FIRST, *rates)
            return
        for key, direction in zip(rates, (" sent", " received"), strict=True):
            traffic = sum(value for name, value in grown.items() if name.endswith(direction))
            answer.data[key] = round(traffic / elapsed, 1)
