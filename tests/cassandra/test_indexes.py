"""What is said of secondary indexes on real servers: while they are built, and when that was stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diagnostics.collectors.cassandra.indexes import IndexesCollector
from pytest_diagnostics.collectors.cassandra.target import Target
from tests.cassandra.launcher import Cluster

if TYPE_CHECKING:
    from cassandra.cluster import Session

KEYSPACE = "of_indexes"
#: Between two looks; what was asked less than a quarter of a second ago would be told again.
PACE_SECONDS = 0.3
MOST_SECONDS = 120.0
#: A build of so many rows takes some seconds: longer than nodetool needs to stop it.
ROWS = 40_000
#: Below the size that the server refuses, 50 KiB; one by one they take the driver several times as long.
BATCH_ROWS = 100
SASI = "org.apache.cassandra.index.sasi.SASIIndex"
CREATE = {
    "legacy": "CREATE INDEX {name} ON {keyspace}.t (a)",
    "sasi": f"CREATE CUSTOM INDEX {{name}} ON {{keyspace}}.t (b) USING '{SASI}'",
    "storage-attached": "CREATE INDEX {name} ON {keyspace}.t (c) USING 'sai'",
}

#: None is the shared node, of 5.0.8.
OLDEST, OLDER, NEWER = (
    pytest.param(version, marks=pytest.mark.extended) for version in ("4.0.18", "4.1.10", "6.0-alpha2")
)
everywhere = pytest.mark.parametrize("cassandra", [None, OLDEST, OLDER, NEWER], indirect=True)
since_5_0 = pytest.mark.parametrize("cassandra", [None, NEWER], indirect=True)
#: What takes long, on the newest release and on the newest before it.
twice = pytest.mark.parametrize("cassandra", [None, OLDER], indirect=True)
shared = pytest.mark.parametrize("cassandra", [None], indirect=True)

Item = dict[str, Any]


@pytest.fixture(scope="module")
def session(cassandra: Cluster) -> Iterator[Session]:
    """Give a session for the module's tests of one server, to a table with rows."""
    from cassandra.concurrent import execute_concurrent
    from cassandra.query import BatchStatement, BatchType

    def batch(first: int) -> BatchStatement:
        statement = BatchStatement(BatchType.UNLOGGED)
        for each in range(first, first + BATCH_ROWS):
            statement.add(insert, (each, f"a{each}" * 5, f"b{each}" * 20, f"c{each}" * 20))
        return statement

    with cassandra.session() as session:
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        session.execute(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}")
        session.execute(f"CREATE TABLE {KEYSPACE}.t (p int PRIMARY KEY, a text, b text, c text)")
        insert = session.prepare(f"INSERT INTO {KEYSPACE}.t (p, a, b, c) VALUES (?, ?, ?, ?)")
        batches = ((batch(first), ()) for first in range(0, ROWS, BATCH_ROWS))
        execute_concurrent(session, batches, concurrency=8)
        yield session
        session.execute(f"DROP KEYSPACE {KEYSPACE}")


class Watcher:
    """A collector, and what it said of one index."""

    def __init__(self, addresses: list[str], session: Session, kind: str) -> None:
        self.collector = IndexesCollector(Target(tuple(addresses)))
        self.collector.start()
        self.session, self.kind = session, kind
        self.name = f"i_{kind.replace('-', '_')}"
        self.looks: list[Item] = []
        self.data: Item = {}

    def create(self) -> None:
        # Else the next look would be told what the one before was.
        time.sleep(PACE_SECONDS)
        self.session.execute(CREATE[self.kind].format(name=self.name, keyspace=KEYSPACE))

    def drop(self) -> None:
        self.session.execute(f"DROP INDEX IF EXISTS {KEYSPACE}.{self.name}")

    def look(self) -> Item | None:
        """Look once; None while the schema does not have the index."""
        self.data = dict(self.collector.collect())
        assert self.data["indexes"] is not None, self.data
        found = [each for each in self.data["indexes"] if each["index"] == self.name]
        self.looks += found
        return found[0] if found else None

    def until(self, *states: str) -> Item:
        """Look until it is in one of these states."""
        return self.until_so(lambda item: item["state"] in states)

    def until_so(self, is_so: Callable[[Item], bool]) -> Item:
        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() < deadline:
            item = self.look()
            if item is not None and is_so(item):
                return item
            time.sleep(PACE_SECONDS)
        raise AssertionError(f"not so within {MOST_SECONDS:.0f} s; the last looks: {self.looks[-3:]}")

    def of_nodes(self, key: str) -> list[object]:
        """Return what the only node said in each look, every value once, in order."""
        values = [next(iter(item["nodes"].values()))[key] for item in self.looks if item["nodes"]]
        return list(dict.fromkeys(values))

    def percents(self) -> list[float]:
        return [item["percent"] for item in self.looks if item["percent"] is not None]


@pytest.fixture
def watch(cassandra: Cluster, session: Session) -> Iterator[Callable[[str], Watcher]]:
    """Give what makes a watcher of one kind of index; the index is dropped after the test."""
    made: list[Watcher] = []

    def make(kind: str) -> Watcher:
        made.append(Watcher(cassandra.addresses, session, kind))
        made[-1].look()
        return made[-1]

    yield make
    for watcher in made:
        watcher.collector.stop()
        watcher.drop()


Watch = Callable[[str], Watcher]


def gossip_of(cassandra: Cluster, *states: str) -> list[str | None]:
    """Return what gossip says in the course of time: up to 4.1 nothing of indexes."""
    return [None] if cassandra.version < "5" else list(states)


@everywhere
def test_legacy_build_is_followed_through_its_percents(cassandra: Cluster, watch: Watch) -> None:
    watcher = watch("legacy")
    watcher.create()
    built = watcher.until("built")

    percents = watcher.percents()
    assert percents == sorted(percents)
    assert len({percent for percent in percents if 0.0 < percent < 99.0}) >= 3
    assert {item["state"] for item in watcher.looks} <= {"pending", "building", "built"}
    assert [item["state"] for item in watcher.looks if item["percent"] == 100.0] == ["built"]
    assert (built["kind"], built["queryable"], built["verdict"]) == ("legacy", True, None)
    assert any(item["eta_seconds"] is not None for item in watcher.looks)
    assert watcher.of_nodes("listed_as_built") == [False, True]
    # FULL_REBUILD_STARTED is code 1, BUILD_SUCCEEDED code 3.
    assert watcher.of_nodes("gossip") == gossip_of(cassandra, "FULL_REBUILD_STARTED", "BUILD_SUCCEEDED")
    assert watcher.data["errors"] == {}


@twice
def test_sasi_is_not_called_built_while_its_task_runs(cassandra: Cluster, watch: Watch) -> None:
    watcher = watch("sasi")
    building: list[Item] = []
    for _ in range(5):  # a quick machine is through with it within a look
        watcher.create()
        built = watcher.until("built")
        building = [item for item in watcher.looks if item["state"] == "building"]
        if building:
            break
        watcher.drop()
        watcher.looks.clear()

    assert building
    assert all(node["listed_as_built"] for item in building for node in item["nodes"].values())
    assert all(node["running"] for item in building for node in item["nodes"].values())
    assert all(item["percent"] < 100.0 for item in building)
    assert building[0]["verdict"].startswith("it is listed as built, but its build still runs")
    assert watcher.of_nodes("gossip") == gossip_of(cassandra, "BUILD_SUCCEEDED")
    assert (built["kind"], built["percent"]) == ("sasi", 100.0)


@since_5_0
def test_storage_attached_build_is_followed_through_its_percents(watch: Watch, session: Session) -> None:
    watcher = watch("storage-attached")
    watcher.create()
    built = watcher.until("built")

    percents = watcher.percents()
    assert percents == sorted(percents)
    assert [percent for percent in percents if 0.0 < percent < 100.0]
    assert (built["kind"], built["queryable"]) == ("storage-attached", True)
    assert watcher.of_nodes("is_building") == [True, False]
    assert watcher.of_nodes("is_queryable") == [False, True]
    assert watcher.of_nodes("gossip") == ["FULL_REBUILD_STARTED", "BUILD_SUCCEEDED"]
    assert list(session.execute(f"SELECT p FROM {KEYSPACE}.t WHERE c = '{'c7' * 20}'")) == [(7,)]

    # What it covers is asked now and then only.
    covered = watcher.until_so(lambda item: next(iter(item["nodes"].values())).get("coverage") is not None)
    (node,) = covered["nodes"].values()
    assert node["coverage"]["sstables"] == node["coverage"]["of_sstables"] >= 1
    assert node["coverage"]["cells"] == ROWS
    assert node["coverage"]["size_bytes"] > ROWS


def stopped(cassandra: Cluster, watcher: Watcher) -> Item:
    """Create the index, and stop its build once it was seen under way; once more where it was too late."""
    if not isinstance(cassandra, Cluster):
        pytest.skip("the build is stopped with the nodetool of a node of ours")
    for _ in range(8):
        watcher.looks.clear()
        watcher.create()
        # It takes nodetool a second to be there.
        stop = threading.Thread(target=cassandra.nodes[0].nodetool, args=("stop", "INDEX_BUILD"))
        stop.start()
        watcher.until("building", "built")
        stop.join()
        if watcher.until("built", "failed")["state"] == "failed":
            return watcher.looks[-1]
        watcher.drop()
    raise AssertionError("the build was always done before it could be stopped")


@twice
def test_stopped_legacy_build_has_failed_while_gossip_says_that_it_builds(
    cassandra: Cluster, watch: Watch
) -> None:
    watcher = watch("legacy")
    failed = stopped(cassandra, watcher)

    sentence = "Index build of i_legacy failed. Please run full index rebuild to fix it."
    assert failed["verdict"] == f"{sentence} (nodetool rebuild_index {KEYSPACE} t i_legacy)"
    assert sentence in cassandra.nodes[0].output()
    assert failed["percent"] is None or failed["percent"] < 99.9
    (node,) = failed["nodes"].values()
    assert (node["listed_as_built"], node["running"]) == (False, False)
    assert [node["gossip"]] == gossip_of(cassandra, "FULL_REBUILD_STARTED")
    time.sleep(2 * PACE_SECONDS)
    assert watcher.until("failed", "built")["state"] == "failed"

    cassandra.nodes[0].nodetool("rebuild_index", KEYSPACE, "t", "i_legacy")
    assert watcher.until("built")["verdict"] is None


@shared
def test_stopped_storage_attached_build_has_failed(
    cassandra: Cluster, watch: Watch, session: Session
) -> None:
    watcher = watch("storage-attached")
    failed = stopped(cassandra, watcher)

    (node,) = failed["nodes"].values()
    assert (node["is_building"], node["is_queryable"], failed["queryable"]) == (False, False, False)
    assert node["gossip"] == "FULL_REBUILD_STARTED"
    assert "Please run full index rebuild" in failed["verdict"]
    with pytest.raises(Exception, match="INDEX_NOT_AVAILABLE"):
        session.execute(f"SELECT p FROM {KEYSPACE}.t WHERE c = 'x'")


@shared
def test_dropped_index_is_told_and_begins_anew_when_it_is_created_again(watch: Watch) -> None:
    watcher = watch("legacy")
    watcher.create()
    watcher.until("built")
    watcher.drop()

    dropped = watcher.look()
    watcher.create()
    watcher.looks.clear()
    again = watcher.until("building")

    assert dropped is not None
    assert (dropped["state"], dropped["percent"], dropped["nodes"]) == ("dropped", None, {})
    assert again["percent"] < 100.0
