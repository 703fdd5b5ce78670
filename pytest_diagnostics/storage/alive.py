"""Whether the process that makes a run is still there."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping

#: Where nobody can tell, a run that was not written to for this long is taken for dead.
SILENT_SECONDS = 24 * 3600.0


def process_identity() -> dict[str, object]:
    """Return what tells this process from every other: its id alone is used again."""
    pid = os.getpid()
    return {"pid": pid, "start_ticks": start_ticks(pid), **_place()}


def running(identity: Mapping[str, object], last_written: float) -> bool:
    """Return whether the process of an identity is there, or may be.

    On another machine, in another container or without an identity nobody can tell: then the time of the
    last write decides.
    """
    pid = identity.get("pid")
    place = _place()
    here = all(identity.get(key) == place[key] for key in ("node", "pid_namespace"))
    if type(pid) is not int or pid < 1 or not here or os.name != "posix":
        return time.time() - last_written < SILENT_SECONDS
    if identity.get("boot_id") != place["boot_id"]:
        return False
    ticks = identity.get("start_ticks")
    if ticks is not None and place["boot_id"] is not None:
        return start_ticks(pid) == ticks
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is there, and someone else's
    return True


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks after boot; None where /proc does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, field 2, may hold spaces and brackets.
            after_name = file.read().rpartition(b")")[2].split()
        # A zombie has ended; only its parent does not know yet.
        return None if after_name[0] in (b"Z", b"X") else int(after_name[19])
    return None


def _node() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform  # whose import takes longer than everything else here

    return platform.node()


def _place() -> dict[str, object]:
    boot_id = namespace = None
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return {"node": _node(), "boot_id": boot_id, "pid_namespace": namespace}
