"""From a run directory to its summary and page, at the end of a session or days later."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .analysis.summary import summarise
from .core.errors import RecordingError
from .storage.files import make_directories, write_atomically
from .storage.recording import read_memory, read_run
from .storage.runs import RunDirectory, run_header
from .storage.shard import MemoryShard, Shard, ShardWriter

if TYPE_CHECKING:
    from .analysis.schema import Summary
    from .core.model import JsonValue
    from .core.recording import Recording


def recording_of(
    run: RunDirectory | None, header: Mapping[str, object], shards: Sequence[Shard]
) -> Recording:
    """Read a recording back from its directory and from what ``shards`` of this process kept in memory."""
    memory = [shard for shard in shards if isinstance(shard, MemoryShard)]
    writers = [shard for shard in shards if isinstance(shard, ShardWriter)]
    if run is not None:
        try:
            return read_run(run, memory, {Path(shard.path).name: shard.unwritten for shard in writers})
        except RecordingError:
            # The directory was removed during the run, with all that was in it.
            header = {**header, "removed": str(run.path)}
    return read_memory(cast("Mapping[str, JsonValue]", run_header(header)), memory)


def summary_of(recording: Recording) -> Summary:
    """Return the summary that every report renders."""
    return summarise(recording)


def admit(summary: Summary, trouble: str) -> None:
    """Add what went wrong after the summary was made to its health."""
    health = summary["health"]
    if trouble not in " ".join(health["problems"]):
        health["problems"].append(trouble)
        if health["state"] == "good":
            health["state"], health["line"] = "degraded", f"degraded: {trouble}"


def write_summary(summary: Summary, run: RunDirectory) -> None:
    """Write ``summary.json``."""
    write_atomically(run.summary, json.dumps(summary, allow_nan=False).encode("ascii") + b"\n")


def write_report(summary: Summary, path: Path) -> str:
    """Write the HTML report and return its path; the only reason to import a template engine."""
    from .report.html import write

    if not path.parent.is_dir():
        make_directories(os.fspath(path.parent))
    write(summary, path)
    return str(path)
