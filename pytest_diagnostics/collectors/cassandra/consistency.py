"""Whether a materialized view still says what its base table says: every row, or a sample of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from ...core.clock import SystemClock
from ...core.errors import ConfigurationError
from .consistency_digests import Buckets
from .consistency_plan import Plan, chosen_level
from .consistency_reading import Reader, RefusedStatementError, Statement
from .consistency_report import Bound, ConsistencyReport
from .consistency_sample import SAMPLE_SECONDS, VIEW_SHARE, Compared, Sample
from .consistency_suspects import LOOKS, Found, Suspects

#: A row that looks wrong must look so three times, this far apart, and its base row must not have changed.
SETTLE_SECONDS = 0.5
MOST_EXAMPLES = 20
#: A full check reads the ring in so many parts, by which its progress is counted.
RANGES = 32
#: 8 MiB of sums: of a million rows, few share a bucket, and few are read again for one that is wrong.
BUCKET_BITS = 20


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
        max_seconds: float | None = SAMPLE_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        progress: Callable[[CheckProgress], object] | None = None,
        max_examples: int = MOST_EXAMPLES,
    ) -> None:
        """Name the view; nothing is read yet.

        ``session`` is a live session of the driver: on its cluster a session of our own is opened while the
        check runs. Names are those of the schema, unquoted. ``consistency`` is the level of the reads; by
        default ONE where there is one copy of each row, else QUORUM. ``rows_per_second`` limits the reads of
        both sides together. ``max_seconds`` is what a sample takes at most: what could not be compared in
        that time is left out, and the report says so; None: as long as it takes, as with a full check.
        ``settle_seconds`` is the pause between two looks at what seems wrong. ``max_examples`` is for each
        kind. Raises ConfigurationError for a number that makes no sense.
        """
        if sample is not None and sample < 1:
            raise ConfigurationError(f"sample={sample!r}: give a number of rows, or None to compare them all")
        if rows_per_second is not None and not rows_per_second > 0:
            raise ConfigurationError(f"rows_per_second={rows_per_second!r} must be more than 0, or None")
        if settle_seconds < 0 or max_examples < 0:
            raise ConfigurationError("settle_seconds and max_examples cannot be less than 0")
        least = LOOKS * settle_seconds / (1.0 - VIEW_SHARE)
        if sample is not None and max_seconds is not None and not max_seconds > least:
            raise ConfigurationError(
                f"max_seconds={max_seconds!r} is too little to look at what seems wrong {LOOKS} times, "
                f"{settle_seconds:g} s apart; give more than {least:g}, or None"
            )
        self._session = session
        self._keyspace = keyspace
        self._view = view
        self._sample = sample
        self._consistency = consistency
        self._rows_per_second = rows_per_second
        self._max_seconds = max_seconds if sample is not None else None
        self._settle_seconds = settle_seconds
        self._progress = progress
        self._max_examples = max_examples
        self._clock = SystemClock()

    def run(self) -> ConsistencyReport:
        """Check, and return what was found.

        Raises ConfigurationError when there is no such view, UnavailableError when it cannot be read.
        """
        began = self._clock.monotonic()
        reader = Reader(self._session, self._rows_per_second)
        try:
            plan, reason = self._plan(reader)
            not_built_on = reader.not_built_on(self._keyspace, self._view)
            found = Found(self._max_examples)
            suspects = Suspects(plan, reader, found, self._settle_seconds)
            if self._sample is None:
                compared = Compared(self._full(plan, reader, suspects, found), None, cut_short=False)
            else:
                sample = Sample(plan, reader, suspects, self._sample, self._tell)
                compared = sample.compare(began, self._max_seconds)
        finally:
            reader.close()
        seconds = self._clock.monotonic() - began
        wrong, not_judged = sum(found.counts.values()), found.unjudged + found.unsettled + found.undecided
        return ConsistencyReport(
            keyspace=self._keyspace,
            view=self._view,
            base=plan.base,
            mode="full" if self._sample is None else "sampled",
            counts={"checked": compared.rows, **found.counts},
            examples={kind: tuple(examples) for kind, examples in found.examples.items()},
            not_built_on=not_built_on,
            consistency=reader.level,
            consistency_reason=reason,
            sample=self._sample,
            max_seconds=self._max_seconds,
            cut_short=compared.cut_short,
            bound=Bound.of(wrong, compared.size, not_judged, checked=compared.rows),
            suspects=found.suspects,
            unsettled=found.unsettled,
            undecided=found.undecided,
            unjudged=found.unjudged,
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

    def _tell(self, step: str, percent: float, reader: Reader) -> None:
        if self._progress is not None:
            self._progress(CheckProgress(step, round(percent, 1), reader.rows_read))


def _base_scan(plan: Plan, reader: Reader) -> Statement:
    """Prepare the base table's scan; the server leaves out what only it can judge, where it can do that."""
    if plan.where.unknown:
        try:
            return reader.prepare(plan.scan("base", filtered=True))
        except RefusedStatementError:
            pass  # then those rows are suspects, of which it is asked one by one
    return reader.prepare(plan.scan("base"))
