"""Short talks between pytest and its recorder process: connect, say one thing, perhaps hear one, close.

One line of JSON each way, over a local socket that is open for a moment only: a test that closes every
descriptor, forks, changes the directory or removes the run's directory meets no connection of ours. On Linux
the address is abstract (it begins with a zero byte and is no file), elsewhere a path in the run's directory.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import json
import os
import struct
import sys
from collections.abc import Mapping
from typing import ClassVar, cast

from ..core.clock import SystemClock
from ..core.model import JsonValue

#: Of the lines on the wire. A peer of another version is not understood, and told so.
PROTOCOL = 1
#: An answer holds at most some collectors' results, each of 64 KiB at most.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024
#: What a connection that only posts may take; the kernel accepts for the recorder.
POST_SECONDS = 0.02
#: After this many deadlines missed in a row, nothing is asked for a while.
MISSES = 2
SILENT_SECONDS = 5.0

Message = dict[str, JsonValue]

#: Addresses that are no files, which no test removes.
_ABSTRACT: bool = sys.platform == "linux"


#: A socket's path may be no longer on macOS, its closing zero included.
MAX_PATH_BYTES = 104


class _Bound:
    """Kept here, where no mock reaches: pytest-socket replaces ``socket.socket``."""

    socket = _socket.socket
    unix = getattr(_socket, "AF_UNIX", -1)
    dumps = staticmethod(json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode)
    loads = staticmethod(json.JSONDecoder().decode)
    #: struct ucred: pid, uid, gid.
    ucred = struct.Struct("3i")
    geteuid = staticmethod(getattr(os, "geteuid", lambda: 0))
    available: ClassVar[bool] = hasattr(_socket, "AF_UNIX")


def available() -> bool:
    """Whether there are local sockets here."""
    return _Bound.available


def fresh_address(run_directory: str) -> str:
    """Return an address that nobody can guess; what is bound to it is checked all the same."""
    if _ABSTRACT:
        return f"\0pytest-diagnostics-{os.urandom(12).hex()}"
    path = os.path.join(run_directory, "recorder.socket")
    if len(os.fsencode(path)) < MAX_PATH_BYTES:
        return path
    import tempfile

    return os.path.join(tempfile.gettempdir(), f"pytest-diagnostics-{os.urandom(8).hex()}")


def printable(address: str) -> str:
    """Return an address as a program's argument, which cannot hold a zero byte."""
    return "@" + address[1:] if address.startswith("\0") else address


def from_printable(text: str) -> str:
    """Return the address that was made printable."""
    return "\0" + text[1:] if text.startswith("@") else text


def peer_of(sock: _socket.socket) -> tuple[int, int] | None:
    """Return process id and user of the other side; None where the system does not tell."""
    option = getattr(_socket, "SO_PEERCRED", None)
    if option is None:
        return None  # macOS: the path lies in a directory that is its owner's alone
    pid, uid, _ = _Bound.ucred.unpack(sock.getsockopt(_socket.SOL_SOCKET, option, _Bound.ucred.size))
    return pid, uid


def send_line(sock: _socket.socket, message: Mapping[str, object]) -> None:
    """Send one message; raises OSError when the socket's timeout passes first."""
    sock.sendall(_Bound.dumps({"protocol": PROTOCOL, **message}).encode("ascii") + b"\n")


def parse_line(line: bytes) -> Message:
    """Return a message; raises ValueError for what is none, or of another version."""
    message = _Bound.loads(line.decode("ascii"))
    if not isinstance(message, dict):
        raise ValueError("no JSON object")
    if message.get("protocol") != PROTOCOL:
        raise ValueError(f"protocol {message.get('protocol')!r}, not {PROTOCOL}")
    return cast("Message", message)


def pid_in(message: Message) -> int:
    """Return whom a message is about, 0 when it does not say."""
    pid = message.get("pid")
    return pid if isinstance(pid, int) else 0


def names_in(message: Message) -> list[str]:
    """Return the collectors that a message names."""
    return texts_in(message, "names")


def texts_in(message: Message, key: str) -> list[str]:
    """Return the texts of a list that a message may hold."""
    texts = message.get(key)
    return [str(text) for text in texts] if isinstance(texts, list) else []


def timeout_in(message: Message) -> float:
    """Return how long a message's sender waits."""
    timeout = message.get("timeout")
    return float(timeout) if isinstance(timeout, (int, float)) else 1.0


class Channel:
    """The asking side. Nothing here raises, and nothing waits beyond its deadline."""

    def __init__(self, address: str) -> None:
        self.address = address
        #: Why the latest talk failed; empty after one that did not.
        self.trouble = ""
        #: True when nobody listens at the address: not yet, not any more, or not in this namespace.
        self.refused = False
        #: Process id of whoever answered last.
        self.peer: int | None = None
        #: How many talks failed, all together.
        self.failures = 0
        self._uid = _Bound.geteuid()
        self._clock = SystemClock()
        self._misses = 0
        self._silent_until = 0.0

    def post(self, message: Mapping[str, object]) -> bool:
        """Say something without an answer; True when the kernel has it."""
        return self._talk(message, None) is not None

    def ask(self, message: Mapping[str, object], timeout: float, *, insist: bool = False) -> Message | None:
        """Return the answer, or None when there is none in time; ``insist`` asks whatever went before."""
        return self._talk(message, timeout, insist=insist)

    def _talk(
        self, message: Mapping[str, object], timeout: float | None, *, insist: bool = False
    ) -> Message | None:
        now = self._clock.monotonic()
        if now < self._silent_until and not insist:
            self.trouble = "it did not answer before and is left alone for a while"
            return None
        self.refused = False
        patience = POST_SECONDS if timeout is None else timeout
        try:
            sock = _Bound.socket(_Bound.unix, _socket.SOCK_STREAM)
        except OSError as exc:
            self._failed(f"no socket: {exc.strerror}", missed=False)
            return None
        try:
            sock.settimeout(patience)
            sock.connect(self.address)
            peer = peer_of(sock)
            if peer is not None:
                self.peer = peer[0]
                if peer[1] not in (self._uid, 0):
                    self._failed(f"another user's process ({peer[1]}) listens there", missed=False)
                    return None
            send_line(sock, message)
            answer = {} if timeout is None else self._answer(sock, now + patience)
        except TimeoutError:
            self._failed(f"no answer within {patience:g} s", missed=True)
            return None
        except BlockingIOError:  # Linux: the queue of those who want to connect is full
            self._failed("it is too busy to take the connection", missed=True)
            return None
        except (OSError, ValueError) as exc:
            self.refused = isinstance(exc, (ConnectionRefusedError, FileNotFoundError))
            self._failed(str(exc), missed=False)
            return None
        finally:
            sock.close()
        self.trouble = ""
        self._misses = 0
        return answer

    def _answer(self, sock: _socket.socket, deadline: float) -> Message:
        parts = bytearray()
        while not parts.endswith(b"\n"):
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                raise TimeoutError
            sock.settimeout(remaining)
            part = sock.recv(262144)
            if not part:
                raise ValueError("it closed the connection without an answer")
            parts += part
            if len(parts) > MAX_ANSWER_BYTES:
                raise ValueError("its answer is too long")
        return parse_line(bytes(parts))

    def _failed(self, trouble: str, *, missed: bool) -> None:
        self.trouble = trouble
        self.failures += 1
        if missed:
            self._misses += 1
            if self._misses >= MISSES:
                self._silent_until = self._clock.monotonic() + SILENT_SECONDS


class Talk:
    """One connection on the answering side."""

    def __init__(self, sock: _socket.socket, pid: int, began: float) -> None:
        self.sock = sock
        #: The asking process; 0 where the system does not tell.
        self.pid = pid
        self.began = began
        self._received = bytearray()

    def fileno(self) -> int:
        """Return the descriptor, for a poll."""
        return self.sock.fileno()

    def receive(self) -> Message | None:
        """Return the message once it is whole; raises OSError or ValueError when it never will be."""
        while True:
            try:
                part = self.sock.recv(65536)
            except BlockingIOError:
                return None
            self._received += part
            if self._received.endswith(b"\n"):
                return parse_line(bytes(self._received))
            if not part:
                raise ValueError("the connection was closed in the midst of a message")
            if len(self._received) > MAX_MESSAGE_BYTES:
                raise ValueError("the message is too long")

    def answer(self, message: Mapping[str, object], timeout: float = 1.0) -> bool:
        """Answer and close; False when the asker is gone."""
        try:
            self.sock.settimeout(timeout)
            send_line(self.sock, message)
        except OSError:
            return False
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()


class Listener:
    """The answering side's address."""

    def __init__(self, address: str) -> None:
        """Bind; raises OSError when that is not possible."""
        self.address = address
        self._uid = _Bound.geteuid()
        self._sock = _Bound.socket(_Bound.unix, _socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._sock.bind(address)
        self._sock.listen(64)
        #: Given up when no descriptor is left for a connection: who asks for the end is heard then, too.
        self._spare = -1
        self._keep_spare()

    def fileno(self) -> int:
        """Return the descriptor, for a poll."""
        return self._sock.fileno()

    def accept(self, now: float) -> Talk | None:
        """Return the next connection of our own user or root; None when there is none."""
        while True:
            try:
                # The public class' accept() would make a public socket; this one gives the bare descriptor.
                fd, _ = self._sock._accept()  # type: ignore[attr-defined] # of the C class
            except OSError as exc:
                if exc.errno not in (errno.EMFILE, errno.ENFILE) or self._spare < 0:
                    self._keep_spare()
                    return None
                self._give_up_spare()
                continue
            sock = _Bound.socket(fileno=fd)
            sock.setblocking(False)
            peer = peer_of(sock)
            if peer is None or peer[1] in (self._uid, 0):
                return Talk(sock, peer[0] if peer is not None else 0, now)
            sock.close()

    def close(self) -> None:
        """Stop listening."""
        self._give_up_spare()
        self._sock.close()
        if not self.address.startswith("\0"):
            os.unlink(self.address)

    def _keep_spare(self) -> None:
        if self._spare < 0:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)

    def _give_up_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
