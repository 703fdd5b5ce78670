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
    assert [recorder["where"].split(" (")[0] for recorder in on.summary["recorders"]] == ["thread in main"]
    assert {row["worker"] for row in on.summary["fixtures"] if row["name"] == "wide"} == {"gw0", "gw1"}
    assert troubles(on) == []
    assert on.out.count("diagnostics: the whole session, ") == 1


def test_the_machines_samples_are_cut_to_the_workers_tests(xdist: Differential) -> None:
    xdist.write(test_it="import time\ndef test_it(): time.sleep(0.4)")

    on = xdist.run("-n1", "--diagnostics-collectors=memory", on=True)

    (attempt,) = on.attempts("test_it")
    assert attempt["samples"]["memory.percent"]["count"] >= 2


@pytest.mark.parametrize(
    "args",
    [
        ("-n2",),
        ("-n2", "-Werror"),
        ("-n2", "--dist=loadscope"),
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


def test_each_scope_stays_with_its_worker(xdist: Differential) -> None:
    xdist.write(test_it=SUITE)

    on = xdist.run("-n2", "--dist=loadscope", on=True)

    assert len({attempt["worker"] for attempt in on.attempts("_one") + on.attempts("_two")}) == 1


def test_at_test_scope_workers_sample_for_themselves(xdist: Differential) -> None:
    xdist.write(test_it=SUITE)

    on = xdist.run("-n2", "--diagnostics-scope=test", "--diagnostics-collectors=memory", on=True)

    assert shards(on) == {"main", "gw0", "gw1", "gw0_live", "gw1_live"}
    for attempt in on.summary["tests"]:
        assert attempt["samples"]["memory.percent"]["count"] >= 1
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
    assert shards(on) == {"main", "recorder"}
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
