"""A process that has imported pytest once, and forks runs of it: importing takes longer than most runs.

``python forking.py N``: descriptor N is a socket of packets. Each is a job in JSON with three descriptors,
for the run's standard input, output and error. It is answered by the run's process id and, when the run is
over, by its exit code, or the negative number of the signal that ended it.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest  # noqa: F401 - what runs are not to import, each anew

#: A job, most of which is the environment.
MOST_BYTES = 1 << 17


class Forks:
    """Starts runs of pytest as ``python -m pytest`` does, with nothing on their standard input."""

    def __init__(self) -> None:
        self._talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def run(
        self, args: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run pytest, and wait as subprocess.run does: until it is over and nobody writes any more."""
        deadline = time.monotonic() + timeout
        job = json.dumps({"args": args, "cwd": str(cwd), "env": dict(env)}).encode()
        said: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        with contextlib.ExitStack() as ours:
            with contextlib.ExitStack() as theirs:
                (stdin, nobody), (out, its_out), (err, its_err) = os.pipe(), os.pipe(), os.pipe()
                for fd in (stdin, nobody, its_out, its_err):
                    theirs.callback(os.close, fd)
                for fd in (out, err):
                    ours.callback(os.close, fd)
                socket.send_fds(self._talk, [job], [stdin, its_out, its_err])
                pid = int(self._talk.recv(64))
            in_time = _read_all({out: said[0], err: said[1]}, deadline)
        left = max(0.0, deadline - time.monotonic())
        if in_time and select.select([self._talk], [], [], left)[0]:
            return subprocess.CompletedProcess([*args], int(self._talk.recv(64)), *map(bytes, said))
        os.kill(pid, signal.SIGKILL)
        self._talk.recv(64)
        raise subprocess.TimeoutExpired([*args], timeout, *map(bytes, said))

    def close(self) -> None:
        """End the process."""
        self._talk.close()
        self._server.wait(30)


def _read_all(pipes: Mapping[int, bytearray], deadline: float) -> bool:
    """Read until all are closed; return whether they were in time."""
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return False
            for key, _ in ready:
                read = os.read(key.fd, 1 << 16)
                pipes[key.fd].extend(read)
                if not read:
                    selector.unregister(key.fd)
    return True


def _become(job: dict[str, object], fds: Sequence[int]) -> None:
    """Make of a forked child what the system makes of a new process."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(str(job["cwd"]))
    os.environ.clear()
    os.environ.update(job["env"])  # type: ignore[call-overload] # a dictionary of texts, from JSON
    # For the folder of this file: what -m and PYTHONPATH put before the interpreter's own.
    sys.path[0:1] = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["-m", *job["args"]]  # type: ignore[misc] # a list of texts, from JSON


def _serve(talk: socket.socket) -> bool:
    """Answer jobs; return whether this is a child, which is to run pytest."""
    while True:
        told, fds, _, _ = socket.recv_fds(talk, MOST_BYTES, 3)
        if not told:
            return False
        pid = os.fork()
        if pid == 0:
            talk.close()
            _become(json.loads(told), fds)
            return True
        for fd in fds:
            os.close(fd)
        talk.send(str(pid).encode())
        talk.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


if __name__ == "__main__" and _serve(socket.socket(fileno=int(sys.argv[1]))):
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)
