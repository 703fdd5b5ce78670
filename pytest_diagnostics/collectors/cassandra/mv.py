"""Views and indexes in one collector, which keeps what every node answered in a file of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ...core.clock import SystemClock
from ...core.errors import RecordingError
from ...core.handlers import ExceptionHandler
from .indexes import INDEX_QUERIES, IndexesReader
from .queries import Answers, Catalog, Query
from .rows import json_line, plain
from .target import Target
from .view_queries import VIEW_QUERIES
from .views import ViewsReader
from .watch import CassandraCollector

FOLDER = "mv_si_diagnostics"
#: What one of the two readers says of the whole, not of a list; kept apart for each of them.
_APART = ("unavailable", "errors", "reasons")
_SHARED = ("server", "nodes", "views", "indexes", *_APART)


class MVDiagnosticCollector(CassandraCollector):
    """Each view's and index's state, on each node: ``collect`` returns it, ``store`` keeps the answers.

    - ``views``, ``indexes``: as ``cassandra_views`` and ``cassandra_indexes`` have them
    - ``server``, ``nodes``, ``connection``, ``poll``: as well
    - ``unavailable``, ``errors``, ``totals``: for ``views`` and ``indexes`` each

    The file is ``<dir_path>/diagnostics/mv_si_diagnostics/<name>_<YYYYmmdd_HHMMSS>.log``: a line of JSON for
    each query and node, with ``timestamp``, ``query``, ``topic``, ``node``, ``data``, ``error``.
    """

    default_name = "MVDiagnosticCollector"
    queries = tuple(dict.fromkeys((*VIEW_QUERIES, *INDEX_QUERIES)))
    topics = ("views", "indexes")

    def __init__(
        self,
        session: object,
        dir_path: str | os.PathLike[str] | None = None,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
    ) -> None:
        """Watch the cluster of a live session, or that of contact points: ``HOST[:PORT],...`` or a Target."""
        if isinstance(session, str):
            session = Target.parse(session, type(self).__name__)
        target = session if isinstance(session, Target) else None
        super().__init__(
            target,
            session=session if target is None else None,
            name=name,
            exception_handler=exception_handler,
        )
        self.directory = Path(dir_path if dir_path is not None else Path.cwd()) / self.root_dir / FOLDER
        self._clock = SystemClock()
        self._views = ViewsReader(self._clock)
        self._indexes = IndexesReader(self._clock)
        self._answers: Answers | None = None
        self._lines: list[str] = []
        self._log: int | None = None
        self._path: Path | None = None
        self._is_torn = False

    @property
    def path(self) -> Path | None:
        """The file; None before the start."""
        return self._path

    def wanted(self) -> Sequence[Query]:
        """Ask for both at once; what changes slowly is asked for more rarely."""
        moment = self._clock.monotonic()
        return [*dict.fromkeys((*self._views.queries(moment), *self._indexes.queries(moment)))]

    def read(self, answers: Answers) -> dict[str, object]:
        """Return what both readers make of the same answers."""
        self._answers = answers
        told = {"views": self._views.read(answers), "indexes": self._indexes.read(answers)}
        joined: dict[str, object] = {"server": told["views"].get("server")}
        joined["nodes"] = _joined(told["views"].get("nodes"), told["indexes"].get("nodes"))
        joined |= {topic: data.get(topic) for topic, data in told.items()}
        for key in _APART:
            joined[key] = {topic: data[key] for topic, data in told.items() if data.get(key)}
        joined["totals"] = {
            topic: {key: value for key, value in data.items() if key not in _SHARED}
            for topic, data in told.items()
        }
        return joined

    def start(self) -> object:
        """Take part in the watch of the cluster, and make the file; the first poll connects."""
        with suppress(RecordingError):  # storing says so, again and again; collecting goes on without it
            self._open_log()
        return super().start()

    def collect(self) -> dict[str, object]:
        """Ask and read; what is to be stored is kept until the next time."""
        self._answers = None
        data = super().collect()
        self._lines = [*self._told(data)]
        return data

    def store(self, result: object) -> object:
        """Write what the nodes answered when ``result`` was collected, None for the last; {} writes nothing.

        Raises RecordingError, which is an error of kind ``storage``.
        """
        if result is None or result:
            self._write("".join(f"{line}\n" for line in self._lines).encode("utf-8"))
        return None

    def stop(self) -> object:
        """Leave the watch, and close the file."""
        log, self._log = self._log, None
        if log is not None:
            os.close(log)
        return super().stop()

    # -- the file

    def _told(self, data: Mapping[str, object]) -> Iterator[str]:
        """Yield the lines of one collection."""
        timestamp = self._clock.wall(self._clock.monotonic()).isoformat(timespec="milliseconds")
        if self._answers is None:
            reasons = data.get("reasons")
            reason = next(iter(reasons.values()), None) if isinstance(reasons, Mapping) else None
            for query in self.wanted():
                yield json_line(timestamp, query.cql(Catalog()), query.topic, None, error=reason)
            return
        for replies in self._answers.replies.values():
            for address, reply in replies.items():
                rows = None if reply.rows is None else [plain(row) for row in reply.rows]
                yield json_line(
                    timestamp, reply.query, reply.topic, address or None, data=rows, error=reply.reason
                )

    def _write(self, lines: bytes) -> None:
        log = self._open_log()
        # What a full disk cut off is not continued by the next record.
        rest = b"\n" + lines if self._is_torn else lines
        try:
            while rest:
                self._is_torn = True
                rest = rest[os.write(log, rest) :]
        except OSError as exc:
            raise RecordingError(f"{self._path} cannot be written: {exc.strerror or exc}") from exc
        self._is_torn = False

    def _open_log(self) -> int:
        if self._log is not None:
            return self._log
        stamp = self._clock.wall(self._clock.monotonic()).strftime("%Y%m%d_%H%M%S")
        path = self._path or self.directory / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', self.name)}_{stamp}.log"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise RecordingError(f"{path} cannot be made: {exc.strerror or exc}") from exc
        self._path = path
        return self._log


def _joined(first: object, second: object) -> dict[str, object]:
    """Return what both say of each node."""
    found: dict[str, object] = dict(second) if isinstance(second, Mapping) else {}
    for address, node in first.items() if isinstance(first, Mapping) else ():
        other = found.get(address)
        found[address] = {**other, **node} if isinstance(other, Mapping) else node
    return found
