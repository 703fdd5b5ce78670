"""Run directories: made exclusively, found by name, removed when there are too many.

<directory>/
  .gitignore              "*", when the directory was made by us
  latest                  the name of the newest run
  runs/<UTC stamp>-<random>/
    run.json  shards/<role>-<pid>.jsonl  summary.json  report.html
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.clock import SystemClock
from ..core.errors import ConfigurationError, RecordingError
from . import records
from .alive import process_identity, running
from .files import (
    Files,
    create_file,
    error_text,
    make_directories,
    make_directory,
    read_file,
    write_atomically,
)

_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_ROLE = re.compile(r"[^A-Za-z0-9_]+")
_HEADER_LIMIT = 1 << 20
#: How much of a shard's end is read to learn whether the run finished.
_TAIL_LIMIT = 1 << 16


@dataclass(frozen=True)
class RunDirectory:
    """The paths of one run."""

    path: Path

    @property
    def name(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def header(self) -> Path:
        """``run.json``."""
        return self.path / "run.json"

    @property
    def shards(self) -> Path:
        """The directory of the shards."""
        return self.path / "shards"

    @property
    def summary(self) -> Path:
        """``summary.json``; there once the run was summarised."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """``report.html``; there once it was rendered."""
        return self.path / "report.html"

    def shard(self, role: str, pid: int) -> Path:
        """Return where the process ``pid`` in this role (main, gw0, recorder …) writes."""
        return self.shards / f"{_ROLE.sub('_', role)[:40]}-{pid}.jsonl"


@dataclass(frozen=True)
class RunInfo:
    """What a list of runs shows."""

    directory: RunDirectory
    #: ISO 8601, UTC; empty when ``run.json`` does not say.
    started: str
    #: True when the run said that it ended.
    finished: bool
    #: True when its process is there, or when nobody here can tell.
    alive: bool
    #: Outcome -> tests; None without a summary.
    counts: dict[str, int] | None

    @property
    def name(self) -> str:
        """The run's id."""
        return self.directory.name


def create_run(
    directory: str | os.PathLike[str],
    header: Mapping[str, object],
    tell: Callable[[str], object] = str,
) -> RunDirectory:
    """Create a run in ``directory`` and write its ``run.json``; RecordingError says what stands in the way.

    What a run can do without, ``latest`` and the ``.gitignore``, is no reason to do without the run: ``tell``
    is told of it.

    ``header`` is what the session knows: environment, settings, versions. Added here: ``format``, ``id``,
    ``started``, ``anchor`` (wall and monotonic seconds of one moment), and ``process``, which tells later
    whether the run is still alive.
    """
    base = os.path.abspath(os.fspath(directory))
    clock = SystemClock()
    started = clock.wall(clock.anchor_monotonic)
    _prepare(base, tell)
    for _ in range(10):
        name = f"{started:%Y%m%dT%H%M%SZ}-{Files.urandom(4).hex()}"
        run = RunDirectory(Path(base, "runs", name))
        with _explained(str(run.path)):
            if not make_directory(str(run.path)):
                continue
            make_directory(str(run.shards))
        break
    else:
        raise RecordingError(f"cannot find a free name for a run in {base}")
    write_atomically(run.header, _to_json(_complete(header, name, clock)))
    try:
        write_atomically(os.path.join(base, "latest"), name.encode("ascii") + b"\n")
    except RecordingError as exc:
        tell(str(exc))
    return run


def run_header(header: Mapping[str, object], name: str = "in-memory") -> dict[str, object]:
    """Return what ``run.json`` would hold, for a run that has no directory."""
    return _complete(header, name, SystemClock())


def shard_header(run: str, role: str, **more: object) -> dict[str, object]:
    """Return the fields of a shard's first record, ``run``, for the calling process.

    ``role`` is main, recorder or a worker's id; ``more`` may hold ``versions`` and ``recorder`` (kind, where,
    interval_seconds, collectors).
    """
    clock = SystemClock()
    identity = process_identity()
    return {
        "run": run,
        "role": role,
        "pid": identity["pid"],
        "anchor": {"wall": clock.anchor_wall, "monotonic": clock.anchor_monotonic},
        "boot_id": identity["boot_id"],
        **more,
    }


def list_runs(directory: str | os.PathLike[str]) -> list[RunInfo]:
    """Return the runs in ``directory``, the oldest first; what is not a run is passed over."""
    base = os.path.abspath(os.fspath(directory))
    return [run_info(run) for run in _runs(base)]


def run_info(run: RunDirectory) -> RunInfo:
    """Return what is known about a run; whatever cannot be read is taken as not known."""
    header = _read_json(run.header)
    started = header.get("started")
    process = header.get("process")
    identity = process if isinstance(process, dict) else {}
    summary = _read_json(run.summary, limit=1 << 30) if run.summary.is_file() else {}
    counts = summary.get("counts")
    return RunInfo(
        directory=run,
        started=started if isinstance(started, str) else "",
        finished=_ended(run, identity.get("pid")),
        alive=running(identity, _newest(run)),
        counts={str(key): value for key, value in counts.items() if isinstance(value, int)}
        if isinstance(counts, dict)
        else None,
    )


def is_alive(run: RunDirectory) -> bool:
    """Return whether a run's process is there, or whether nobody here can tell; reads its header alone."""
    process = _read_json(run.header).get("process")
    return running(process if isinstance(process, dict) else {}, _newest(run))


def find_run(directory: str | os.PathLike[str], name: str) -> RunDirectory:
    """Return the run called ``name``: "latest", an id, an unambiguous beginning of one, or a path.

    ConfigurationError names what there is.
    """
    base = os.path.abspath(os.fspath(directory))
    runs = _runs(base)
    names = [run.name for run in runs]
    if name == "latest":
        with contextlib.suppress(OSError):
            named = read_file(os.path.join(base, "latest"), 200).decode("ascii", "replace").strip()
            if named in names:
                return runs[names.index(named)]
        if runs:
            return runs[-1]
        raise ConfigurationError(f"there are no runs in {base}; run pytest with --diagnostics first")
    if name in names:
        return runs[names.index(name)]
    path = Path(os.path.abspath(name))
    if name and (path / "run.json").is_file():
        return RunDirectory(path)
    if name and path.is_dir() and (path / "shards").is_dir():
        return RunDirectory(path)  # its header was lost, its shards can be read
    matching = [run for run in runs if name and run.name.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    what = "no run" if not matching else f"{len(matching)} runs"
    there = ", ".join(names[-5:]) or "none"
    raise ConfigurationError(f"{what} in {base} called {name!r}; the newest there are: {there}")


def previous_run(directory: str | os.PathLike[str], before: RunDirectory) -> RunDirectory | None:
    """Return the run that was started last before ``before``; None when there is none."""
    base = os.path.join(os.path.abspath(os.fspath(directory)), "runs")
    stamp = before.name[:16]
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(base) if name[:16] <= stamp and _NAME.fullmatch(name)]
        # Within one second names tell nothing, and of older runs nothing has to be looked up.
        stamps = sorted({name[:16] for name in names})[-2:]
        runs = _in_order(RunDirectory(Path(base, name)) for name in names if name[:16] in stamps)
        place = [run.name for run in runs].index(before.name) if before.name in names else len(runs)
        return runs[place - 1] if place else None
    return None


def has_ended(run: RunDirectory) -> bool:
    """Return whether the process that made the run said that it ended."""
    process = read_header(run).get("process")
    return _ended(run, process.get("pid") if isinstance(process, dict) else None)


def read_header(run: RunDirectory) -> dict[str, object]:
    """Return ``run.json``; empty when it cannot be read."""
    return _read_json(run.header)


def retain(directory: str | os.PathLike[str], keep: int, tell: Callable[[str], object] = str) -> list[str]:
    """Remove the oldest runs beyond ``keep`` and return their names; ``tell`` why one could not be removed.

    A run whose process is still there is never removed, nor anything that is not a run; no symlink is
    followed. A run that died counts like one that finished: otherwise these would stay for ever.
    """
    base = os.path.abspath(os.fspath(directory))
    if keep < 1:
        raise ConfigurationError(f"at least one run must be kept, not {keep}")
    removed = []
    runs = _runs(base)
    for run in runs[: max(0, len(runs) - keep)]:
        if is_alive(run):
            continue
        import shutil  # with all its archive formats, for what happens once a run

        # Another process may be removing it too: whoever comes second finds nothing.
        shutil.rmtree(run.path, ignore_errors=True)
        if not run.path.exists():
            removed.append(run.name)
        else:
            tell(f"cannot remove the old run {run.path}: {_hindrance(run.path)}")
    return removed


def _hindrance(path: Path) -> str:
    """Return why a directory cannot be removed; asked by trying once more."""
    import shutil

    try:
        shutil.rmtree(path)
    except OSError as exc:
        return error_text(exc)
    return "somebody was writing there"


def _complete(header: Mapping[str, object], name: str, clock: SystemClock) -> dict[str, object]:
    return {
        **header,
        "format": records.FORMAT_VERSION,
        "id": name,
        "started": clock.wall(clock.anchor_monotonic).isoformat(),
        "anchor": {"wall": clock.anchor_wall, "monotonic": clock.anchor_monotonic},
        "process": process_identity(),
    }


def _prepare(base: str, tell: Callable[[str], object]) -> None:
    with _explained(base):
        if not os.path.lexists(base):
            make_directories(base)
        make_directory(base)
        ours = not os.listdir(base)
        # In a directory that someone else uses too, only what is below runs/ is ours to be ignored.
        runs = os.path.join(base, "runs")
        make_directory(runs)
    try:
        create_file(os.path.join(base if ours else runs, ".gitignore"), b"*\n")
    except FileExistsError:
        pass  # the user's, or ours of an earlier run
    except OSError as exc:
        tell(f"cannot write {exc.filename}: {error_text(exc)}; git does not ignore {base}")


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        elsewhere = f"{exc.filename}: " if isinstance(exc.filename, str) and exc.filename != path else ""
        raise RecordingError(
            f"cannot record to {path}: {elsewhere}{error_text(exc)}; "
            f"give a directory that can be written with --diagnostics-dir"
        ) from exc


def _runs(base: str) -> list[RunDirectory]:
    found = []
    with contextlib.suppress(OSError), os.scandir(os.path.join(base, "runs")) as entries:
        for entry in entries:
            if not _NAME.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
                continue
            found.append(RunDirectory(Path(entry.path)))
    return _in_order(found)


def _in_order(runs: Iterable[RunDirectory]) -> list[RunDirectory]:
    # The stamp orders runs to the second; within one, the header's own time does.
    return sorted(runs, key=lambda run: (run.name[:16], _modified(run.header), run.name))


def _modified(path: Path) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0


def _newest(run: RunDirectory) -> float:
    """Return when something was last written to a run, seconds since the epoch."""
    newest = _modified(run.header)
    with contextlib.suppress(OSError):
        newest = max([newest, *(_modified(path) for path in run.shards.iterdir())])
    return newest / 1e9


def _ended(run: RunDirectory, pid: object) -> bool:
    """Return whether the process that made the run closed its shard."""
    with contextlib.suppress(OSError):
        # Without run.json nobody knows the process; that of a run without workers is called main.
        for path in run.shards.glob("main-*.jsonl" if pid is None else f"*-{pid}.jsonl"):
            last = _last_line(path)
            with contextlib.suppress(RecordingError):
                if records.decode(last)["kind"] == "end":
                    return True
    return False


def _last_line(path: Path) -> bytes:
    fd = Files.open(path, Files.READ)
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            return b""
        os.lseek(fd, max(0, state.st_size - _TAIL_LIMIT), os.SEEK_SET)
        return os.read(fd, _TAIL_LIMIT).rstrip(b"\n").rpartition(b"\n")[2]
    finally:
        os.close(fd)


def _read_json(path: Path, limit: int = _HEADER_LIMIT) -> dict[str, object]:
    try:
        value = json.loads(read_file(str(path), limit))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _to_json(value: Mapping[str, object]) -> bytes:
    try:
        return json.dumps(value, indent=1, allow_nan=False).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as exc:
        raise RecordingError(f"the run's header cannot be written: {exc}") from exc
