"""xdist's workers on other hosts: no path is shared with the controller, so each host has a directory of its
own, in which its workers and a recorder process write until the last of them takes everything home."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .core.clock import Pid, SystemClock
from .core.errors import RecordingError
from .storage.alive import process_identity, start_ticks
from .storage.files import Files, create_file, error_text, make_directory, read_file
from .storage.runs import RunDirectory

if TYPE_CHECKING:
    from .recorder.plan import Plan
    from .workers import Errand

PLAN = "plan.json"
#: How long whoever came second waits until the first has written its plan.
PLAN_SECONDS = 2.0
#: What is read of one shard at most: twice what a shard may hold.
MAX_SHARD_BYTES = 400 * 1024 * 1024
_TAKEN = ".taken"
#: ssh's options that take an argument.
_SSH_OPTIONS = frozenset("BbcDEeFIiJLlmOopQRSWw")


def label_of(spec: object) -> str:
    """Return what a gateway is called, without user, password and options."""
    for kind in ("ssh", "vagrant_ssh", "socket", "via"):
        told = getattr(spec, kind, None)
        if isinstance(told, str) and told:
            return f"{kind}={_without_user(told) if kind == 'ssh' else told.rpartition('@')[2]}"
    return "another host"


def _without_user(told: str) -> str:
    try:
        words = shlex.split(told)
    except ValueError:
        words = told.split()
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            return word.rpartition("@")[2]
        if len(word) == 2 and word[1] in _SSH_OPTIONS and words:
            words.pop(0)
    return "unknown"


def _is_there(pid: int) -> bool:
    if start_ticks(Pid.current()) is not None:
        return start_ticks(pid) is not None
    try:
        os.kill(pid, 0)
    except OSError as exc:
        return not isinstance(exc, ProcessLookupError)
    return True


class HostDirectory:
    """The directory that the workers of one host share, private to their user."""

    def __init__(self, errand: Errand) -> None:
        """Make it or enter it; RecordingError when that cannot be done safely."""
        self.host = errand.host
        # Machines may share a temporary directory, and containers of one machine as well.
        machine = process_identity()
        place = [str(machine[key]) for key in ("node", "boot_id", "pid_namespace")]
        digest = hashlib.sha256(" ".join([errand.run, errand.token, *place]).encode()).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else 0
        self.path = os.path.join(tempfile.gettempdir(), f"pytest-diagnostics-{user}-{digest}")
        self.run = RunDirectory(Path(self.path, os.path.basename(errand.run) or "run"))
        for attempt in (1, 2, 3):
            try:
                make_directory(self.path)
                self._check()
                make_directory(str(self.run.path))
                make_directory(str(self.run.shards))
            except FileNotFoundError as exc:
                if attempt == 3:
                    raise RecordingError(f"{self.path} is removed by others: {error_text(exc)}") from exc
            except OSError as exc:
                raise RecordingError(f"cannot record to {self.path}: {error_text(exc)}") from exc
            else:
                return

    def _check(self) -> None:
        found = Files.lstat(self.path)
        if not stat.S_ISDIR(found.st_mode) or (
            os.name == "posix" and (found.st_uid != os.geteuid() or found.st_mode & 0o077)
        ):
            raise RecordingError(f"{self.path} is not a private directory of this user")

    def elect(self, plan: Plan) -> tuple[Plan, bool]:
        """Return the plan that holds on this host, and whether it is the one given: then start it."""
        from .recorder.plan import Plan as Found
        from .recorder.process import Sleep

        path = os.path.join(self.run.path, PLAN)
        try:
            create_file(path, plan.to_json().encode("ascii"))
        except FileExistsError:
            pass
        except OSError as exc:
            raise RecordingError(f"cannot write {path}: {error_text(exc)}") from exc
        else:
            return plan, True
        clock, pause = SystemClock(), Sleep()
        deadline = clock.monotonic() + PLAN_SECONDS
        while clock.monotonic() < deadline:
            with suppress(OSError, ValueError, TypeError, KeyError):
                return Found.from_json(read_file(path, 1 << 20).decode("ascii")), False
            pause(0.01)
        raise RecordingError(f"{path} was begun by another worker and not finished")

    def carry(self, last: bool | None) -> dict[str, list[bytes]]:
        """Take shards out of the directory and return their lines by their names, this process' own first.

        ``last`` says whether everybody else has left. None says that nobody knows, as the recorder is gone:
        then what dead processes left behind is taken, by whoever comes first.
        """
        own = Pid.current()
        if last:
            # Who comes now finds no directory and makes a new one.
            self._move_away()
        found: dict[str, list[bytes]] = {}
        names = self._names()
        for name in sorted(names, key=lambda name: not name.endswith(f"-{own}.jsonl")):
            digits = name.removesuffix(".jsonl").rpartition("-")[2]
            pid = int(digits) if digits.isdecimal() else 0
            if pid == own or last or (last is None and not _is_there(pid)):
                lines = self._take(name)
                if lines:
                    found[name.removesuffix(".jsonl")] = lines
        if last or not self._names():
            self.remove()
        return found

    def remove(self) -> None:
        """Remove the directory with all that is in it."""
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)

    def _move_away(self) -> None:
        gone = f"{self.path}-{Pid.current()}"
        with suppress(OSError):
            os.rename(self.path, gone)
            self.run = RunDirectory(Path(gone, self.run.name))
            self.path = gone

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.run.shards) if name.endswith(".jsonl")]
        except OSError:
            return []

    def _take(self, name: str) -> list[bytes]:
        path = os.path.join(self.run.shards, name)
        with suppress(OSError):
            os.rename(path, path + _TAKEN)  # only one can do that
            data = read_file(path + _TAKEN, MAX_SHARD_BYTES)
            os.unlink(path + _TAKEN)
            return data.splitlines(keepends=True)
        return []
