"""The state of one view on one node, from look to look."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_diagnostics.collectors.cassandra.states import State
from pytest_diagnostics.collectors.cassandra.view_build import RETRY_SECONDS, Build, Judged
from pytest_diagnostics.collectors.cassandra.view_facts import Evidence

NOTHING = Evidence(0.0, in_schema=True, locally_built=False, running=False, idle=True, percent=0.0)
WAITING = replace(NOTHING, status="STARTED")
WORKING = replace(WAITING, running=True, idle=False, begun=True, fingerprint="a", percent=10.0)
RESTING = replace(WORKING, running=False, idle=True)
BUILT = replace(NOTHING, status="SUCCESS", locally_built=True, announced=True)


def look(build: Build, *evidences: Evidence, start: float = 0.0) -> list[Judged]:
    """Give one evidence a second."""
    return [build.judge(replace(one, moment=start + place)) for place, one in enumerate(evidences)]


def states(*evidences: Evidence) -> list[State]:
    return [judged.state for judged in look(Build(), *evidences)]


def test_a_view_that_nothing_was_done_for_is_pending() -> None:
    assert states(NOTHING, NOTHING, WAITING, WAITING) == [State.PENDING] * 4


def test_from_pending_to_built() -> None:
    further = replace(WORKING, fingerprint="b", percent=60.0)

    assert states(NOTHING, WAITING, WORKING, further, BUILT) == [
        State.PENDING,
        State.PENDING,
        State.BUILDING,
        State.BUILDING,
        State.BUILT,
    ]


def test_a_built_view_is_all_done() -> None:
    (judged,) = look(Build(), BUILT)

    assert (judged.percent, judged.sentence) == (100.0, None)


def test_a_stopped_build_is_interrupted_at_the_second_look() -> None:
    found = look(Build(), WORKING, RESTING, RESTING)

    assert [judged.state for judged in found][1:] == [State.BUILDING, State.INTERRUPTED]
    assert found[-1].percent == 10.0
    assert "STARTED" in str(found[-1].sentence)
    assert "begun again after 300 s" in str(found[-1].sentence)


def test_two_looks_at_one_moment_are_one_look() -> None:
    build = Build()
    look(build, WORKING)

    assert build.judge(replace(RESTING, moment=1.0)).state is State.BUILDING
    assert build.judge(replace(RESTING, moment=1.1)).state is State.BUILDING
    assert build.judge(replace(RESTING, moment=2.0)).state is State.INTERRUPTED


def test_a_busy_executor_is_no_interruption() -> None:
    between = replace(RESTING, idle=False)

    assert states(WORKING, between, between, between)[-1] is State.BUILDING


def test_what_cannot_be_read_is_no_interruption() -> None:
    unread = replace(RESTING, running=None, idle=None)

    assert states(WORKING, unread, unread, unread)[-1] is State.BUILDING


def test_a_gap_between_two_ranges_is_no_interruption() -> None:
    assert State.INTERRUPTED not in states(WORKING, RESTING, WORKING, RESTING, WORKING)


def test_an_interrupted_build_stays_so_while_another_view_is_built() -> None:
    others = replace(RESTING, idle=False, work="others")

    assert states(WORKING, RESTING, RESTING, others, others)[-1] is State.INTERRUPTED


def test_a_build_that_is_taken_up_again_builds_again() -> None:
    again = replace(WORKING, fingerprint="b", percent=20.0)

    assert states(WORKING, RESTING, RESTING, again)[-1] is State.BUILDING


def test_a_build_that_is_not_begun_again_is_said_to_be_so() -> None:
    build = Build()
    look(build, WORKING, RESTING, RESTING)
    later = build.judge(replace(RESTING, moment=RETRY_SECONDS + 60.0))

    assert later.state is State.INTERRUPTED
    assert "not begun again within" in str(later.sentence)


def test_a_node_that_just_started_has_its_time() -> None:
    starting = replace(RESTING, just_started=True)
    found = look(Build(), starting, starting, starting, RESTING, RESTING)

    assert [judged.state for judged in found][2:] == [State.PENDING, State.INTERRUPTED, State.INTERRUPTED]
    assert found[2].percent == 10.0


def test_a_start_without_anything_done_is_interrupted_in_the_end() -> None:
    build = Build()
    look(build, WAITING, WAITING)

    assert build.judge(replace(WAITING, moment=20.0)).state is State.PENDING
    assert build.judge(replace(WAITING, moment=40.0)).state is State.INTERRUPTED


def test_work_that_does_not_move_is_stuck_after_the_servers_own_pause() -> None:
    build = Build()
    look(build, WORKING, WORKING)

    assert build.judge(replace(WORKING, moment=300.0)).state is State.BUILDING
    stuck = build.judge(replace(WORKING, moment=RETRY_SECONDS + 1.0))
    assert stuck.state is State.STUCK
    assert stuck.sentence == "nothing has changed for 361 s, though its build task runs"


def test_a_view_that_waits_for_others_is_not_stuck() -> None:
    build = Build()
    queued = replace(WAITING, idle=False)
    for second in range(0, 800, 50):
        judged = build.judge(replace(queued, moment=float(second), work=second))

    assert judged.state is State.PENDING
    assert judged.sentence == "the node builds other views first"


def test_a_view_that_waits_for_nobody_is_stuck() -> None:
    build = Build()
    queued = replace(WAITING, idle=False)
    look(build, queued, queued)

    assert build.judge(replace(queued, moment=RETRY_SECONDS + 1.0)).state is State.STUCK


def test_a_word_of_success_without_a_built_view_is_inconsistent() -> None:
    lie = replace(NOTHING, status="SUCCESS")

    assert states(lie, lie, lie) == [State.PENDING] * 3
    assert states(*[lie] * 5)[-1] is State.INCONSISTENT


def test_success_that_comes_a_moment_earlier_is_no_news() -> None:
    early = replace(NOTHING, status="SUCCESS")

    assert states(WORKING, early, BUILT) == [State.BUILDING, State.BUILDING, State.BUILT]


def test_success_while_it_builds_is_said_and_it_builds() -> None:
    found = look(Build(), *[replace(WORKING, status="SUCCESS")] * 5)[-1]

    assert (found.state, found.sentence) == (State.BUILDING, "the status table says SUCCESS already")


def test_a_built_and_announced_view_that_is_said_to_be_started_is_inconsistent() -> None:
    lie = replace(BUILT, status="STARTED")

    assert states(lie, lie) == [State.BUILT] * 2
    found = look(Build(), *[lie] * 5)[-1]
    assert (found.state, found.percent) == (State.INCONSISTENT, 100.0)


def test_a_built_view_that_is_not_announced_is_built() -> None:
    build = Build()
    quiet = replace(BUILT, status="STARTED", announced=False)
    found = look(build, *[quiet] * 5)[-1]

    assert (found.state, found.sentence) == (
        State.BUILT,
        "it is built here, and not announced yet: the status table says STARTED",
    )
    assert build.judge(replace(quiet, moment=RETRY_SECONDS + 1.0)).state is State.INCONSISTENT


def test_a_status_row_that_vanishes_is_no_news() -> None:
    assert states(BUILT, replace(BUILT, status=None), BUILT) == [State.BUILT] * 3
    assert states(WORKING, replace(WORKING, status=None), WORKING) == [State.BUILDING] * 3


def test_an_unanswered_question_is_unknown_and_ends_no_build() -> None:
    unread = Evidence(0.0, unknown="timeout: no answer within 3.0 s")
    build = Build()
    found = look(build, WORKING, unread, WORKING)

    assert [judged.state for judged in found] == [State.BUILDING, State.UNKNOWN, State.BUILDING]
    assert (found[1].sentence, found[1].percent) == ("timeout: no answer within 3.0 s", None)
    assert build.at_least == 10.0


def test_a_node_whose_schema_does_not_have_it() -> None:
    assert states(replace(NOTHING, in_schema=False)) == [State.ABSENT]


def test_percent_never_falls_while_the_same_build_goes_on() -> None:
    lower = replace(WORKING, fingerprint="b", percent=5.0)

    assert [judged.percent for judged in look(Build(), WORKING, lower)] == [10.0, 10.0]


def test_a_build_that_begins_anew_starts_at_nothing() -> None:
    away = replace(WAITING, idle=False, percent=0.0)
    found = look(Build(), WORKING, away, away, away)

    assert [judged.percent for judged in found] == [10.0, 10.0, 0.0, 0.0]
    assert [judged.is_new for judged in found] == [False, False, True, False]


@pytest.mark.parametrize("state", ["building", "at rest"])
def test_only_a_build_that_goes_on_has_a_pace(state: str) -> None:
    build = Build()
    found = look(
        build, *(replace(WORKING, fingerprint=place, percent=10.0 * place) for place in range(1, 5))
    )[-1]
    if state == "building":
        assert found.rate_percent_per_second == pytest.approx(10.0)
        assert found.eta_seconds == pytest.approx(6.0)
    else:
        last = look(build, *[replace(RESTING, fingerprint=4, percent=40.0)] * 2, start=4.0)[-1]
        assert (last.state, last.rate_percent_per_second) == (State.INTERRUPTED, None)
