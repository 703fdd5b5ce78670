"""The opt-in collector that checks samples of views, one view at a time, while tests run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ...core.clock import SystemClock
from ...core.errors import ConfigurationError, DiagnosticError
from ...core.handlers import ExceptionHandler
from .consistency import ViewConsistencyCheck
from .consistency_plan import identifiers
from .queries import SYSTEM_KEYSPACES, Answers, Query
from .target import Target
from .watch import CassandraCollector

_VIEWS = Query("checked_views", "system_schema", "views", ("keyspace_name", "view_name"), node_local=False)
_BUILT = Query("built_here", "system", "built_views", ("keyspace_name", "view_name"))

SAMPLE = 500
ROWS_PER_SECOND = 2_000.0
#: Views follow their base tables more slowly while tests load the cluster than a check by hand assumes.
SETTLE_SECONDS = 1.0
MOST_EXAMPLES = 5
#: A result has the last report of so many views, those that are wrong first.
MOST_VIEWS = 40
#: And of so many bytes with their examples; the rest go without, so that the result is never cut.
EXAMPLES_BYTES = 24 << 10

Name = tuple[str, str]


class ConsistencyCollector(CassandraCollector):
    """Compares a sample of one view with its base table at each tick, the views taking turns.

    It reads the tests' own tables, so nobody has it unless it is asked for. A view that is still being built
    is not checked: rows are missing there, and nothing is wrong.

    - ``views``: the last report of each, 40 at most, those that are wrong first: ``checked_at``,
      ``is_consistent``, ``counts`` of rows ``checked``, ``missing``, ``ghost`` and ``differs``, ``examples``
      of them by key (None where there is no room for them), ``consistency`` (the level of the reads),
      ``bound`` (what the sample proves), or ``error``; ``left_out`` says how many reports there are besides
    - ``total``: how many views there are; ``not_checked``: which of them are not built, and where

    See docs/cassandra.md for how rows are compared.
    """

    default_name = "cassandra_consistency"
    interval = 60.0
    timeout = 60.0
    aligned = False
    queries = (_VIEWS, _BUILT)
    topics = ("views",)

    def __init__(
        self,
        target: Target | Mapping[str, object] | None = None,
        *,
        session: object | None = None,
        views: Sequence[str] = (),
        sample: int = SAMPLE,
        settle_seconds: float = SETTLE_SECONDS,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
    ) -> None:
        """Check ``views`` ("keyspace.view"; empty: all but the system's), ``sample`` rows of each side."""
        super().__init__(target, session=session, name=name, exception_handler=exception_handler)
        if sample < 1:
            raise ConfigurationError(f"sample={sample!r}: give a number of rows")
        self._wanted = frozenset(identifiers(view) for view in views)
        self._sample = sample
        self._settle_seconds = settle_seconds
        self._clock = SystemClock()
        #: The views in the order of their turns, those that were not checked for longest first.
        self._turns: dict[Name, None] = {}
        self._reports: dict[Name, dict[str, object]] = {}

    def read(self, answers: Answers) -> dict[str, object]:
        """Check the view whose turn it is, and return the last report of each."""
        listed = answers.anyone(_VIEWS.topic)
        if listed is None or listed.rows is None:
            reason = "nobody told which views there are" if listed is None else str(listed.reason)
            return {"views": None, "total": None, "reasons": {"views": reason}}
        names = {(str(row["keyspace_name"]), str(row["view_name"])) for row in listed.rows}
        names = {name for name in names if name[0] not in SYSTEM_KEYSPACES}
        if self._wanted:
            names &= self._wanted
        self._turns = dict.fromkeys([*(name for name in self._turns if name in names), *sorted(names)])
        self._reports = {name: report for name, report in self._reports.items() if name in names}
        unbuilt = {name: why for name in names if (why := _not_built(name, answers)) is not None}
        turn = next((name for name in self._turns if name not in unbuilt), None)
        if turn is not None:
            del self._turns[turn]
            self._turns[turn] = None
            self._reports[turn] = self._checked(turn)
        shown = sorted(self._reports.items(), key=lambda item: (_is_well(item[1]), item[0]))[:MOST_VIEWS]
        return {
            "views": _fitting([report for _, report in shown]),
            "total": len(names),
            "left_out": len(self._reports) - len(shown),
            "not_checked": {".".join(name): why for name, why in sorted(unbuilt.items())[:MOST_VIEWS]},
        }

    def stop(self) -> object:
        """Forget what was found, and leave the watch."""
        self._turns, self._reports = {}, {}
        return super().stop()

    def _checked(self, name: Name) -> dict[str, object]:
        keyspace, view = name
        when = self._clock.wall(self._clock.monotonic()).isoformat(timespec="milliseconds")
        told: dict[str, object] = {"keyspace": keyspace, "view": view, "checked_at": when}
        session = self._open().session
        if session is None:
            return {**told, "is_consistent": None, "error": "the connection was lost"}
        try:
            report = ViewConsistencyCheck(
                session,
                keyspace,
                view,
                sample=self._sample,
                rows_per_second=ROWS_PER_SECOND,
                max_seconds=None,  # the collector's own timeout is for that
                settle_seconds=self._settle_seconds,
                max_examples=MOST_EXAMPLES,
            ).run()
        except DiagnosticError as exc:  # it was dropped meanwhile, or a replica does not answer
            return {**told, "is_consistent": None, "error": str(exc)}
        return {**told, **report.as_dict()}


def _not_built(name: Name, answers: Answers) -> str | None:
    """Return where a view is not built yet, or why that is not known; None when it is built everywhere."""
    for address, reply in answers.replies.get(_BUILT.topic, {}).items():
        if reply.rows is None:
            return f"whether it is built on {address} is not known: {reply.reason}"
        if not any((row["keyspace_name"], row["view_name"]) == name for row in reply.rows):
            return f"it is not built on {address}"
    return None


def _fitting(reports: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the reports, with examples as long as there is room for them."""
    fitting, room = [], EXAMPLES_BYTES
    for report in reports:
        size = len(json.dumps(report.get("examples", {})))
        room -= size
        fitting.append(report if room >= 0 else {**report, "examples": None})
    return fitting


def _is_well(report: Mapping[str, object]) -> bool:
    return report.get("is_consistent") is True
