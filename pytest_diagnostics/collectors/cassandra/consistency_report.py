"""What a consistency check found, and what that proves. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal

from ...core.model import JsonValue

KINDS = ("missing", "ghost", "differs")
_MEANT = {
    "missing": "in the base table, not in the view",
    "ghost": "in the view, not in the base table",
    "differs": "in both, with other values",
}
#: A longer value is cut in examples.
MOST_CHARACTERS = 200
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Bound:
    """How many rows may be wrong at most, by what was seen."""

    #: The largest share of the rows, 0 to 1, that may be wrong; when every row was compared, besides those
    #: that are.
    share: float
    sentence: str

    @classmethod
    def of(cls, wrong: int, sampled: int | None, not_judged: int = 0, *, checked: int = 0) -> Bound:
        """Return the bound at 95 % of a sample; ``sampled`` is None when every row was compared.

        ``checked`` is how many those were. ``not_judged`` rows may be wrong: they seemed so, and it is not
        known whether they are.
        """
        if sampled is None:
            told = "every row was compared: none but those reported is wrong"
            if not not_judged:
                return cls(0.0, told)
            share = min(1.0, not_judged / max(checked, 1))
            return cls(share, f"{told}, except perhaps {not_judged:,} not judged")
        if not sampled:
            return cls(1.0, "there was no row to compare, or no time: nothing is known")
        share = min(1.0, most_expected(wrong + not_judged) / sampled)
        found = "none" if wrong == 0 else f"{wrong:,}"
        left = f", {not_judged:,} not judged" if not_judged else ""
        return cls(
            share,
            f"{found} of {sampled:,} sampled rows wrong{left}: at 95 % confidence at most {share:.2%} of all "
            "rows are, as far as rows close to each other in the token ring are wrong independently",
        )


@dataclass(frozen=True)
class Example:
    """One row that is wrong, by its key in the view."""

    kind: str
    key: Mapping[str, JsonValue]
    #: Of a row that differs: column -> its value in the base table and in the view.
    differing: Mapping[str, tuple[JsonValue, JsonValue]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, JsonValue]:
        """Return the example as JSON can say it."""
        told: dict[str, JsonValue] = {"kind": self.kind, "key": dict(self.key)}
        if self.differing:
            told["differing"] = {
                name: {"base": base, "view": view} for name, (base, view) in self.differing.items()
            }
        return told

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value!r}" for name, value in self.key.items())
        values = "; ".join(
            f"{name} is {base!r} in the base table, {view!r} in the view"
            for name, (base, view) in self.differing.items()
        )
        return f"{key} ({values})" if values else key


@dataclass(frozen=True)
class ConsistencyReport:
    """What one check of one view found."""

    keyspace: str
    view: str
    base: str
    #: "full" or "sampled".
    mode: str
    #: "checked": rows compared; "missing", "ghost", "differs": rows that were wrong at every look.
    counts: Mapping[str, int]
    #: Kind -> some of the rows that are wrong.
    examples: Mapping[str, tuple[Example, ...]]
    #: The nodes that had not built the view when the check began: it lacks what they have not come to.
    not_built_on: tuple[str, ...]
    #: The level at which both sides were read, and why.
    consistency: str
    consistency_reason: str
    #: How many rows of each side were asked for; None: all.
    sample: int | None
    #: What the sample could take; None: as long as it took.
    max_seconds: float | None
    #: Whether time was up before as many rows as asked for were compared.
    cut_short: bool
    bound: Bound
    #: Rows that seemed wrong at first, most of them because a view follows its base table with a delay.
    suspects: int
    #: Rows that went on changing at every look, of which nothing is said.
    unsettled: int
    #: Rows of which only the server could have told whether they belong in the view, and did not.
    undecided: int
    #: Rows that seemed wrong, and that there was no time to look at again.
    unjudged: int
    seconds: float
    #: Rows read, of both sides, and how many in a second.
    rows_read: int
    rows_per_second: float

    @property
    def is_consistent(self) -> bool:
        """Whether nothing wrong was found; a sample says that within its ``bound``."""
        return self.wrong == 0

    @property
    def wrong(self) -> int:
        """How many rows are wrong."""
        return sum(self.counts[kind] for kind in KINDS)

    def assert_consistent(self) -> None:
        """Raise AssertionError, with the rows that are wrong, unless nothing is."""
        __tracebackhide__ = True
        if not self.is_consistent:
            raise AssertionError(str(self))

    def as_dict(self) -> dict[str, JsonValue]:
        """Return the report as JSON can say it."""
        return {
            "keyspace": self.keyspace,
            "view": self.view,
            "base": self.base,
            "mode": self.mode,
            "is_consistent": self.is_consistent,
            "counts": dict(self.counts),
            "examples": {kind: [one.as_dict() for one in found] for kind, found in self.examples.items()},
            "not_built_on": list(self.not_built_on),
            "consistency": self.consistency,
            "consistency_reason": self.consistency_reason,
            "sample": self.sample,
            "max_seconds": self.max_seconds,
            "cut_short": self.cut_short,
            "bound": {"share": self.bound.share, "sentence": self.bound.sentence},
            "suspects": self.suspects,
            "unsettled": self.unsettled,
            "undecided": self.undecided,
            "unjudged": self.unjudged,
            "seconds": round(self.seconds, 3),
            "rows_read": self.rows_read,
            "rows_per_second": round(self.rows_per_second, 1),
        }

    @property
    def _said(self) -> str:
        if not self.is_consistent:
            return "does not say"
        if self.bound.share >= 1.0:
            return "is not known to say"
        return "seems to say" if self.unjudged or self.unsettled or self.undecided else "says"

    def __str__(self) -> str:
        lines = [
            f"view {self.keyspace}.{self.view} {self._said} what its base table says "
            f"({self.keyspace}.{self.base}, {self.mode} check, "
            f"{self.counts['checked']:,} rows, read at {self.consistency}: {self.consistency_reason})"
        ]
        for kind in KINDS:
            if not self.counts[kind]:
                continue
            lines.append(f"  {self.counts[kind]:,} {kind} ({_MEANT[kind]})")
            shown = self.examples.get(kind, ())
            lines += [f"    {example}" for example in shown]
            if self.counts[kind] > len(shown):
                lines.append(f"    and {self.counts[kind] - len(shown):,} more")
        if self.wrong and self.not_built_on:
            lines.append(
                f"  it was not built on {', '.join(self.not_built_on)} when the check began: what is missing "
                "may be what the build has not come to"
            )
        lines.append(f"  {self.bound.sentence}")
        if self.cut_short:
            lines.append(
                f"  fewer rows than the {self.sample:,} asked for: max_seconds={self.max_seconds:g} was over"
            )
        if self.unjudged:
            lines.append(
                f"  {self.unjudged:,} rows seemed wrong, and there was no time to look at them again"
            )
        if self.unsettled:
            lines.append(f"  {self.unsettled:,} rows went on changing while they were looked at: not judged")
        if self.undecided:
            lines.append(
                f"  {self.undecided:,} rows are not judged: whether the view's WHERE admits them is unknown"
            )
        return "\n".join(lines)


def most_expected(seen: int) -> float:
    """Return the largest mean at which ``seen`` rare events or fewer are not yet unlikely (5 %).

    For none this is 3.00, the rule of three; it is Poisson's upper limit for more.
    """
    low, high = float(seen), seen + 10.0 + 5.0 * math.sqrt(seen + 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(seen, middle) > 1.0 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def plain(value: object) -> JsonValue:
    """Return a value of the database as JSON can say it, and not too long."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return _cut(f"0x{value.hex()}")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (str, Decimal)):
        return _cut(str(value))
    if isinstance(value, Mapping):
        return _cut(str({plain(name): plain(inner) for name, inner in value.items()}))
    if isinstance(value, (Sequence, set, frozenset)) or hasattr(value, "__iter__"):
        return _cut(str([plain(inner) for inner in value]))
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}… ({len(text):,} characters)"


def _at_most(seen: int, mean: float) -> float:
    """Return how likely ``seen`` events or fewer are when ``mean`` are expected."""
    if mean == 0:
        return 1.0
    logs = (number * math.log(mean) - mean - math.lgamma(number + 1) for number in range(seen + 1))
    return math.fsum(math.exp(log) for log in logs)
