"""The consistency check of views that lost rows on a real server: each is found, or accounted for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics import ViewConsistencyCheck
from pytest_diagnostics.collectors.cassandra.consistency import CheckProgress
from tests.cassandra.conftest import Server
from tests.cassandra.launcher import Cluster

if TYPE_CHECKING:
    from cassandra.cluster import Session

OWN_NODE = pytest.mark.parametrize("cassandra", [{"nodes": 1}], indirect=True)

#: Rows of a view that is empty: more than can be looked at again in a sample's time.
LOST = 6_000

NOT_COMPACTED = "compaction = {'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}"
MISSING = {f"new{number}@example.org" for number in range(50)}
DIFFERING = {f"old{number}@example.org" for number in range(20)}
GHOSTS = {f"late{number}@example.org" for number in range(30)}


def replicated(session: Session, keyspace: str, name: str, copies: int = 1) -> str:
    replication = f"{{'class': 'SimpleStrategy', 'replication_factor': {copies}}}"
    session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, email text, n int) WITH {NOT_COMPACTED}")
    session.execute(
        f"CREATE MATERIALIZED VIEW {keyspace}.{name} AS SELECT * FROM {keyspace}.t "
        f"WHERE email IS NOT NULL AND id IS NOT NULL PRIMARY KEY (email, id) WITH {NOT_COMPACTED}"
    )
    return f"INSERT INTO {keyspace}.t (id, email, n) VALUES (%s, %s, %s)"


def sstables(data: Path, keyspace: str, table: str) -> list[list[Path]]:
    """Return the files of each sstable of a table, the oldest sstable first."""
    found: dict[int, list[Path]] = {}
    for path in data.rglob(f"{keyspace}/{table}-*/*-big-*"):
        generation = re.match(r"[a-z]+-(\d+)-big", path.name)
        assert generation is not None, path
        found.setdefault(int(generation[1]), []).append(path)
    return [found[number] for number in sorted(found)]


@pytest.fixture(scope="module")
def damaged(cassandra: Server) -> Cluster:
    """Give a node in whose keyspace ``bad`` the view lacks an sstable, and the base table another one.

    In its keyspace ``lost`` the view has lost everything.
    """
    from cassandra.concurrent import execute_concurrent_with_args

    assert isinstance(cassandra, Cluster)
    node = cassandra.nodes[0]
    with cassandra.session() as session:
        insert = replicated(session, "bad", "by_email")
        prepared = session.prepare(insert.replace("%s", "?"))
        old = [(number, f"old{number}@example.org", 0) for number in range(1_000)]
        execute_concurrent_with_args(session, prepared, old, concurrency=16)
        node.nodetool("flush", "bad")
        for number in range(50):
            session.execute(insert, (2_000 + number, f"new{number}@example.org", 0))
        for number in range(20):
            session.execute(insert, (number, f"old{number}@example.org", 1))
        node.nodetool("flush", "bad")
        for number in range(30):
            session.execute(insert, (3_000 + number, f"late{number}@example.org", 0))
        execute_concurrent_with_args(
            session,
            session.prepare(replicated(session, "lost", "by_email").replace("%s", "?")),
            [(number, f"old{number}@example.org", 0) for number in range(LOST)],
            concurrency=16,
        )
    node.stop()  # drains: nothing of it is left in the commit log
    for table, lost in (("by_email", 1), ("t", 2)):
        for path in sstables(node.base, "bad", table)[lost]:
            path.unlink()
    for files in sstables(node.base, "lost", "by_email"):
        for path in files:
            path.unlink()
    node.start()
    return cassandra


@OWN_NODE
def test_full_check_finds_each_wrong_row_by_its_key(damaged: Cluster) -> None:
    told: list[CheckProgress] = []
    with damaged.session() as session:
        report = ViewConsistencyCheck(
            session, "bad", "by_email", max_examples=100, settle_seconds=0.05, progress=told.append
        ).run()

    assert report.counts == {"checked": 1_080, "missing": 50, "ghost": 30, "differs": 20}
    found = {kind: {row.key["email"] for row in rows} for kind, rows in report.examples.items()}
    assert found == {"missing": MISSING, "ghost": GHOSTS, "differs": DIFFERING}
    assert all(row.differing == {"n": (1, 0)} for row in report.examples["differs"])
    assert (report.mode, report.consistency, report.bound.share) == ("full", "ONE", 0.0)
    assert not report.is_consistent
    assert [one.step for one in told][-1] == "settling"
    percents = [one.percent for one in told if one.step == "reading"]
    assert percents == sorted(percents)
    assert percents[-1] == 100.0


@OWN_NODE
def test_assertion_names_rows_kinds_and_the_level(damaged: Cluster) -> None:
    with damaged.session() as session:
        report = ViewConsistencyCheck(session, "bad", "by_email", max_examples=2, settle_seconds=0.05).run()

    with pytest.raises(AssertionError) as caught:
        report.assert_consistent()
    message = str(caught.value)
    assert "view bad.by_email does not say what its base table says" in message
    assert "read at ONE: there is one copy of each row" in message
    assert "50 missing (in the base table, not in the view)" in message
    assert "and 48 more" in message
    assert re.search(r"email='late\d+@example.org', id=30\d\d", message)
    assert "n is 1 in the base table, 0 in the view" in message


@OWN_NODE
def test_sample_finds_some_of_them_and_states_what_it_proves(damaged: Cluster) -> None:
    with damaged.session() as session:
        report = ViewConsistencyCheck(session, "bad", "by_email", sample=400, settle_seconds=0.05).run()

    assert report.mode == "sampled"
    assert report.sample == 400
    assert report.counts["checked"] == 800
    # Of 1,050 rows here and 1,030 there, 100 are wrong: none among 400 of each is one chance in 10^17.
    wrong = report.wrong
    assert 0 < wrong <= 100
    assert wrong / 400 < report.bound.share < 1.0
    assert "of 400 sampled rows wrong" in report.bound.sentence


@OWN_NODE
def test_sample_larger_than_the_table_compares_every_row(damaged: Cluster) -> None:
    with damaged.session() as session:
        report = ViewConsistencyCheck(session, "bad", "by_email", sample=5_000, settle_seconds=0.05).run()

    assert report.counts == {"checked": 1_080, "missing": 50, "ghost": 30, "differs": 20}
    assert report.bound.share == 0.0


@OWN_NODE
def test_sample_answers_in_its_time_however_much_is_wrong(damaged: Cluster) -> None:
    with damaged.session() as session:
        report = ViewConsistencyCheck(session, "lost", "by_email", sample=5_000).run()

    assert report.seconds < 7.0  # five, and what the last answers take on a machine that others use
    assert report.suspects > 250
    assert 0 < report.wrong == report.counts["missing"] < report.suspects
    assert report.wrong + report.unjudged == report.suspects
    # All that was looked at was wrong, and the bound does not hide it.
    assert report.bound.share == 1.0
    assert "rows seemed wrong, and there was no time to look at them again" in str(report)


@OWN_NODE
def test_sample_that_may_not_read_fast_compares_what_it_can(damaged: Cluster) -> None:
    with damaged.session() as session:
        report = ViewConsistencyCheck(
            session, "lost", "by_email", sample=5_000, rows_per_second=400, max_seconds=4.0
        ).run()

    assert report.cut_short
    assert report.rows_read <= 400 * (report.seconds + 1.0)
    assert report.counts["checked"] < 5_000
    assert "fewer rows than the 5,000 asked for: max_seconds=4 was over" in str(report)
