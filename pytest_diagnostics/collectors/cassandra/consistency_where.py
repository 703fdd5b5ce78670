"""Which rows of a base table belong in a view: the view's WHERE, on values as the server stores them. Pure.

What cannot be evaluated here, exactly as the server does it, is kept as text for the server to evaluate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

_INTEGERS = frozenset({"tinyint", "smallint", "int", "bigint", "varint"})
_TEXTS = frozenset({"ascii", "text", "varchar"})
#: Their order is the server's own; equality is that of the bytes.
_IDENTIFIERS = frozenset({"uuid", "timeuuid"})

_NAME = r'(?:[A-Za-z_]\w*|"(?:[^"]|"")+")'
_NOT_NULL = re.compile(rf"^({_NAME})\s+IS\s+NOT\s+NULL$", re.IGNORECASE)
_RELATION = re.compile(rf"^({_NAME})\s*(<=|>=|!=|=|<|>|\bIN\b)\s*(.+)$", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()\[\]{}]|\bAND\b|.""", re.IGNORECASE | re.DOTALL)
_UUID = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)

#: What an integer or a text is compared as. An empty value, which every type may have, is less than all.
Value = tuple[int, int] | bytes | bool

_COMPARED: dict[str, Callable[[Value, Value], bool]] = {
    "=": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,  # type: ignore[operator] # both are of the column's type
    "<=": lambda one, other: one <= other,  # type: ignore[operator] # as above
    ">": lambda one, other: one > other,  # type: ignore[operator] # as above
    ">=": lambda one, other: one >= other,  # type: ignore[operator] # as above
}


@dataclass(frozen=True)
class Relation:
    """One condition on one column."""

    column: str
    operator: str
    operands: tuple[Value, ...]
    #: The column's type, as the schema writes it.
    type: str

    def holds(self, stored: bytes | None) -> bool:
        """Return whether a stored value fulfils it; null fulfils nothing."""
        if stored is None:
            return False
        value = _value(stored, self.type)
        if self.operator == "IN":
            return value in self.operands
        return _COMPARED[self.operator](value, self.operands[0])


@dataclass(frozen=True)
class Where:
    """A view's WHERE: what is evaluated here, and what only the server can."""

    not_null: frozenset[str] = frozenset()
    relations: tuple[Relation, ...] = ()
    #: Conditions as the schema has them, each with the column that it is on; None when that is not clear.
    unknown: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, clause: str, types: Mapping[str, str]) -> Where:
        """Return the WHERE of ``system_schema.views``; ``types`` are those of the base table's columns."""
        not_null, relations = set(), []
        unknown: dict[str, str | None] = {}
        for text in _split(clause, "AND"):
            found = _NOT_NULL.match(text)
            if found is not None:
                not_null.add(unquoted(found[1]))
                continue
            relation = _relation(text, types)
            if relation is None:
                found = _RELATION.match(text)
                unknown[text] = None if found is None else unquoted(found[1])
            else:
                relations.append(relation)
        return cls(frozenset(not_null), tuple(relations), unknown)

    @property
    def columns(self) -> frozenset[str]:
        """The columns whose values are needed to evaluate it."""
        return self.not_null | {relation.column for relation in self.relations}


def unquoted(name: str) -> str:
    """Return the name that an identifier of CQL means."""
    if name.startswith('"'):
        return name[1:-1].replace('""', '"')
    return name.lower()


def _relation(text: str, types: Mapping[str, str]) -> Relation | None:
    found = _RELATION.match(text)
    if found is None:
        return None
    column, operator, right = unquoted(found[1]), found[2].upper(), found[3].strip()
    type_ = types.get(column, "")
    if type_ in _IDENTIFIERS | {"boolean"} and operator not in ("=", "!=", "IN"):
        return None
    literals: Sequence[str] = [right]
    if operator == "IN":
        if not (right.startswith("(") and right.endswith(")")):
            return None
        literals = _split(right[1:-1], ",")
    operands = [_literal(literal, type_) for literal in literals]
    known = tuple(operand for operand in operands if operand is not None)
    if len(known) != len(operands):
        return None
    return Relation(column, operator, known, type_)


def _split(text: str, separator: str) -> list[str]:
    """Part a text at a separator that stands in no quotes and in no brackets."""
    parts, depth = [""], 0
    for word in _TOKEN.findall(text):
        depth += (word in "([{") - (word in ")]}")
        if depth == 0 and word.upper() == separator:
            parts.append("")
        else:
            parts[-1] += word
    return [part.strip() for part in parts if part.strip()]


def _literal(text: str, type_: str) -> Value | None:
    """Return what a literal of CQL is compared as; None when that is not known here."""
    if type_ in _INTEGERS and re.fullmatch(r"-?\d+", text):
        return 1, int(text)
    if type_ in _TEXTS and re.fullmatch(r"'(?:[^']|'')*'", text, re.DOTALL):
        return text[1:-1].replace("''", "'").encode()
    if type_ == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if type_ in _IDENTIFIERS and _UUID.match(text):
        return bytes.fromhex(text.replace("-", ""))
    return None


def _value(stored: bytes, type_: str) -> Value:
    if type_ in _INTEGERS:
        return (1, int.from_bytes(stored, "big", signed=True)) if stored else (0, 0)
    if type_ == "boolean":
        return stored not in (b"", b"\0")
    # The order of UTF-8's bytes is the order in which the server has texts.
    return stored
