"""What tests do to their process: each does it undisturbed, and those after it are still recorded."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

pytestmark = pytest.mark.skipif(os.name != "posix", reason="uses signals, descriptors and forks")

#: Every test here leaves the process as it found it: the next one shall fail of its own accord only.
SUITE = """
    import asyncio, contextlib, ctypes, gc, itertools, logging, os, random, resource, signal, socket
    import subprocess, sys, tempfile, threading, time, tracemalloc, warnings
    import pytest

    def test_comes_while_the_collectors_open_what_they_keep():
        time.sleep(0.5)

    def test_closes_every_descriptor_and_opens_its_own(tmp_path):
        # pytest's own objects would close these numbers again when they are collected.
        spared = [int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")
                  and int(n) > 2 and os.readlink(f"/proc/self/fd/{n}") == "/dev/null"]
        for begin, end in itertools.pairwise(sorted({2, *spared, 4096})):
            os.closerange(begin + 1, end)
        globals()["spared"] = spared
        files = [open(tmp_path / f"mine{n}.bin", "w+b", buffering=0) for n in range(40)]
        for n, file in enumerate(files):
            file.write(b"%d" % n)
        time.sleep(0.35)
        globals()["files"] = files

    def test_finds_its_files_as_it_wrote_them():
        for n, file in enumerate(files):
            file.seek(0)
            assert file.read() == b"%d" % n
            assert len(os.listdir("/proc/self/fd")) >= 40

    def test_opens_other_files_on_the_same_numbers(tmp_path):
        for file in files:
            with contextlib.suppress(OSError):
                file.close()
        for begin, end in itertools.pairwise(sorted({2, *spared, 4096})):
            os.closerange(begin + 1, end)
        pipes = [os.pipe() for _ in range(20)]
        time.sleep(0.25)
        for read, write in pipes:
            os.write(write, b"x")
            assert os.read(read, 100) == b"x"
            os.close(read)
            os.close(write)

    def test_waits_for_a_blocked_signal():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        try:
            for _ in range(20):
                os.kill(os.getpid(), signal.SIGUSR1)
                assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})

    def test_gets_its_timer():
        rung = []
        previous = signal.signal(signal.SIGALRM, lambda *_: rung.append(threading.current_thread()))
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        end = time.monotonic() + 5
        while len(rung) < 4 and time.monotonic() < end:
            time.sleep(0.01)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        assert len(rung) >= 4
        assert set(rung) == {threading.main_thread()}

    def test_gets_its_wakeup():
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        with reader, writer:
            old = signal.set_wakeup_fd(writer.fileno())
            previous = signal.signal(signal.SIGUSR2, lambda *_: None)
            os.kill(os.getpid(), signal.SIGUSR2)
            assert reader.recv(100) == bytes([signal.SIGUSR2])
            assert signal.set_wakeup_fd(old) == writer.fileno()
            signal.signal(signal.SIGUSR2, previous)

    def test_changes_and_removes_its_directory(tmp_path):
        gone = tmp_path / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
        time.sleep(0.15)

    def test_runs_where_there_is_no_directory(request):
        with pytest.raises(FileNotFoundError):
            os.getcwd()
        os.chdir(request.config.rootpath)

    def test_changes_umask_home_and_locale(monkeypatch):
        old = os.umask(0o777)
        for name in ("HOME", "TMPDIR", "PATH", "LANG", "LC_ALL"):
            monkeypatch.setenv(name, "/nowhere")
        for name in list(os.environ):
            monkeypatch.delenv(name)
        time.sleep(0.15)
        os.umask(old)

    def test_switches_threads_seldom():
        old = sys.getswitchinterval()
        sys.setswitchinterval(100)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass
        sys.setswitchinterval(old)

    def test_holds_the_interpreter():
        ctypes.PyDLL(None).usleep(400_000)

    def test_collects_no_garbage():
        gc.disable()
        gc.freeze()
        time.sleep(0.15)
        assert not gc.isenabled()
        gc.unfreeze()
        gc.enable()

    def test_traces():
        seen = []
        def trace(frame, event, arg):
            seen.append(frame.f_code.co_filename)
            return trace
        old = sys.gettrace()
        sys.settrace(trace)
        time.monotonic()
        (lambda: 1)()
        sys.settrace(old)
        assert seen
        assert not [name for name in seen if "pytest_diagnostics" in name]

    def test_traces_new_threads():
        seen = []
        threading.setprofile(lambda frame, *_: seen.append(frame.f_code.co_filename))
        thread = threading.Thread(target=time.sleep, args=(0.15,))
        thread.start()
        thread.join()
        threading.setprofile(None)
        assert not [name for name in seen if "pytest_diagnostics" in name]

    def test_children_are_its_own():
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        child = subprocess.Popen([sys.executable, "-S", "-c", ""])
        assert os.waitpid(-1, 0) == (child.pid, 0)
        child.returncode = 0
        with pytest.raises(ChildProcessError):
            os.wait()

    def test_captures_nothing_that_it_did_not_write(caplog, capfd, recwarn):
        caplog.set_level(0)
        logging.getLogger().setLevel(0)
        time.sleep(0.35)
        assert (caplog.records, capfd.readouterr(), list(recwarn)) == ([], ("", ""), [])

    def test_system_capture_is_empty(capsys):
        time.sleep(0.15)
        assert capsys.readouterr() == ("", "")

    def test_draws_the_numbers_of_its_seed():
        random.seed(7)
        first = random.getstate()
        time.sleep(0.25)
        assert random.getstate() == first

    def test_warnings_filters_and_hooks_are_python_s(request):
        hooks = (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.gettrace(), sys.getprofile())
        assert not [hook for hook in hooks if "diagnostics" in str(getattr(hook, "__module__", hook))]
        assert not [f for f in warnings.filters if "diagnostics" in str(f)]
        assert not [n for n in logging.root.manager.loggerDict if "diagnostics" in n]

    def test_opens_as_many_files_as_it_may():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        opened = []
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        time.sleep(0.25)
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_has_no_loop_policy_of_ours():
        assert type(asyncio.get_event_loop_policy()).__module__.startswith("asyncio")

    def test_traces_its_own_memory():
        tracemalloc.start()
        before = tracemalloc.take_snapshot()
        kept = [bytes(1000) for _ in range(1000)]
        after = tracemalloc.take_snapshot()
        tracemalloc.stop()
        grown = sum(line.size_diff for line in after.compare_to(before, "filename"))
        assert 1_000_000 < grown < 1_300_000
        assert kept

    def test_stops_and_continues():
        pid = os.getpid()
        child = subprocess.Popen(["sh", "-c", f"kill -STOP {pid}; sleep 0.5; kill -CONT {pid}"])
        assert child.wait() == 0

    def test_last():
        assert threading.current_thread() is threading.main_thread()
"""


ARGUMENTS = ("-v", "-s", "-pno:faulthandler", "-Walways", "-Wignore::DeprecationWarning")


@pytest.fixture(scope="module")
def suite(new_differential: Callable[[], Differential]) -> Differential:
    runs = new_differential()
    runs.write(test_it=SUITE)
    return runs


@pytest.fixture(scope="module")
def off(suite: Differential) -> object:
    return suite.run(*ARGUMENTS, on=False)


@pytest.fixture(scope="module", params=["process", "thread"])
def process(suite: Differential, off: object, request: pytest.FixtureRequest) -> Ran:
    on = suite.run(*ARGUMENTS, f"--diagnostics-recorder={request.param}", on=True)
    suite.same(off, on)  # type: ignore[arg-type] # a fixture's type may not be imported at run time
    return on


def test_tests_that_take_their_process_apart_pass_as_they_do_without_us(process: Ran) -> None:
    assert process.code == 0
    assert set(process.outcomes().values()) == {"passed"}


def test_every_phase_of_every_test_is_recorded_whatever_the_tests_did(process: Ran) -> None:
    for attempt in process.summary["tests"]:
        assert [phase["when"] for phase in attempt["phases"]] == ["setup", "call", "teardown"]
        assert attempt["complete"]


def test_figures_are_right_again_after_the_descriptors_were_closed(process: Ran) -> None:
    for name in ("test_opens_other_files_on_the_same_numbers", "test_last"):
        call = process.phases(f"::{name}")["call"]
        assert call["absent"].keys() <= {"throttled_seconds", "oom_kills"}, call["absent"]
        assert call["usage"]["rss_bytes"] > 10 << 20
        assert call["usage"]["threads"] < 20


def test_sampling_goes_on_after_the_descriptors_were_closed(process: Ran) -> None:
    (attempt,) = process.attempts("::test_captures_nothing_that_it_did_not_write")
    assert attempt["samples"]["process.rss_bytes"]["min"] > 10 << 20
    assert attempt["samples"]["cpu.usage_percent"]["count"] > 0


def test_a_held_interpreter_is_a_gap_and_no_line_is_drawn_across_it(process: Ran) -> None:
    (attempt,) = process.attempts("::test_holds_the_interpreter")
    begin = attempt["start_seconds"]
    gaps = [gap for gap in process.summary["gaps"] if begin - 0.2 < gap["time_seconds"] < begin + 1]
    (recorder,) = process.summary["recorders"]
    if recorder["kind"] == "process":
        assert gaps == []
        assert attempt["samples"]["process.rss_bytes"]["count"] > 0
    else:
        assert max(gap["seconds"] for gap in gaps) > 0.2
