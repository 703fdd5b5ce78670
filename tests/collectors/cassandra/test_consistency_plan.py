"""What a view should hold by its schema, and the statements that read it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from pytest_diagnostics.collectors.cassandra.consistency_digests import RawRow
from pytest_diagnostics.collectors.cassandra.consistency_plan import Plan, chosen_level, identifiers
from pytest_diagnostics.collectors.cassandra.consistency_reading import (
    FIRST_TOKEN,
    LAST_TOKEN,
    token_bytes,
    token_ranges,
)
from pytest_diagnostics.core.errors import ConfigurationError


def column(table: str, name: str, kind: str, position: int, type_: str = "text") -> dict[str, object]:
    return {"table_name": table, "column_name": name, "kind": kind, "position": position, "type": type_}


def plan(where: str = "who IS NOT NULL AND p IS NOT NULL AND c IS NOT NULL") -> Plan:
    columns = [
        column("t", "c", "clustering", 0, "int"),
        column("t", "p", "partition_key", 0, "int"),
        column("t", "s", "static", -1),
        column("t", "who", "regular", -1),
        column("t", 'a"b', "regular", -1, "map<text, int>"),
        column("t", "n", "regular", -1, "int"),
        column("v", "who", "partition_key", 0),
        column("v", "c", "clustering", 0, "int"),
        column("v", "p", "clustering", 1, "int"),
        column("v", 'a"b', "regular", -1, "map<text, int>"),
    ]
    return Plan.of_schema("Ks", "v", {"base_table_name": "t", "where_clause": where}, columns)


def test_both_sides_are_read_as_the_same_columns() -> None:
    it = plan()

    assert it.columns == ("p", "c", "who", 'a"b')
    assert (it.base_key, it.base_partition) == (("p", "c"), 1)
    assert (it.view_key, it.view_partition) == (("who", "c", "p"), 1)
    listed = '"p", "c", "who", "a""b"'
    token = 'token("p")'
    assert it.scan("base") == f'SELECT {listed} FROM "Ks"."t" WHERE {token} >= ? AND {token} <= ?'
    assert it.window("view") == f'SELECT {listed} FROM "Ks"."v" WHERE token("who") >= ? LIMIT ?'
    assert it.row("view") == f'SELECT {listed} FROM "Ks"."v" WHERE "who" = ? AND "c" = ? AND "p" = ?'
    row: RawRow = (b"p", b"c", b"w", None)
    assert it.base_values(row) == (b"p", b"c")
    assert it.view_values(row) == (b"w", b"c", b"p")


def test_times_of_writing_are_read_of_regular_columns_with_one_value() -> None:
    it = plan()

    assert 'WRITETIME("who")' in it.row("base", stamps=True)
    assert "WRITETIME" not in it.row("view", stamps=True)  # a key there, and a map beside it


def test_rows_without_a_key_of_the_view_do_not_belong() -> None:
    it = plan()
    there: RawRow = (b"\0\0\0\1", b"\0\0\0\2", b"Ann", None)
    rows: list[RawRow] = [there, (there[0], there[1], None, None), (there[0], None, None, None)]

    assert it.belonging(rows) == [there]
    assert [it.belongs(row) for row in rows] == [True, False, False]


def test_where_needs_columns_that_the_view_does_not_have() -> None:
    it = plan("who IS NOT NULL AND p > 0 AND c IS NOT NULL AND n = 7")
    good: RawRow = (b"\0\0\0\1", b"\0\0\0\2", b"Ann", None, b"\0\0\0\7")

    assert it.more == ("n",)
    assert it.scan("base").startswith('SELECT "p", "c", "who", "a""b", "n" FROM')
    assert '"n"' not in it.scan("view")
    rows: list[RawRow] = [good, (*good[:4], b"\0\0\0\x08"), (*good[:4], None), (b"\0\0\0\0", *good[1:])]
    assert it.belonging(rows) == [good[:4]]


def test_server_is_asked_what_only_it_can_judge() -> None:
    it = plan("who IS NOT NULL AND p IS NOT NULL AND c IS NOT NULL AND token(n) > 1")
    unknown = replace(it, where=replace(it.where, unknown={"c > 1.5": "c"}))

    assert unknown.scan("base", filtered=True).endswith("AND c > 1.5 ALLOW FILTERING")
    assert "1.5" not in unknown.scan("view", filtered=True)
    assert unknown.membership() == (
        'SELECT "p", "c" FROM "Ks"."t" WHERE "p" = ? AND c > 1.5 ALLOW FILTERING',
        (0,),
    )
    assert it.membership() is None  # of which column that speaks is not clear
    search = replace(it, where=replace(it.where, unknown={"p > 1.5": "p"}))
    assert search.membership() is None  # it would read the whole table


@pytest.mark.parametrize(
    ("replication", "wanted", "level"),
    [
        ({"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"}, None, "ONE"),
        ({"class": "SimpleStrategy", "replication_factor": "3"}, None, "QUORUM"),
        ({"class": "NetworkTopologyStrategy", "east": "1", "west": "1"}, None, "QUORUM"),
        ({"class": "NetworkTopologyStrategy", "east": "3/1"}, None, "QUORUM"),
        ({"class": "EverywhereStrategy"}, None, "ONE"),
        ({"class": "SimpleStrategy", "replication_factor": "3"}, "all", "ALL"),
    ],
)
def test_level_follows_the_replication(replication: dict[str, str], wanted: str | None, level: str) -> None:
    chosen, reason = chosen_level(replication, wanted)

    assert chosen == level
    assert reason


def test_level_that_no_select_has_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="consistency='any' is none of ONE"):
        chosen_level({}, "any")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ks.view", ("ks", "view")),
        ("Ks.View", ("ks", "view")),
        ('"My""KS"."a.b"', ('My"KS', "a.b")),
        ("select.token", ("select", "token")),
    ],
)
def test_name_of_a_view(text: str, names: tuple[str, str]) -> None:
    assert identifiers(text) == names


@pytest.mark.parametrize("text", ["", "view", "a.b.c", '"ks".', '"ks"x.v'])
def test_name_of_no_view(text: str) -> None:
    with pytest.raises(ConfigurationError, match="names no view"):
        identifiers(text)


@pytest.mark.parametrize("count", [1, 3, 32])
def test_ranges_cover_the_ring_once(count: int) -> None:
    ranges = token_ranges(count)

    edges = [
        (int.from_bytes(a, "big", signed=True), int.from_bytes(b, "big", signed=True)) for a, b in ranges
    ]
    assert len(edges) == count
    assert edges[0][0] == FIRST_TOKEN
    assert edges[-1][1] == LAST_TOKEN
    assert all(after[0] == before[1] + 1 for before, after in pairwise(edges))
    assert token_bytes(-1) == b"\xff" * 8
