"""Indexes over several nodes and polls: gossip, nodes that are away, what is created, dropped, absent."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from pytest_diagnostics.collectors.cassandra.index_rows import (
    GOSSIP,
    INDEX_INFO,
    INDEXES,
    SAI_INDEXES,
    gossip,
)
from pytest_diagnostics.collectors.cassandra.indexes import IndexesReader
from pytest_diagnostics.collectors.cassandra.queries import Catalog, Query, Row
from pytest_diagnostics.collectors.cassandra.shared import SSTABLE_TASKS, THREAD_POOLS
from pytest_diagnostics.collectors.cassandra.view_queries import (
    BUILT,
    LOCAL,
    SCYLLA_BUILDS,
    SCYLLA_STATUS,
    SCYLLA_TASKS,
    VIEWS,
)
from tests.collectors.cassandra.index_answers import (
    SASI,
    A,
    B,
    C,
    Reading,
    Said,
    answers,
    flags,
    heard,
    index,
    listed,
    on,
    pools,
    said,
    states,
    task,
)

# -- gossip


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ('{"system":{"PaxosUncommittedIndex":3},"k":{"ia":1}}', "FULL_REBUILD_STARTED"),
        ('{"k":{"ia":3}}', "BUILD_SUCCEEDED"),
        ('{"k.ia":"BUILD_FAILED"}', "BUILD_FAILED"),
        ('{"k":{"ia":"BUILD_SUCCEEDED"}}', "BUILD_SUCCEEDED"),
        ('{"k":{"ia":17}}', "17"),
    ],
)
def test_gossip_is_read_in_both_of_its_formats(told: str, state: str) -> None:
    assert gossip([{"address": A, "index_status": told}])[A]["k", "ia"] == state


@pytest.mark.parametrize("told", [None, "", "{", "[1]", "3"])
def test_gossip_that_says_nothing_is_no_state(told: str | None) -> None:
    assert gossip([{"address": A, "index_status": told}]).get(A, {}) == {}


def test_gossip_that_disagrees_for_long_makes_an_index_inconsistent() -> None:
    reading = Reading()

    found = [
        reading.look([index()], [], listed("ia"), gossip=heard(ia=2), seconds=8.0)["ia"] for _ in range(3)
    ]
    after = reading.look([index()], [], listed("ia"), gossip=heard(ia=3))["ia"]

    assert [item["state"] for item in found] == ["built", "built", "inconsistent"]
    assert found[2]["verdict"] == "it is built on this node, but gossip says BUILD_FAILED"
    assert after["state"] == "built"


# -- several nodes


def test_cluster_is_as_bad_as_its_worst_node_and_as_far_as_their_mean() -> None:
    reading = Reading()
    schema = [index()]

    found = reading.nodes(
        {
            A: said(schema, [], listed("ia")),
            B: said(schema, [task(500)], [], pools(managing=1, executing=1)),
            C: said(schema, [], [], pools(managing=1)),
        }
    )["ia"]

    assert (found["state"], found["percent"]) == ("pending", 50.0)
    assert {address: on(found, address)["state"] for address in (A, B, C)} == {
        A: "built",
        B: "building",
        C: "pending",
    }


def test_node_that_is_down_is_unknown_and_its_percentage_is_not_made_up() -> None:
    reading = Reading()

    found = reading.nodes({A: said([index()], [], listed("ia"))}, down=[B])["ia"]

    assert (found["state"], found["percent"], found["queryable"]) == ("unknown", None, None)
    assert on(found, B)["percent"] is None
    assert on(found, B)["listed_as_built"] is None
    assert found["verdict"] == f"on {B}: the node is down"
    assert found["reasons"] == {
        "percent": "the node is down",
        "queryable": "the server says so of storage-attached and of built indexes only",
        "rate_percent_per_second": "it is not being built",
        "eta_seconds": "it is not being built",
        "first_seen_built": "it was not seen built on every node yet",
    }


def test_node_without_the_schema_is_pending_and_never_failed() -> None:
    reading = Reading()
    schema = [index()]

    for _ in range(4):
        found = reading.nodes({A: said(schema, [], listed("ia")), B: said([])})["ia"]

    assert on(found, B)["state"] == "pending"
    assert found["verdict"] == f"on {B}: this node's schema does not have it"


def test_gossip_of_one_node_tells_of_all() -> None:
    reading = Reading()
    rows: list[Row] = [
        {"address": A, "index_status": '{"k":{"ia":3}}'},
        {"address": B, "index_status": '{"k":{"ia":1}}'},
    ]
    by_node = {
        A: said([index()], [], listed("ia"), gossip=rows),
        B: said([index()], [task(10)], [], pools(managing=1)),
    }
    del by_node[B][GOSSIP]

    found = reading.nodes(by_node)["ia"]

    assert (on(found, A)["gossip"], on(found, B)["gossip"]) == ("BUILD_SUCCEEDED", "FULL_REBUILD_STARTED")


# -- what could not be read


@pytest.mark.parametrize("query", [SSTABLE_TASKS, THREAD_POOLS, INDEXES])
def test_unlisted_index_is_unknown_when_it_cannot_be_told_who_works(query: Query) -> None:
    reading = Reading()
    told = said([index()])
    told[query] = "permission: User watcher has no SELECT permission"

    for _ in range(3):
        found = reading.nodes({A: told, B: said([index()], [], listed("ia"))})["ia"]

    assert (found["state"], found["percent"]) == ("unknown", None)
    assert on(found, B)["state"] == "built"
    reasons = on(found)["reasons"]
    assert isinstance(reasons, dict)
    assert "permission: User watcher has no SELECT permission" in reasons.values()
    assert reading.result["errors"] == {A: {query.topic: "permission: User watcher has no SELECT permission"}}


def test_index_info_that_failed_or_was_cut_off_proves_nothing() -> None:
    for truncated in ((), (INDEX_INFO.topic,)):
        reading = Reading()
        told = said([index()])
        if not truncated:
            told[INDEX_INFO] = "timeout: no answer within 3.0 s"
        for _ in range(3):
            found = reading.nodes({A: told}, truncated=truncated)["ia"]

        assert found["state"] == "unknown"
        assert on(found)["listed_as_built"] is None


def test_storage_attached_without_its_table_is_judged_as_the_others() -> None:
    reading = Reading()
    told = {**said([index("ic", "sai")], [], listed("ic")), SAI_INDEXES: "permission: no"}

    found = reading.nodes({A: told})["ic"]

    assert found["state"] == "built"
    assert on(found)["is_queryable"] is None


def test_no_schema_is_no_list_but_a_reason() -> None:
    reader = IndexesReader()
    result = reader.read(answers({A: {INDEXES: "timeout: no answer within 3.0 s"}}, 1.0))

    assert result["indexes"] is None
    assert result["reasons"] == {"indexes": "timeout: no answer within 3.0 s"}


def test_what_a_version_does_not_offer_is_told_and_is_no_error() -> None:
    reading = Reading()
    reading.look([index()], [], listed("ia"))

    assert reading.result["unavailable"] == {
        "gossip_index_status": "system_views.gossip_info has no column index_status",
        "sai_column_indexes": "this version has no table system_views.sai_column_indexes",
    }
    assert reading.result["errors"] == {}


# -- created, dropped, re-created


def test_dropped_index_is_told_for_a_minute() -> None:
    reading = Reading()
    reading.look([index()], [], listed("ia"))

    found = [reading.look([], seconds=seconds) for seconds in (1.0, 58.0, 3.0)]

    assert [states(each) for each in found] == [{"ia": ("dropped", None)}, {"ia": ("dropped", None)}, {}]
    assert reading.result["total"] == 0


@pytest.mark.parametrize("table", ["t", "another"])
def test_index_of_the_same_name_begins_anew(table: str) -> None:
    reading = Reading()
    reading.look([index()], [task(900)])
    if table == "t":
        reading.look([])

    found = reading.look([index(table=table)], [task(10, table=table, name="two")])["ia"]

    assert (found["state"], found["percent"], found["table"]) == ("building", 1.0, table)


def test_system_indexes_are_nobodys() -> None:
    paxos = {**index("PaxosUncommittedIndex"), "keyspace_name": "system"}

    assert Reading().look([paxos], [], listed()) == {}


def test_names_are_taken_as_they_are() -> None:
    odd = {**index('i"x'), "keyspace_name": 'My"KS', "table_name": "select"}

    found = Reading().look([odd], [], [{"table_name": 'My"KS', "index_name": 'i"x'}])

    assert states(found) == {'i"x': ("built", 100.0)}


def test_thousands_of_indexes_stay_within_a_result() -> None:
    schema = [index(f"i{number}") for number in range(5000)]
    reading = Reading()

    found = reading.look(schema, [], listed(*(f"i{number}" for number in range(4990))), pools(managing=1))

    assert reading.result["states"] == {"built": 4990, "pending": 10}
    assert sorted(found) == [f"i{number}" for number in range(4990, 5000)]
    assert reading.result["left_out"] == 4990


def test_an_index_that_somebody_waits_for_is_told_of_among_thousands() -> None:
    schema = [index(f"i{number}") for number in range(5000)]
    reading = Reading()
    reading.reader.attend("k", "i7")

    found = reading.look(schema, [], listed(*(f"i{number}" for number in range(5000))), pools())

    assert states(found) == {"i7": ("built", 100.0)}
    assert (reading.result["total"], reading.result["states"]) == (5000, {"built": 5000})


def test_custom_and_sasi_kinds_are_told_by_their_class() -> None:
    schema = [index("ib", SASI), index("ix", "com.example.LuceneIndex"), index("is", "sai")]
    sai = [flags("is", building=False, queryable=True)]

    found = Reading().look(schema, [], listed("ib", "ix", "is"), sai=sai)

    kinds = {name: item["kind"] for name, item in found.items()}
    assert kinds == {"ib": "sasi", "ix": "custom", "is": "storage-attached"}


# -- ScyllaDB: rows as its sources define them (system.scylla_views_builds_in_progress of 5.2 to 2026.3)


def test_index_of_scylla_is_told_from_the_view_behind_it() -> None:
    catalog = Catalog({("system", "scylla_local"): ("key",)})
    view = {"keyspace_name": "k", "view_name": "ia_index", "base_table_name": "t", "id": "1"}
    half = {"keyspace_name": "k", "view_name": "ia_index", "cpu_id": 0, "first_token": "0"}

    def poll(reader: IndexesReader, moment: float, built: Sequence[Row]) -> dict[str, object]:
        rows: list[Row] = [] if built else [{**half, "next_token": str(2**62), "generation_number": 0}]
        told: dict[Query, Said] = {
            INDEXES: [index()],
            VIEWS: [view],
            LOCAL: [],
            SCYLLA_BUILDS: rows,
            BUILT: built,
        }
        by_node = {A: {**told, SCYLLA_STATUS: []}}
        found = reader.read(answers(by_node, moment, catalog=catalog))["indexes"]
        assert isinstance(found, list)
        (item,) = found
        assert isinstance(item, dict)
        json.dumps(item)
        return item

    reader = IndexesReader()
    building = poll(reader, 1.0, [])
    built = poll(reader, 2.0, [{"keyspace_name": "k", "view_name": "ia_index"}])

    assert (building["kind"], building["state"], building["percent"]) == ("view", "building", 25.0)
    assert (built["index"], built["table"], on(built)["locally_built"]) == ("ia", "t", True)
    assert {INDEXES, SCYLLA_STATUS, SCYLLA_TASKS} <= set(reader.queries(3.0))
    assert SSTABLE_TASKS not in reader.queries(3.0)


def test_indexes_of_a_large_scylla_cluster_are_told_from_all_the_views() -> None:
    names = [f"i{number:03}" for number in range(300)]
    views = [
        {"keyspace_name": "k", "view_name": f"{name}_index", "base_table_name": "t", "id": name}
        for name in names
    ]
    told: dict[Query, Said] = {
        INDEXES: [index(name) for name in names],
        VIEWS: views,
        LOCAL: [],
        SCYLLA_BUILDS: [],
        BUILT: [{"keyspace_name": "k", "view_name": "i299_index"}],
        SCYLLA_STATUS: [],
    }
    reader = IndexesReader()
    reader.attend("k", "i299")

    found = reader.read(answers({A: told}, 1.0, catalog=Catalog({("system", "scylla_local"): ("key",)})))

    assert found["states"] == {"built": 1, "pending": 299}
    items = found["indexes"]
    assert isinstance(items, list)
    assert (items[0]["index"], items[0]["state"]) == ("i299", "built")


def test_one_of_thousands_that_changes_is_listed_with_all_that_is_known_of_it() -> None:
    names = [f"i{number}" for number in range(2000)]
    schema = [index(name) for name in names]
    reading = Reading()
    counts = [reading.look(schema, [], listed(*names)), reading.look(schema, [], listed(*names))]
    digests = [reading.result["digest"]]

    rebuilt = reading.look(schema, [task(100)], listed(*names[1:]))
    built = reading.look(schema, [], listed(*names))
    after = reading.look(schema, [], listed(*names))
    digests.append(reading.result["digest"])

    assert counts == [{}, {}]
    assert states(rebuilt) == {"i0": ("building", 10.0)}
    assert on(rebuilt["i0"])["listed_as_built"] is False
    assert states(built) == {"i0": ("built", 100.0)}
    assert after == {}
    assert reading.result["states"] == {"built": 2000}
    assert digests[0] == digests[1]
