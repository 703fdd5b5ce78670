"""What a recorder process is told when it is started: one JSON text, no secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Plan:
    """The orders of one recorder process."""

    #: The run's directory and its name.
    run: str
    name: str
    #: Where it listens, in a printable form.
    address: str
    #: The process that it watches, and when that started, in clock ticks after boot (None: not known).
    pid: int
    start_ticks: int | None
    #: The collectors of the session, by name; none at test scope.
    collectors: tuple[str, ...]
    interval: float
    #: Whether long tests are sampled more often.
    burst: bool = True
    #: What the watched process is called in records.
    role: str = "main"
    #: Where xdist's workers of another host share a recorder: the directory that is removed at the end. Such
    #: a recorder ends with the last of them, whichever started it.
    temporary: str = ""
    #: That host's name in records; empty for the host of the process that made the run.
    host: str = ""
    #: What collectors are made with, by their names: where a password is, never the password itself.
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        """Whether it ends with the last of several processes instead of with one."""
        return bool(self.temporary)

    def to_json(self) -> str:
        """Return the text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan of a text."""
        fields = json.loads(text)
        fields["collectors"] = tuple(fields["collectors"])
        return cls(**fields)


#: A run directory holds this file when pytest gave its recorder process up before that had begun.
GIVEN_UP = "recorder.given-up"
#: What the recorder process says on its standard error; removed when empty.
ERRORS = "recorder.err"
