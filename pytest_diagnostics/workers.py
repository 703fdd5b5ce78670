"""The xdist edge: what a controller tells its workers, and what they bring home."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .storage.runs import RunDirectory
from .storage.shard import MemoryShard, Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A worker that cannot write to the run's directory sends home this much at most.
MAX_BROUGHT_BYTES = 8 * 1024 * 1024
KEY = "diagnostics"
RECORDER_KEY = "diagnostics_recorder_process"


@dataclass
class Given:
    """Who this process is, and what it was told."""

    #: "main" for a run without workers and for a controller, else xdist's name of the worker.
    worker: str
    run: RunDirectory | None = None
    #: The plan of the controller's recorder process; empty when there is none.
    recorder: str = ""
    #: Why the run's directory cannot be written.
    refusal: str = ""


def given_by_controller(config: pytest.Config) -> Given:
    """Return who this process is; a worker's controller says where the run is recorded."""
    told = getattr(config, "workerinput", None)
    if told is None:
        return Given("main")
    path = told.get(KEY)
    run = RunDirectory(Path(path)) if isinstance(path, str) and path else None
    return Given(str(told.get("workerid", "worker")), run, str(told.get(RECORDER_KEY) or ""))


def tell_worker(node: object, run: RunDirectory | None, recorder: str) -> None:
    """Write to ``node.workerinput``, of which only plain strings survive the way."""
    told: dict[str, object] = node.workerinput  # type: ignore[attr-defined] # xdist's own
    told[KEY] = str(run.path) if run is not None else ""
    told[RECORDER_KEY] = recorder


def take_home(config: pytest.Config, shards: Iterable[tuple[str, Shard]]) -> None:
    """Send the lines of shards in memory, as one string: anything else may break xdist's channel."""
    lines: list[str] = []
    size = 0
    for _, shard in shards:
        for line in shard.lines if isinstance(shard, MemoryShard) else ():
            size += len(line)
            if size <= MAX_BROUGHT_BYTES:
                lines.append(line.decode("ascii"))
    if lines:
        config.workeroutput[KEY] = json.dumps({"lines": lines, "bytes": size})  # type: ignore[attr-defined] # xdist's own


def brought_home(node: object) -> list[bytes]:
    """Return the lines that a worker sent; a crashed worker has none."""
    output: Mapping[str, object] = getattr(node, "workeroutput", None) or {}
    text = output.get(KEY)
    if not isinstance(text, str):
        return []
    return [line.encode("ascii") for line in json.loads(text)["lines"]]


class BroughtShard(MemoryShard):
    """A worker's shard that came home with it."""

    def __init__(self, lines: list[bytes]) -> None:
        super().__init__("brought")
        self._brought = lines

    @property
    def lines(self) -> list[bytes]:
        """The lines as the worker wrote them."""
        return self._brought
