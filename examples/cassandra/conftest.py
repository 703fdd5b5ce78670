"""A shop with 100,000 orders in a keyspace of its own, which goes with the session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.concurrent import execute_concurrent
from cassandra.policies import RoundRobinPolicy
from cassandra.query import BatchStatement, BatchType

KEYSPACE = "diagnostics_example"
ORDERS, BUYERS, IN_A_BATCH = 100_000, 1_000, 100


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    """Give a session of the driver with the cluster that run.py started."""
    host, _, port = os.environ.get("EXAMPLE_CASSANDRA", "127.0.0.1:9042").partition(":")
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=60.0)
    cluster = Cluster([host], port=int(port or 9042), execution_profiles={EXEC_PROFILE_DEFAULT: profile})
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


@pytest.fixture(scope="session")
def shop(session: Session) -> Iterator[Session]:
    """Give a session whose keyspace has the table of orders, filled."""
    session.execute(f"DROP KEYSPACE IF EXISTS {KEYSPACE}")
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    session.execute(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}")
    session.set_keyspace(KEYSPACE)
    session.execute("CREATE TABLE orders (id int PRIMARY KEY, buyer int, note text)")
    insert = session.prepare("INSERT INTO orders (id, buyer, note) VALUES (?, ?, ?)")

    def batch(first: int) -> BatchStatement:
        statement = BatchStatement(BatchType.UNLOGGED)
        for number in range(first, first + IN_A_BATCH):
            statement.add(insert, (number, number % BUYERS, "a note of some length " * 8))
        return statement

    batches = ((batch(first), ()) for first in range(0, ORDERS, IN_A_BATCH))
    execute_concurrent(session, batches, concurrency=4)
    yield session
    session.execute(f"DROP KEYSPACE {KEYSPACE}")
