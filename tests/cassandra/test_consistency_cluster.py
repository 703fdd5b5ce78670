"""The consistency check against three nodes: what a view lost while one of its replicas was dead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics import ViewConsistencyCheck
from pytest_diagnostics.collectors.cassandra.consistency_report import ConsistencyReport
from tests.cassandra.launcher import Cluster

if TYPE_CHECKING:
    from cassandra.cluster import Session

#: What a dead replica of the view misses is replayed from the batch log every 10 s, when it is 4 s old. Into
#: hints, which are off here: it is lost for good. So long at most.
REPLAYED_SECONDS = 60.0
SETTLED_SECONDS = 90.0
THREE = pytest.mark.parametrize(
    "cassandra", [{"nodes": 3, "config": {"hinted_handoff_enabled": False}}], indirect=True
)

Rows = dict[tuple[str, int], int]


def sides(session: Session) -> tuple[Rows, Rows]:
    """Return what the view should hold, and what it holds, read by other means than the check's."""
    base = session.execute("SELECT id, email, n FROM lossy.t")
    view = session.execute("SELECT id, email, n FROM lossy.by_email")
    return {(row.email, row.id): row.n for row in base}, {(row.email, row.id): row.n for row in view}


def written(session: Session, rows: range, n: int) -> int:
    """Insert rows, one by one; return how many the cluster acknowledged."""
    acknowledged = 0
    insert = session.prepare("INSERT INTO lossy.t (id, email, n) VALUES (?, ?, ?)")
    for number in rows:
        try:
            session.execute(insert, (number, f"user{number}@example.org", n))
        except Exception:
            continue  # the base table's own replica is the dead one
        acknowledged += 1
    return acknowledged


@THREE
def test_rows_lost_after_acknowledged_writes_are_found(cassandra: Cluster) -> None:
    with cassandra.session() as session:
        session.execute(
            "CREATE KEYSPACE lossy WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.execute("CREATE TABLE lossy.t (id int PRIMARY KEY, email text, n int)")
        session.execute(
            "CREATE MATERIALIZED VIEW lossy.by_email AS SELECT * FROM lossy.t "
            "WHERE email IS NOT NULL AND id IS NOT NULL PRIMARY KEY (email, id)"
        )
        assert written(session, range(600), 0) == 600
        dead = cassandra.nodes[2]
        dead.kill()
        for node in cassandra.nodes[:2]:
            node.await_log(f"/{dead.address}:7000 is now DOWN", 60.0)
        acknowledged = written(session, range(300, 1_500), 1)
        assert 0 < acknowledged < 1_200
        await_replay(session, {node.address for node in cassandra.nodes[:2]})
        dead.start()
        for node in cassandra.nodes[:2]:
            node.await_log(f"/{dead.address}:7000 is now UP", 60.0)
    with cassandra.session() as session:
        report, expected = settled(session)

    assert report.counts == expected
    assert expected["missing"] > 0
    assert (report.consistency, report.unsettled) == ("ONE", 0)


def await_replay(session: Session, addresses: set[str]) -> None:
    """Wait until nothing is left in the batch logs of these nodes."""
    hosts = [host for host in session.cluster.metadata.all_hosts() if host.address in addresses]
    assert len(hosts) == len(addresses)
    deadline = time.monotonic() + REPLAYED_SECONDS
    while any(list(session.execute("SELECT id FROM system.batches LIMIT 1", host=host)) for host in hosts):
        assert time.monotonic() < deadline, "batches are left"
        time.sleep(0.2)


def settled(session: Session) -> tuple[ConsistencyReport, dict[str, int]]:
    """Return the report of a check during which nothing changed, and what it should say."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while True:
        base, view = sides(session)
        report = ViewConsistencyCheck(session, "lossy", "by_email", max_examples=2_000).run()
        if (base, view) == sides(session):
            break
        assert time.monotonic() < deadline, "the cluster goes on mending itself"
    missing, ghosts = base.keys() - view.keys(), view.keys() - base.keys()
    differing = {key for key in base.keys() & view.keys() if base[key] != view[key]}
    found = {
        kind: {(row.key["email"], row.key["id"]) for row in rows} for kind, rows in report.examples.items()
    }
    assert found == {"missing": missing, "ghost": ghosts, "differs": differing}
    return report, {
        "checked": len(base) + len(ghosts),
        "missing": len(missing),
        "ghost": len(ghosts),
        "differs": len(differing),
    }
