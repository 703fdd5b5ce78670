"""Whether a materialized view still says what its base table says: every row, or a sample of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, zip_longest

from ...core.clock import SystemClock
from ...core.errors import ConfigurationError
from .consistency_digests import Buckets, RawRow
from .consistency_plan import Plan, chosen_level
from .consistency_reading import (
    FIRST_TOKEN,
    LAST_TOKEN,
    Reader,
    RefusedStatementError,
    Statement,
    token_bytes,
)
from .consistency_report import Bound, ConsistencyReport
from .consistency_suspects import Found, Suspects

#: A row that looks wrong must look so three times, this far apart, and its base row must not have changed.
SETTLE_SECONDS = 0.5
MOST_EXAMPLES = 20
#: A full check reads the ring in so many parts, by which its progress is counted.
RANGES = 32
#: 8 MiB of sums: of a million rows, few share a bucket, and few are read again for one that is wrong.
BUCKET_BITS = 20
#: Rows of a sample that are neighbours on the ring, and the most places from which they are taken.
WINDOW_ROWS = 25
_MURMUR3 = "Murmur3Partitioner"


@dataclass(frozen=True)
class CheckProgress:
    """How far a check is."""

    #: "reading": all rows, once. "reading again": those in buckets that differ. "sampling". "settling":
    #: waiting whether what looked wrong stays so.
    step: str
    #: Of this step, 0 to 100.
    percent: float
    #: Rows read so far, of both sides.
    rows: int


class ViewConsistencyCheck:
    """Compares a materialized view with its base table. It reads, and never writes.

    A full check, which is what there is without ``sample``, reads both sides once, adds up their rows'
    hashes by key, and compares row by row only where the sums differ. A sampled one reads that many rows
    from random places of each side and looks up each on the other side.
    """

    def __init__(
        self,
        session: object,
        keyspace: str,
        view: str,
        *,
        sample: int | None = None,
        consistency: str | None = None,
        rows_per_second: float | None = None,
        settle_seconds: float = SETTLE_SECONDS,
        progress: Callable[[CheckProgress], object] | None = None,
        max_examples: int = MOST_EXAMPLES,
    ) -> None:
        """Name the view; nothing is read yet.

        ``session`` is a live session of the driver: on its cluster a session of our own is opened while the
        check runs. Names are those of the schema, unquoted. ``consistency`` is the level of the reads; by
        default ONE where there is one copy of each row, else QUORUM. ``rows_per_second`` limits the reads of
        both sides together. ``settle_seconds`` is the pause between two looks at what seems wrong.
        ``max_examples`` is for each kind. Raises ConfigurationError for a number that makes no sense.
        """
        if sample is not None and sample < 1:
            raise ConfigurationError(f"sample={sample!r}: give a number of rows, or None to compare them all")
        if rows_per_second is not None and not rows_per_second > 0:
            raise ConfigurationError(f"rows_per_second={rows_per_second!r} must be more than 0, or None")
        if settle_seconds < 0 or max_examples < 0:
            raise ConfigurationError("settle_seconds and max_examples cannot be less than 0")
        self._session = session
        self._keyspace = keyspace
        self._view = view
        self._sample = sample
        self._consistency = consistency
        self._rows_per_second = rows_per_second
        self._settle_seconds = settle_seconds
        self._progress = progress
        self._max_examples = max_examples
        self._clock = SystemClock()
        self._random = random.Random()

    def run(self) -> ConsistencyReport:
        """Check, and return what was found.

        Raises ConfigurationError when there is no such view, UnavailableError when it cannot be read.
        """
        began = self._clock.monotonic()
        reader = Reader(self._session, self._rows_per_second)
        try:
            plan, reason = self._plan(reader)
            found = Found(self._max_examples)
            suspects = Suspects(plan, reader, found, self._settle_seconds)
            if self._sample is None:
                checked, sampled = self._full(plan, reader, suspects, found), None
            else:
                checked, sampled = self._sampled(plan, reader, suspects, self._sample)
        finally:
            reader.close()
        seconds = self._clock.monotonic() - began
        return ConsistencyReport(
            keyspace=self._keyspace,
            view=self._view,
            base=plan.base,
            mode="full" if self._sample is None else "sampled",
            counts={"checked": checked, **found.counts},
            examples={kind: tuple(examples) for kind, examples in found.examples.items()},
            consistency=reader.level,
            consistency_reason=reason,
            sample=self._sample,
            bound=Bound.of(sum(found.counts.values()), sampled),
            suspects=found.suspects,
            unsettled=found.unsettled,
            undecided=found.undecided,
            seconds=seconds,
            rows_read=reader.rows_read,
            rows_per_second=reader.rows_read / seconds if seconds > 0 else 0.0,
        )

    # -- the schema

    def _plan(self, reader: Reader) -> tuple[Plan, str]:
        keyspaces = reader.table(
            "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s", self._keyspace
        )
        if not keyspaces:
            raise ConfigurationError(
                f"there is no keyspace {self._keyspace!r}; names are taken as they are, with their capitals"
            )
        views = {
            str(row["view_name"]): row
            for row in reader.table(
                "SELECT view_name, base_table_name, where_clause FROM system_schema.views "
                "WHERE keyspace_name = %s",
                self._keyspace,
            )
        }
        if self._view not in views:
            known = ", ".join(sorted(views)) or "none"
            raise ConfigurationError(
                f"keyspace {self._keyspace!r} has no materialized view {self._view!r}; its views: {known}"
            )
        definition = views[self._view]
        columns = reader.table(
            "SELECT table_name, column_name, kind, position, type FROM system_schema.columns "
            "WHERE keyspace_name = %s AND table_name IN (%s, %s)",
            self._keyspace,
            definition["base_table_name"],
            self._view,
        )
        replication: Mapping[str, object] = keyspaces[0]["replication"]  # type: ignore[assignment] # of texts
        reader.level, reason = chosen_level(replication, self._consistency)
        return Plan.of_schema(self._keyspace, self._view, definition, columns), reason

    # -- every row

    def _full(self, plan: Plan, reader: Reader, suspects: Suspects, found: Found) -> int:
        """Compare all rows; return how many the view should hold, and how many it holds besides."""
        base, view = _base_scan(plan, reader), reader.prepare(plan.scan("view"))
        buckets = Buckets(BUCKET_BITS, plan.base_key_width)
        expected = 0
        both = zip_longest(reader.pages(base, RANGES), reader.pages(view, RANGES))
        for ours, theirs in both:
            if ours is not None:
                rows = plan.belonging(ours[1])
                expected += len(rows)
                buckets.add(rows)
            if theirs is not None:
                buckets.subtract(theirs[1])
            both_done = sum(page[0] if page is not None else RANGES for page in (ours, theirs))
            self._tell("reading", 50.0 * both_done / RANGES, reader)
        if buckets.differing:
            for done, page in reader.pages(base, RANGES):
                suspects.of_base(buckets.suspects(plan.belonging(page)))
                self._tell("reading again", 50.0 * done / RANGES, reader)
            for done, page in reader.pages(view, RANGES):
                suspects.of_view(buckets.suspects(page), ghosts_only=True)
                self._tell("reading again", 50.0 + 50.0 * done / RANGES, reader)
            self._tell("settling", 0.0, reader)
            suspects.settle()
            self._tell("settling", 100.0, reader)
        return expected + found.counts["ghost"]

    # -- some rows

    def _sampled(self, plan: Plan, reader: Reader, suspects: Suspects, wanted: int) -> tuple[int, int | None]:
        """Compare some rows of each side; return how many, and the size of the smaller sample.

        The size is None when both sides are so small that every row was compared.
        """
        partitioner = str(reader.table("SELECT partitioner FROM system.local")[0]["partitioner"])
        if not partitioner.endswith(_MURMUR3):
            raise ConfigurationError(f"a sample needs {_MURMUR3}, this is {partitioner}; leave out sample=")
        ours, all_ours = self._drawn(plan, reader, "base", wanted)
        ours = plan.belonging(ours)
        self._tell("sampling", 20.0, reader)
        suspects.of_base(ours)
        self._tell("sampling", 50.0, reader)
        theirs, all_theirs = self._drawn(plan, reader, "view", wanted)
        self._tell("sampling", 70.0, reader)
        suspects.of_view(theirs, ghosts_only=False)
        self._tell("settling", 0.0, reader)
        suspects.settle()
        self._tell("settling", 100.0, reader)
        if all_ours and all_theirs:
            return len(ours) + _besides(ours, theirs, plan), None
        samples = ((len(ours), all_ours), (len(theirs), all_theirs))
        return len(ours) + len(theirs), min(size for size, is_all in samples if not is_all)

    def _drawn(self, plan: Plan, reader: Reader, side: str, wanted: int) -> tuple[list[RawRow], bool]:
        """Return rows of one side from random places, each once, and whether they are all that there are."""
        statement = reader.prepare(plan.window(side))
        first = next(reader.rows(statement, [(token_bytes(FIRST_TOKEN), _limit(wanted + 1))]))
        if len(first) <= wanted:
            return first, True
        rows: dict[RawRow, RawRow] = {}
        key = slice(plan.base_key_width if side == "base" else plan.key_width)
        windows = -(-wanted // WINDOW_ROWS)
        # Near the end of the ring there are fewer rows than are asked for, and windows may overlap.
        for drawn in islice(reader.rows(statement, self._places(wanted)), 4 * windows):
            for row in drawn:
                rows.setdefault(row[key], row)
            if len(rows) >= wanted:
                break
        return list(islice(rows.values(), wanted)), False

    def _places(self, wanted: int) -> Iterator[tuple[bytes, bytes]]:
        limit = _limit(min(WINDOW_ROWS, wanted))
        while True:
            yield token_bytes(self._random.randint(FIRST_TOKEN, LAST_TOKEN)), limit

    def _tell(self, step: str, percent: float, reader: Reader) -> None:
        if self._progress is not None:
            self._progress(CheckProgress(step, round(percent, 1), reader.rows_read))


def _besides(ours: list[RawRow], theirs: list[RawRow], plan: Plan) -> int:
    """Return how many rows of the one side have no key of the other's."""
    keys = {row[: plan.key_width] for row in ours}
    return sum(row[: plan.key_width] not in keys for row in theirs)


def _base_scan(plan: Plan, reader: Reader) -> Statement:
    """Prepare the base table's scan; the server leaves out what only it can judge, where it can do that."""
    if plan.where.unknown:
        try:
            return reader.prepare(plan.scan("base", filtered=True))
        except RefusedStatementError:
            pass  # then those rows are suspects, of which it is asked one by one
    return reader.prepare(plan.scan("base"))


def _limit(rows: int) -> bytes:
    return rows.to_bytes(4, "big")
