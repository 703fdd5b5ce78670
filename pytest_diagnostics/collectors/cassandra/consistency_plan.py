"""What a view should hold, by its schema, and the statements that read both of its sides. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...core.errors import ConfigurationError
from .consistency_digests import RawRow
from .consistency_where import Where, unquoted
from .levels import factor
from .queries import Row, qualified, quoted

#: The consistency levels that a SELECT may have, as the protocol numbers them.
LEVELS = {
    "ONE": 1,
    "TWO": 2,
    "THREE": 3,
    "QUORUM": 4,
    "ALL": 5,
    "LOCAL_QUORUM": 6,
    "LOCAL_ONE": 10,
}
_NATIVE = frozenset({"ascii", "bigint", "blob", "boolean", "date", "decimal", "double", "duration", "float"})
_NATIVE |= {"inet", "int", "smallint", "text", "time", "timestamp", "timeuuid", "tinyint", "uuid", "varchar"}
_NATIVE |= {"varint"}


@dataclass(frozen=True)
class Plan:
    """How the rows of a base table and of its view are read, and compared.

    Both sides are read as the same columns in the same order: the base table's primary key, what the view's
    has besides, the view's other columns. A row of the base table may have more, for the view's WHERE.
    """

    keyspace: str
    view: str
    base: str
    columns: tuple[str, ...]
    #: Of ``columns``, how many are the base table's key, and how many are one of the keys.
    base_key_width: int
    key_width: int
    #: What only the base table is asked for.
    more: tuple[str, ...]
    #: The columns of the keys, in the order of the keys; of their partition keys, how many come first.
    base_key: tuple[str, ...]
    base_partition: int
    view_key: tuple[str, ...]
    view_partition: int
    where: Where
    #: Regular columns whose time of writing the server tells.
    stamped: tuple[str, ...]

    @classmethod
    def of_schema(cls, keyspace: str, view: str, definition: Row, columns: Iterable[Row]) -> Plan:
        """Return the plan of rows of ``system_schema.views`` and, for both tables, of ``.columns``."""
        base = str(definition["base_table_name"])
        of: dict[str, list[Row]] = {base: [], view: []}
        for row in columns:
            of[str(row["table_name"])].append(row)
        types = {str(row["column_name"]): str(row["type"]) for row in of[base]}
        base_key, base_partition = _key(of[base])
        view_key, view_partition = _key(of[view])
        keys = base_key + tuple(name for name in view_key if name not in base_key)
        others = sorted(str(row["column_name"]) for row in of[view] if str(row["column_name"]) not in keys)
        where = Where.parse(str(definition["where_clause"]), types)
        shown = keys + tuple(others)
        return cls(
            keyspace=keyspace,
            view=view,
            base=base,
            columns=shown,
            base_key_width=len(base_key),
            key_width=len(keys),
            more=tuple(sorted(where.columns - set(shown))),
            base_key=base_key,
            base_partition=base_partition,
            view_key=view_key,
            view_partition=view_partition,
            where=where,
            stamped=tuple(name for name in shown if name not in base_key and _has_time(types[name])),
        )

    # -- what a row says

    def belongs(self, row: RawRow) -> bool:
        """Return whether a row of the base table belongs in the view, as far as is known here."""
        if None in row[: self.key_width]:
            return False
        if not self._conditions:
            return True
        names = self.columns + self.more
        values = dict(zip(names, row, strict=False))
        return all(values[name] is not None for name in self.where.not_null) and all(
            relation.holds(values[relation.column]) for relation in self.where.relations
        )

    def belonging(self, rows: Sequence[RawRow]) -> list[RawRow]:
        """Return what the view should hold of these rows of the base table."""
        if self._conditions:
            width = len(self.columns)
            return [row[:width] for row in rows if self.belongs(row)]
        # A null is the view's own key column's, or a partition's that holds static values alone.
        key = self.key_width
        return [row for row in rows if None not in row[:key]]

    @property
    def _conditions(self) -> bool:
        return bool(self.where.relations) or not self.where.not_null <= set(self.columns[: self.key_width])

    def base_values(self, row: RawRow) -> RawRow:
        """Return a row's primary key in the base table, in its order."""
        return row[: self.base_key_width]

    def view_values(self, row: RawRow) -> RawRow:
        """Return a row's primary key in the view, in its order."""
        return tuple(row[self.columns.index(name)] for name in self.view_key)

    # -- the statements

    def scan(self, side: str, filtered: bool = False) -> str:
        """Return how a range of tokens is read: of the "base" table or of the "view"."""
        more = "".join(f" AND {text}" for text in self.where.unknown) if filtered and side == "base" else ""
        allow = " ALLOW FILTERING" if more else ""
        token = self._token(side)
        return f"{self._select(side)} WHERE {token} >= ? AND {token} <= ?{more}{allow}"

    def window(self, side: str) -> str:
        """Return how some rows from a token on are read."""
        return f"{self._select(side)} WHERE {self._token(side)} >= ? LIMIT ?"

    def row(self, side: str, *, stamps: bool = False) -> str:
        """Return how one row is read, with the times at which it was written if that is wanted."""
        key = self.base_key if side == "base" else self.view_key
        return f"{self._select(side, stamps)} WHERE " + " AND ".join(f"{quoted(name)} = ?" for name in key)

    def membership(self) -> tuple[str, tuple[int, ...]] | None:
        """Return how the server is asked for the rows that fulfil what cannot be evaluated here.

        With it, the positions in the base table's key of the values that it takes. It gives the keys of the
        rows that are like these values: a column cannot have two conditions, one of them equality. None when
        that would be a search of the whole table.
        """
        judged = set(self.where.unknown.values())
        if None in judged or judged & set(self.base_key[: self.base_partition]):
            return None
        given = tuple(at for at, name in enumerate(self.base_key) if name not in judged)
        conditions = [*(f"{quoted(self.base_key[at])} = ?" for at in given), *self.where.unknown]
        listed = ", ".join(quoted(name) for name in self.base_key)
        where = " AND ".join(conditions)
        return f"SELECT {listed} FROM {self._table('base')} WHERE {where} ALLOW FILTERING", given

    def _select(self, side: str, stamps: bool = False) -> str:
        names = self.columns + (self.more if side == "base" else ())
        listed = [quoted(name) for name in names]
        if stamps:
            keys = self.base_key if side == "base" else self.view_key
            listed += [f"WRITETIME({quoted(name)})" for name in self.stamped if name not in keys]
        return f"SELECT {', '.join(listed)} FROM {self._table(side)}"

    def _table(self, side: str) -> str:
        return qualified(self.keyspace, self.base if side == "base" else self.view)

    def _token(self, side: str) -> str:
        base, view = self.base_key[: self.base_partition], self.view_key[: self.view_partition]
        names = base if side == "base" else view
        return f"token({', '.join(quoted(name) for name in names)})"


def chosen_level(replication: Mapping[str, object], wanted: str | None) -> tuple[str, str]:
    """Return the consistency level of the reads, and why it is this one."""
    if wanted is not None:
        level = wanted.upper()
        if level not in LEVELS:
            raise ConfigurationError(f"consistency={wanted!r} is none of {', '.join(LEVELS)}")
        return level, "as asked for"
    copies = factor({name: value for name, value in replication.items() if name != "class"})
    if copies <= 1:
        return "ONE", "there is one copy of each row" if copies else "every node holds the whole"
    return "QUORUM", f"there are {copies} copies of each row"


def identifiers(name: str) -> tuple[str, str]:
    """Return keyspace and view of ``ks.view``; as in CQL, a name without quotes is in small letters."""
    found = re.fullmatch(r'("(?:[^"]|"")+"|[^".]+)\.("(?:[^"]|"")+"|[^".]+)', name)
    if found is None:
        raise ConfigurationError(f'{name!r} names no view; give "keyspace.view", quoted as in CQL if need be')
    keyspace, view = (unquoted(part) for part in found.groups())
    return keyspace, view


def _key(columns: Iterable[Row]) -> tuple[tuple[str, ...], int]:
    """Return a primary key's columns in their order, and how many are the partition's."""
    parts: dict[str, dict[int, str]] = {"partition_key": {}, "clustering": {}}
    for row in columns:
        if row["kind"] in parts:
            parts[str(row["kind"])][int(str(row["position"]))] = str(row["column_name"])
    names = [part[position] for part in parts.values() for position in sorted(part)]
    return tuple(names), len(parts["partition_key"])


def _has_time(type_: str) -> bool:
    """Return whether WRITETIME is known of a column: it is one value, not a collection of many."""
    return type_ in _NATIVE or type_.startswith(("frozen<", "vector<"))
