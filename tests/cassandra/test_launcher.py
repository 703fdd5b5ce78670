"""The launcher keeps what it promises: every version starts, and every node ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cassandra.launcher import VERSIONS, Cluster

if TYPE_CHECKING:
    from cassandra.cluster import Session

VERSION = "SELECT release_version FROM system.local"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_starts_answers_and_is_ended(version: str) -> None:
    with Cluster(version) as cluster, cluster.session() as session:
        answered = session.execute(VERSION).one().release_version
        node = cluster.nodes[0]

    assert answered == version.replace("-", "~") or answered == version
    assert not node.running


def test_a_keyspace_is_new_and_writable(session: Session, keyspace: str) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (k int PRIMARY KEY)")
    session.execute(f"INSERT INTO {keyspace}.t (k) VALUES (7)")

    assert [row.k for row in session.execute(f"SELECT k FROM {keyspace}.t")] == [7]
