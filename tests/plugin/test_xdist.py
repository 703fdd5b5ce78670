"""pytest-xdist: one run, a shard for each worker, the machine sampled once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

pytestmark = pytest.mark.xdist

SUITE = """
    import pytest

    @pytest.fixture(scope="session")
    def wide():
        return 1

    @pytest.mark.parametrize("number", range(6))
    def test_it(number, wide):
        assert number != 3

    class TestA:
        def test_one(self): pass
        def test_two(self): pass
"""


def shards(ran: Ran) -> set[str]:
    """Return the roles of the shards."""
    (run,) = ran.runs
    return {path.name.rpartition("-")[0] for path in (run / "shards").iterdir()}


def troubles(ran: Ran) -> list[str]:
    """Return the problems, without ticks that a loaded machine misses."""
    return [problem for problem in ran.summary["health"]["problems"] if "without samples" not in problem]


def test_a_run_has_one_directory_and_a_shard_for_each_process(xdist: Differential) -> None:
    xdist.write(test_it=SUITE)

    on = xdist.run("-n2", "--diagnostics-collectors=cpu", on=True)

    assert on.code == pytest.ExitCode.TESTS_FAILED
    assert shards(on) == {"main", "recorder", "gw0", "gw1"}
    assert {attempt["worker"] for attempt in on.summary["tests"]} == {"gw0", "gw1"}
    assert on.summary["counts"] == {"passed": 7, "failed": 1}
    assert [recorder["kind"] for recorder in on.summary["recorders"]] == ["process"]
    assert {row["worker"] for row in on.summary["fixtures"] if row["name"] == "wide"} == {"gw0", "gw1"}
    assert troubles(on) == []
    assert on.out.count("diagnostics: the whole session, ") == 1


def test_samples_of_a_test_are_of_its_own_worker(xdist: Differential) -> None:
    xdist.write(
        test_it="""
            import time

            def test_large():
                block = bytearray(100 << 20)
                block[::4096] = b"x" * len(block[::4096])
                time.sleep(0.8)

            def test_small():
                time.sleep(0.8)
                assert 0
        """
    )

    on = xdist.run("-n2", on=True)

    last = {}
    for name in ("test_large", "test_small"):
        (attempt,) = on.attempts(name)
        own = f"process.workers[{attempt['worker']}]"
        sampled = {series for series in attempt["samples"] if series.startswith("process.")}
        assert sampled == {f"{own}.rss_bytes", f"{own}.cpu_percent"}
        assert attempt["samples"][f"{own}.rss_bytes"]["count"] >= 2
        assert attempt["samples"]["memory.percent"]["count"] >= 2
        last[name] = attempt["samples"][f"{own}.rss_bytes"]["max"]
    assert last["test_large"] - last["test_small"] > 60 << 20
    # A failing phase in a worker has the recorder collect, and its record is the worker's.
    (attempt,) = on.attempts("test_small")
    (collection,) = attempt["collections"]
    assert {"memory", "process"} <= set(collection["data"])
    (record,) = on.records("collection")
    assert (record["worker"], record["pid"]) == (attempt["worker"], attempt["pid"])


@pytest.mark.parametrize(
    "args",
    [
        ("-n2", "-Werror"),
        ("-n2", "--dist=each"),
        ("-n0",),
        ("--maxfail=1", "-n2"),
    ],
    ids=" ".join,
)
def test_outcomes_are_those_without_us(xdist: Differential, args: tuple[str, ...]) -> None:
    xdist.write(test_it=SUITE if "--maxfail=1" not in args else "def test_it(): assert 0")

    off, on = xdist.run(*args, on=False), xdist.run(*args, on=True)

    assert on.code == off.code
    seen = [sorted(json.dumps(line) for line in ran.told if line[0] == "report") for ran in (off, on)]
    assert seen[0] == seen[1]
    assert troubles(on) == []


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "loadgroup", "worksteal", "no"])
def test_every_way_to_hand_out_tests_is_accounted(xdist: Differential, dist: str) -> None:
    xdist.write(test_it=SUITE)

    on = xdist.run("--tx=2*popen", f"--dist={dist}", on=True)

    assert on.code == pytest.ExitCode.TESTS_FAILED
    assert on.summary["counts"] == {"passed": 7, "failed": 1}
    assert len([recorder for recorder in on.summary["recorders"] if recorder["kind"] == "process"]) == 1
    assert troubles(on) == []
    if dist == "loadscope":
        assert len({attempt["worker"] for attempt in on.attempts("_one") + on.attempts("_two")}) == 1
    assert shards(on) == ({"main", "recorder"} if dist == "no" else {"main", "recorder", "gw0", "gw1"})


def test_what_runs_for_single_tests_of_workers_runs_beside_them(xdist: Differential) -> None:
    xdist.write(test_it=SUITE)

    on = xdist.run("-n2", "--diagnostics-scope=test", "--diagnostics-collectors=memory", on=True)

    assert shards(on) == {"main", "recorder", "gw0", "gw1", "gw0_process_live", "gw1_process_live"}
    for attempt in on.summary["tests"]:
        assert attempt["samples"]["memory.percent"]["count"] >= 1
    assert troubles(on) == []


def test_markers_and_the_fixture_work_in_workers(xdist: Differential) -> None:
    xdist.write(
        test_it="""
            import time
            import pytest

            @pytest.mark.diagnostics("process", interval=0.05)
            def test_marked():
                time.sleep(0.4)

            def test_fixture(diagnostics):
                found = diagnostics.collect(timeout=30)
                assert found["memory"]["percent"] > 0
        """
    )

    on = xdist.run("-n2", "--diagnostics-collectors=memory", on=True)

    assert on.outcomes() == {"test_marked": "passed", "test_fixture": "passed"}
    (marked,) = on.attempts("test_marked")
    assert f"{marked['worker']}_process_live" in shards(on)
    assert marked["samples"]["process.rss_bytes"]["count"] >= 2
    (fixture,) = on.attempts("test_fixture")
    assert "process.rss_bytes" not in fixture["samples"]
    assert troubles(on) == []


def test_without_the_plugin_options_still_work(xdist: Differential) -> None:
    xdist.write(test_it=SUITE)
    xdist.plugins = ()

    assert xdist.run("-pno:xdist", on=True).summary["counts"] == {"passed": 7, "failed": 1}


def test_a_dry_run_with_workers_records_nothing(xdist: Differential) -> None:
    xdist.write(test_it=SUITE)

    on = xdist.run("-n2", "--collect-only", on=True)

    assert on.code == pytest.ExitCode.OK
    assert on.runs == []


def test_a_worker_that_cannot_write_brings_its_lines_home(xdist: Differential) -> None:
    xdist.write(
        test_it=SUITE,
        conftest="""
            import pytest

            def pytest_configure_node(node):
                node.workerinput["diagnostics"] = "/proc/nobody/writes/here"
        """,
    )

    on = xdist.run("-n2", on=True)

    assert on.summary["counts"] == {"passed": 7, "failed": 1}
    assert {attempt["worker"] for attempt in on.summary["tests"]} == {"gw0", "gw1"}
    assert shards(on) == {"main", "recorder", "gw0", "gw1"}
    assert "cannot create /proc/nobody/writes/here/shards/gw" in on.problems()


def test_a_controller_without_a_directory_has_its_workers_lines(xdist: Differential) -> None:
    Path(xdist.directory).write_text("in the way")
    xdist.keeps_directory = True
    xdist.write(test_it=SUITE)

    on = xdist.run("-n2", "--diagnostics-show=all", on=True)

    assert on.code == pytest.ExitCode.TESTS_FAILED
    assert "\nfailed  test_it.py::test_it[3]: " in on.out
    assert on.out.count("\npassed  test_it.py::") == 7
    assert "nothing is on disk" in on.health


def test_a_bad_option_stops_the_controller_alone(xdist: Differential) -> None:
    xdist.write(test_it=SUITE)

    on = xdist.run("-n2", "--diagnostics-interval=0", on=True)

    assert on.code == pytest.ExitCode.USAGE_ERROR
    assert on.err.count("--diagnostics-interval: '0' is not usable") == 1


def test_limits_fail_tests_in_workers(xdist: Differential) -> None:
    xdist.write(
        test_it="""
            import pytest

            @pytest.mark.diagnostics_limit(wall_seconds=0)
            def test_it():
                pass
        """
    )

    on = xdist.run("-n1", on=True)

    assert on.outcomes() == {"test_it": "failed"}
    assert "\nlimits  test_it.py::test_it exceeded wall_seconds " in on.out
