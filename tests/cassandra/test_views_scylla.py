"""ScyllaDB's views over the wire, against simulated nodes: no live ScyllaDB was to be had.

The rows are as its sources define the tables: db/system_keyspace.cc of scylladb 5.2 to 2026.3 for
system.scylla_views_builds_in_progress and system.built_views (all versions), system.view_build_status_v2
(6.2 and later), system.view_building_tasks and the key view_building_processing_base_id of
system.scylla_local (2025.4 and later), system_distributed.view_build_status (all versions; the only one up
to 6.1), system.tablets (6.0 and later).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diagnostics.collectors.cassandra.connection import Connection
from pytest_diagnostics.collectors.cassandra.polling import _BARE, _STORED, _VIRTUAL
from pytest_diagnostics.collectors.cassandra.queries import Catalog, Query
from pytest_diagnostics.collectors.cassandra.scylla import RETRY_SECONDS
from pytest_diagnostics.collectors.cassandra.view_queries import (
    BUILT,
    LOCAL,
    SCYLLA_BUILDS,
    SCYLLA_PROCESSING,
    SCYLLA_QUERIES,
    SCYLLA_RARE_QUERIES,
    SCYLLA_STATUS,
    SCYLLA_TABLETS,
    SCYLLA_TASKS,
    STATUS,
    VIEW_QUERIES,
    VIEWS,
)
from pytest_diagnostics.collectors.cassandra.views import ViewsReader
from tests.cassandra.simulacron import Simulacron

if TYPE_CHECKING:
    from cassandra.cluster import Session

VIEW_ID, BASE_ID = "c0f9f2c0-e6f8-11f1-a153-cf67210ded50", "a2b561f0-e6f8-11f1-a153-cf67210ded50"
OTHER_ID = "d0f9f2c0-e6f8-11f1-a153-cf67210ded50"
LOWEST = -(2**63)

#: Table -> column -> type, as the sources define them.
_STATUS_TYPES = {"keyspace_name": "text", "view_name": "text", "host_id": "uuid", "status": "text"}
TABLES: dict[Query, dict[str, str]] = {
    LOCAL: {"schema_version": "uuid", "release_version": "text"},
    VIEWS: {
        "keyspace_name": "text",
        "view_name": "text",
        "base_table_name": "text",
        "base_table_id": "uuid",
        "id": "uuid",
    },
    SCYLLA_BUILDS: {
        "keyspace_name": "text",
        "view_name": "text",
        "cpu_id": "int",
        "next_token": "text",
        "generation_number": "int",
        "first_token": "text",
    },
    BUILT: {"keyspace_name": "text", "view_name": "text"},
    STATUS: _STATUS_TYPES,
    SCYLLA_STATUS: _STATUS_TYPES,
    SCYLLA_TASKS: {
        "key": "text",
        "id": "timeuuid",
        "type": "text",
        "aborted": "boolean",
        "base_id": "uuid",
        "view_id": "uuid",
        "last_token": "bigint",
        "host_id": "uuid",
        "shard": "int",
    },
    SCYLLA_PROCESSING: {"key": "text", "value": "text"},
    SCYLLA_TABLETS: {"table_id": "uuid", "last_token": "bigint", "replicas": "list<text>"},
}
#: What the versions before the one in question do not have.
SINCE_6_2 = (SCYLLA_STATUS, SCYLLA_TASKS, SCYLLA_PROCESSING)
SINCE_2025_4 = (SCYLLA_TASKS, SCYLLA_PROCESSING)

Rows = Sequence[Mapping[str, object]]


class Scylla:
    """Two simulated nodes with the tables of one version, a connection to them and a reader."""

    def __init__(self, simulacron: Simulacron, session: Session, without: Sequence[Query] = ()) -> None:
        self.simulacron = simulacron
        self._offered = {query: types for query, types in TABLES.items() if query not in without}
        columns = [
            {"keyspace_name": query.keyspace, "table_name": query.table, "column_name": column}
            for query, types in self._offered.items()
            for column in types
        ]
        self.catalog = Catalog.of_rows(columns)
        self._columns = columns
        self.connection = Connection(session=session)
        hosts = {str(host.address): str(host.host_id) for host in session.cluster.metadata.all_hosts()}
        self.host_ids = [hosts[address] for address in simulacron.addresses]
        #: (query, node or None for all) -> rows. What is not primed has no result at all.
        self._said: dict[tuple[Query, int | None], Rows] = {(query, None): [] for query in self._offered}
        self.say(LOCAL, [{"schema_version": VIEW_ID, "release_version": "3.0.8"}])
        self.say(VIEWS, [self.view_row()])
        self.reader = ViewsReader()

    def poll(self, seconds: float = 0.0) -> dict[str, Any]:
        """Ask as a collector does; ``seconds`` later than the clock says."""
        self._prime()
        moment = time.monotonic() + seconds
        answers = self.connection.ask(self.reader.queries(moment))
        later = {
            topic: {address: replace(reply, moment=reply.moment + seconds) for address, reply in of.items()}
            for topic, of in answers.replies.items()
        }
        return self.reader.read(replace(answers, replies=later, moment=answers.moment + seconds))

    def view(self, seconds: float = 0.0) -> dict[str, Any]:
        (view,) = self.poll(seconds)["views"]
        return dict(view)

    def node(self, view: Mapping[str, Any], number: int) -> dict[str, Any]:
        return dict(view["nodes"][self.simulacron.addresses[number]])

    def view_row(self, name: str = "mv", view_id: str = VIEW_ID) -> dict[str, object]:
        names = {"keyspace_name": "k", "view_name": name, "base_table_name": "t"}
        return {**names, "base_table_id": BASE_ID, "id": view_id}

    def say(self, query: Query, rows: Rows, node: int | None = None) -> None:
        self._said[(query, node)] = rows

    def _prime(self) -> None:
        """Prime everything anew: what was primed before goes on being answered."""
        self.simulacron.forget()
        names = self._columns[0]
        self.simulacron.prime(_STORED.cql(_BARE), self._columns, dict.fromkeys(names, "text"))
        self.simulacron.prime_error(_VIRTUAL.cql(_BARE), "unconfigured table columns")
        for (query, node), rows in self._said.items():
            self.simulacron.prime(query.cql(self.catalog), rows, self._offered[query], node=node)

    def shard(self, cpu: int, following: int | None, first: int) -> dict[str, object]:
        return {
            "keyspace_name": "k",
            "view_name": "mv",
            "cpu_id": cpu,
            "next_token": None if following is None else str(following),
            "generation_number": 0,
            "first_token": str(first),
        }

    def status(self, word: str, node: int) -> dict[str, object]:
        return {"keyspace_name": "k", "view_name": "mv", "host_id": self.host_ids[node], "status": word}

    def tasks(self, count: int, node: int, view_id: str = VIEW_ID) -> list[dict[str, object]]:
        return [
            {
                "key": "view_building",
                "id": f"0000000{number}-e6f8-11f1-a153-cf67210ded5{node}",
                "type": "BUILD_RANGE",
                "aborted": False,
                "base_id": BASE_ID,
                "view_id": view_id,
                "last_token": number,
                "host_id": self.host_ids[node],
                "shard": 0,
            }
            for number in range(count)
        ]


@pytest.fixture(scope="module")
def simulacron() -> Iterator[Simulacron]:
    with Simulacron(nodes=2) as simulacron:
        yield simulacron


@pytest.fixture
def session(simulacron: Simulacron) -> Iterator[Session]:
    with simulacron.session() as session:
        yield session


def test_a_node_is_as_far_as_its_shards_are(simulacron: Simulacron, session: Session) -> None:
    scylla = Scylla(simulacron, session)
    # From the lowest token over a quarter of the ring; from its middle over the end, over three quarters.
    scylla.say(SCYLLA_BUILDS, [scylla.shard(0, -(2**62), LOWEST), scylla.shard(1, -(2**62), 0)], node=0)
    # Registered, nothing done; back at its beginning, and waiting for the other.
    scylla.say(SCYLLA_BUILDS, [scylla.shard(0, None, LOWEST), scylla.shard(1, 7, 7)], node=1)
    scylla.say(SCYLLA_STATUS, [scylla.status("STARTED", 0), scylla.status("STARTED", 1)])
    data = scylla.poll()
    (view,) = data["views"]

    assert data["server"]["kind"] == "scylla"
    assert (view["state"], view["percent"]) == ("building", 50.0)
    assert [scylla.node(view, number)["percent"] for number in (0, 1)] == [50.0, 50.0]
    assert "no table of running build tasks" in scylla.node(view, 0)["reasons"]["running"]
    assert data["unavailable"] == {}
    assert data["errors"] == {}


def test_shards_go_on_until_the_view_is_built(simulacron: Simulacron, session: Session) -> None:
    scylla = Scylla(simulacron, session)
    for node in (0, 1):
        scylla.say(SCYLLA_BUILDS, [scylla.shard(0, 0, LOWEST)], node=node)
    scylla.say(SCYLLA_STATUS, [scylla.status("STARTED", 0), scylla.status("STARTED", 1)])
    first = scylla.view()
    scylla.say(SCYLLA_BUILDS, [scylla.shard(0, 2**62, LOWEST)], node=0)
    second = scylla.view(1.0)
    for node in (0, 1):
        scylla.say(SCYLLA_BUILDS, [], node=node)
    scylla.say(BUILT, [{"keyspace_name": "k", "view_name": "mv"}])
    scylla.say(SCYLLA_STATUS, [scylla.status("SUCCESS", 0), scylla.status("SUCCESS", 1)])
    third = scylla.view(2.0)

    assert [view["percent"] for view in (first, second, third)] == [50.0, 62.5, 100.0]
    assert [view["state"] for view in (first, second, third)] == ["building", "building", "built"]


def test_a_shard_that_does_not_move_is_stuck(simulacron: Simulacron, session: Session) -> None:
    scylla = Scylla(simulacron, session)
    scylla.say(SCYLLA_BUILDS, [scylla.shard(0, 0, LOWEST)])
    scylla.say(SCYLLA_STATUS, [scylla.status("STARTED", 0), scylla.status("STARTED", 1)])

    assert scylla.view()["state"] == "building"
    assert scylla.view(RETRY_SECONDS / 2)["state"] == "building"
    assert scylla.view(RETRY_SECONDS + 5.0)["state"] == "stuck"


def test_started_for_ever_on_a_built_view_is_inconsistent(simulacron: Simulacron, session: Session) -> None:
    """ScyllaDB's issue 20638: a late STARTED overwrites SUCCESS."""
    scylla = Scylla(simulacron, session)
    scylla.say(BUILT, [{"keyspace_name": "k", "view_name": "mv"}])
    scylla.say(SCYLLA_STATUS, [scylla.status("STARTED", 0), scylla.status("SUCCESS", 1)])
    states = [scylla.view(float(second))["state"] for second in (0, 1, 5)]

    assert states == ["built", "built", "inconsistent"]


def test_up_to_6_1_the_status_is_in_system_distributed(simulacron: Simulacron, session: Session) -> None:
    scylla = Scylla(simulacron, session, SINCE_6_2)
    scylla.say(BUILT, [{"keyspace_name": "k", "view_name": "mv"}], node=0)
    scylla.say(BUILT, [], node=1)
    scylla.say(STATUS, [scylla.status("SUCCESS", 0)])
    data = scylla.poll()
    (view,) = data["views"]

    assert [scylla.node(view, number)["state"] for number in (0, 1)] == ["built", "pending"]
    assert scylla.node(view, 0)["status"] == "SUCCESS"
    assert view["status_read_at"] is not None
    assert SCYLLA_STATUS.topic in data["unavailable"]


def test_with_tablets_a_build_is_as_far_as_its_tasks(simulacron: Simulacron, session: Session) -> None:
    scylla = Scylla(simulacron, session)
    scylla.say(SCYLLA_PROCESSING, [{"key": "view_building_processing_base_id", "value": BASE_ID}])
    scylla.say(SCYLLA_STATUS, [scylla.status("STARTED", 0), scylla.status("STARTED", 1)])
    scylla.say(SCYLLA_TASKS, [*scylla.tasks(4, 0), *scylla.tasks(4, 1)])
    first = scylla.view()
    scylla.say(SCYLLA_TASKS, [*scylla.tasks(1, 0), *scylla.tasks(4, 1)])
    second = scylla.view(1.0)
    scylla.say(SCYLLA_TASKS, [*scylla.tasks(2, 1)])
    third = scylla.view(2.0)

    assert [view["percent"] for view in (first, second, third)] == [0.0, 37.5, 75.0]
    assert {view["state"] for view in (first, second, third)} == {"building"}
    assert [scylla.node(third, number)["percent"] for number in (0, 1)] == [100.0, 50.0]
    assert scylla.node(third, 1)["running"] is True


def test_a_view_whose_turn_has_not_come_is_pending(simulacron: Simulacron, session: Session) -> None:
    scylla = Scylla(simulacron, session)
    scylla.say(SCYLLA_PROCESSING, [{"key": "view_building_processing_base_id", "value": OTHER_ID}])
    scylla.say(SCYLLA_STATUS, [scylla.status("STARTED", 0), scylla.status("STARTED", 1)])
    scylla.say(SCYLLA_TASKS, [*scylla.tasks(4, 0), *scylla.tasks(4, 1)])
    view = scylla.view()

    assert (view["state"], view["percent"]) == ("pending", 0.0)
    assert "the node builds other views first" in view["verdict"]


def test_before_2025_4_there_are_no_tasks(simulacron: Simulacron, session: Session) -> None:
    scylla = Scylla(simulacron, session, SINCE_2025_4)
    scylla.say(SCYLLA_BUILDS, [scylla.shard(0, 0, LOWEST)])
    data = scylla.poll()

    assert data["views"][0]["percent"] == 50.0
    assert SCYLLA_TASKS.topic in data["unavailable"]


def test_only_the_first_poll_asks_what_another_server_would_know() -> None:
    topics = {query.topic for query in (*SCYLLA_QUERIES, *SCYLLA_RARE_QUERIES)}

    assert topics < {query.topic for query in VIEW_QUERIES}
