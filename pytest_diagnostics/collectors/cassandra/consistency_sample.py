"""Rows from random places of both sides of a view, each looked up on the other, in limited time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from ...core.errors import ConfigurationError
from .consistency_digests import RawRow
from .consistency_plan import Plan
from .consistency_reading import FIRST_TOKEN, LAST_TOKEN, Reader, token_bytes
from .consistency_suspects import Suspects

#: Rows of a sample that are neighbours on the ring.
WINDOW_ROWS = 25
#: How many times as many windows are tried as would do: near the end of the ring they have fewer rows, and
#: they may overlap.
MOST_WINDOWS = 4
#: What a sample takes at most, and the shares of it by which each side is compared; the rest is for what
#: seems wrong.
SAMPLE_SECONDS = 5.0
BASE_SHARE, VIEW_SHARE = 0.25, 0.5
#: Of the time for a side, for drawing its rows: looking them up takes longer.
DRAWING_SHARE = 0.4
_MURMUR3 = "Murmur3Partitioner"


@dataclass(frozen=True)
class Compared:
    """How much was compared."""

    #: Of both sides.
    rows: int
    #: Of the side of which fewer were; None when all that there are of both sides were.
    size: int | None
    #: Whether time was up before as many as wanted were.
    cut_short: bool


@dataclass
class _Side:
    """What was drawn of one side."""

    rows: list[RawRow]
    #: Whether these are all that there are.
    is_all: bool
    cut_short: bool
    #: How many of the rows were looked up, the first ones.
    compared: int = 0

    def looked_up(self, count: int) -> None:
        self.compared = count
        if count < len(self.rows):
            self.is_all, self.cut_short = False, True


class Sample:
    """Compares some rows of each side."""

    def __init__(
        self,
        plan: Plan,
        reader: Reader,
        suspects: Suspects,
        wanted: int,
        tell: Callable[[str, float, Reader], object],
    ) -> None:
        """Draw ``wanted`` rows of each side; ``tell`` is told the step, its percent and who reads."""
        self._plan = plan
        self._reader = reader
        self._suspects = suspects
        self._wanted = wanted
        self._tell = tell
        self._random = random.Random()

    def compare(self, began: float, max_seconds: float | None) -> Compared:
        """Compare, in at most ``max_seconds`` since the moment ``began``, CLOCK_MONOTONIC."""
        reader, suspects = self._reader, self._suspects
        partitioner = str(reader.table("SELECT partitioner FROM system.local")[0]["partitioner"])
        if not partitioner.endswith(_MURMUR3):
            raise ConfigurationError(f"a sample needs {_MURMUR3}, this is {partitioner}; leave out sample=")

        def limit(share: float) -> None:
            reader.until = None if max_seconds is None else began + share * max_seconds

        limit(DRAWING_SHARE * BASE_SHARE)
        ours = self._drawn("base")
        ours.rows = self._plan.belonging(ours.rows)
        self._tell("sampling", 20.0, reader)
        limit(BASE_SHARE)
        ours.looked_up(suspects.of_base(ours.rows))
        self._tell("sampling", 50.0, reader)
        limit(BASE_SHARE + DRAWING_SHARE * (VIEW_SHARE - BASE_SHARE))
        theirs = self._drawn("view")
        self._tell("sampling", 70.0, reader)
        limit(VIEW_SHARE)
        theirs.looked_up(suspects.of_view(theirs.rows, ghosts_only=False))
        self._tell("settling", 0.0, reader)
        limit(1.0)
        suspects.settle()
        self._tell("settling", 100.0, reader)
        return self._compared(ours, theirs)

    def _compared(self, ours: _Side, theirs: _Side) -> Compared:
        cut_short = ours.cut_short or theirs.cut_short
        if ours.is_all and theirs.is_all:
            keys = {row[: self._plan.key_width] for row in ours.rows}
            besides = sum(row[: self._plan.key_width] not in keys for row in theirs.rows)
            return Compared(ours.compared + besides, None, cut_short)
        size = min(side.compared for side in (ours, theirs) if not side.is_all)
        return Compared(ours.compared + theirs.compared, size, cut_short)

    def _drawn(self, side: str) -> _Side:
        """Return rows of one side from random places, each once."""
        reader, wanted = self._reader, self._wanted
        statement = reader.prepare(self._plan.window(side))
        if 2 * reader.seconds_for(wanted) <= reader.seconds_left:  # else none would be left for windows
            first, is_all = reader.some(statement, (token_bytes(FIRST_TOKEN), _limit(wanted + 1)), wanted)
            if is_all and len(first) <= wanted:
                return _Side(first, is_all=True, cut_short=False)
        rows: dict[RawRow, RawRow] = {}
        key = slice(self._plan.base_key_width if side == "base" else self._plan.key_width)
        width = int(min(WINDOW_ROWS, wanted, reader.times(1)))
        left = MOST_WINDOWS * -(-wanted // width)
        while left > 0:
            before = len(rows)
            count = int(min(left, -(-(wanted - before) // width), reader.times(width)))
            for drawn in reader.rows(statement, self._places(count, width)):
                for row in drawn:
                    rows.setdefault(row[key], row)
            left -= count
            if len(rows) >= wanted or not reader.seconds_left:
                break
            if len(rows) - before < count * width / 2:
                width = min(2 * width, wanted)  # few partitions: windows begin at the same rows again
        cut_short = len(rows) < wanted and not reader.seconds_left
        return _Side(list(islice(rows.values(), wanted)), is_all=False, cut_short=cut_short)

    def _places(self, count: int, width: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield where to draw rows, as long as there is time; one place in any case."""
        limit = _limit(width)
        yield self._place(), limit
        for _ in range(1, count):
            if not self._reader.seconds_left:
                return
            yield self._place(), limit

    def _place(self) -> bytes:
        return token_bytes(self._random.randint(FIRST_TOKEN, LAST_TOKEN))


def _limit(rows: int) -> bytes:
    return rows.to_bytes(4, "big")
