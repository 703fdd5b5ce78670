"""What the machine, the process tree and the database did while each test ran.

Every name is imported when it is first used, so that importing the package, as every pytest run does that
has it installed, costs nothing.
"""

from __future__ import annotations

# As of typing, whose import takes longer than a recorder process needs to look at the machine.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from .collectors.cassandra.consistency import ViewConsistencyCheck as ViewConsistencyCheck
    from .collectors.cassandra.mv import MVDiagnosticCollector as MVDiagnosticCollector
    from .collectors.cgroup import CgroupCollector as CgroupCollector
    from .collectors.cpu import CPUCollector as CPUCollector
    from .collectors.disk import DiskCollector as DiskCollector
    from .collectors.memory import MemoryCollector as MemoryCollector
    from .collectors.memory_bandwidth import MemoryBandwidthCollector as MemoryBandwidthCollector
    from .collectors.network import NetworkCollector as NetworkCollector
    from .collectors.perf_events import PerfEventsCollector as PerfEventsCollector
    from .collectors.pressure import PressureCollector as PressureCollector
    from .collectors.process import ProcessCollector as ProcessCollector
    from .core.collector import DiagnosticCollector as DiagnosticCollector
    from .core.errors import ConfigurationError as ConfigurationError
    from .core.errors import DiagnosticError as DiagnosticError
    from .core.errors import ErrorType as ErrorType
    from .core.errors import ManagerError as ManagerError
    from .core.errors import RecordingError as RecordingError
    from .core.errors import UnavailableError as UnavailableError
    from .core.errors import ValidationError as ValidationError
    from .core.handlers import ExceptionHandler as ExceptionHandler
    from .core.handlers import ExceptionStrategy as ExceptionStrategy
    from .core.manager import DiagnosticManager as DiagnosticManager
    from .core.manager import collect_diagnostics as collect_diagnostics
    from .core.model import CollectorError as CollectorError
    from .core.model import DiagnosticResult as DiagnosticResult
    from .core.model import Event as Event
    from .core.model import EventKind as EventKind
    from .core.model import Execution as Execution
    from .core.model import Health as Health
    from .core.model import HealthState as HealthState
    from .core.model import ManagerStatus as ManagerStatus
    from .core.protocols import Sink as Sink

_HOMES = {
    "CPUCollector": "collectors.cpu",
    "CgroupCollector": "collectors.cgroup",
    "CollectorError": "core.model",
    "ConfigurationError": "core.errors",
    "DiagnosticCollector": "core.collector",
    "DiagnosticError": "core.errors",
    "DiagnosticManager": "core.manager",
    "DiagnosticResult": "core.model",
    "DiskCollector": "collectors.disk",
    "ErrorType": "core.errors",
    "Event": "core.model",
    "EventKind": "core.model",
    "ExceptionHandler": "core.handlers",
    "ExceptionStrategy": "core.handlers",
    "Execution": "core.model",
    "Health": "core.model",
    "HealthState": "core.model",
    "MVDiagnosticCollector": "collectors.cassandra.mv",
    "ManagerError": "core.errors",
    "ManagerStatus": "core.model",
    "MemoryBandwidthCollector": "collectors.memory_bandwidth",
    "MemoryCollector": "collectors.memory",
    "NetworkCollector": "collectors.network",
    "PerfEventsCollector": "collectors.perf_events",
    "PressureCollector": "collectors.pressure",
    "ProcessCollector": "collectors.process",
    "RecordingError": "core.errors",
    "Sink": "core.protocols",
    "UnavailableError": "core.errors",
    "ValidationError": "core.errors",
    "ViewConsistencyCheck": "collectors.cassandra.consistency",
    "collect_diagnostics": "core.manager",
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605 - one list of names is enough


def __getattr__(name: str) -> object:
    """Import a public name from its home (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pytest-diagnostics")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    # Not kept here: pytester drops the modules that a session inside a test imported, and imports them
    # anew for the next; a kept class would then be another one than theirs.
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
