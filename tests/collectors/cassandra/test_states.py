"""The order of states, and what a cluster's state is."""

from __future__ import annotations

from pytest_diagnostics.collectors.cassandra.states import State, counted, worst


def test_a_cluster_is_as_bad_as_its_worst_node() -> None:
    assert worst([State.BUILT, State.BUILDING, State.PENDING]) is State.PENDING
    assert worst([State.UNKNOWN, State.BUILDING]) is State.UNKNOWN
    assert worst([State.STUCK, State.FAILED, State.INTERRUPTED]) is State.FAILED


def test_without_a_node_nothing_is_known() -> None:
    assert worst([]) is State.UNKNOWN


def test_badness_orders_them_as_they_ought_to_be_listed() -> None:
    names = [str(state) for state in sorted(State, key=lambda state: state.badness, reverse=True)]

    assert names == (
        [
            "failed",
            "interrupted",
            "stuck",
            "inconsistent",
            "unknown",
            "absent",
            "dropped",
            "pending",
            "building",
            "built",
        ]
    )


def test_only_states_that_occur_are_counted() -> None:
    assert counted([State.FAILED, State.BUILT, State.BUILT]) == {"built": 2, "failed": 1}
