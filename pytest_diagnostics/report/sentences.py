"""Usage in words, for a failing test's section and for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ..analysis.schema import Attempt, Usage
from .words import seconds, size

CHANGES = (("fds_change", "descriptors"), ("threads_change", "threads"), ("children_change", "children"))

#: What a stall is called: the word of its kind, and the sentence of a length.
STALLS = {
    "stopped": ("stopped", "stopped for {}"),
    "starved": ("waited for a CPU", "waited {} for a CPU"),
    "throttled": ("throttled", "throttled for {}"),
    "gil": ("interpreter's lock held", "the interpreter's lock was held for {}"),
    "host": ("machine stalled", "the machine stalled for {}"),
    "suspend": ("machine suspended", "the machine was suspended for {}"),
}
#: What every other kind of a gap is called.
GAPS = {
    **{kind: word for kind, (word, _) in STALLS.items()},
    "gap": "no samples",
    "clock_step": "clock moved",
    "recorder_stopped": "recorder stopped",
    "recorder_starved": "recorder waited for a CPU",
    "recorder_throttled": "recorder throttled",
    "unreachable": "database unreachable",
}
#: A stall that takes less of a test than this does not explain it.
NOTABLE_SHARE = 0.1


def stall_words(attempt: Attempt, wall: float | None, told: Collection[str]) -> Iterator[str]:
    """Yield what kept a test from running for a notable part of its time, but for the kinds in ``told``."""
    for stall in attempt["stalls"]:
        if stall["kind"] not in told and stall["seconds"] >= NOTABLE_SHARE * (wall or 0.0):
            sentence = STALLS.get(stall["kind"], (stall["kind"], f"{stall['kind']} for {{}}"))[1]
            yield sentence.format(seconds(stall["seconds"])) + share(stall["seconds"], wall or 0.0)


def usage_lines(when: str, usage: Usage, absent: Mapping[str, str]) -> list[str]:
    """Return at most three lines of exact figures of one phase."""
    wall = usage.get("wall_seconds")
    if wall is None:
        return [f"{when}: no exact figures ({why})" for why in list(dict.fromkeys(absent.values()))[:1]]
    parts = [f"{when} took {seconds(wall)}"]
    for key, label in (("cpu_seconds", "on a CPU"), ("cpu_wait_seconds", "waiting for one")):
        spent = usage.get(key)
        if isinstance(spent, (int, float)):
            parts.append(f"{seconds(spent)} {label}{share(spent, wall)}")
    if usage.get("children_cpu_seconds"):
        parts.append(f"{seconds(usage['children_cpu_seconds'])} in child processes")
    if usage.get("throttled_seconds"):
        parts.append(f"throttled for {seconds(usage['throttled_seconds'])}")
    lines = [", ".join(parts)]
    memory = _memory(usage, absent)
    traffic = [
        f"{size(usage[key])} {label}"  # type: ignore[literal-required] # keys of Usage
        for key, label in (("read_bytes", "read from storage"), ("write_bytes", "written to storage"))
        if usage.get(key)
    ]
    leaks = [
        f"{usage[key]:+d} {label}"  # type: ignore[literal-required] # keys of Usage
        for key, label in (
            ("fds_change", "descriptors"),
            ("threads_change", "threads"),
            ("children_change", "children"),
        )
        if usage.get(key)
    ]
    if usage.get("major_faults"):
        traffic.append(f"{usage['major_faults']} major faults")
    if usage.get("oom_kills"):
        traffic.append(f"{usage['oom_kills']} processes killed for lack of memory")
    rest = [part for part in (memory, *traffic, *leaks) if part]
    if rest:
        lines.append(", ".join(rest))
    return lines


def share(part: float, whole: float) -> str:
    """Return " (49 %)", or nothing for a whole too short to have parts."""
    return f" ({100 * part / whole:.0f} %)" if whole >= 0.001 else ""


def _memory(usage: Usage, absent: Mapping[str, str]) -> str:
    change = usage.get("rss_change_bytes")
    grown = f" ({'+' if change >= 0 else '−'}{size(abs(change))} kept)" if change is not None else ""
    peak = usage.get("peak_rss_bytes")
    if peak is not None:
        return f"peak memory {size(peak)}{grown}"
    rss = usage.get("rss_bytes")
    if rss is not None:
        return f"memory {size(rss)} at its end{grown}; no peak: {absent.get('peak_rss_bytes', 'not read')}"
    return ""
