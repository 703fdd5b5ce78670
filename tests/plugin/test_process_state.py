"""What tests and plugins can see of their process is what they would see without us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

STATE = """
    import decimal, faulthandler, gc, hashlib, locale, logging, os, random, resource, signal, socket, sys
    import threading, warnings

    def umask():
        old = os.umask(0)
        os.umask(old)
        return old

    def state():
        environment = {name: os.environ[name] for name in sorted(os.environ) if name != "PYTEST_CURRENT_TEST"}
        yield "environment", hashlib.sha256(repr(environment).encode()).hexdigest()
        yield "argv", [arg for arg in sys.argv if "diagnostics" not in arg]
        yield "path", sys.path
        yield "cwd", os.getcwd()
        yield "umask", umask()
        yield "nice", os.nice(0)
        yield "random", hashlib.sha256(repr(random.getstate()).encode()).hexdigest()
        yield "draw", random.random()
        yield "signals", [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())]
        yield "mask", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        yield "alarm", signal.getitimer(signal.ITIMER_REAL)
        yield "filters", [str(one) for one in warnings.filters]
        yield "showwarning", warnings.showwarning.__module__
        yield "gc", (gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks))
        yield "switch", sys.getswitchinterval()
        yield "recursion", sys.getrecursionlimit()
        hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
        yield "hooks", [hook.__module__ for hook in hooks]
        yield "tracing", (sys.gettrace(), sys.getprofile())
        yield "importers", [str(type(one)) for one in (*sys.meta_path, *sys.path_hooks)]
        yield "locale", locale.setlocale(locale.LC_ALL)
        yield "logging", (logging.root.level, logging.root.disabled, logging.raiseExceptions)
        yield "loggers", sorted(name for name in logging.root.manager.loggerDict)
        yield "timeout", socket.getdefaulttimeout()
        yield "decimal", str(decimal.getcontext())
        yield "limits", [resource.getrlimit(kind) for kind in range(8)]
        yield "faulthandler", faulthandler.is_enabled()
        if "diagnostics-recorder=process" not in " ".join(sys.argv):
            # The shell that starts a recorder process has pytest's own size, as every child that pytest has.
            yield "children", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
"""
CONFTEST = """
    import random
    from state import state

    random.seed(20)

    def pytest_collection_finish():
        print("collected", *state(), sep="\\n")

    def pytest_unconfigure():
        print("unconfigured", *state(), sep="\\n")
"""
SUITE = """
    import pytest
    from state import state

    @pytest.fixture(autouse=True)
    def around():
        print("setup", *state(), sep="\\n")
        yield
        print("teardown", *state(), sep="\\n")

    @pytest.fixture(scope="module", autouse=True)
    def wide():
        print("wide", *state(), sep="\\n")
        yield
        print("wide teardown", *state(), sep="\\n")

    def test_first():
        print("call", *state(), sep="\\n")

    def test_fails():
        print("call", *state(), sep="\\n")
        assert 0

    def test_last():
        print("call", *state(), sep="\\n")
"""


@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("args", [(), ("-Werror",), ("-s",), ("--diagnostics-scope=test",)], ids=" ".join)
def test_the_state_of_the_process_is_that_without_us(
    differential: Differential, args: tuple[str, ...], kind: str
) -> None:
    differential.write(state=STATE, conftest=CONFTEST, test_it=SUITE)

    on = differential.pair("-rA", "--show-capture=all", f"--diagnostics-recorder={kind}", *args)

    assert on.out.count("'switch'") >= 10
    assert on.outcomes() == {"test_first": "passed", "test_fails": "failed", "test_last": "passed"}


@pytest.mark.parametrize("option", ["--stepwise", "--last-failed", "--failed-first", "--new-first"])
def test_what_pytest_remembers_between_runs_is_the_same(inside: pytest.Pytester, option: str) -> None:
    inside.makepyfile(
        test_it="""
            def test_a(): pass
            def test_b(): assert 0
            def test_c(): pass
            def test_d(): assert 0
        """
    )
    seen = []

    for switch in ("--no-diagnostics", "--diagnostics"):
        lines: list[str] = []
        for _ in range(3):
            result = inside.runpytest(switch, option, "-v")
            lines += [
                str(result.ret),
                *(line.split(" ")[0] for line in result.stdout.lines if "::test_" in line),
            ]
        seen.append([line for line in lines if line not in ("failed", "slow", "hungry")])
        (inside.path / ".pytest_cache" / "v" / "cache" / "lastfailed").unlink(missing_ok=True)
        (inside.path / ".pytest_cache" / "v" / "cache" / "stepwise").unlink(missing_ok=True)

    assert seen[0] == seen[1]


def test_runs_nested_in_one_process_are_independent(inside: pytest.Pytester) -> None:
    inside.makeconftest("pytest_plugins = ['pytester']")
    inside.makepyfile(
        test_outer="""
            def test_one(pytester):
                pytester.makepyfile("def test_inner(): assert 0")
                for _ in range(2):
                    result = pytester.runpytest_inprocess("--diagnostics", "--diagnostics-report=none")
                    result.assert_outcomes(failed=1)
                    result.stdout.fnmatch_lines("health  good: *")

            def test_two():
                pass
        """
    )

    for switch in ("--diagnostics", "--no-diagnostics"):
        inside.runpytest_subprocess(switch, "test_outer.py").assert_outcomes(passed=2)

    assert len(list(inside.path.glob("pytest-diagnostics/runs/*Z-*"))) == 1
