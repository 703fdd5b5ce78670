"""From a run directory to its summary and page, at the end of a session or days later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from .analysis.summary import summarise
from .core.errors import RecordingError
from .storage.files import make_directories, write_atomically
from .storage.recording import Kept, read_memory, read_run
from .storage.runs import RunDirectory, run_header
from .storage.shard import MemoryShard, Shard, ShardWriter

if TYPE_CHECKING:
    from .analysis.schema import Summary
    from .core.model import JsonValue
    from .core.recording import Recording

#: Tests of a summary that are encoded together.
AT_A_TIME = 500


def recording_of(
    run: RunDirectory | None,
    header: Mapping[str, object],
    shards: Sequence[Shard],
    unwritten: Mapping[str, Sequence[bytes]] = MappingProxyType({}),
) -> Recording:
    """Read a recording back from its directory and from what ``shards`` of this process kept in memory.

    ``unwritten`` has the lines of other processes' shards that they brought home, by the names of the files.
    """
    memory = [shard for shard in shards if isinstance(shard, MemoryShard)]
    writers = [shard for shard in shards if isinstance(shard, ShardWriter)]
    kept = {Path(shard.path).name: Kept(shard.unwritten, shard.outline) for shard in writers}
    kept |= {name: Kept(lines) for name, lines in unwritten.items()}
    recording = None
    if run is not None:
        try:
            recording = read_run(run, memory, kept)
        except RecordingError:
            # The directory was removed during the run, with all that was in it.
            header = {**header, "removed": str(run.path)}
    if recording is None:
        recording = read_memory(cast("Mapping[str, JsonValue]", run_header(header)), memory, kept)
    recording.problems += _untold(recording, writers)
    return recording


def _untold(recording: Recording, writers: Sequence[ShardWriter]) -> Iterator[str]:
    """Yield what shards met when their last record, which tells of such things, was on its way."""
    ends = {shard.name: shard.of_kind("end") for shard in recording.shards}
    for writer in writers:
        name = Path(writer.path).stem
        told = str([fields.get("problems") for fields in ends.get(name, ())])
        for problem in writer.problems:
            # Of what is told already, only the numbers have changed.
            if problem.partition(" after ")[0] not in told:
                yield f"shard {name}: {problem}"


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
    write_atomically(run.summary, encoded(summary))


def encoded(summary: Summary) -> bytearray:
    """Return a summary as JSON, in memory once: that of a long run is larger than what it was made from."""
    dumps = json.JSONEncoder(allow_nan=False, check_circular=False).encode
    text = bytearray()
    for key, value in summary.items():
        text += (", " if text else "{").encode() + dumps(key).encode() + b": "
        if isinstance(value, list):
            text += b"["
            for begin in range(0, len(value), AT_A_TIME):
                text += (b", " if begin else b"") + dumps(value[begin : begin + AT_A_TIME])[1:-1].encode()
            text += b"]"
        else:
            text += dumps(value).encode()
    text += b"}\n"
    return text


def write_report(summary: Summary, path: Path) -> str:
    """Write the HTML report and return its path; the only reason to import a template engine."""
    from .report.html import write

    if not path.parent.is_dir():
        make_directories(os.fspath(path.parent))
    write(summary, path)
    return str(path)
