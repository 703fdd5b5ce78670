"""The canaries, in every configuration: nothing that they see and do tells them that they are recorded."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.canaries.conftest import Canaries, Configuration, Runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the canaries look into /proc")

KNOWN_LIMITS = Path(__file__).parents[2] / "docs" / "known-limits.md"


#: Where tests run without xdist, whose workers have more threads than one anyway.
SURELY, PERHAPS = True, False
#: The canaries that see the thread of ``--diagnostics-recorder=thread``: the table of docs/known-limits.md.
SEE_THE_THREAD = {
    "test_threads.py::test_there_is_one_thread": SURELY,
    "test_threads.py::test_the_system_knows_of_one_thread": SURELY,
    "test_threads.py::test_threads_are_those_that_were_there_at_collection": SURELY,
    "test_2_gevent.py::test_threads_are_those_that_were_there_at_collection": SURELY,
    "test_z_user_namespace.py::test_becomes_root_of_its_own": SURELY,
    # Python warns of it from 3.12 on.
    "test_children.py::test_a_fork_warns_of_nothing": sys.version_info >= (3, 12),
    # What a thread does now and then is seen now and then.
    "test_memory.py::test_nobody_allocates_between_two_snapshots": PERHAPS,
    "test_memory.py::test_leaves_no_garbage_of_others": PERHAPS,
    "test_descriptors.py::test_the_number_of_descriptors_stays": PERHAPS,
    "test_descriptors.py::test_the_list_of_descriptors_stays": PERHAPS,
    "test_descriptors.py::test_numbers_below_five_hundred_are_pytest_s_and_the_test_s": PERHAPS,
    "test_descriptors.py::test_a_new_descriptor_has_the_lowest_free_number": PERHAPS,
    "test_descriptors.py::test_closes_all_descriptors_and_opens_its_own": PERHAPS,
    "test_descriptors.py::test_finds_its_files_as_it_wrote_them": PERHAPS,
    "test_descriptors.py::test_opens_pipes_on_the_numbers_of_files": PERHAPS,
}

#: What a canary sees only of tests before it in the same process: compared where the order is the same.
OF_THE_ORDER = {"exits", "loggers", "modules", "imported at first"}
#: What the health line says of what the canaries did, and has to say.
HONEST = re.compile(
    r"(main|gw\d) \(pid \d+\): .*(EACCES|EMFILE).* kept in memory, written at the end: yes"
    r"|thread in (main|gw\d) \(pid \d+\): .*(EACCES|EMFILE)\) after \d+ records(; \d+ kept in memory, written"
    r" at the end: yes)?"
    r"|\d+ gaps? without samples, .*"
    r"|the wall clock .*"
)


#: What canaries need and are skipped without, of the tests' own dependencies.
LIBRARIES = ("freezegun", "gevent", "pyfakefs", "pytest_socket", "time_machine")


def expected(nodeid: str) -> str:
    """Return how a canary ends that is alone in its process."""
    return "failed" if "::test_fails_" in nodeid else "passed"


def test_no_canary_is_skipped_for_want_of_a_library() -> None:
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing and not os.environ.get("PYTEST_DIAGNOSTICS_REQUIRE_LIVE"):
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert missing == []


@pytest.mark.parametrize("suite", ["suite", "lasting"])
def test_canaries_pass_without_diagnostics(suite: str, configuration: Configuration, canaries: Runs) -> None:
    off = canaries(suite, configuration.off)
    assert off.ran.told[-1] == ["main", "unconfigured"]
    assert len(off.reports) > {"suite": 80, "lasting": 4}[suite]
    wrong = {
        nodeid: reports
        for nodeid, reports in off.reports.items()
        if off.outcome(nodeid) not in (expected(nodeid), "skipped")
    }
    assert wrong == {}, off.ran.out


@pytest.mark.parametrize("suite", ["suite", "lasting"])
def test_no_canary_tells_that_it_is_recorded(
    suite: str, configuration: Configuration, canaries: Runs
) -> None:
    off, on = canaries(suite, configuration.off), canaries(suite, configuration)

    different = {
        nodeid: (off.reports.get(nodeid), on.reports.get(nodeid))
        for nodeid in {**off.reports, **on.reports}
        if off.reports.get(nodeid) != on.reports.get(nodeid)
    }

    if configuration.kind == "thread":
        surely = {nodeid for nodeid in off.reports if SEE_THE_THREAD.get(nodeid) is SURELY}
        assert configuration.xdist or surely <= different.keys()
        different = {nodeid: told for nodeid, told in different.items() if nodeid not in SEE_THE_THREAD}
    assert different == {}
    assert on.ran.code == off.ran.code
    # Python's warning of a fork beside a thread: its own canary says who gets it.
    known = "is multi-threaded" if configuration.kind == "thread" else "\0"
    warnings = [[one for one in run.warnings if known not in one] for run in (on, off)]
    assert warnings[0] == warnings[1]


@pytest.mark.parametrize("suite", ["suite", "lasting"])
def test_the_process_looks_the_same_around_every_canary(
    suite: str, configuration: Configuration, canaries: Runs
) -> None:
    off, on = canaries(suite, configuration.off), canaries(suite, configuration)
    assert on.states.keys() == off.states.keys()
    unlike = OF_THE_ORDER if configuration.xdist else OF_THE_ORDER - {"exits"}
    different = []
    for nodeid, moments in off.states.items():
        if on.outcome(nodeid) != off.outcome(nodeid):
            continue  # one of those that see the thread
        for moment, state in moments.items():
            other = on.states[nodeid][moment]
            different += [
                (nodeid, moment, key, value, other[key])
                for key, value in state.items()
                if key not in unlike and other[key] != value
            ]
    assert different == []


def grown(run: Canaries, nodeid: str, what: str) -> set[str]:
    """Return the modules or loggers that came while a canary's fixtures were there."""
    moments = run.states[nodeid]
    begin = moments.get("call begins", moments["after"])  # nothing of one that was skipped
    return set(moments["after"][what]) - set(begin[what])


@pytest.mark.parametrize("suite", ["suite", "lasting"])
def test_nothing_is_imported_while_a_canary_runs(
    suite: str, configuration: Configuration, canaries: Runs
) -> None:
    off, on = canaries(suite, configuration.off), canaries(suite, configuration)
    for nodeid in off.states:
        more = {name for what in ("modules", "loggers") for name in grown(on, nodeid, what)}
        if not configuration.xdist:
            more -= {name for what in ("modules", "loggers") for name in grown(off, nodeid, what)}
        assert not [name for name in more if not configuration.xdist or "diagnostics" in name], nodeid


def test_nothing_is_imported_but_our_own_and_the_standard_library(
    configuration: Configuration, canaries: Runs
) -> None:
    first: list[set[str]] = []
    for one in (configuration, configuration.off):
        moments = [states["before"] for states in canaries("suite", one).states.values()]
        first.append({name for state in moments for name in state.get("imported at first", ())})
    more = first[0] - first[1]
    assert more
    foreign = {name.partition(".")[0] for name in more} - sys.stdlib_module_names
    assert foreign <= {"pytest_diagnostics", "psutil"}


def test_the_canaries_are_recorded(configuration: Configuration, canaries: Runs) -> None:
    on = canaries("suite", configuration)
    summary = on.ran.summary
    attempts = {attempt["nodeid"]: attempt for attempt in summary["tests"]}
    assert attempts.keys() == on.reports.keys()
    for nodeid, attempt in attempts.items():
        phases = {phase["when"]: phase["outcome"] for phase in attempt["phases"]}
        assert attempt["complete"], nodeid
        assert phases == {when: report[0] for when, report in on.reports[nodeid].items()}
        assert all("wall_seconds" in phase["usage"] for phase in attempt["phases"]), nodeid
    assert {recorder["kind"] for recorder in summary["recorders"]} == {configuration.kind}
    assert not [shard for shard in summary["shards"] if shard["damaged"] or shard["torn"]]
    # Collectors that begin with each test begin among those that lower the limit of open files, too.
    begin_anew = (configuration.kind, configuration.scope) == ("thread", "test")
    assert all(state["errors"] == 0 or begin_anew for state in summary["collectors"])
    assert {state["state"] for state in summary["collectors"]} <= {"healthy", "unavailable"}
    assert [line for line in on.ran.problems().splitlines() if not HONEST.fullmatch(line)] == []
    assert "EACCES" in on.ran.problems()


def test_a_hold_of_the_interpreter_s_lock_is_sampled_or_a_gap(
    configuration: Configuration, canaries: Runs
) -> None:
    ran = canaries("suite", configuration).ran
    (attempt,) = ran.attempts("::test_holds_the_interpreter_s_lock")
    sampled = attempt["samples"].get("cpu.usage_percent", {"count": 0})["count"]
    if configuration.kind == "process" or (configuration.scope, configuration.xdist) == ("session", True):
        assert sampled >= 10  # of 30: not a process of ours holds a lock
    else:
        gaps = [gap for gap in ran.summary["gaps"] if gap["seconds"] > 0.2]
        begin = attempt["start_seconds"]
        assert [gap for gap in gaps if begin - 0.2 < gap["time_seconds"] < begin + 1]


def test_frozen_time_is_not_ours(configuration: Configuration, canaries: Runs) -> None:
    ran = canaries("suite", configuration).ran
    for name in ("test_a_frozen_call_takes_its_time", "test_a_travelled_call_takes_its_time"):
        assert 0.1 <= ran.phases(f"::{name}")["call"]["usage"]["wall_seconds"] < 2
    starts = [attempt["start_seconds"] for attempt in ran.summary["tests"]]
    assert starts == sorted(starts)
    assert ran.summary["run"]["started"][:4] not in ("1970", "1999", "2012", "2015", "2050", "2100")
    (run,) = ran.runs
    records = b"".join(shard.read_bytes() for shard in run.glob("shards/*"))
    assert not re.search(rb'"(1970|1999|2012|2015|2050|2100)-', records)


def test_samples_are_the_machine_s_whatever_is_mocked(configuration: Configuration, canaries: Runs) -> None:
    summary = canaries("suite", configuration).ran.summary
    found = [attempt["samples"].get("memory.percent") for attempt in summary["tests"]]
    sampled = [one["max"] for one in found if one is not None and one["max"] is not None]
    assert len(sampled) > 50
    assert all(0 < largest <= 100 for largest in sampled)


def test_a_recording_that_was_removed_says_so_and_goes_on(
    configuration: Configuration, canaries: Runs
) -> None:
    ran = canaries("lasting", configuration).ran
    assert "the recording was removed during the run" in ran.problems()
    assert "ended without finishing" not in ran.problems()
    assert ran.health.startswith("health  degraded")
    after = ran.phases("test_1_removed.py::test_after")
    assert after.keys() == {"setup", "call", "teardown"}
    if not configuration.xdist:
        assert ran.phases("::test_sleeps_while_nobody_else_runs")["call"]["usage"]["wall_seconds"] >= 0.1
        (attempt,) = ran.attempts("::test_sleeps_while_nobody_else_runs")
        assert attempt["samples"]["cpu.usage_percent"]["count"] > 0


def test_the_documented_canaries_are_those_that_see_the_thread() -> None:
    text = KNOWN_LIMITS.read_text(encoding="utf-8")
    documented = set(re.findall(r"`(test_\w+\.py::test_\w+)`", text))
    assert documented == SEE_THE_THREAD.keys()
