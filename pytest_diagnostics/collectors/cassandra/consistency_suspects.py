"""Rows that looked wrong, looked at again until it is certain: a view follows its base table with a delay."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ...core.clock import SystemClock
from ...core.model import JsonValue
from .consistency_digests import RawRow
from .consistency_plan import Plan
from .consistency_reading import FETCH_ROWS, Reader, RefusedStatementError, Statement
from .consistency_report import KINDS, Example, plain

#: How often a row must be wrong, and its base row unchanged since the look before, until it is reported.
LOOKS = 3
#: How often a row is looked at before it is left alone, as one that is always being changed.
MOST_LOOKS = 10
#: Suspects of a full check are looked at together when there are so many: what is held of them is bounded.
MOST_SUSPECTS = 5_000
#: Rows that are looked up before the clock is asked whether there is time for more.
AT_A_TIME = 256
#: Where time is limited, so many suspects are looked at again as take this share of what is left of it, by
#: how fast rows were looked up before, and these in any case.
SHARE_OF_TIME = 0.7
LEAST_SUSPECTS = 20
_OVER = object()


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
    #: Suspects for which there was no time.
    unjudged: int = 0

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
        self._clock = SystemClock()
        self._width = len(plan.columns)
        self._base = reader.prepare(plan.row("base"))
        self._view = reader.prepare(plan.row("view"))
        self._base_stamped = self._stamped("base")
        self._view_stamped = self._stamped("view")
        #: Keys of base rows whose view row was not as it should be; keys of what seemed to be ghosts.
        self._rows: list[RawRow] = []
        self._ghosts: list[RawRow] = []
        #: Single rows read so far, and what they took.
        self._looked_up = 0
        self._seconds = 0.0

    def of_base(self, rows: Sequence[RawRow]) -> int:
        """Look up what belongs in the view, and suspect what is not there or is different.

        Returns how many rows there was time for, which are the first.
        """
        plan, done = self._plan, 0
        for some in self._in_time(rows):
            held = self._one_each(self._view, [plan.view_values(row) for row in some])
            pairs = zip(some, held, strict=True)
            self._rows += [plan.base_values(row) for row, there in pairs if row != there]
            done += len(some)
        if len(self._rows) >= MOST_SUSPECTS and self._reader.until is None:
            self._look_again(self._settling_rows())
        return done

    def of_view(self, rows: Sequence[RawRow], *, ghosts_only: bool) -> int:
        """Look up where rows of the view come from, and suspect those that come from nowhere.

        ``ghosts_only`` leaves out those that differ, of which the base table's side tells. Returns how many
        rows there was time for.
        """
        plan, done = self._plan, 0
        for some in self._in_time(rows):
            bases = self._one_each(self._base, [plan.base_values(row) for row in some])
            for row, base in zip(some, bases, strict=True):
                if self._is_ghost(row, base):
                    self._ghosts.append(row[: plan.key_width])
                elif not ghosts_only and base is not None and base[: self._width] != row:
                    self._rows.append(plan.base_values(row))
            done += len(some)
        if len(self._ghosts) >= MOST_SUSPECTS and self._reader.until is None:
            self._look_again(self._settling_ghosts())
        return done

    def settle(self) -> None:
        """Look at all suspects again until it is certain what is the matter with each, or time is up."""
        self._leave_out()
        self._look_again(self._settling_rows(), self._settling_ghosts())

    # -- again and again

    def _in_time(self, rows: Sequence[RawRow]) -> Iterator[Sequence[RawRow]]:
        """Yield rows, many at a time, as long as there is time; some in any case."""
        first = 0
        while first < len(rows) and (self._reader.seconds_left or not first):
            last = first + int(min(AT_A_TIME, self._reader.times(1)))
            yield rows[first:last]
            first = last

    def _leave_out(self) -> None:
        """Keep as many suspects, chosen by chance, as there is time to look at again."""
        if self._reader.until is None:
            return
        self._rows, self._ghosts = list(dict.fromkeys(self._rows)), list(dict.fromkeys(self._ghosts))
        seconds = self._reader.seconds_left - LOOKS * self._settle_seconds
        # Both sides are read at every look, and before the first one.
        room = SHARE_OF_TIME * seconds * self._looked_up / max(self._seconds, 1e-3) / (2 * LOOKS + 2)
        least = min(LEAST_SUSPECTS, self._reader.times(2 * LOOKS + 2))
        share = max(room, least) / max(1, len(self._rows) + len(self._ghosts))
        if share >= 1.0:
            return
        for keys in (self._rows, self._ghosts):
            random.shuffle(keys)
            kept = math.ceil(share * len(keys))
            self._found.unjudged += len(keys) - kept
            self._found.suspects += len(keys) - kept
            del keys[kept:]

    def _look_again(self, *under_way: Iterator[None]) -> None:
        """Go on with each, pausing once for all of them between two looks."""
        while under_way:
            under_way = tuple(one for one in under_way if next(one, _OVER) is not _OVER)
            if under_way:
                self._reader.wait(self._settle_seconds)

    @property
    def _is_time_for_a_look(self) -> bool:
        """Whether a look that follows a pause would begin in time."""
        return self._reader.seconds_left > self._settle_seconds

    def _settling_rows(self) -> Iterator[None]:
        """Report base rows, unchanged from look to look, whose view row was never as it should be.

        Yields before each look, for a pause.
        """
        pending = list(dict.fromkeys(self._rows))
        self._rows = []
        self._found.suspects += len(pending)
        before = dict(zip(pending, self._one_each(self._base_stamped, pending), strict=True))
        wrong = dict.fromkeys(pending, 0)
        for _ in range(MOST_LOOKS):
            pending = [key for key in pending if self._belongs(before[key])]
            if not pending:
                return
            if not self._is_time_for_a_look:
                self._found.unjudged += len(pending)
                return
            yield
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

    def _settling_ghosts(self) -> Iterator[None]:
        """Report view rows that stay, both sides unchanged, though their base row says otherwise.

        Yields before each look, for a pause.
        """
        pending = list(dict.fromkeys(self._ghosts))
        self._ghosts = []
        self._found.suspects += len(pending)
        before = self._both(pending)
        wrong = dict.fromkeys(pending, 0)
        for _ in range(MOST_LOOKS):
            if not pending:
                return
            if not self._is_time_for_a_look:
                self._found.unjudged += len(pending)
                return
            yield
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
            keys, are_all = self._reader.some(
                self._reader.prepare(cql), [key[at] for at in given], FETCH_ROWS
            )
        except RefusedStatementError:
            return None
        if key in keys:
            return True
        return False if are_all else None

    # -- single rows

    def _stamped(self, side: str) -> Statement:
        """Prepare a read with times of writing, by which a change is seen that changes no value."""
        try:
            return self._reader.prepare(self._plan.row(side, stamps=True))
        except RefusedStatementError:  # a type whose time cannot be read: then the values alone
            return self._base if side == "base" else self._view

    def _one_each(self, statement: Statement, keys: Iterable[Sequence[bytes | None]]) -> list[RawRow | None]:
        began = self._clock.monotonic()
        found = [rows[0] if rows else None for rows in self._reader.rows(statement, keys)]
        self._seconds += self._clock.monotonic() - began
        self._looked_up += len(found)
        return found

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
