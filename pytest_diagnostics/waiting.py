"""Waiting until a view or an index is built, from what the recorder's collectors tell of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .analysis.builds import item_words, sentences
from .core.courses import BUILT, TOPICS, identifier, name_of, named_items
from .core.errors import ConfigurationError
from .core.model import JsonValue

#: The collectors that are asked, and the list of each.
COLLECTORS = {"cassandra_views": "views", "cassandra_indexes": "indexes"}
#: At most so often.
PAUSE_SECONDS = 0.2
#: How long a view may be unknown to the nodes: it was created a moment ago, and they have yet to agree on it.
GRACE_SECONDS = 5.0
#: In these states nothing goes on by itself.
HOPELESS = frozenset({"failed", "interrupted"})

_IDENTIFIER = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([A-Za-z][A-Za-z0-9_]*))\s*(?:\.|$)')


def parsed(name: str) -> tuple[str, ...]:
    """Return the parts of ``ks.view``, ``ks.index`` or ``ks.table.index`` as the server knows them.

    As in CQL, a name without quotes is in small letters. Raises ConfigurationError.
    """
    parts: list[str] = []
    place = 0
    while place < len(name):
        found = _IDENTIFIER.match(name, place)
        if found is None:
            break
        quoted, plain = found.groups()
        parts.append(plain.lower() if quoted is None else quoted.replace('""', '"'))
        place = found.end()
    if place < len(name) or len(parts) not in (2, 3) or name.rstrip().endswith("."):
        raise ConfigurationError(
            f"{name!r} names no view or index; give 'keyspace.view', 'keyspace.index' or "
            "'keyspace.table.index', with double quotes around names that CQL needs them for"
        )
    return tuple(parts)


class Waiting:
    """Judges one look after another until the view or index is built, or will never be."""

    def __init__(self, name: str, now: float) -> None:
        """Wait for what ``name`` names, from the moment ``now`` on, CLOCK_MONOTONIC."""
        #: Keyspace, table if given, view or index.
        self.parts = parsed(name)
        self.name = ".".join(map(identifier, self.parts))
        self._began = now
        self._seen = False
        self._last = "nobody has told of it"

    @property
    def collectors(self) -> list[str]:
        """The collectors that may know it."""
        # Three parts are an index's; two may be either's.
        return [one for one, topic in COLLECTORS.items() if len(self.parts) == 2 or topic == "indexes"]

    def look(self, report: Mapping[str, JsonValue], now: float) -> bool:
        """Return whether it is built on all nodes; raises ``HopelessError`` when it will not be.

        ``report`` has by collector its data, or ``{"error": {"type": …, "message": …}}``.
        """
        told = {name: report[name] for name in self.collectors if name in report}
        item = None
        for data in told.values():
            item = item or self._found(data)
        if item is None or (item["state"] == "dropped" and not self._seen):
            self._miss(told, now)
            return False
        topic = "views" if "view" in item else "indexes"
        state = str(item["state"])
        self._seen = True
        self._last = item_words(TOPICS[topic], name_of(topic, item) or self.name, item, with_rate=True)
        if state == "dropped":
            raise HopelessError(f"{self.name} was dropped while it was waited for")
        if state in HOPELESS:
            raise HopelessError(self._last)
        return state == BUILT

    def timed_out(self, timeout: float) -> str:
        """Return what to say when time is up."""
        return f"{self.name} was not built within {timeout:g} s: {self._last}"

    def _found(self, data: JsonValue) -> Mapping[str, JsonValue] | None:
        for topic in TOPICS:
            items = data.get(topic) if isinstance(data, dict) else None
            for _, item in named_items(topic, items):
                own = item.get("view") if topic == "views" else item.get("index")
                if (item.get("keyspace"), own) != (self.parts[0], self.parts[-1]):
                    continue
                if len(self.parts) == 2 or item.get("table") == self.parts[1]:
                    return item
        return None

    def _miss(self, told: Mapping[str, JsonValue], now: float) -> None:
        """Note why a look did not have it; raises ``HopelessError`` when later ones will not, either."""
        away = [_absence(name, data) for name, data in told.items()]
        reasons = [reason for reason, _ in filter(None, away)]
        if any(final for _, final in filter(None, away)):
            raise HopelessError(f"nobody can tell of {self.name}: {reasons[0]}")
        if reasons:
            self._last = reasons[0]
            return
        left_out = max((_left_out(data) for data in told.values()), default=0)
        if self._seen and left_out:
            self._last = f"it may be among the {left_out:,} that are not listed"
            return
        if self._seen:
            raise HopelessError(f"{self.name} was dropped while it was waited for")
        self._last = "there is no such view or index"
        if now - self._began >= GRACE_SECONDS:
            raise HopelessError(f"{self.name}: {self._last}")


class HopelessError(Exception):
    """It will not be built by waiting; the message says why."""


def _left_out(data: JsonValue) -> int:
    """Return how many views or indexes a collector counted and did not list."""
    found = data.get("left_out") if isinstance(data, dict) else None
    return found if isinstance(found, int) else 0


def _absence(name: str, data: JsonValue) -> tuple[str, bool] | None:
    """Return why a collector told nothing, and whether it never will; None when it told."""
    if not isinstance(data, dict):
        return f"{name} has told nothing yet", False
    error = data.get("error")
    if isinstance(error, dict):
        kind = str(error.get("type"))
        return f"{kind}: {error.get('message')}", kind in ("configuration", "unavailable", "permission")
    if any(data.get(topic) is not None for topic in TOPICS):
        return None
    connection = data.get("connection")
    refused = isinstance(connection, dict) and connection.get("state") == "refused"
    return next(iter(sentences({name: data})), f"{name} has told nothing"), refused
