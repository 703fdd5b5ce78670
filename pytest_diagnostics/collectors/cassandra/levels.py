"""At which consistency level a replicated table is read, and what a failed read means. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.errors import ErrorType, classify
from .queries import Node, Query, Ring

#: The driver's exceptions that the core does not know, by their names: it may not be imported here.
_KINDS = {
    "Unauthorized": ErrorType.PERMISSION,
    "AuthenticationFailed": ErrorType.PERMISSION,
    # A table or column that the schema has no more, or never had.
    "InvalidRequest": ErrorType.UNAVAILABLE,
    "SyntaxException": ErrorType.UNAVAILABLE,
    "ReadTimeout": ErrorType.TIMEOUT,
    "OperationTimedOut": ErrorType.TIMEOUT,
}


def told(exc: BaseException) -> str:
    """Return "<error type>: <message>" of what the driver raised."""
    kind = _KINDS.get(type(exc).__name__) or classify(exc)
    if kind is ErrorType.PROCESSING:
        kind = ErrorType.CONNECTION
    causes = getattr(exc, "errors", None)
    message = _words(exc)
    if isinstance(causes, Mapping) and causes:
        message = "; ".join(f"{address}: {_words(cause)}" for address, cause in causes.items())
    return f"{kind}: {message}"


def _words(exc: object) -> str:
    errors = getattr(exc, "errors", None)
    if type(exc).__name__ == "OperationTimedOut" and not isinstance(errors, Mapping):
        return str(errors or "no answer in time")  # its own words are "errors=None, last_host=None"
    # Of a port at which nobody listens, the driver says the address, which is told already, once more.
    return str(exc).rpartition("Last error: ")[2] or type(exc).__name__


def is_unavailable(error: str | None) -> bool:
    """Return whether ``told`` said that the server does not offer what was asked."""
    return error is not None and error.startswith(f"{ErrorType.UNAVAILABLE}:")


def level(query: Query, nodes: Sequence[Node], ring: Ring | None) -> tuple[str, str]:
    """Return at which level to read a table that any node answers for, and why it is no quorum."""
    factor = ring.factors.get(query.keyspace) if ring is not None else None
    if not factor:
        return "LOCAL_ONE", ""  # every node holds the whole of it
    up = sum(node.is_up is not False for node in nodes)
    if up < factor // 2 + 1:
        return "ONE", f"a quorum of {factor} copies needs {factor // 2 + 1} nodes, {up} are up"
    return "QUORUM", ""


def factor(options: Mapping[str, object]) -> int:
    """Return how many copies of a row there are, over all datacenters; 0 when that is not what it says."""
    copies = [str(value).partition("/")[0] for value in options.values()]
    return sum(int(count) for count in copies if count.isdecimal())
