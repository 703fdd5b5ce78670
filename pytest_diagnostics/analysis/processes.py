"""Which processes wrote a recording: those that ran tests, and the recorder that watched them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..core.recording import Recording, ShardRecords, mapping, text, whole

#: Shards that a process writes beside its own.
_BESIDE = frozenset({"recorder", "live", "process", "objects"})


@dataclass
class Watched:
    """A process that runs tests, or hands them out, and the shards it wrote."""

    worker: str
    pid: int
    shards: list[ShardRecords] = field(default_factory=list)

    @property
    def said_its_end(self) -> bool:
        """Whether it closed one of its shards."""
        return any(shard.of_kind("end") for shard in self.shards)


def is_recorder_process(shard: ShardRecords) -> bool:
    """Return whether a shard is that of a recorder which is a process of its own."""
    if not shard.header:  # it was lost, or never written; the file's name says for whom it was made
        role = shard.name.rpartition("-")[0]
        return role == "recorder" or role.endswith("process_live")
    return text(mapping(shard.header, "recorder"), "kind") == "process"


def recorders_in(recording: Recording) -> list[ShardRecords]:
    """Return the shards of recorder processes, first those that hold more than single tests' samples."""
    found = [shard for shard in recording.shards if is_recorder_process(shard)]
    return sorted(found, key=lambda shard: not shard.name.startswith("recorder"))


def pid_of(shard: ShardRecords) -> int:
    """Return the id of the process that wrote a shard, 0 when nothing tells."""
    digits = shard.name.rpartition("-")[2]
    return whole(shard.header, "pid") or (int(digits) if digits.isdecimal() else 0)


def worker_of(shard: ShardRecords) -> str:
    """Return main or the worker's id."""
    role = text(shard.header, "role") or shard.name.rpartition("-")[0]
    first = re.split("[-_]", role, maxsplit=1)[0]
    return "main" if first in _BESIDE or not first else first


def host_of(shard: ShardRecords) -> str:
    """Return the host of a shard's process; empty for the host of the process that made the run."""
    return text(shard.header, "host")


def main_pid(recording: Recording) -> int:
    """Return the id of the process that made the run, 0 when nothing tells."""
    told = whole(mapping(recording.header, "process"), "pid")
    if told:
        return told
    mains = [shard for shard in recording.shards if text(shard.header, "role", "main") == "main"]
    return pid_of(mains[0]) if mains else 0


def watched_of(recording: Recording) -> dict[tuple[str, int], Watched]:
    """Return the processes whose tests are recorded, by their workers and ids.

    On two hosts, two processes may have the same id; no two workers of a run have the same name.
    """
    found: dict[tuple[str, int], Watched] = {}
    for shard in recording.shards:
        if not is_recorder_process(shard):
            worker, pid = worker_of(shard), pid_of(shard)
            found.setdefault((worker, pid), Watched(worker, pid)).shards.append(shard)
    return found


def hosts_of(recording: Recording) -> dict[tuple[str, int], str]:
    """Return the host of each process whose tests are recorded, by its worker and id."""
    return {key: host_of(process.shards[0]) for key, process in watched_of(recording).items()}


def where(shard: ShardRecords) -> str:
    """Return a shard's process as a person would call it."""
    host = f" on {host_of(shard)}" if host_of(shard) else ""
    told = text(mapping(shard.header, "recorder"), "where")
    if told:
        return told + host
    role, _, pid = shard.name.rpartition("-")
    return (f"{role} (pid {pid})" if role else shard.name) + host
