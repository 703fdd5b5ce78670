"""What flows from collectors to sinks: results, events and executions, all plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Union

from .errors import ErrorType

#: What JSON can say. Results hold nothing else once a manager has taken them.
JsonValue = Union[None, bool, int, float, str, "list[JsonValue]", "dict[str, JsonValue]"]


class Stage(str, Enum):
    """Where in a collector's life an error happened."""

    PROBE = "probe"
    START = "start"
    COLLECT = "collect"
    STORE = "store"
    PROCESS = "process"
    STOP = "stop"

    def __str__(self) -> str:
        return self.value


class ManagerStatus(str, Enum):
    """The state of a manager."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"

    def __str__(self) -> str:
        return self.value


class HealthState(str, Enum):
    """The one state of a collector."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILING = "failing"
    DISABLED = "disabled"
    UNAVAILABLE = "unavailable"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class CollectorError:
    """Why a result has no data, or why its data could not be stored."""

    type: ErrorType
    stage: Stage
    message: str
    #: True when the collector was disabled or the manager stopped because of it.
    is_critical: bool = False
    #: When it happened, aware UTC.
    time: datetime | None = None
    #: The exception's class, attempts made, a handler's own failure.
    details: Mapping[str, JsonValue] = field(default_factory=dict)

    def __str__(self) -> str:
        kind = self.details.get("exception")
        if self.type is ErrorType.PROCESSING and kind is not None and kind != self.message:
            return f"{self.type}: {kind}: {self.message}"  # of a KeyError the message alone says nothing
        return f"{self.type}: {self.message}"


@dataclass(frozen=True)
class DiagnosticResult:
    """What one collector returned at one tick, or its error."""

    collector_name: str
    #: When the collection began, or its data were read before (``as_of`` of a collector), aware UTC: the
    #: manager's wall-clock anchor plus monotonic time.
    timestamp: datetime
    #: The same moment on CLOCK_MONOTONIC, seconds.
    monotonic: float
    #: How long the collection took.
    seconds: float
    #: JSON-able and bounded; None when nothing was collected.
    data: JsonValue
    collected: bool
    stored: bool
    error: CollectorError | None = None
    #: Values that had to be converted (bytes, datetimes, sets …) or dropped (NaN, infinities).
    coerced: int = 0
    #: True when the data was cut to the bounds of a result.
    truncated: bool = False
    #: True for the final collection, which a stopping manager makes.
    final: bool = False


class EventKind(str, Enum):
    """What an event tells."""

    #: A run began: ``details`` has collectors, their names.
    STARTED = "started"
    #: A run ended: ``details`` has reason.
    STOPPED = "stopped"
    PAUSED = "paused"
    RESUMED = "resumed"
    #: A collector's health changed: ``details`` has state, previous, reason.
    HEALTH = "health"
    #: Ticks were missed: ``details`` has missed and late_seconds.
    GAP = "gap"
    #: The wall clock moved against the monotonic one: ``details`` has step_seconds.
    CLOCK_STEP = "clock_step"
    #: The machine was suspended: ``details`` has suspended_seconds.
    SUSPEND = "suspend"
    #: A sink failed: ``details`` has sink and message.
    SINK_FAILED = "sink_failed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Event:
    """Something that happened to a manager or to one of its collectors."""

    kind: EventKind
    timestamp: datetime
    monotonic: float
    #: None when the event concerns the whole manager.
    collector_name: str | None = None
    details: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Execution:
    """One call of one collector: the account of what our own work cost and when it ran."""

    collector_name: str
    #: The tick's deadline on CLOCK_MONOTONIC; equal to ``monotonic`` for a collection on demand.
    due: float
    #: When the call began, CLOCK_MONOTONIC.
    monotonic: float
    seconds: float
    #: 1 for the first try, 2 for the first retry, and so on.
    attempt: int
    succeeded: bool


#: Everything that a manager tells its subscribers and sinks.
Record = DiagnosticResult | Event | Execution


@dataclass(frozen=True)
class Health:
    """A collector's health with its reason and its account."""

    collector_name: str
    state: HealthState = HealthState.UNKNOWN
    reason: str | None = None
    #: Times on CLOCK_MONOTONIC; None when there is none.
    next_run: float | None = None
    last_run: float | None = None
    last_success: float | None = None
    failures_in_row: int = 0
    runs: int = 0
    failures: int = 0
    timeouts: int = 0
    #: Ticks that were skipped because the collector or its thread was late.
    missed: int = 0
    #: Time spent inside the collector, all calls together.
    seconds_total: float = 0.0
    #: Conversions and cuts that the bounds of a result asked for, all results together.
    coerced: int = 0
    truncated: int = 0
