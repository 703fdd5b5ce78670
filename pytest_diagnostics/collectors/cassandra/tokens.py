"""Widths on the ring of Murmur3 tokens: how much a node has of a keyspace, and how much is done. Pure.

A range is written (start, end]: without its start, with its end. It may go over the end of the ring, and a
range from a token to the same token is the whole ring.
"""

from __future__ import annotations

from .queries import Ring, Row

#: Tokens are -2^63 to 2^63-1.
RING_WIDTH = 2**64


def width(start: int, end: int) -> int:
    """Return the width of (start, end], in tokens."""
    return (end - start) % RING_WIDTH or RING_WIDTH


def done_width(start: int, end: int, last: int | None) -> int:
    """Return how much of (start, end] is gone through when ``last`` was the last token; None: not begun."""
    if last is None:
        return 0
    if last == end:
        return width(start, end)
    return min((last - start) % RING_WIDTH, width(start, end))


def gone_through(rows: list[Row]) -> int | None:
    """Return the width of all ranges of a build's rows, as far as they are done; None for other tokens.

    The rows are those of ``system.view_builds_in_progress``, which hold tokens as text.
    """
    total = 0
    for row in rows:
        try:
            start, end = int(str(row["start_token"])), int(str(row["end_token"]))
            last = row.get("last_token")
            total += done_width(start, end, None if last is None else int(str(last)))
        except (KeyError, ValueError):
            return None
    return total


def shares(ring: Ring, keyspace: str) -> dict[str, int]:
    """Return host id -> the width of what it holds of a keyspace; empty when that is not known."""
    replicas = ring.replicas.get(keyspace)
    if replicas is None or len(replicas) != len(ring.tokens):
        return {}
    widths: dict[str, int] = {}
    before = ring.tokens[-1] if ring.tokens else 0
    for token, hosts in zip(ring.tokens, replicas, strict=True):
        for host in hosts:
            widths[host] = widths.get(host, 0) + width(before, token)
        before = token
    return widths
