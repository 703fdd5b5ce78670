"""Two tables compared without keeping a row of either: a sum of row hashes for each bucket of keys. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from marshal import dumps

#: A row as the server sent it: the bytes of each value, None for null. Equal rows have equal bytes.
RawRow = tuple[bytes | None, ...]

#: The last format of marshal that writes equal tuples as equal bytes, whoever else refers to them.
_FORMAT = 2
_MASK = (1 << 64) - 1


class Buckets:
    """The sums of one table's row hashes less those of another's, bucket by bucket of their common key.

    A bucket whose sum is zero holds the same rows on both sides, but for a chance of one in 2^64. The hash of
    a row is Python's of bytes, SipHash, of the row as one text of bytes. Python's hash of the tuple is four
    times as fast and will not do: sums of it often stay the same when two rows exchange a value.
    """

    def __init__(self, bits: int, key_columns: int) -> None:
        """Make ``2**bits`` buckets, of 8 bytes each, for rows whose first ``key_columns`` are the key."""
        self._sums = array("Q", bytes(8 << bits))
        self._last = (1 << bits) - 1
        self._key_columns = key_columns

    def add(self, rows: Iterable[RawRow]) -> None:
        """Add rows of the one side."""
        sums, last, key = self._sums, self._last, self._key_columns
        for row in rows:
            bucket = hash(row[:key]) & last
            sums[bucket] = (sums[bucket] + hash(dumps(row, _FORMAT))) & _MASK

    def subtract(self, rows: Iterable[RawRow]) -> None:
        """Take away rows of the other side."""
        sums, last, key = self._sums, self._last, self._key_columns
        for row in rows:
            bucket = hash(row[:key]) & last
            sums[bucket] = (sums[bucket] - hash(dumps(row, _FORMAT))) & _MASK

    @property
    def differing(self) -> int:
        """How many buckets do not hold the same on both sides."""
        return len(self._sums) - self._sums.count(0)

    def suspects(self, rows: Iterable[RawRow]) -> list[RawRow]:
        """Return the rows whose buckets differ."""
        sums, last, key = self._sums, self._last, self._key_columns
        return [row for row in rows if sums[hash(row[:key]) & last]]
