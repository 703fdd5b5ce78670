"""The launcher keeps what it promises: nodes start, do as they are told, and end whatever happens to us."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cassandra.launcher import VERSIONS, Cluster, prepare
from tests.cassandra.nodes import START_TIMEOUT_SECONDS, StartError

if TYPE_CHECKING:
    from cassandra.cluster import Session

    from tests.cassandra.conftest import Server

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 30.0
VERSION = "SELECT release_version FROM system.local"

#: A run of pytest that starts a node, tells its process, and waits to be ended itself.
RUN = """
    import signal
    from pathlib import Path
    from tests.cassandra.launcher import Cluster

    def test_waits():
        here = Path({here!r})
        cluster = Cluster(directory=here)
        node = cluster.nodes[0]
        node.launch()
        (here / "pid.part").write_text(f"{{node.pid}} {{node.guard_pid}}")
        (here / "pid.part").replace(here / "pid")
        signal.pause()
"""


@pytest.fixture
def waiting_run(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """Give a run of pytest, the process of the node that it has started, and that of the node's guard."""
    prepare()
    lines = [line[4:] for line in RUN.format(here=str(tmp_path)).splitlines()]
    (tmp_path / "test_waits.py").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(tmp_path / "pytest.ini"),
    ]
    with (tmp_path / "pytest.log").open("wb") as log:
        run = subprocess.Popen([*command, str(tmp_path)], cwd=ROOT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not (tmp_path / "pid").exists():
            assert run.poll() is None, (tmp_path / "pytest.log").read_text()
            assert time.monotonic() < deadline, "no node"
            time.sleep(0.02)
        node, guard = (int(pid) for pid in (tmp_path / "pid").read_text().split())
        yield run, node, guard
    finally:
        run.kill()
        run.wait()


def await_end(process: int) -> bool:
    """Return whether a process that is nobody's child here ends in time."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], TIMEOUT_SECONDS)[0])
    finally:
        os.close(handle)


# Other versions, several nodes, those that die and return, and passwords: where something is read on them.
@pytest.mark.parametrize("version", [VERSIONS[0]])
def test_a_version_starts_answers_and_is_ended(version: str, tmp_path: Path) -> None:
    with Cluster(version, directory=tmp_path) as cluster:
        node = cluster.nodes[0]
        with cluster.session() as session:
            answered = session.execute(VERSION).one().release_version
        status = node.nodetool("status")

    assert answered == version
    assert f"UN  {node.address}" in status
    assert not node.running
    assert node.log.exists()
    assert not node.data.exists()


def test_a_keyspace_is_new_and_writable(session: Session, keyspace: str) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (k int PRIMARY KEY)")
    session.execute(f"INSERT INTO {keyspace}.t (k) VALUES (7)")

    assert [row.k for row in session.execute(f"SELECT k FROM {keyspace}.t")] == [7]


def test_a_cluster_runs_beside_another(cassandra: Server, tmp_path: Path) -> None:
    with Cluster(directory=tmp_path, config={"cluster_name": "other"}) as other:
        assert not set(other.addresses) & set(cassandra.addresses)
        for cluster in (cassandra, other):
            with cluster.session() as session:
                assert len(session.cluster.metadata.all_hosts()) == len(cluster.addresses)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nodes_end_with_the_run_that_started_them(
    waiting_run: tuple[subprocess.Popen[bytes], int, int], ending: signal.Signals
) -> None:
    run, node, _ = waiting_run

    run.send_signal(ending)

    assert await_end(node)


def test_a_node_ends_with_its_guard(waiting_run: tuple[subprocess.Popen[bytes], int, int]) -> None:
    _, node, guard = waiting_run

    os.kill(guard, signal.SIGKILL)

    assert await_end(node)


def test_a_cluster_that_cannot_start_says_why_and_soon(tmp_path: Path) -> None:
    cluster = Cluster(directory=tmp_path, config={"num_tokens": "many"})
    begin = time.monotonic()

    with pytest.raises(StartError, match=r"(?s)ended with status.*many"):
        cluster.start()

    assert time.monotonic() - begin < START_TIMEOUT_SECONDS / 4
    assert not cluster.nodes[0].running
