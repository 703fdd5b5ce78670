"""The first look: one moment for all that a first result holds, or none of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_diagnostics.collectors import BUILT_IN, load
from pytest_diagnostics.collectors.memory_bandwidth import MemoryBandwidthCollector
from pytest_diagnostics.collectors.network import NetworkCollector
from pytest_diagnostics.collectors.process import ProcessCollector
from pytest_diagnostics.storage.alive import start_ticks
from pytest_diagnostics.system.glance import MAX_AGE_SECONDS, Alone, Glance, look
from pytest_diagnostics.system.sampling import Answer, LocalCollector

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

#: When the glances of these tests were taken.
THEN = 5000.0
DEV = "Inter-| Receive | Transmit\n face |bytes\n  eth0: {} 1 0 0 0 0 0 0 {} 1 0 0 0 0 0 0\n"
SNMP = "Ip: Forwarding\nIp: 1\nTcp: RetransSegs\nTcp: {}\n"


class Place:
    """A laid out /proc, a clock to move, and a glance that may have been taken."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = THEN
        self.glance = Glance()

    def monotonic(self) -> float:
        return self.now

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def see(self, path: str, text: str, moment: float = THEN) -> None:
        """Have a file held ``text`` when it was glanced at."""
        self.glance.files[f"{self.root}/{path}"] = moment, text.encode()

    def tick(self, collector: LocalCollector, now: float) -> dict[str, object]:
        """Collect at a moment."""
        self.now = now
        return collector.collect()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def network(place: Place) -> Iterator[NetworkCollector]:
    """Sees 1,000 bytes received at the glance, and 3,000 afterwards."""
    place.see("proc/self/net/dev", DEV.format(1000, 0))
    place.see("proc/self/net/snmp", SNMP.format(7), THEN + 0.001)
    place.write("proc/self/net/dev", DEV.format(3000, 0))
    place.write("proc/self/net/snmp", SNMP.format(9))
    collector = NetworkCollector(clock=place, root=str(place.root))
    collector.glance = place.glance
    yield collector
    collector.stop()


def test_the_first_result_is_of_the_glance_and_the_next_rate_of_the_whole_distance(
    place: Place, network: NetworkCollector
) -> None:
    first = place.tick(network, THEN + 0.1)
    assert (network.as_of, first["bytes_recv"]) == (THEN, 1000)

    second = place.tick(network, THEN + 0.5)
    assert (network.as_of, second["bytes_recv"]) == (None, 3000)
    assert second["bytes_recv_per_sec"] == 2000 / 0.5
    assert second["tcp_retransmits_per_sec"] == 2 / 0.5


def test_a_glance_is_taken_once(place: Place, network: NetworkCollector) -> None:
    assert place.tick(network, THEN + 0.1)["bytes_recv"] == 1000
    network.stop()  # what is opened again is read again
    assert place.tick(network, THEN + 0.2)["bytes_recv"] == 3000


def test_what_was_not_read_leaves_all_of_it_to_be_read_anew(place: Place, network: NetworkCollector) -> None:
    del place.glance.files[f"{place.root}/proc/self/net/snmp"]

    assert place.tick(network, THEN + 0.1)["bytes_recv"] == 3000
    assert network.as_of is None


def test_what_cannot_be_the_file_leaves_all_of_it_to_be_read_anew(
    place: Place, network: NetworkCollector
) -> None:
    place.see("proc/self/net/snmp", "Icmp: \n")

    assert place.tick(network, THEN + 0.1)["bytes_recv"] == 3000
    assert network.as_of is None


@pytest.mark.parametrize("late", [MAX_AGE_SECONDS + 0.001, -0.001])
def test_an_old_glance_is_no_first_sample(place: Place, network: NetworkCollector, late: float) -> None:
    assert place.tick(network, THEN + late)["bytes_recv"] == 3000
    assert network.as_of is None


def test_who_may_be_asked_reads_what_is(place: Place, network: NetworkCollector) -> None:
    place.glance.over = True

    assert place.tick(network, THEN + 0.1)["bytes_recv"] == 3000
    assert network.as_of is None


def test_a_first_collection_that_fails_leaves_nothing_for_the_second(place: Place) -> None:
    place.see("proc/vmstat", "nr_free_pages 1\n")
    place.write("proc/vmstat", "nr_free_pages 1\npgfault 5\n")
    collector = MemoryBandwidthCollector(clock=place, root=str(place.root))
    collector.glance = place.glance

    assert collector.safe_collect() is None
    assert "pgfault_per_sec" in place.tick(collector, THEN + 1.0)
    assert collector.as_of is None
    collector.stop()


STAT = "{pid} (python) S 1 {pid} {pid} 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 3 0 {start} 1000 77 0\n"


def process(place: Place, pid: int = 42, alone: Alone | None = None) -> ProcessCollector:
    """Return the collector of a process that began at 1234, and was glanced at."""
    for path, text in (("stat", STAT.format(pid=pid, ticks=10, start=1234)), ("io", "rchar: 1\n")):
        place.see(f"proc/{pid}/{path}", text)
    place.see(f"proc/{pid}/fd", "17")
    place.write(f"proc/{pid}/stat", STAT.format(pid=pid, ticks=400, start=1234))
    place.write(f"proc/{pid}/io", "rchar: 1\n")
    place.write(f"proc/{pid}/task/{pid}/children", "")
    (place.root / f"proc/{pid}/fd").mkdir()
    place.glance.alone = alone
    collector = ProcessCollector(pid=pid, clock=place, root=str(place.root))
    collector.start()
    collector.glance = place.glance
    return collector


def test_a_process_is_seen_with_its_clock_and_its_files(place: Place) -> None:
    collector = process(place, alone=Alone(42, 1.0))

    first = place.tick(collector, THEN + 0.1)
    assert collector.as_of == THEN
    assert (first["fds"], first["children"], first["cpu_percent"]) == (17, 0, None)

    second = place.tick(collector, THEN + 1.0)
    spent = 400 / os.sysconf("SC_CLK_TCK") - 1.0
    cores = second["limit_cores"]
    assert isinstance(cores, (int, float))
    assert second["cpu_percent"] == round(100 * spent / 1.0 / cores, 2)
    collector.stop()


@pytest.mark.parametrize("alone", [None, Alone(43, 1.0)], ids=["none", "another"])
def test_a_glance_at_no_process_or_at_another_is_not_used(place: Place, alone: Alone | None) -> None:
    collector = process(place, alone=alone)

    assert place.tick(collector, THEN + 0.1)["fds"] != 17
    assert collector.as_of is None
    collector.stop()


class More(NetworkCollector):
    """Says more, from where no glance is."""

    def fill(self, answer: Answer, now: float) -> None:
        super().fill(answer, now)
        answer.data["more"] = self._clock.monotonic()


def test_what_is_derived_may_read_more_and_reads_all_of_it_anew(
    place: Place, network: NetworkCollector
) -> None:
    more = More(clock=place, root=str(place.root))
    more.glance = network.glance

    assert place.tick(more, THEN + 0.1)["bytes_recv"] == 3000
    assert more.as_of is None
    more.stop()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process without children, which this one may have."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def test_a_glance_serves_the_collectors_that_say_so(child: subprocess.Popen[bytes]) -> None:
    glance = look(child.pid)
    assert glance.alone is not None
    served = set()
    for name in BUILT_IN:
        collector = load(name, **({"pid": child.pid} if name == "process" else {}))
        if isinstance(collector, LocalCollector) and collector.probe() is None:
            collector.start()
            collector.glance = glance
            collector.collect()
            served |= {name} if collector.as_of is not None else set()
            assert (collector.as_of is not None) == collector.takes_glance
            collector.collect()
            assert collector.as_of is None
            collector.stop()
    assert served >= {"cpu", "memory", "memory_bandwidth", "network", "process"}


def test_only_the_process_that_is_meant_is_kept(child: subprocess.Popen[bytes]) -> None:
    born = start_ticks(child.pid)
    for meant, kept in ((born, True), ((born or 0) + 1, False), (None, False)):
        glance = look(child.pid)
        glance.identify(meant)
        assert (glance.alone is not None) is kept


def test_a_process_that_has_ended_is_not_kept(child: subprocess.Popen[bytes]) -> None:
    born = start_ticks(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = look(child.pid)
    zombie.identify(born)
    assert zombie.alone is None
    child.wait()
    gone = look(child.pid)
    gone.identify(born)
    assert gone.alone is None


def test_a_process_with_children_is_left_to_be_read_together_with_them(
    child: subprocess.Popen[bytes],
) -> None:
    assert look(os.getpid()).alone is None
    assert look(child.pid).alone is not None


def test_a_look_imports_nothing_and_is_taken_now() -> None:
    code = (
        "import sys; sys.path.append(sys.argv[1]); before = set(sys.modules); "
        "from pytest_diagnostics.system.glance import look; look(1); "
        "print(*sorted(set(sys.modules) - before))"
    )
    root = str(Path(__file__).parent.parent.parent)
    command = [sys.executable, "-I", "-S", "-c", code, root]
    imported = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    ours = {name for name in imported if name.startswith("pytest_diagnostics")}
    assert set(imported) - ours <= {"__future__"}

    began = time.monotonic()
    glance = look(os.getpid())
    assert all(began <= moment <= time.monotonic() for moment, _ in glance.files.values())
