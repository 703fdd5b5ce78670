"""What is said of materialized views on real servers, from their creation to their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diagnostics.collectors.cassandra.target import Target
from pytest_diagnostics.collectors.cassandra.views import ViewsCollector
from tests.cassandra.launcher import Cluster
from tests.cassandra.nodes import Node

if TYPE_CHECKING:
    from cassandra.cluster import Session

#: Between two looks.
PACE_SECONDS = 0.25
MOST_SECONDS = 180.0
TEXT = "x" * 150
#: Below the size that the server refuses, 50 KiB.
BATCH_ROWS = 100
TRIES = 8
#: Room for all rows: a build that waits for the disk stands still for seconds, and nobody can foresee that.
STEADY = {"config": {"memtable_heap_space": "256MiB"}, "heap_mebibytes": 900}
#: Three nodes on a small machine that has other work.
PATIENT = {"write_request_timeout": "20000ms", "read_request_timeout": "10000ms"}

View = dict[str, Any]


class Watcher:
    """A collector, and all that it said of one view."""

    def __init__(self, addresses: list[str]) -> None:
        self.collector = ViewsCollector(Target(tuple(addresses)), name="cassandra_views")
        self.collector.start()
        self.looks: list[tuple[float, View]] = []
        #: Why there was nothing to be seen, each time that there was nothing.
        self.gaps: list[str] = []

    def data(self) -> dict[str, Any]:
        return dict(self.collector.collect())

    def look(self, keyspace: str, name: str = "mv") -> View | None:
        """Look once at a view; None while the schema does not have it."""
        data = self.data()
        if data["views"] is None:
            self.gaps.append(data["reasons"]["views"])
        for view in data["views"] or ():
            if (view["keyspace"], view["view"]) == (keyspace, name):
                self.looks.append((time.monotonic(), view))
                return dict(view)
        return None

    def until(self, keyspace: str, is_so: Callable[[View], bool], name: str = "mv") -> View:
        """Look until something is so; the looks stay in ``looks``."""
        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() < deadline:
            view = self.look(keyspace, name)
            if view is not None and is_so(view):
                return view
            time.sleep(PACE_SECONDS)
        raise AssertionError(f"not so within {MOST_SECONDS:.0f} s: {self.looks[-3:]}, {self.gaps}")


@pytest.fixture
def watcher(cassandra: Cluster) -> Iterator[Watcher]:
    watcher = Watcher(cassandra.addresses)
    yield watcher
    watcher.collector.stop()


def fill(session: Session, keyspace: str, rows: int) -> None:
    """Make a base table with so many rows: in batches, as one node does not mind, and the driver is slow."""
    from cassandra.concurrent import execute_concurrent
    from cassandra.query import BatchStatement, BatchType

    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v int, w text)")
    insert = session.prepare(f"INSERT INTO {keyspace}.t (id, v, w) VALUES (?, ?, ?)")

    def batch(first: int) -> BatchStatement:
        statement = BatchStatement(BatchType.UNLOGGED)
        for number in range(first, first + BATCH_ROWS):
            statement.add(insert, (number, number % 1000, TEXT))
        return statement

    execute_concurrent(session, ((batch(first), ()) for first in range(0, rows, BATCH_ROWS)), concurrency=8)


def create(session: Session, keyspace: str, name: str = "mv") -> None:
    session.execute(
        f"CREATE MATERIALIZED VIEW {keyspace}.{name} AS SELECT * FROM {keyspace}.t"
        " WHERE v IS NOT NULL AND id IS NOT NULL PRIMARY KEY (v, id)"
    )


def has_state(*states: str) -> Callable[[View], bool]:
    return lambda view: view["state"] in states


def has_begun(view: View) -> bool:
    return view["state"] == "building" and view["keys_built"] is not None


def stop_in_mid_build(node: Node, session: Session, keyspace: str, watcher: Watcher) -> View:
    """Make a view and stop its build; return the look before."""
    for _ in range(TRIES):
        create(session, keyspace)
        # nodetool takes as long to begin as a quick build to end.
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(node.nodetool, "stop", "VIEW_BUILD")
            before = watcher.until(keyspace, lambda view: has_begun(view) or view["state"] == "built")
            stopping.result()
        built = session.execute("SELECT * FROM system.built_views WHERE keyspace_name = %s", [keyspace])
        if before["state"] == "building" and not list(built) and not is_running(session, keyspace):
            return before
        session.execute(f"DROP MATERIALIZED VIEW {keyspace}.mv")
        watcher.until(keyspace, has_state("dropped"))
    raise AssertionError(f"nodetool came too early or too late, {TRIES} times")


def is_running(session: Session, keyspace: str) -> bool:
    """Return whether the build goes on: nodetool may have come before it."""
    tasks = session.execute("SELECT * FROM system_views.sstable_tasks")
    return any(task.keyspace_name == keyspace and "view" in task.kind for task in tasks)


def of_node(view: Mapping[str, Any], address: str) -> dict[str, Any]:
    return dict(view["nodes"][address])


@pytest.mark.parametrize("cassandra", [STEADY], indirect=True)
def test_a_build_is_watched_from_pending_to_built(
    cassandra: Cluster, session: Session, keyspace: str, watcher: Watcher
) -> None:
    fill(session, keyspace, 80_000)
    # Java compiles what it runs often: a first build, and compactions of what was just written, say nothing
    # of the pace of a server that has been up for a while.
    create(session, keyspace, "first")
    watcher.until(keyspace, has_state("built"), "first")
    watcher.looks.clear()
    create(session, keyspace)
    end = watcher.until(keyspace, has_state("built"))

    percents = [view["percent"] for _, view in watcher.looks]
    states = [view["state"] for _, view in watcher.looks]
    assert percents == sorted(percents)
    assert len(set(percents)) >= 5
    assert set(states) <= {"pending", "building", "built"}
    assert states.index("built") == len(states) - 1
    assert (end["percent"], end["first_seen_built"] is not None) == (100.0, True)
    check_etas(watcher.looks)


def check_etas(looks: list[tuple[float, View]]) -> None:
    """Check that from 30 % on the remaining time was within a factor of two, give or take one second.

    One look in ten may be wrong: the machine has other work, and the pace of the server changes with it.
    """
    finished, _ = looks[-1]
    told = [
        (view["eta_seconds"], round(finished - moment, 1), view["percent"])
        for moment, view in looks
        if view["state"] == "building" and view["percent"] >= 30.0
    ]
    wrong = [one for one in told if one[0] is None or not one[1] / 2 - 1.0 <= one[0] <= one[1] * 2 + 1.0]
    assert len(told) >= 5
    assert len(wrong) <= len(told) / 10, told


@pytest.mark.parametrize("cassandra", [{"config": {}}], indirect=True)
def test_a_stopped_build_is_interrupted_within_two_polls(
    cassandra: Cluster, session: Session, keyspace: str, watcher: Watcher
) -> None:
    node = cassandra.nodes[0]
    fill(session, keyspace, 60_000)
    stop_in_mid_build(node, session, keyspace, watcher)
    first = watcher.look(keyspace)
    time.sleep(1.0)
    second = watcher.look(keyspace)

    assert first is not None
    assert second is not None
    assert second["state"] == "interrupted"
    assert of_node(second, node.address)["status"] == "STARTED"
    assert of_node(second, node.address)["running"] is False
    assert "idle" in second["verdict"]
    assert second["percent"] == first["percent"] < 100.0
    session.execute(f"DROP MATERIALIZED VIEW {keyspace}.mv")
    dropped = watcher.until(keyspace, has_state("dropped"))
    assert "not any more since" in dropped["verdict"]


@pytest.mark.parametrize("cassandra", [{"config": {}}], indirect=True)
def test_a_view_dropped_in_mid_build_and_made_again(
    cassandra: Cluster, session: Session, keyspace: str, watcher: Watcher
) -> None:
    fill(session, keyspace, 30_000)
    create(session, keyspace)
    watcher.until(
        keyspace, lambda view: view["state"] == "built" or (has_begun(view) and view["percent"] > 5.0)
    )
    session.execute(f"DROP MATERIALIZED VIEW {keyspace}.mv")
    dropped = watcher.until(keyspace, has_state("dropped"))
    assert (dropped["percent"], dropped["nodes"]) == (None, {})
    watcher.looks.clear()
    create(session, keyspace)
    watcher.until(keyspace, has_state("built"))

    percents = [view["percent"] for _, view in watcher.looks if view["state"] != "dropped"]
    assert percents == sorted(percents)
    assert percents[0] < 50.0


@pytest.mark.parametrize("cassandra", ["4.0.18", "4.1.10", "6.0-alpha2"], indirect=True)
def test_other_versions(cassandra: Cluster, session: Session, keyspace: str, watcher: Watcher) -> None:
    node = cassandra.nodes[0]
    fill(session, keyspace, 60_000)
    building = stop_in_mid_build(node, session, keyspace, watcher)
    stopped = watcher.until(keyspace, has_state("interrupted", "built"))
    create(session, keyspace, "second")
    second = watcher.until(keyspace, has_state("built"), "second")
    data = watcher.data()

    assert of_node(building, node.address)["running"] is True
    assert (stopped["state"], of_node(stopped, node.address)["status"]) == ("interrupted", "STARTED")
    assert second["largest_partition_mebibytes"] is None or second["largest_partition_mebibytes"] >= 0
    assert data["server"] == {"kind": "cassandra", "versions": {node.address: cassandra.version}}
    facts = data["nodes"][node.address]
    assert facts["view_build_executor"]["completed"] > 0
    assert (facts["view_writes"] is not None) == cassandra.version.startswith("6")
    assert (facts["hints"] is not None) == (not cassandra.version.startswith("4.0"))
    assert data["errors"] == {}


@pytest.mark.parametrize("cassandra", [{"nodes": 3, "config": PATIENT}], indirect=True)
def test_a_node_that_is_killed_and_returns(
    cassandra: Cluster, session: Session, keyspace: str, watcher: Watcher
) -> None:
    first, _, lost = cassandra.nodes
    session.execute(
        f"ALTER KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 3}}"
    )
    fill(session, keyspace, 1_000)
    create(session, keyspace)
    watcher.until(keyspace, has_state("built"))
    # A node notes that its view is built before it tells the others.
    built = watcher.until(
        keyspace, lambda view: {node["status"] for node in view["nodes"].values()} == {"SUCCESS"}
    )
    assert built["status_read_at"] == "QUORUM"
    watcher.looks.clear()

    lost.kill()
    # Until the others notice, a quorum waits for the dead, and who waits for it is asked nothing else.
    away = watcher.until(
        keyspace,
        lambda view: (
            view["status_read_at"] == "QUORUM"
            and [of_node(view, address)["state"] for address in cassandra.addresses]
            == ["built", "built", "unknown"]
        ),
    )
    assert away["state"] == "unknown"
    assert of_node(away, lost.address)["locally_built"] is None
    assert of_node(away, lost.address)["reasons"]["state"]
    assert away["percent"] == 100.0
    # A view that is made meanwhile is built by those that are there.
    create(session, keyspace, "second")
    second = watcher.until(keyspace, lambda view: of_node(view, first.address)["state"] == "built", "second")
    assert second["state"] == "unknown"
    assert of_node(second, lost.address)["status"] is None
    assert second["percent"] is None

    lost.start()
    watcher.until(keyspace, has_state("built"))
    back = watcher.until(keyspace, has_state("built"), "second")
    assert {node["state"] for node in back["nodes"].values()} == {"built"}
    # Nothing but its absence was said of the view that had been built before.
    states = {view["state"] for _, view in watcher.looks if view["view"] == "mv"}
    assert states == {"built", "unknown"}
