"""What is said of indexes on two nodes of which one is killed, and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_diagnostics.collectors.cassandra.indexes import IndexesCollector
from pytest_diagnostics.collectors.cassandra.target import Target
from tests.cassandra.launcher import Cluster

KEYSPACE = "of_two_nodes"
ROWS = 500
PACE_SECONDS = 0.5
MOST_SECONDS = 120.0
NAMES = ("legacy_one", "sai_one")


def until(collector: IndexesCollector, is_so: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Collect until both indexes are so; return all that was said of them, look by look."""
    looks = []
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        data: Any = collector.collect()
        looks.append({item["index"]: item for item in data["indexes"] or ()})
        if set(looks[-1]) == set(NAMES) and all(is_so(item) for item in looks[-1].values()):
            return looks
        time.sleep(PACE_SECONDS)
    raise AssertionError(f"not so within {MOST_SECONDS:.0f} s; the last looks: {looks[-3:]}")


@pytest.mark.extended
@pytest.mark.parametrize("cassandra", [{"nodes": 2}], indirect=True)
def test_each_node_is_told_and_one_that_is_away_is_unknown(cassandra: Cluster) -> None:
    first, second = cassandra.addresses
    with cassandra.session() as session:
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 2}"
        session.execute(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}")
        session.execute(f"CREATE TABLE {KEYSPACE}.t (p int PRIMARY KEY, a text, b text)")
        for each in range(ROWS):
            session.execute(f"INSERT INTO {KEYSPACE}.t (p, a, b) VALUES ({each}, 'a{each}', 'b{each}')")
        session.execute(f"CREATE INDEX legacy_one ON {KEYSPACE}.t (a)")
        session.execute(f"CREATE INDEX sai_one ON {KEYSPACE}.t (b) USING 'sai'")
    collector = IndexesCollector(Target((first,)))
    collector.start()
    try:
        built = until(collector, lambda item: item["state"] == "built")[-1]
        # The node that is asked hears of the other's state a moment later.
        heard = until(
            collector, lambda item: all(node["gossip"] for node in item["nodes"].values()) and item["percent"]
        )[-1]
        cassandra.nodes[1].kill()
        away = until(collector, lambda item: item["nodes"][second]["state"] == "unknown")[-1]
        cassandra.nodes[1].start()
        back = until(collector, lambda item: item["state"] == "built")
        # Longer than gossip may disagree without consequence.
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            back += until(collector, lambda item: True)
            time.sleep(2.0)
    finally:
        collector.stop()

    for name in NAMES:
        assert set(built[name]["nodes"]) == {first, second}
        gossip = {address: node["gossip"] for address, node in heard[name]["nodes"].items()}
        assert gossip == {first: "BUILD_SUCCEEDED", second: "BUILD_SUCCEEDED"}
        item = away[name]
        assert (item["state"], item["percent"], item["nodes"][first]["state"]) == ("unknown", None, "built")
        assert item["nodes"][second]["percent"] is None
        assert item["verdict"].startswith(f"on {second}: ")
        assert back[-1][name]["state"] == "built"
        assert not {look[name]["state"] for look in back} & {"failed", "inconsistent", "dropped"}
