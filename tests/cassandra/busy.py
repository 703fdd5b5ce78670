"""A table under load whose views stay healthy: rows that come, move, expire and go."""

from __future__ import annotations

import random
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cassandra.cluster import Session

ROWS = 2_000
#: Every second write is to one of so few rows that they are changed while they are looked at.
HOT_ROWS = 30
#: The pause between two writes of one writer: the machine is shared.
PAUSE_SECONDS = 0.0005


class BusyTable:
    """The table ``t`` of a keyspace, two views of it, and threads that write until the block ends.

    by_email: rows without an email are not in it. by_large: those with an ``n`` and with
    ``p > 20 AND kind = 'x'`` are.
    """

    def __init__(self, session: Session, keyspace: str, writers: int = 2) -> None:
        self._session, self._keyspace = session, keyspace
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(seed,)) for seed in range(writers)]
        self.writes = 0
        self.errors: list[Exception] = []

    def create(self) -> None:
        table = f"{self._keyspace}.t"
        self._session.execute(
            f"CREATE TABLE {table} (p int, c text, email text, n int, kind text, tags set<text>, "
            "PRIMARY KEY (p, c, kind))"
        )
        self._session.execute(
            f"CREATE MATERIALIZED VIEW {self._keyspace}.by_email AS SELECT * FROM {table} "
            "WHERE email IS NOT NULL AND p IS NOT NULL AND c IS NOT NULL AND kind IS NOT NULL "
            "PRIMARY KEY (email, p, c, kind)"
        )
        self._session.execute(
            f"CREATE MATERIALIZED VIEW {self._keyspace}.by_large AS SELECT p, c, kind, n, email FROM {table} "
            "WHERE n IS NOT NULL AND p > 20 AND c IS NOT NULL AND kind = 'x' PRIMARY KEY (n, p, c, kind)"
        )

    def __enter__(self) -> BusyTable:
        self.create()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _write(self, seed: int) -> None:
        dice, where = random.Random(seed), "WHERE p = ? AND c = ? AND kind = ?"
        table = f"{self._keyspace}.t"
        statements = [
            self._session.prepare(cql)
            for cql in (
                f"INSERT INTO {table} (email, n, tags, p, c, kind) VALUES (?, ?, ?, ?, ?, ?)",
                f"INSERT INTO {table} (email, n, tags, p, c, kind) VALUES (?, ?, ?, ?, ?, ?) USING TTL 2",
                f"UPDATE {table} SET email = ? {where}",
                f"UPDATE {table} SET n = ? {where}",
                f"UPDATE {table} SET tags = tags + ? {where}",
                f"DELETE FROM {table} {where}",
            )
        ]
        while not self._end.wait(PAUSE_SECONDS):
            number = dice.randrange(dice.choice((HOT_ROWS, ROWS)))
            key = (number % 97, f"c{number}", dice.choice("xy"))
            email = dice.choice((None, f"{dice.randrange(200)}@example.org"))
            n, tags = dice.randrange(1_000), {dice.choice("abc")}
            chosen = dice.choices(range(6), (4, 1, 4, 4, 1, 2))[0]
            values = ((email, n, tags), (email, n, tags), (email,), (n,), (tags,), ())[chosen]
            try:
                self._session.execute(statements[chosen], (*values, *key))
            except Exception as exc:
                self.errors.append(exc)
                return
            self.writes += 1


def until(seconds: float) -> float:
    """Return the moment of ``time.monotonic`` that is so far away."""
    return time.monotonic() + seconds
