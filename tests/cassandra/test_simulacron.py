"""The simulator answers the driver with what it was told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cassandra.simulacron import Simulacron

#: ScyllaDB, db/system_keyspace.cc: one row per view and shard, while that shard builds.
SCYLLA_PROGRESS = "SELECT * FROM system.scylla_views_builds_in_progress"
TYPES = {
    "keyspace_name": "text",
    "view_name": "text",
    "cpu_id": "int",
    "next_token": "text",
    "generation_number": "int",
    "first_token": "text",
}
ROW = {
    "keyspace_name": "ks",
    "view_name": "by_email",
    "cpu_id": 1,
    "next_token": "-4611686018427387904",
    "generation_number": 0,
    "first_token": "-9223372036854775807",
}


@pytest.fixture(scope="module")
def simulacron(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulacron]:
    with Simulacron(2, directory=tmp_path_factory.mktemp("simulacron")) as simulated:
        yield simulated


def test_primed_rows_are_read_back(simulacron: Simulacron) -> None:
    simulacron.prime(SCYLLA_PROGRESS, [ROW], TYPES)

    with simulacron.session() as session:
        read = [row._asdict() for row in session.execute(SCYLLA_PROGRESS)]
        hosts = sorted(host.address for host in session.cluster.metadata.all_hosts())

    assert read == [ROW]
    assert hosts == simulacron.addresses
    assert SCYLLA_PROGRESS in simulacron.asked()


def test_each_node_has_answers_of_its_own(simulacron: Simulacron) -> None:
    query = "SELECT * FROM system.view_building_tasks"
    simulacron.prime(query, [{"shard": 3}], {"shard": "int"}, node=0)
    simulacron.prime_error(query, "unconfigured table view_building_tasks", node=1)

    with simulacron.session() as session:
        first, second = sorted(session.cluster.metadata.all_hosts(), key=lambda host: str(host.address))
        assert [row.shard for row in session.execute(query, host=first)] == [3]
        with pytest.raises(Exception, match="unconfigured table"):
            session.execute(query, host=second)


def test_what_is_not_primed_has_no_rows(simulacron: Simulacron, tmp_path: Path) -> None:
    simulacron.prime(SCYLLA_PROGRESS, [ROW], TYPES)

    simulacron.forget()

    with simulacron.session() as session:
        assert list(session.execute(SCYLLA_PROGRESS)) == []
