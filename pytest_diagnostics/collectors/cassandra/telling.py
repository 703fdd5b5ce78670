"""What every result says beside its list: the server, the nodes, and what could not be read. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .queries import Answers, Node, Reply


def server(answers: Answers) -> dict[str, object]:
    """Return the kind of server and each node's version."""
    return {
        "kind": kind(answers),
        "versions": {node.address: node.release_version or None for node in answers.nodes},
    }


def kind(answers: Answers) -> str | None:
    """Return "cassandra" or "scylla", by the tables that are offered; None before any are known."""
    if not answers.catalogs:
        return None
    return "scylla" if any(catalog.is_scylla for catalog in answers.catalogs.values()) else "cassandra"


def node_state(answers: Answers, node: Node) -> str:
    """Return "up", "down" or "unknown": up is a node that answered, whatever the driver believes."""
    replies = [of[node.address] for of in answers.replies.values() if node.address in of]
    if any(reply.rows is not None for reply in replies):
        return "up"
    return "down" if node.is_up is False else "unknown"


def errors(answers: Answers, topics: frozenset[str]) -> dict[str, dict[str, str]]:
    """Return address -> topic -> why the query failed."""
    found: dict[str, dict[str, str]] = {}
    for topic in sorted(topics & answers.replies.keys()):
        for address, reply in answers.replies[topic].items():
            if reply.error is not None:
                found.setdefault(address or "any node", {})[topic] = reply.error
    return found


def unavailable(answers: Answers, topics: frozenset[str]) -> dict[str, str]:
    """Return topic -> why no node, or which of them, cannot be asked about it."""
    found: dict[str, str] = {}
    for topic in sorted(topics & answers.replies.keys()):
        replies = answers.replies[topic]
        refused = {address: reply.unavailable for address, reply in replies.items() if reply.unavailable}
        if not refused:
            continue
        reason = next(iter(refused.values()))
        others = "" if len(refused) == len(replies) else f" (on {', '.join(sorted(refused))})"
        found[topic] = f"{reason}{others}"
    return found


def missing(reply: Reply | None) -> str | None:
    """Return why a reply has no rows; None when it has."""
    if reply is None:
        return "it was not asked"
    return None if reply.rows is not None else reply.reason or "it did not answer"


def number(row: Mapping[str, object] | None, *names: str) -> float | None:
    """Return the first of these columns that is there and holds a number: versions name them differently."""
    for name in names if row is not None else ():
        value = row.get(name) if row is not None else None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
    return None
