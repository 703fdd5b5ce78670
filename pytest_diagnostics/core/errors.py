"""The error tree.

    DiagnosticError
    ├── ConfigurationError      what the user asked for makes no sense (also a ValueError)
    ├── UnavailableError        a source does not exist here, with the reason
    ├── ValidationError         a collector returned something that cannot be recorded
    ├── ManagerError            a manager could not start
    └── RecordingError          a recording could not be written or read

Inside a run, errors are data: ``classify`` turns any exception into the ``ErrorType`` of a result's error.
"""

from __future__ import annotations

from enum import Enum


class DiagnosticError(Exception):
    """The root of everything this package raises on purpose."""


class ConfigurationError(DiagnosticError, ValueError):
    """A name, interval, unit or option that cannot be used; the message names the remedy."""


class UnavailableError(DiagnosticError):
    """A source that does not exist on this machine; the message is the reason."""


class ValidationError(DiagnosticError):
    """Data that cannot be recorded, such as a structure that contains itself."""


class ManagerError(DiagnosticError):
    """A manager that could not start, for example because the system refused a thread."""


class RecordingError(DiagnosticError):
    """A recording that could not be written or read; the message names the file and the cause."""


class ErrorType(str, Enum):
    """Why a value is absent."""

    CONFIGURATION = "configuration"
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    PERMISSION = "permission"
    UNAVAILABLE = "unavailable"
    VALIDATION = "validation"
    PROCESSING = "processing"
    STORAGE = "storage"

    def __str__(self) -> str:
        return self.value


_BY_CLASS: tuple[tuple[type[BaseException], ErrorType], ...] = (
    (ConfigurationError, ErrorType.CONFIGURATION),
    (UnavailableError, ErrorType.UNAVAILABLE),
    (ValidationError, ErrorType.VALIDATION),
    (RecordingError, ErrorType.STORAGE),
    (PermissionError, ErrorType.PERMISSION),
    (TimeoutError, ErrorType.TIMEOUT),
    (ConnectionError, ErrorType.CONNECTION),
    (FileNotFoundError, ErrorType.UNAVAILABLE),
    (NotImplementedError, ErrorType.UNAVAILABLE),
)

# Libraries that the core may not import are known by the names of their exceptions.
_BY_NAME: dict[str, ErrorType] = {
    "AccessDenied": ErrorType.PERMISSION,
    "NoHostAvailable": ErrorType.CONNECTION,
    "NoSuchProcess": ErrorType.UNAVAILABLE,
    "OperationTimedOut": ErrorType.TIMEOUT,
    "ZombieProcess": ErrorType.UNAVAILABLE,
}


def classify(exc: BaseException) -> ErrorType:
    """Return the error type of an exception; PROCESSING when nothing more exact is known."""
    for kind, error_type in _BY_CLASS:
        if isinstance(exc, kind):
            return error_type
    for base in type(exc).__mro__:
        if base.__name__ in _BY_NAME:
            return _BY_NAME[base.__name__]
    # asyncio's and concurrent.futures' timeouts are the builtin one only from Python 3.11.
    if type(exc).__name__ == "TimeoutError":
        return ErrorType.TIMEOUT
    return ErrorType.PROCESSING
