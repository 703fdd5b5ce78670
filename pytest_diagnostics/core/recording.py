"""A recording in memory: what storage reads and analysis looks at.

Results are the bulk of a recording. They are kept as columns of numbers, everything else as its record.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from .courses import Courses
from .errors import ErrorType
from .model import JsonValue
from .series import numeric_leaves, unit_of

#: A record's fields, with its ``kind``.
Fields = Mapping[str, JsonValue]

#: Series kept of one collector; a collector whose names change at every tick must not fill the memory.
MAX_SERIES = 2000
#: Failures kept of one collector with their messages; all are counted.
MAX_FAILURES = 100


def number(fields: Mapping[str, JsonValue], key: str) -> float | None:
    """Return a finite number, or None when there is none: a recording may come from anywhere."""
    value = fields.get(key)
    if type(value) is float:  # nearly always
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def whole(fields: Mapping[str, JsonValue], key: str) -> int:
    """Return an integer, 0 when there is none."""
    value = fields.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def text(fields: Mapping[str, JsonValue], key: str, default: str = "") -> str:
    """Return a string, ``default`` when there is none."""
    value = fields.get(key)
    return value if isinstance(value, str) else default


def mapping(fields: Mapping[str, JsonValue], key: str) -> dict[str, JsonValue]:
    """Return a mapping, an empty one when there is none."""
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


@dataclass
class Column:
    """One series: moments on the shard's CLOCK_MONOTONIC and values, in the order recorded."""

    name: str
    unit: str
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))


@dataclass
class Failure:
    """A result without data."""

    monotonic: float
    type: str
    message: str


@dataclass
class CollectorResults:
    """What one collector returned, in one shard."""

    name: str
    results: int = 0
    errors: int = 0
    timeouts: int = 0
    coerced: int = 0
    truncated: int = 0
    seconds_total: float = 0.0
    #: The moments of all results that have data.
    times: array[float] = field(default_factory=lambda: array("d"))
    columns: dict[str, Column] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    #: Numbers left out because there were more than MAX_SERIES series.
    beyond: int = 0
    #: The data of the last result that had any.
    latest: JsonValue = None
    #: What became of the views and indexes that it told of.
    courses: Courses = field(default_factory=Courses)

    def add(self, fields: Fields) -> None:
        """Take one ``result`` record."""
        monotonic = number(fields, "monotonic")
        if monotonic is None:
            return
        self.results += 1
        self.seconds_total += number(fields, "seconds") or 0.0
        self.coerced += whole(fields, "coerced")
        self.truncated += fields.get("truncated") is True
        error = mapping(fields, "error")
        if error:
            self.errors += 1
            kind = text(error, "type")
            self.timeouts += kind == ErrorType.TIMEOUT.value
            if len(self.failures) < MAX_FAILURES:
                self.failures.append(Failure(monotonic, kind, text(error, "message")[:2000]))
        if fields.get("collected") is not False and fields.get("data") is not None:
            self._add_data(monotonic, fields["data"])

    def _add_data(self, monotonic: float, data: JsonValue) -> None:
        self.times.append(monotonic)
        self.latest = data
        if type(data) is dict:
            self.courses.add(monotonic, data)
        columns = self.columns
        for name, value in numeric_leaves(self.name, data):
            column = columns.get(name)
            if column is None:
                if len(columns) >= MAX_SERIES:
                    self.beyond += 1
                    continue
                column = columns[name] = Column(name, unit_of(name))
            column.times.append(monotonic)
            column.values.append(value)


@dataclass
class ShardRecords:
    """What one process recorded, and what could not be read of it."""

    #: The file's name without its ending: "main-4711".
    name: str
    #: The ``run`` record, empty when it was lost.
    header: Fields = field(default_factory=dict)
    #: All other records but results, in the order written.
    records: list[Fields] = field(default_factory=list)
    collectors: dict[str, CollectorResults] = field(default_factory=dict)
    #: Records that could be read, results and header included.
    count: int = 0
    damaged: int = 0
    torn: bool = False
    unknown: int = 0
    #: Bytes of the shard.
    size: int = 0
    #: The run's start on the clock of this shard; subtract it to get seconds from the run's start.
    zero: float = 0.0
    #: The records by kind, once somebody asked, and how many there were by then.
    _by_kind: dict[str, list[Fields]] = field(default_factory=dict, repr=False, compare=False)
    _sorted: int = field(default=0, repr=False, compare=False)

    def add(self, fields: Fields) -> None:
        """Take one record."""
        self.count += 1
        kind = fields.get("kind")
        if kind == "result":
            name = text(fields, "collector")
            results = self.collectors.get(name)
            if results is None:
                results = self.collectors[name] = CollectorResults(name)
            results.add(fields)
        elif kind == "run" and not self.header:
            self.header = fields
        else:
            self.records.append(fields)

    def of_kind(self, kind: str) -> list[Fields]:
        """Return the records of one kind, in the order written."""
        if self._sorted != len(self.records):
            self._sorted = len(self.records)
            self._by_kind = {}
            for fields in self.records:
                self._by_kind.setdefault(text(fields, "kind"), []).append(fields)
        return list(self._by_kind.get(kind, ()))


@dataclass
class Recording:
    """A run, read back."""

    #: ``run.json``; empty when it was lost.
    header: Fields
    shards: list[ShardRecords]
    #: What could not be read, in sentences.
    problems: list[str] = field(default_factory=list)
    #: The run's start, seconds since the epoch; None when no clock anchor survived.
    started: float | None = None
