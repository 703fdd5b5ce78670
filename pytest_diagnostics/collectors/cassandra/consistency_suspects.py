"""Rows that looked wrong, looked at again until it is certain: a view follows its base table with a delay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ...core.model import JsonValue
from .consistency_digests import RawRow
from .consistency_plan import Plan
from .consistency_reading import FETCH_ROWS, Reader, RefusedStatementError, Statement
from .consistency_report import KINDS, Example, plain

#: How often a row must be wrong, and its base row unchanged since the look before, until it is reported.
LOOKS = 3
#: How often a row is looked at before it is left alone, as one that is always being changed.
MOST_LOOKS = 10
#: Suspects are looked at together when there are so many: what is held of them is bounded.
MOST_SUSPECTS = 5_000


@dataclass
class Found:
    """What is certain so far."""

    most_examples: int
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    examples: dict[str, list[Example]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    #: Rows that seemed wrong at first sight.
    suspects: int = 0
    unsettled: int = 0
    undecided: int = 0

    def add(self, example: Example) -> None:
        """Count a row that is wrong, and keep it if there is room."""
        self.counts[example.kind] += 1
        if len(self.examples[example.kind]) < self.most_examples:
            self.examples[example.kind].append(example)


class Suspects:
    """Compares rows of one side with the other, and looks again at those that do not agree."""

    def __init__(self, plan: Plan, reader: Reader, found: Found, settle_seconds: float) -> None:
        """Prepare the reads of single rows; what is certain is added to ``found``."""
        self._plan = plan
        self._reader = reader
        self._found = found
        self._settle_seconds = settle_seconds
        self._width = len(plan.columns)
        self._base = reader.prepare(plan.row("base"))
        self._view = reader.prepare(plan.row("view"))
        self._base_stamped = self._stamped("base")
        self._view_stamped = self._stamped("view")
        #: Keys of base rows whose view row was not as it should be; keys of what seemed to be ghosts.
        self._rows: list[RawRow] = []
        self._ghosts: list[RawRow] = []

    def of_base(self, rows: Sequence[RawRow]) -> None:
        """Look up what belongs in the view, and suspect what is not there or is different."""
        plan = self._plan
        held = self._one_each(self._view, [plan.view_values(row) for row in rows])
        self._rows += [plan.base_values(row) for row, there in zip(rows, held, strict=True) if row != there]
        if len(self._rows) >= MOST_SUSPECTS:
            self._settle_rows()

    def of_view(self, rows: Sequence[RawRow], *, ghosts_only: bool) -> None:
        """Look up where rows of the view come from, and suspect those that come from nowhere.

        ``ghosts_only`` leaves out those that differ, of which the base table's side tells.
        """
        plan = self._plan
        bases = self._one_each(self._base, [plan.base_values(row) for row in rows])
        for row, base in zip(rows, bases, strict=True):
            if self._is_ghost(row, base):
                self._ghosts.append(row[: plan.key_width])
            elif not ghosts_only and base is not None and base[: self._width] != row:
                self._rows.append(plan.base_values(row))
        if len(self._ghosts) >= MOST_SUSPECTS:
            self._settle_ghosts()

    def settle(self) -> None:
        """Look at all suspects again until it is certain what is the matter with each."""
        self._settle_rows()
        self._settle_ghosts()

    # -- again and again

    def _settle_rows(self) -> None:
        """Report base rows, unchanged from look to look, whose view row was never as it should be."""
        pending = list(dict.fromkeys(self._rows))
        self._rows = []
        self._found.suspects += len(pending)
        before = dict(zip(pending, self._one_each(self._base_stamped, pending), strict=True))
        wrong = dict.fromkeys(pending, 0)
        for _ in range(MOST_LOOKS):
            pending = [key for key in pending if self._belongs(before[key])]
            if not pending:
                return
            self._reader.wait(self._settle_seconds)
            held = self._one_each(self._view, [self._plan.view_values(before[key] or ()) for key in pending])
            after = self._one_each(self._base_stamped, pending)
            left = []
            for key, there, now in zip(pending, held, after, strict=True):
                was, before[key] = before[key], now
                if was is None or was != now:
                    wrong[key] = 0  # it was changed in between, and its view row may follow yet
                elif self._same(was[: self._width], there):
                    continue
                else:
                    wrong[key] += 1
                    if wrong[key] >= LOOKS:
                        self._report(was, there)
                        continue
                left.append(key)
            pending = left
        self._found.unsettled += len(pending)

    def _settle_ghosts(self) -> None:
        """Report view rows that stay, both sides unchanged, though their base row says otherwise."""
        pending = list(dict.fromkeys(self._ghosts))
        self._ghosts = []
        self._found.suspects += len(pending)
        before = self._both(pending)
        wrong = dict.fromkeys(pending, 0)
        for _ in range(MOST_LOOKS):
            if not pending:
                return
            self._reader.wait(self._settle_seconds)
            after = self._both(pending)
            left = []
            for key in pending:
                was, now = before[key], after[key]
                base, row = now
                if row is None or not self._is_ghost(row, base):
                    continue
                wrong[key] = wrong[key] + 1 if was == now else 0
                if wrong[key] >= LOOKS:
                    self._found.add(Example("ghost", self._key(row)))
                    continue
                left.append(key)
            pending, before = left, after
        self._found.unsettled += len(pending)

    def _report(self, base: RawRow, there: RawRow | None) -> None:
        if there is not None:
            self._found.add(Example("differs", self._key(base), self._differing(base, there)))
            return
        admitted = self._admitted(base)
        if admitted is None:
            self._found.undecided += 1
        elif admitted:
            self._found.add(Example("missing", self._key(base)))

    def _admitted(self, base: RawRow) -> bool | None:
        """Return whether the view's WHERE, as the server reads it, admits a row; None: it does not say."""
        if not self._plan.where.unknown:
            return True
        membership = self._plan.membership()
        if membership is None:
            return None
        cql, given = membership
        key = self._plan.base_values(base)
        try:
            keys = next(self._reader.rows(self._reader.prepare(cql), [[key[at] for at in given]]))
        except RefusedStatementError:
            return None
        if key in keys:
            return True
        return False if len(keys) < FETCH_ROWS else None

    # -- single rows

    def _stamped(self, side: str) -> Statement:
        """Prepare a read with times of writing, by which a change is seen that changes no value."""
        try:
            return self._reader.prepare(self._plan.row(side, stamps=True))
        except RefusedStatementError:  # a type whose time cannot be read: then the values alone
            return self._base if side == "base" else self._view

    def _one_each(self, statement: Statement, keys: Iterable[Sequence[bytes | None]]) -> list[RawRow | None]:
        found = self._reader.rows(statement, keys)
        return [rows[0] if rows else None for rows in found]

    def _both(self, keys: Sequence[RawRow]) -> dict[RawRow, tuple[RawRow | None, RawRow | None]]:
        plan = self._plan
        rows = self._one_each(self._view_stamped, [plan.view_values(key) for key in keys])
        bases = self._one_each(self._base_stamped, [plan.base_values(key) for key in keys])
        return dict(zip(keys, zip(bases, rows, strict=True), strict=True))

    # -- what they say

    def _belongs(self, base: RawRow | None) -> bool:
        return base is not None and self._plan.belongs(base)

    def _is_ghost(self, row: RawRow, base: RawRow | None) -> bool:
        if base is None or not self._plan.belongs(base):
            return True
        width = self._plan.key_width
        return base[:width] != row[:width]

    def _same(self, base: RawRow, there: RawRow | None) -> bool:
        """Return whether two rows say the same, if not in the same bytes: some integers have several."""
        if there is None or base == there:
            return there is not None
        return self._decoded(base) == self._decoded(there)

    def _decoded(self, row: RawRow) -> dict[str, object]:
        return self._reader.decoded(self._view, row[: self._width])

    def _key(self, row: RawRow) -> dict[str, JsonValue]:
        values = self._decoded(row)
        return {name: plain(values[name]) for name in self._plan.view_key}

    def _differing(self, base: RawRow, there: RawRow) -> dict[str, tuple[JsonValue, JsonValue]]:
        ours, theirs = self._decoded(base), self._decoded(there)
        return {name: (plain(ours[name]), plain(theirs[name])) for name in ours if ours[name] != theirs[name]}
