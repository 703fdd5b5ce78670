"""A view's WHERE, as the schema of a real server has it, on values as they are stored."""

from __future__ import annotations

import pytest

from pytest_diagnostics.collectors.cassandra.consistency_where import Where

TYPES = {
    "id": "int",
    "big": "varint",
    "name": "text",
    "My name": "text",
    "on": "boolean",
    "who": "uuid",
    "price": "decimal",
    "at": "timestamp",
}


def stored(value: int, width: int = 4) -> bytes:
    return value.to_bytes(width, "big", signed=True)


def test_null_conditions_and_relations_are_told_apart() -> None:
    where = Where.parse("id IS NOT NULL AND \"My name\" is not null AND name = 'x'", TYPES)

    assert where.not_null == {"id", "My name"}
    assert [(relation.column, relation.operator) for relation in where.relations] == [("name", "=")]
    assert where.columns == {"id", "My name", "name"}
    assert where.unknown == {}


@pytest.mark.parametrize(
    ("clause", "value", "holds"),
    [
        ("id > 5", stored(6), True),
        ("id > 5", stored(5), False),
        ("id >= -5", stored(-5), True),
        ("id < 5", stored(-1), True),
        ("id <= 5", stored(6), False),
        ("id = 5", None, False),
        ("id != 5", stored(6), True),
        ("id IN (1, 2, 3)", stored(2), True),
        ("id IN (1, 2, 3)", stored(4), False),
        ("id < 0", b"", True),
        ("big > 100000000000000000000", stored(10**20 + 1, 10), True),
        ("big = 1", b"\0\0\1", True),
        ("name > 'b'", b"ba", True),
        ("name > 'b'", b"B", False),
        ("name = 'it''s AND it'", b"it's AND it", True),
        ("name IN ('a,b', 'c)')", b"c)", True),
        ("name > '\uffff'", "\U00010000".encode(), True),
        ("\"My name\" = ''", b"", True),
        ("on = true", b"\1", True),
        ("on = false", b"\1", False),
        (
            "who = 123e4567-e89b-12d3-a456-426614174000",
            bytes.fromhex("123e4567e89b12d3a456426614174000"),
            True,
        ),
    ],
)
def test_relation_on_a_stored_value(clause: str, value: bytes | None, holds: bool) -> None:
    where = Where.parse(f"{clause} AND id IS NOT NULL", TYPES)

    (relation,) = where.relations
    assert relation.holds(value) is holds


@pytest.mark.parametrize(
    ("clause", "column"),
    [
        ("price > 9.99", "price"),
        ("at > '2026-01-01'", "at"),
        ("who > 123e4567-e89b-12d3-a456-426614174000", "who"),
        ("id = 1.5", "id"),
        ("id IN (1, 'a')", "id"),
        ("unheard = 1", "unheard"),
        ("token(id) > 5", None),
        ("(id, name) > (1, 'a')", None),
    ],
)
def test_what_is_not_known_is_left_to_the_server(clause: str, column: str | None) -> None:
    where = Where.parse(f"name IS NOT NULL AND {clause}", TYPES)

    assert where.relations == ()
    assert where.unknown == {clause: column}
