"""The collectors: what there is to choose from. Each is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ..core.collector import DiagnosticCollector
from ..core.errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

#: Name -> "module:Class".
BUILT_IN: dict[str, str] = {
    "cpu": "pytest_diagnostics.collectors.cpu:CPUCollector",
    "memory": "pytest_diagnostics.collectors.memory:MemoryCollector",
    "network": "pytest_diagnostics.collectors.network:NetworkCollector",
    "disk": "pytest_diagnostics.collectors.disk:DiskCollector",
    "memory_bandwidth": "pytest_diagnostics.collectors.memory_bandwidth:MemoryBandwidthCollector",
    "process": "pytest_diagnostics.collectors.process:ProcessCollector",
    "pressure": "pytest_diagnostics.collectors.pressure:PressureCollector",
    "cgroup": "pytest_diagnostics.collectors.cgroup:CgroupCollector",
    "perf_events": "pytest_diagnostics.collectors.perf_events:PerfEventsCollector",
    "cassandra_views": "pytest_diagnostics.collectors.cassandra.views:ViewsCollector",
    "cassandra_indexes": "pytest_diagnostics.collectors.cassandra.indexes:IndexesCollector",
    "cassandra_consistency": (
        "pytest_diagnostics.collectors.cassandra.consistency_collector:ConsistencyCollector"
    ),
}

#: Those that watch a Cassandra or ScyllaDB: they take its ``target``. One process of a run asks it.
CASSANDRA: tuple[str, ...] = tuple(name for name in BUILT_IN if name.startswith("cassandra_"))
#: Those of them that run as soon as a cluster is named; a check of consistency reads the user's tables.
CASSANDRA_DEFAULT: tuple[str, ...] = ("cassandra_views", "cassandra_indexes")

#: On unless the user chooses. perf_events starts a process, and few machines let it.
DEFAULT: tuple[str, ...] = tuple(name for name in BUILT_IN if name not in ("perf_events", *CASSANDRA))

#: Those that watch a process: they take its ``pid``.
WATCHING: frozenset[str] = frozenset({"process", "cgroup", "perf_events"})

#: The entry point group in which other packages offer collectors.
GROUP = "pytest_diagnostics.collectors"


def available_names() -> list[str]:
    """Return the names of the built-in collectors and of those that other packages offer, sorted."""
    return sorted({*BUILT_IN, *(point.name for point in _offers())})


def load(name: str, /, **options: object) -> DiagnosticCollector:
    """Import a collector by its name and make one with ``options``.

    Built-in names come first. Raises ConfigurationError for a name that nobody knows, for an entry point
    that cannot be imported or is no collector, and for options that its constructor does not take.
    """
    target = BUILT_IN.get(name)
    factory = _offered(name) if target is None else _built_in(target)
    try:
        collector = factory(**options)
    except TypeError as exc:
        raise ConfigurationError(f"collector {name!r} cannot be made with {sorted(options)}: {exc}") from exc
    if not isinstance(collector, DiagnosticCollector):
        raise ConfigurationError(
            f"collector {name!r} is a {type(collector).__name__}, not a DiagnosticCollector"
        )
    return collector


def _built_in(target: str) -> Callable[..., object]:
    module, _, class_name = target.partition(":")
    return cast("Callable[..., object]", getattr(import_module(module), class_name))


def _offers() -> EntryPoints:
    from importlib.metadata import entry_points  # which takes longer than all of our own

    return entry_points(group=GROUP)


def _offered(name: str) -> Callable[..., object]:
    points = list(_offers().select(name=name))
    if not points:
        known = ", ".join(available_names())
        raise ConfigurationError(f"unknown collector {name!r}; known are: {known}")
    try:
        factory: object = points[0].load()
    except Exception as exc:
        raise ConfigurationError(
            f"collector {name!r} ({points[0].value}) cannot be imported: {type(exc).__name__}: {exc}"
        ) from exc
    if not callable(factory):
        raise ConfigurationError(f"collector {name!r} ({points[0].value}) is not a class")
    return factory
