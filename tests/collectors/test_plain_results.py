"""What the default collectors return can be recorded as it is: nothing to convert, to cut or to copy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_diagnostics.collectors import DEFAULT, load
from pytest_diagnostics.collectors.disk import DiskCollector
from pytest_diagnostics.collectors.network import NetworkCollector
from pytest_diagnostics.collectors.process import ProcessCollector
from pytest_diagnostics.core.bounds import bound


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return three children, which end with their standard input."""
    started = [
        subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) for _ in range(3)
    ]
    yield started
    for child in started:
        child.communicate(b"\n")


def containers(data: object) -> Iterator[object]:
    """Yield every dict and list of a result."""
    if isinstance(data, dict):
        yield data
        for value in data.values():
            yield from containers(value)
    elif isinstance(data, list):
        yield data
        for value in data:
            yield from containers(value)


def check(data: object) -> None:
    bounded = bound(data)
    assert bounded.data == data
    assert (bounded.coerced, bounded.truncated) == (0, False)


@pytest.mark.parametrize("name", DEFAULT)
def test_results_are_plain_and_share_nothing_with_each_other(
    name: str, children: list[subprocess.Popen[bytes]]
) -> None:
    collector = load(name)
    if isinstance(collector, ProcessCollector):
        collector.workers = {"gw0": children[0].pid}
    reason = collector.probe()
    if reason is not None:
        pytest.skip(reason)
    collector.start()
    results = [collector.collect() for _ in range(4)]
    collector.stop()

    for data in results:
        check(data)
    if name == "process":
        assert isinstance(results[-1], dict)
        assert len(results[-1]["per_child"]) >= 3
        assert "gw0" in results[-1]["workers"]
    found = [id(each) for data in results for each in containers(data)]
    assert len(found) == len(set(found))


def write(root: Path, name: str, content: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.skipif(sys.platform != "linux", reason="names files by bytes that are no UTF-8")
def test_a_mount_point_that_is_no_utf_8_can_be_recorded(tmp_path: Path) -> None:
    write(
        tmp_path,
        "proc/self/mountinfo",
        b"27 1 8:1 / /a\xff rw - ext4 /dev/sda rw\n28 1 8:2 / /b\xfe rw - ext4 /dev/sdb rw\n",
    )
    Path(str(tmp_path) + b"/a\xff".decode("utf-8", "surrogateescape")).mkdir()
    collector = DiskCollector(root=str(tmp_path))

    data = collector.collect()
    collector.stop()

    check(data)
    assert isinstance(data["partitions"], dict)
    assert list(data["partitions"]) == ["/a\\udcff"]
    assert isinstance(data["reasons"], dict)
    assert "No such file" in data["reasons"]["partitions[/b\\udcfe]"]


def test_of_very_many_interfaces_the_first_are_listed_and_all_are_summed_up(tmp_path: Path) -> None:
    lines = [b"veth%010d: %d 1 0 0 0 0 0 0 %d 2 0 0 0 0 0 0\n" % (n, 10**17, 10**18) for n in range(2000)]
    write(tmp_path, "proc/self/net/dev", b"Inter-| x\n face |y\n" + b"".join(lines))
    collector = NetworkCollector(root=str(tmp_path))

    data = collector.collect()
    collector.stop()

    check(data)
    assert data["bytes_recv"] == 2000 * 10**17
    assert isinstance(data["interfaces"], dict)
    assert len(data["interfaces"]) == collector.MAX_INTERFACES
    assert isinstance(data["reasons"], dict)
    assert data["reasons"]["interfaces"] == f"{2000 - collector.MAX_INTERFACES} more were left out"
