"""The terminal's section: at most six lines, unless more was asked for or a database had trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..analysis.builds import run_lines
from ..analysis.limits import told
from ..analysis.schema import Attempt, Summary
from .sentences import share, stall_words
from .words import counted, line, seconds, size

#: Lines about views, indexes and outages; more are counted.
MOST_BUILDS = 3
#: What "slow" lists.
SLOW_TESTS = 10
#: A test shorter than this is not worth being called slow.
NOTABLE_SECONDS = 0.05
#: Memory below this is what a Python process weighs anyway.
NOTABLE_BYTES = 1 << 20


def lines(summary: Summary, *, show: str, quiet: bool, report: str | None) -> list[str]:
    """Return the section's lines: failed, slow, hungry, limits, builds, report, health."""
    found: list[tuple[str, str]] = []
    if not quiet and show != "none":
        found += _tests(summary["tests"], show)
        found += _limits(summary["tests"])
        found += _builds(summary)
    if report is not None:
        found.append(("report", report))
    health = summary["health"]
    if not quiet or health["state"] != "good":
        found.append(("health", health["line"]))
    return [f"{label:<7} {line(text)}" for label, text in found]


def _tests(tests: list[Attempt], show: str) -> list[tuple[str, str]]:
    if show == "all":
        return [(attempt["outcome"][:7], f"{attempt['nodeid']}: {_took(attempt)}") for attempt in tests]
    ended = [attempt for attempt in tests if attempt["wall_seconds"] is not None]
    slowest = sorted(ended, key=_wall, reverse=True)
    if show == "slow":
        return [("slow", f"{attempt['nodeid']}: {_took(attempt)}") for attempt in slowest[:SLOW_TESTS]]
    found = []
    failed = [attempt for attempt in tests if attempt["outcome"] in ("failed", "error", "crashed")]
    if failed:
        worst = max(failed, key=_wall)
        more = f"; {counted(len(failed) - 1, 'other')} in the report" if len(failed) > 1 else ""
        found.append(("failed", f"{worst['nodeid']}: {_took(worst)}{more}"))
        # The line above told of it; the slowest of the others tells more than the same again.
        slowest = [attempt for attempt in slowest if attempt is not worst]
    if slowest and _wall(slowest[0]) >= NOTABLE_SECONDS:
        found.append(("slow", f"{slowest[0]['nodeid']}: {_took(slowest[0])}"))
    hungry = _largest(ended, _growth)
    if hungry is not None:
        found.append(("hungry", f"{hungry['nodeid']}: {_ate(hungry)}"))
    return found


def _limits(tests: Iterable[Attempt]) -> list[tuple[str, str]]:
    exceeded = [
        (attempt, limit) for attempt in tests for limit in attempt["limits"] if limit["state"] == "exceeded"
    ]
    unchecked = sum(limit["state"] == "not checked" for attempt in tests for limit in attempt["limits"])
    parts = []
    if exceeded:
        attempt, limit = exceeded[0]
        more = f" and {len(exceeded) - 1} more" if len(exceeded) > 1 else ""
        parts.append(f"{attempt['nodeid']} exceeded {told(limit)}{more}")
    if unchecked:
        parts.append(f"{counted(unchecked, 'limit')} not checked")
    return [("limits", "; ".join(parts))] if parts else []


def _builds(summary: Summary) -> list[tuple[str, str]]:
    told = run_lines(summary.get("builds", []), summary["gaps"])
    more = [f"{len(told) - MOST_BUILDS:,} more of the kind in the report"] if len(told) > MOST_BUILDS else []
    return [("builds", text) for text in told[:MOST_BUILDS] + more]


def _took(attempt: Attempt) -> str:
    """Return how long a test took and what it did meanwhile."""
    wall = attempt["wall_seconds"]
    if wall is None or not attempt["complete"]:
        # Its figures are those of the phases before the one in which it ended.
        after = "" if wall is None else f": its process ended after {seconds(wall)}"
        return ", ".join([f"did not finish{after}", *stall_words(attempt, wall, told=frozenset())])
    usage = attempt["usage"]
    parts = [seconds(wall)]
    cpu, wait = usage.get("cpu_seconds"), usage.get("cpu_wait_seconds")
    if cpu is not None:
        parts.append(f"{seconds(cpu)} on a CPU{share(cpu, wall)}")
    if wait is not None and wait >= 0.1 * wall:
        parts.append(f"{seconds(wait)} waiting for one{share(wait, wall)}")
    if usage.get("throttled_seconds"):
        parts.append(f"throttled for {seconds(usage['throttled_seconds'])}")
    # What was read at the edges is exact and has been said.
    told = {
        kind
        for kind, key in (("starved", "cpu_wait_seconds"), ("throttled", "throttled_seconds"))
        if key in usage
    }
    return ", ".join([*parts, *stall_words(attempt, wall, told)])


def _ate(attempt: Attempt) -> str:
    usage = attempt["usage"]
    kept = usage.get("rss_change_bytes", 0)
    text = f"peak memory {size(usage.get('peak_rss_bytes'))}, {size(_growth(attempt))} above its start"
    return f"{text}, {size(kept)} kept" if kept >= NOTABLE_BYTES else text


def _growth(attempt: Attempt) -> float | None:
    """Return how far the peak rose above the memory that the process had when the test began."""
    usage = attempt["usage"]
    if "peak_rss_bytes" not in usage or "rss_bytes" not in usage or "rss_change_bytes" not in usage:
        return None
    return usage["peak_rss_bytes"] - (usage["rss_bytes"] - usage["rss_change_bytes"])


def _largest(tests: Iterable[Attempt], key: Callable[[Attempt], float | None]) -> Attempt | None:
    found = [(value, attempt) for attempt in tests if (value := key(attempt)) is not None]
    largest = max(found, key=lambda pair: pair[0], default=None)
    return largest[1] if largest is not None and largest[0] >= NOTABLE_BYTES else None


def _wall(attempt: Attempt) -> float:
    return attempt["wall_seconds"] or 0.0
