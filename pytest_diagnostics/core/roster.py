"""The collectors of one manager, by name, and where in their intervals they tick."""

from __future__ import annotations

from .collector import DiagnosticCollector
from .entry import Entry
from .errors import ConfigurationError
from .schedule import Schedule, checked_interval, spread

#: Names that mean something else in the reply to a collection on demand.
RESERVED = ("timestamp", "error")


class Roster:
    """Checks and keeps collectors. Not locked: the manager's lock guards it."""

    def __init__(self, interval: float) -> None:
        """``interval`` serves the collectors that name none."""
        self._interval = interval
        self._entries: dict[str, Entry] = {}
        #: When the latest run began: the grid on which the ticks of equal intervals lie.
        self._origin = 0.0

    def enter(self, collector: object) -> Entry:
        """Take a collector; raises ConfigurationError for what cannot be one."""
        if not isinstance(collector, DiagnosticCollector):
            hint = "derive its class from DiagnosticCollector"
            if isinstance(collector, type):
                hint = f"did you mean {collector.__name__}()?"
            raise ConfigurationError(f"{collector!r} is not a collector; {hint}")
        name = self._checked_name(collector)
        interval = self._interval if collector.interval is None else collector.interval
        entry = Entry(collector, checked_interval(interval, f"the collector {name!r}"))
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> Entry:
        """Return the entry of that name; raises ConfigurationError when there is none."""
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self._entries) or "none"
            raise ConfigurationError(f"no collector is named {name!r}; there are: {known}") from None

    def leave(self, name: str) -> Entry:
        """Take a collector out."""
        entry = self.get(name)
        del self._entries[name]
        return entry

    def all(self) -> list[Entry]:
        """Return the entries in the order in which they came, as a new list."""
        return list(self._entries.values())

    def begin(self, now: float) -> None:
        """Begin a run: the first tick of every collector is now."""
        self._origin = now
        for entry in self._entries.values():
            entry.ordinal = None
        # The aligned ones first: they stay where they are, the others go out of their way.
        for entry in sorted(self._entries.values(), key=lambda entry: not entry.collector.aligned):
            self.place(entry, now)

    def place(self, entry: Entry, now: float) -> None:
        """Give a collector its first tick now, and a share of the interval that others leave free."""
        entry.ordinal = 0
        if not entry.collector.aligned:
            peers = (e for e in self._entries.values() if e is not entry and e.interval == entry.interval)
            taken = {peer.ordinal for peer in peers}
            entry.ordinal = next(n for n in range(len(taken) + 1) if n not in taken)
        offset = spread(entry.ordinal) * entry.interval
        entry.reset(Schedule(self._origin, entry.interval, offset, first=now))

    def _checked_name(self, collector: DiagnosticCollector) -> str:
        name: object = collector.name
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(f"a {type(collector).__name__} is named {name!r}; a name is a text")
        if name in self._entries or name in RESERVED:
            why = "taken" if name in self._entries else "reserved"
            raise ConfigurationError(f"the collector name {name!r} is {why}; give this one a name of its own")
        return name
