"""Shared by the canaries: what was open before the session, and what the process looks like around each."""

from __future__ import annotations

import atexit
import decimal
import faulthandler
import gc
import hashlib
import json
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Generator, Iterator

import pytest

_open, _write, _close, _getpid, _dumps = os.open, os.write, os.close, os.getpid, json.dumps
_pid, _root = os.getpid(), os.getcwd()
_where = os.path.abspath(os.environ.get("CANARY_STATES", os.devnull))

#: The descriptors of pytest, and of execnet, that closing would break without diagnostics as well.
_INHERITED: set[int] = set()
#: The modules that are there before the first canary.
_imported: set[str] = set()
#: Here if anywhere: ``closerange`` of the canaries ends there.
LAST_DESCRIPTOR = 4096


def _umask() -> int:
    old = os.umask(0)
    os.umask(old)
    return old


def _plain(text: str) -> str:
    """Return a text without what two runs, or two of xdist's workers, differ in."""
    return text.replace(_root, "HERE").replace("popen-gw0", "popen").replace("popen-gw1", "popen")


def _directory() -> str | None:
    try:
        return _plain(os.getcwd())
    except FileNotFoundError:
        return None


def _digest(value: object) -> str:
    return hashlib.sha256(_plain(repr(value)).encode()).hexdigest()[:12]


def _named(function: object) -> str:
    function = getattr(function, "func", function)  # of a partial
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)}"


def _state() -> Iterator[tuple[str, object]]:
    yield "environment", _digest(sorted(one for one in os.environ.items() if one[0][:7] != "PYTEST_"))
    yield "argv", [_plain(arg) for arg in sys.argv[1:] if "diagnostics" not in arg]
    yield "path", [_plain(path) for path in sys.path]
    yield "cwd", _directory()
    yield "umask", _umask()
    yield "nice", os.nice(0)
    yield "random", _digest(random.getstate())
    yield "handlers", [_named(signal.getsignal(number)) for number in sorted(signal.valid_signals())]
    yield "mask", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    yield "timers", [signal.getitimer(kind)[1] for kind in (signal.ITIMER_REAL, signal.ITIMER_PROF)]
    yield "filters", [str(one) for one in warnings.filters]
    yield "showwarning", _named(warnings.showwarning)
    yield "gc", (gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks))
    yield "switch", sys.getswitchinterval()
    yield "recursion", sys.getrecursionlimit()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook
    yield "hooks", [_named(hook) for hook in hooks]
    yield "tracing", (str(sys.gettrace()), str(sys.getprofile()))
    yield "importers", [str(type(one)) for one in (*sys.meta_path, *sys.path_hooks)]
    yield "locale", locale.setlocale(locale.LC_ALL)
    yield "logging", (logging.root.level, logging.root.disabled, logging.raiseExceptions)
    yield "timeout", socket.getdefaulttimeout()
    yield "decimal", str(decimal.getcontext())
    yield "limits", [resource.getrlimit(kind) for kind in range(8)]
    yield "faulthandler", faulthandler.is_enabled()


def _history() -> Iterator[tuple[str, object]]:
    """Yield what depends on the tests that ran before: compared where tests run one after the other."""
    yield "exits", getattr(atexit, "_ncallbacks", lambda: 0)()
    yield "loggers", sorted(name for name in logging.root.manager.loggerDict)
    if not _imported:
        _imported.update(sys.modules)
        yield "imported at first", sorted(_imported)
    yield "modules", sorted(sys.modules.keys() - _imported)


class States:
    """Looks at the process around each test and around its call, and tells it when the test is over."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, object]] = {}

    def look(self, when: str, *, history: bool = False) -> None:
        self.seen[when] = dict(_state())
        if history:
            self.seen[when].update(_history())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        random.seed(zlib.crc32(item.nodeid.encode()))
        self.seen = {}
        self.look("before", history=True)
        result = yield
        self.look("after", history=True)
        if _getpid() == _pid:
            fd = _open(_where, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            _write(fd, (_dumps([item.nodeid, self.seen]) + "\n").encode())
            _close(fd)
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        self.look("call begins", history=True)
        result = yield
        self.look("call ends")
        return result


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    os.setpgid(0, 0)  # a group without whoever runs the canaries
    config.pluginmanager.register(States(), "states")
    _INHERITED.update(int(name) for name in os.listdir("/proc/self/fd"))


@pytest.fixture
def close_everything() -> Callable[[], None]:
    """Close every descriptor that is not pytest's, as daemons do at their start."""

    def close() -> None:
        begin = 3
        for spared in [*sorted(fd for fd in _INHERITED if fd > 2), LAST_DESCRIPTOR]:
            os.closerange(begin, spared)
            begin = spared + 1

    return close
