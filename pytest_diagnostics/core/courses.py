"""What becomes of views and indexes while they are watched: their states and percents through time.

A collector of a database tells of each, at every tick, the state and how far its build is, in the lists
``views`` and ``indexes`` of its data, and when nobody answered, in ``connection``. Kept is what changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .model import JsonValue

#: The lists of a result, and what one item of each is called.
TOPICS = {"views": "view", "indexes": "index"}
#: A view or an index that was once built and stays so has no course.
BUILT = "built"
#: In these states a build goes on, or is to begin.
UNDER_WAY = frozenset({"pending", "building"})
#: Nobody answered, or the item cannot be told.
UNKNOWN = "unknown"
#: Courses kept of one collector, and steps of each; a state that flaps for hours must not fill the memory.
MAX_COURSES = 1000
MAX_STEPS = 2000
MAX_OUTAGES = 1000

_PLAIN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Step:
    """From this moment on, CLOCK_MONOTONIC, it was so."""

    monotonic: float
    state: str
    #: 0 to 100; None where it is not known.
    percent: float | None


@dataclass
class Course:
    """One view or index through time."""

    kind: str
    name: str
    steps: list[Step] = field(default_factory=list)
    #: When it was last told of, CLOCK_MONOTONIC.
    last: float = 0.0
    verdict: str | None = None

    @property
    def is_worth_telling(self) -> bool:
        """Whether it was ever anything but built: what always was is nobody's build."""
        return any(step.state not in (BUILT, UNKNOWN) for step in self.steps)

    def add(self, step: Step) -> None:
        """Take what was told at a moment; the same again only moves the last one."""
        self.last = step.monotonic
        before = self.steps[-1] if self.steps else None
        if before is not None and (before.state, before.percent) == (step.state, step.percent):
            return
        if len(self.steps) < MAX_STEPS:
            self.steps.append(step)


@dataclass
class Courses:
    """All courses of one collector, and the outages of its connection."""

    found: dict[tuple[str, str], Course] = field(default_factory=dict)
    #: The beginning of each, as ISO 8601, and what was told of it last.
    outages: dict[str, Mapping[str, JsonValue]] = field(default_factory=dict)

    def add(self, monotonic: float, data: Mapping[str, JsonValue]) -> None:
        """Take one result's data; of other collectors' there is nothing to take."""
        for topic, kind in TOPICS.items():
            if topic not in data:
                continue
            items = data[topic]
            if items is None:
                self._lose_sight(monotonic, kind)
            for name, item in named_items(topic, items):
                self._take(monotonic, kind, name, item)
        connection = data.get("connection")
        told = connection.get("outages") if isinstance(connection, dict) else None
        for outage in told if isinstance(told, list) else ():
            begin = outage.get("from") if isinstance(outage, dict) else None
            if isinstance(outage, dict) and isinstance(begin, str) and len(self.outages) < MAX_OUTAGES:
                self.outages[begin] = outage

    def _take(self, monotonic: float, kind: str, name: str, item: Mapping[str, JsonValue]) -> None:
        course = self.found.get((kind, name))
        if course is None:
            if len(self.found) >= MAX_COURSES:
                return
            course = self.found[kind, name] = Course(kind, name)
        verdict = item.get("verdict")
        course.verdict = verdict if isinstance(verdict, str) else None
        course.add(Step(monotonic, str(item["state"]), percent_of(item)))

    def _lose_sight(self, monotonic: float, kind: str) -> None:
        for course in self.found.values():
            if course.kind == kind and course.steps:
                course.add(Step(monotonic, UNKNOWN, None))


def named_items(topic: str, items: object) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    """Yield name and item of a result's list, whatever else may stand in it."""
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(item.get("state"), str):
            name = name_of(topic, item)
            if name is not None:
                yield name, item


def name_of(topic: str, item: Mapping[str, JsonValue]) -> str | None:
    """Return what an item is called: ``ks.by_email``, ``ks.users.by_age``; None when it does not say."""
    keys = ("keyspace", "view") if topic == "views" else ("keyspace", "table", "index")
    parts = [item.get(key) for key in keys]
    return ".".join(map(identifier, parts)) if all(isinstance(part, str) for part in parts) else None


def identifier(name: object) -> str:
    """Return a name as CQL writes it: in quotes when it holds more than small letters, digits and _."""
    text = str(name)
    return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', '""') + '"'


def percent_of(item: Mapping[str, JsonValue]) -> float | None:
    """Return how far an item is, 0 to 100; None where it does not say."""
    value = item.get("percent")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return min(100.0, max(0.0, float(value)))
