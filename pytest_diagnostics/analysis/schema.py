"""The shape of a summary: what ``summary.json`` holds and every report renders.

Times named ``*_seconds`` that are moments, not lengths, count from the run's start. A value that could not
be read is None (or its key is absent) and its reason stands beside it. ``usage`` is exact, read at the edges
of a phase; ``samples`` and ``series`` are sampled.
"""

from __future__ import annotations

from typing import TypedDict

from ..core.figures import Usage as Usage

SCHEMA = "pytest-diagnostics/summary"
#: 1: the first.
VERSION = 1


class Phase(TypedDict):
    """One phase of one test."""

    when: str  # setup, call or teardown
    outcome: str  # passed, failed, skipped, rerun …; "running" or "interrupted" when the run ended inside it
    start_seconds: float
    wall_seconds: float | None  # None when the run ended inside it
    usage: Usage
    absent: dict[str, str]  # usage key -> why it is absent


class Sampled(TypedDict):
    """One series within one test's window."""

    min: float
    max: float
    mean: float
    last: float
    count: int  # samples inside the window; 0 means that these are the nearest sample's


class Subtest(TypedDict):
    """A report inside a call phase that has no window of its own."""

    name: str
    outcome: str


class Limit(TypedDict):
    """One bound of a ``diagnostics_limit`` marker and what became of it."""

    name: str
    limit: float
    value: float | None
    unit: str  # seconds, bytes, count
    state: str  # ok, exceeded, not checked
    detail: str  # where it was exceeded, or why it was not checked


class Attempt(TypedDict):
    """One attempt at one test."""

    nodeid: str
    occurrence: int  # 0 for the first time this node id was collected
    attempt: int  # 1 for the first
    worker: str  # main, gw0, gw1 …
    pid: int
    outcome: str  # passed, failed, error, skipped, xfailed, xpassed, rerun, crashed, running
    complete: bool  # False when its process ended before its teardown did
    start_seconds: float
    wall_seconds: float | None  # setup + call + teardown, without fixtures above function scope; see Ending
    phases: list[Phase]
    usage: Usage  # of the three phases together
    samples: dict[str, Sampled]  # series name -> what was sampled in the window
    failure: (
        str | None
    )  # the crash line of the first failed phase, or how its worker ended; <= 2,000 characters
    subtests: list[Subtest]
    limits: list[Limit]
    stretches: list[Stretch]
    collections: list[Collection]  # extra collections, such as the one at a failing phase
    stalls: list[Stall]  # what kept its process from running, one of a kind


class Stall(TypedDict):
    """What kept a test's process from running, or samples from being taken, within the test's window."""

    kind: str  # stopped, starved, throttled, gil, host, suspend
    seconds: float  # together, within the window
    count: int  # stretches
    detail: str  # of the longest


class Stretch(TypedDict):
    """A part of a test that it named with ``diagnostics.stretch``."""

    name: str
    start_seconds: float
    wall_seconds: float
    usage: Usage


class Collection(TypedDict):
    """A collection on demand that belongs to a test."""

    reason: str
    time_seconds: float
    data: dict[str, object]  # collector name -> data
    errors: dict[str, str]  # collector name -> why it has no data


class Fixture(TypedDict):
    """Set-up and teardown of one fixture above function scope; not charged to any test."""

    name: str
    scope: str
    worker: str
    phase: str  # setup or teardown
    during: str  # node id of the test in whose protocol it ran
    start_seconds: float
    wall_seconds: float
    usage: Usage


class Series(TypedDict):
    """One numeric leaf of a collector's data through time, thinned to at most 2,000 points."""

    name: str  # collector.path
    collector: str
    unit: str  # percent, bytes, bytes_per_second, seconds, mhz, celsius, count …
    source: str  # the shard that recorded it, and its host where that is another one
    times: list[float]  # seconds from the run's start
    values: list[float | None]  # None where a gap begins


class CollectorState(TypedDict):
    """A collector's health at the end, and our own cost."""

    name: str
    where: str  # the recorder: "thread in main (pid 4711)"
    state: str
    reason: str | None
    results: int
    errors: int
    timeouts: int
    missed: int
    truncated: int
    coerced: int
    seconds_total: float


class Gap(TypedDict):
    """A stretch in which a process did not run or samples were not taken, or a jump of a clock.

    ``gap``: samples are missing, and nothing tells why. ``clock_step`` and ``suspend``: jumps, which take no
    time on the run's clock. Of the watched processes: ``stopped`` by a signal or a debugger, ``starved`` of a
    CPU, ``throttled`` by the quota of the cgroup, ``gil`` for a held interpreter's lock, ``host`` for a stall
    that the recorder felt as well. Of the recorder: ``recorder_stopped``, ``recorder_starved``,
    ``recorder_throttled``. ``unreachable``: a watched database did not answer.
    """

    kind: str
    source: str
    worker: str | None  # whose process it befell; None for the recorder and for the machine
    pid: int | None
    collector: str | None
    start_seconds: float
    time_seconds: float  # its end
    seconds: float
    detail: str


class BuildStep(TypedDict):
    """From this moment on, a view or an index was in this state."""

    time_seconds: float
    state: str  # pending, building, built, interrupted, stuck, failed, inconsistent, unknown …
    percent: float | None


class Build(TypedDict):
    """A view or an index of a watched database that was seen not built."""

    kind: str  # view or index
    name: str  # ks.view, ks.table.index
    collector: str
    source: str  # as of a series
    state: str  # the last one
    verdict: str | None  # what is wrong with it, where something is
    start_seconds: float  # when it was first seen not built
    time_seconds: float  # when it was seen built or dropped, or when it was last told of
    steps: list[BuildStep]  # what changed, in the order of time


class Ending(TypedDict):
    """How a process that runs tests ended without finishing.

    A test that ran in it is not complete. Its ``wall_seconds`` last to the end where that was seen.
    """

    process: str  # main, gw0, gw1 …
    pid: int
    time_seconds: float  # when it was seen; the last sign of life where nothing saw it
    inferred: bool  # nothing saw it: the records stop
    signal: str | None  # SIGKILL …
    exit_code: int | None
    unknown: str | None  # why neither is known
    sentence: str  # begins with "ended without finishing"
    nodeid: str | None  # the test that ran
    phase: str | None
    running_seconds: float | None  # how long it had run by then
    last_rss_bytes: int | None
    last_rss_age_seconds: float | None  # how old that figure was
    oom_kills: dict[str, list[int]]  # cgroup, machine -> kills by the kernel before and after
    evidence: list[str]  # what each of these was read from


class ShardState(TypedDict):
    """What survived of one shard."""

    name: str
    records: int
    damaged: int  # records that could not be read, inside the file
    torn: bool  # the last line was incomplete
    unknown: int  # records of a kind or version that this version does not know


class HealthSummary(TypedDict):
    """One honest line, and the facts behind it."""

    state: str  # good or degraded
    line: str
    problems: list[str]


class Cost(TypedDict, total=False):
    """What the recording itself cost."""

    collect_seconds: float  # time inside collectors, without the next
    waited_seconds: float  # time in which collectors waited for a database's answers; absent without one
    edges: int
    edge_seconds: float  # time spent reading usage at edges, and writing records
    recorded_bytes: int
    session_peak_rss_bytes: int  # kept because exact peaks reset ru_maxrss


class RecorderState(TypedDict):
    """Where collectors ran."""

    kind: str  # process or thread
    where: str
    interval_seconds: float
    collectors: list[str]


class Run(TypedDict):
    """The run itself."""

    id: str
    started: str  # ISO 8601, UTC
    wall_seconds: float
    finished: bool  # False when the run ended without saying so
    end_reason: str  # finished, interrupted …, "still running", or "ended without finishing" and how
    ending: Ending | None  # of the process that made the run; None when it finished or still runs
    exit_status: int | None
    scope: str  # session or test
    interval_seconds: float
    peak: str  # exact, sampled or off
    workers: list[str]


class Summary(TypedDict):
    """All of it."""

    schema: str
    version: int
    run: Run
    environment: dict[str, str]
    counts: dict[str, int]  # outcome -> tests (last attempts only; earlier ones count as rerun)
    tests: list[Attempt]
    fixtures: list[Fixture]
    series: list[Series]
    collectors: list[CollectorState]
    recorders: list[RecorderState]
    gaps: list[Gap]
    builds: list[Build]  # of views and indexes; empty where no database is watched
    endings: list[Ending]  # of every process that ended without finishing, the run's own first
    shards: list[ShardState]
    health: HealthSummary
    cost: Cost
