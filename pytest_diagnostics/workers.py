"""The xdist edge: what a controller tells its workers, and what they bring home."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .storage.files import create_file
from .storage.runs import RunDirectory
from .storage.shard import MemoryShard, Shard, ShardWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .remote import HostDirectory

#: A worker that cannot write to the run's directory sends home this much at most, packed and unpacked.
MAX_BROUGHT_BYTES = 8 * 1024 * 1024
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
KEY = "diagnostics"
RECORDER_KEY = "diagnostics_recorder_process"
RUN_KEY = "diagnostics_run"
HOST_KEY = "diagnostics_host"
_RESULT = b'"kind":"result"'


@dataclass(frozen=True)
class Errand:
    """What the controller tells a worker of another host."""

    #: The run's id.
    run: str
    #: What no other run has, and nobody can guess.
    token: str
    #: What the gateway is called.
    label: str

    @property
    def host(self) -> str:
        """Return the host's name in records."""
        return f"{self.label} ({platform.node()})"


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
    #: Told to a worker of another host, which shares no path with the controller.
    errand: Errand | None = None
    #: The host's name in records; empty on the controller's.
    host: str = ""


def given_by_controller(config: pytest.Config) -> Given:
    """Return who this process is; a worker's controller says where the run is recorded."""
    told = getattr(config, "workerinput", None)
    if told is None:
        return Given("main")
    worker = str(told.get("workerid", "worker"))
    if told.get(HOST_KEY):
        errand = Errand(str(told.get(RUN_KEY)), str(told.get("testrunuid")), str(told[HOST_KEY]))
        return Given(worker, errand=errand, host=errand.host)
    path = told.get(KEY)
    run = RunDirectory(Path(path)) if isinstance(path, str) and path else None
    return Given(worker, run, str(told.get(RECORDER_KEY) or ""))


def tell_worker(node: object, run: RunDirectory | None, recorder: str) -> None:
    """Write to ``node.workerinput``, of which only plain strings survive the way."""
    told: dict[str, object] = node.workerinput  # type: ignore[attr-defined] # xdist's own
    spec = getattr(getattr(node, "gateway", None), "spec", None)
    if spec is not None and (not getattr(spec, "popen", None) or getattr(spec, "via", None)):
        from .remote import label_of

        # Whatever lies behind it, no path of ours need exist there.
        told[RUN_KEY] = run.name if run is not None else "in-memory"
        told[HOST_KEY] = label_of(spec)
        return
    told[KEY] = str(run.path) if run is not None else ""
    told[RECORDER_KEY] = recorder


def was_elsewhere(node: object) -> bool:
    """Return whether a worker was told that it shares no path with the controller."""
    return HOST_KEY in getattr(node, "workerinput", ())


def name_of(node: object) -> str:
    """Return xdist's name of a worker."""
    told: Mapping[str, object] = getattr(node, "workerinput", {})
    return str(told.get("workerid", "worker"))


def take_home(
    config: pytest.Config,
    shards: Iterable[tuple[str, Shard]],
    directory: HostDirectory | None,
    last: bool | None,
) -> None:
    """Send what the controller cannot read, as one string: anything else may break xdist's channel."""
    brought = {name: shard.lines for name, shard in shards if isinstance(shard, MemoryShard)}
    if directory is not None:
        found = directory.carry(last)
        for name, shard in shards:
            if isinstance(shard, ShardWriter) and name in found:
                found[name] += shard.unwritten
        brought.update(found)
    if brought:
        config.workeroutput[KEY] = packed(brought)  # type: ignore[attr-defined] # xdist's own


def packed(shards: Mapping[str, list[bytes]]) -> str:
    """Return shards as ASCII of at most MAX_BROUGHT_BYTES; of too many results, every second one goes."""
    import base64
    import zlib

    every = 1
    while True:
        chosen = {name: list(_thinned(lines, every)) for name, lines in shards.items()}
        size = sum(len(line) for lines in chosen.values() for line in lines)
        if size <= MAX_UNPACKED_BYTES:
            told = {
                "shards": {
                    name: b"".join(lines).decode("ascii", "replace") for name, lines in chosen.items()
                },
                "left_out": sum(map(len, shards.values())) - sum(map(len, chosen.values())),
            }
            text = base64.b64encode(zlib.compress(json.dumps(told).encode("ascii"), 3)).decode("ascii")
            if len(text) <= MAX_BROUGHT_BYTES:
                return text
        every *= 2


def _thinned(lines: list[bytes], every: int) -> Iterator[bytes]:
    """Yield the first line, every n-th result and, as long as results remain, all that is none."""
    # A million tests alone may be too much: then their records are thinned as well.
    others = max(1, every // 4096)
    seen = {True: 0, False: 0}
    for line in lines:
        is_result = _RESULT in line[:40]
        if seen[is_result] % (every if is_result else others) == 0:
            yield line
        seen[is_result] += 1


def brought_home(node: object) -> tuple[dict[str, list[bytes]], int]:
    """Return the shards that a worker sent, and how many lines it left out; a crashed worker sent none."""
    output: Mapping[str, object] = getattr(node, "workeroutput", None) or {}
    text = output.get(KEY)
    if not isinstance(text, str):
        return {}, 0
    import base64
    import zlib

    unpacked = zlib.decompressobj().decompress(base64.b64decode(text), 3 * MAX_UNPACKED_BYTES)
    told = json.loads(unpacked)
    shards = {
        str(name): lines.encode("ascii", "replace").splitlines(keepends=True)
        for name, lines in told["shards"].items()
    }
    return shards, int(told["left_out"])


class BroughtShard(MemoryShard):
    """A worker's shard that came home with it."""

    def __init__(self, name: str, lines: list[bytes]) -> None:
        super().__init__(name)
        self._brought = lines
        self.bytes = sum(map(len, lines))

    @property
    def lines(self) -> list[bytes]:
        """The lines as the worker wrote them."""
        return self._brought

    def store(self, run: RunDirectory) -> bool:
        """Write them to the run's directory; False when that cannot be done."""
        role, _, digits = self.name.rpartition("-")
        pid = int(digits) if digits.isdecimal() else 0
        for place in range(1, 100):  # on two hosts, two processes may have the same number
            more = "" if place == 1 else f"_{place}"
            try:
                create_file(str(run.shard(f"{role}{more}", pid)), b"".join(self._brought))
            except FileExistsError:
                continue
            except OSError:
                return False
            return True
        return False
