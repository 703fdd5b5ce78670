"""Children of tests: nothing of ours runs in them, and nothing of ours is in their way."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SUITE = """
    import multiprocessing, os, subprocess, sys, threading, time
    import pytest

    def waited(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_child_exits():
        pid = os.fork()
        if pid == 0:
            os._exit(5)
        assert waited(pid) == 5

    def test_many_children():
        for _ in range(150):
            pid = os.fork()
            if pid == 0:
                os._exit(threading.active_count())
            assert waited(pid) == 1

    def test_child_uses_threads():
        pid = os.fork()
        if pid == 0:
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join(5)
            os._exit(7)
        assert waited(pid) == 7

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_multiprocessing(method):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=queue.put, args=(3,))
        process.start()
        assert queue.get() == 3
        process.join(20)
        assert process.exitcode == 0

    def test_pool():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]

    def test_grandchild():
        pid = os.fork()
        if pid == 0:
            inner = os.fork()
            if inner == 0:
                os._exit(1)
            os._exit(waited(inner) + 1)
        assert waited(pid) == 2

    def test_child_execs():
        pid = os.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, "-S", "-c",
                     "import os; raise SystemExit(len(os.listdir('/proc/self/fd')) - 1)"])
        assert waited(pid) <= 4

    def test_children_inherit_no_descriptor():
        code = "import os; d = '/proc/self/fd/'; print([os.path.realpath(d + n) for n in os.listdir(d)])"
        command = [sys.executable, "-S", "-c", code]
        said = subprocess.run(command, capture_output=True, text=True, close_fds=False)
        assert "/dev/null" in said.stdout
        assert "pytest-diagnostics" not in said.stdout
        assert "clear_refs" not in said.stdout

    def test_child_runs_in_an_environment_without_us():
        code = "import sys; raise SystemExit('pytest_diagnostics' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0

    def test_after_the_forks():
        time.sleep(0.3)

    def test_in_parent_and_child():
        pid = os.fork()
        if pid == 0:
            sys.exit(0)  # pytest catches it: the child goes on with the run
        os.waitpid(pid, 0)

    def test_last():
        pass
"""


#: The parent waits for the child that goes on: what is there at the child's end is the child's work.
WITNESS_OF_THE_CHILD = """
    import glob, os
    import pytest
    parent = os.getpid()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure():
        if os.getpid() != parent:
            with open("written-by-the-child", "w") as file:
                file.write(repr(glob.glob("pytest-diagnostics/runs/*/*.json")))
"""


@pytest.fixture(scope="module")
def forked(new_differential: Callable[[], Differential]) -> Ran:
    runs = new_differential()
    runs.write(test_it=SUITE, conftest=WITNESS_OF_THE_CHILD)
    # What two processes write to one terminal, and Python's own warning of threads, are told elsewhere.
    return runs.pair("-Wignore::DeprecationWarning", compare=("err",))


def test_children_do_what_they_do_without_us(forked: Ran) -> None:
    outcomes = forked.outcomes()
    assert forked.code == 0
    assert {name for name, outcome in outcomes.items() if outcome != "passed"} == set()
    assert [line for line in forked.told if line[0] == "child" and line[1] == "report"]


def test_a_child_that_goes_on_with_the_run_records_nothing(forked: Ran) -> None:
    assert len(forked.attempts("::test_in_parent_and_child")) == 1
    assert len(forked.attempts("::test_last")) == 1
    assert forked.phases("::test_in_parent_and_child")["call"]["outcome"] == "passed"
    (run,) = forked.runs
    assert sorted(shard.name.rpartition("-")[0] for shard in run.glob("shards/*")) == ["main", "recorder"]
    assert forked.out.count("= diagnostics =") == 1
    assert "summary.json" not in (run.parents[2] / "written-by-the-child").read_text()
    assert len(forked.summary["shards"]) == 2
    assert all(shard["damaged"] == 0 and not shard["torn"] for shard in forked.summary["shards"])


def test_sampling_and_figures_go_on_in_the_parent(forked: Ran) -> None:
    (attempt,) = forked.attempts("::test_after_the_forks")
    assert attempt["samples"]["process.rss_bytes"]["count"] > 0
    assert attempt["usage"]["children"] <= 2  # multiprocessing's own: a fork server, a resource tracker
    assert forked.phases("::test_many_children")["call"]["usage"]["children_cpu_seconds"] > 0


def test_a_run_whose_threads_are_refused_is_accounted_without_samples(differential: Differential) -> None:
    differential.write(
        refusing="""
            import _thread, threading
            def refuse(*args, **kwargs):
                raise RuntimeError("can't start new thread")
            threading._start_new_thread = _thread.start_new_thread = refuse
            if hasattr(threading, "_start_joinable_thread"):
                threading._start_joinable_thread = _thread.start_joinable_thread = refuse
        """,
        test_it="""
            def test_passes():
                pass
            def test_fails():
                assert 0
        """,
    )
    differential.plugins = ("refusing",)
    for scope in ("session", "test"):
        on = differential.pair(f"-odiagnostics_scope={scope}", "-odiagnostics_recorder=thread")
        assert on.outcomes() == {"test_passes": "passed", "test_fails": "failed"}
        assert "can't start new thread" in on.problems()
        assert on.phases("::test_passes")["call"]["usage"]["rss_bytes"] > 0
