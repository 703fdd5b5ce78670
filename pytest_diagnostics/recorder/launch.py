"""Starting a recorder process that is no child of pytest: no ``os.wait`` of a test meets it.

A shell starts it in the background and ends at once, so that it becomes an orphan of the system's. That costs
a millisecond whatever pytest's size, and unlike a fork it warns of no threads.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

from ..core.errors import RecordingError
from ..storage.files import Files, read_file
from ..system.tree import children_of
from .plan import ERRORS, Plan

#: An interpreter that has to fork itself does so within milliseconds; pytest waits no longer than this.
FORK_SECONDS = 1.0
#: Of a command line, which names the folders of sys.path.
MAX_COMMAND = 1 << 20

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
#: module of a test's directory takes the place of one of these. Before it imports more, it has a look.
#: What it imports stays: it is not searched for garbage meanwhile.
BOOT = (
    "import gc, sys; gc.disable(); sys.path += sys.argv[1].split('\\n'); "
    "from pytest_diagnostics.system.glance import look; seen = look(int(sys.argv[2])); "
    "from pytest_diagnostics.recorder.main import main; main(sys.argv[3:], seen)"
)
#: The way where there is no shell: the interpreter forks itself, and its first process ends.
BOOT_FORKING = "import os; os._exit(0) if os.fork() else None; " + BOOT


def _no_pidfd(_: int) -> int:
    raise OSError(0, "no pidfd_open")


class Bound:
    """Kept here, where no mock reaches."""

    posix_spawn = staticmethod(getattr(os, "posix_spawn", lambda *_, **__: None))
    waitpid = staticmethod(os.waitpid)
    kill = staticmethod(os.kill)
    access = staticmethod(os.access)
    getpid = staticmethod(os.getpid)
    readlink = staticmethod(os.readlink)
    getpgid = staticmethod(getattr(os, "getpgid", lambda _: 0))
    getsid = staticmethod(getattr(os, "getsid", lambda _: 0))
    killpg = staticmethod(getattr(os, "killpg", lambda *_: None))
    poll = staticmethod(getattr(select, "poll", lambda: None))
    pidfd_open = staticmethod(getattr(os, "pidfd_open", _no_pidfd))


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
    entries = []
    for entry in sys.path:
        with suppress(OSError):  # a relative one, of a directory that was removed
            entries += [os.path.abspath(entry)] if entry and "\n" not in entry else []
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
    failed = _await_starter(pid)
    _refuse_child(before, pid, plan.address)
    if failed:
        said = complaint(plan.run)
        end(plan.address)
        raise RecordingError(f"{command[0]} {failed}{': ' if said else ''}{said}")


def complaint(run: str | os.PathLike[str]) -> str:
    """Return the last line that a recorder, or the shell, wrote to its standard error."""
    try:
        text = read_file(os.path.join(run, ERRORS), 65536).decode("utf-8", "replace")
    except OSError:
        return ""
    return text.strip().rpartition("\n")[2][:500]


def started(address: str) -> list[int] | None:
    """Return the processes that were started with this address; None where nobody tells.

    Reads /proc once: for when something went wrong.
    """
    try:
        if Bound.readlink("/proc/self") != str(Bound.getpid()):
            return None  # of another namespace of process ids: its numbers are others' here
        names = Files.names("/proc")
    except OSError:
        return None
    pids = [int(name) for name in names if name.isdecimal()]
    return [pid for pid in pids if pid != Bound.getpid() and _is_recorder(pid, address)]


def end(address: str) -> None:
    """Kill whatever was started with this address, and what that started in turn."""
    for pid in started(address) or ():
        with suppress(OSError):
            group = Bound.getpgid(pid)
            if group == Bound.getpgid(0):
                Bound.kill(pid, signal.SIGKILL)
            else:
                Bound.killpg(group, signal.SIGKILL)


def _command(plan: Plan, boot: str) -> list[str]:
    options = ["-I", "-S", "-X", "utf8"]
    if sys.dont_write_bytecode:
        options.append("-B")
    if sys.pycache_prefix:
        options += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    return [sys.executable, *options, "-c", boot, "\n".join(roots()), str(plan.pid), plan.to_json()]


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


def _await_starter(pid: int) -> str:
    """Wait for the shell, or for the interpreter that forks itself; return why it failed, or nothing."""
    with suppress(OSError):  # gone, where SIGCHLD is ignored; or no such call: the wait below does it then
        pidfd = Bound.pidfd_open(pid)
        try:
            poll = Bound.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(1000 * FORK_SECONDS):
                with suppress(OSError):
                    Bound.killpg(pid, signal.SIGKILL)  # of a session of its own, where there are such
                Bound.kill(pid, signal.SIGKILL)
                Bound.waitpid(pid, 0)
                return f"did not start a process within {FORK_SECONDS:g} s"
        finally:
            Files.close(pidfd)
    try:
        status = Bound.waitpid(pid, 0)[1]
    except ChildProcessError:  # where SIGCHLD is ignored, nobody is to be waited for
        return ""
    return f"failed (status {status})" if status else ""


def _children() -> set[int]:
    """Return the children of this process; none where the kernel does not say."""
    with suppress(OSError):
        return set(children_of(Bound.getpid(), "/proc"))
    return set()


def _refuse_child(before: set[int], starter: int, address: str) -> None:
    """End a recorder that became our child, as it does where pytest is a child subreaper.

    An orphan has its new parent by the time that its old one can be waited for. Raises RecordingError.
    """
    for pid in _children() - before:
        if not (_is_of_session(pid, starter) or _is_recorder(pid, address)):
            continue
        with suppress(OSError):
            Bound.kill(pid, signal.SIGKILL)
            Bound.waitpid(pid, 0)
        raise RecordingError(
            "pytest adopts orphans (it is a child subreaper): it would wait for the recorder"
        )


def _is_of_session(pid: int, leader: int) -> bool:
    with suppress(OSError):
        return bool(Bound.getsid(pid) == leader)
    return False


def _is_recorder(pid: int, address: str) -> bool:
    with suppress(OSError):
        # Empty for an instant while a program takes the place of the shell.
        path = f"/proc/{pid}/cmdline"
        return address.encode() in (read_file(path, MAX_COMMAND) or read_file(path, MAX_COMMAND))
    return False
