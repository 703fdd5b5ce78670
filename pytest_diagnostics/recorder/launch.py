"""Starting a recorder process that is no child of pytest: no ``os.wait`` of a test meets it.

A shell starts it in the background and ends at once, so that it becomes an orphan of the system's. That costs
a millisecond whatever pytest's size, and unlike a fork it warns of no threads.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

from ..core.errors import RecordingError
from ..system.tree import children_of
from .plan import ERRORS, Plan

#: What of the environment a recorder needs: to find libraries, and to speak as pytest does.
ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
)
#: Run by the new interpreter, which knows the standard library only (-I -S) and finds the rest behind it: no
#: module of a test's directory takes the place of one of these.
BOOT = (
    "import sys; sys.path += sys.argv[1].split('\\n'); "
    "from pytest_diagnostics.recorder.main import main; main(sys.argv[2:])"
)
#: The way where there is no shell: the interpreter forks itself, and its first process ends.
BOOT_FORKING = "import os; os._exit(0) if os.fork() else None; " + BOOT


class Bound:
    """Kept here, where no mock reaches."""

    posix_spawn = staticmethod(getattr(os, "posix_spawn", lambda *_, **__: None))
    waitpid = staticmethod(os.waitpid)
    kill = staticmethod(os.kill)
    access = staticmethod(os.access)
    getpid = staticmethod(os.getpid)


def refusal() -> str | None:
    """Return why no recorder process can be started from here; None when one can."""
    if not hasattr(os, "posix_spawn"):
        return "this system has no posix_spawn"
    if getattr(sys, "frozen", False):
        return "pytest runs in a frozen program, which cannot start an interpreter"
    if not sys.executable:
        return "Python does not know its own interpreter (sys.executable is empty)"
    if Bound.getpid() == 1:
        return "pytest is process 1, to which every orphan falls: a detached process would become its child"
    return None


def roots() -> list[str]:
    """Return where the new interpreter finds this package and what collectors import, the safest first."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    entries = [os.path.abspath(entry) for entry in sys.path if entry]
    sites = [entry for entry in entries if "-packages" in os.path.basename(entry)]
    return list(dict.fromkeys([package, *sites, *entries]))


def launch(plan: Plan, *, variables: Iterable[str] = ()) -> None:
    """Start a recorder process and return at once; RecordingError says why it cannot be.

    ``variables`` names more of the environment: where a user keeps a password, for example.
    """
    reason = refusal()
    if reason is not None:
        raise RecordingError(reason)
    shell = "/bin/sh" if Bound.access("/bin/sh", os.X_OK) else None
    python = _command(plan, BOOT if shell else BOOT_FORKING)
    command = [shell, "-c", '"$@" &', "sh", *python] if shell else python
    before = _children()
    try:
        pid = _spawn(command, plan, [*ENVIRONMENT, *variables])
    except OSError as exc:
        raise RecordingError(f"the system refused a process ({exc.strerror or exc})") from exc
    with suppress(ChildProcessError):  # where SIGCHLD is ignored, nobody is to be waited for
        Bound.waitpid(pid, 0)
    _refuse_child(before, plan.address)


def _command(plan: Plan, boot: str) -> list[str]:
    options = ["-I", "-S", "-X", "utf8"]
    if sys.dont_write_bytecode:
        options.append("-B")
    if sys.pycache_prefix:
        options += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    return [sys.executable, *options, "-c", boot, "\n".join(roots()), plan.to_json()]


def _spawn(command: list[str], plan: Plan, variables: Iterable[str]) -> int:
    environment = {name: os.environ[name] for name in variables if name in os.environ}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.path.join(plan.run, ERRORS), flags, 0o600),
        # What pytest shows and what it captures is its own; a shell's complaint goes where ours go.
        (os.POSIX_SPAWN_DUP2, 2, 1),
    ]
    own_session: dict[str, bool] = {"setsid": True}
    for more in (own_session, {}):
        try:
            pid = Bound.posix_spawn(
                command[0], command, environment, file_actions=actions, setsigmask=[], **more
            )
        except NotImplementedError:
            continue  # an old C library; the recorder makes a session of its own then
        return int(pid)
    raise OSError(0, "no posix_spawn")


def _children() -> set[int]:
    """Return the children of this process; none where the kernel does not say."""
    with suppress(OSError):
        return set(children_of(Bound.getpid(), "/proc"))
    return set()


def _refuse_child(before: set[int], address: str) -> None:
    """End a recorder that became our child, as it does where pytest is a child subreaper.

    An orphan has its new parent by the time that its old one can be waited for. Raises RecordingError.
    """
    for pid in _children() - before:
        if not _is_recorder(pid, address):
            continue
        with suppress(OSError):
            Bound.kill(pid, signal.SIGKILL)
            Bound.waitpid(pid, 0)
        raise RecordingError(
            "pytest adopts orphans (it is a child subreaper): it would wait for the recorder"
        )


def _is_recorder(pid: int, address: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return address.encode() in file.read()
    except OSError:
        return False
