"""What is concluded from the server's rows about indexes. The rows are those of live servers, shortened."""

from __future__ import annotations

import pytest

from pytest_diagnostics.collectors.cassandra.index_rows import SAI_TWIN
from pytest_diagnostics.collectors.cassandra.queries import Row
from tests.collectors.cassandra.index_answers import (
    NO_GOSSIP,
    SASI,
    A,
    Reading,
    Said,
    flags,
    heard,
    index,
    listed,
    on,
    pools,
    said,
    states,
    task,
)

#: From the log of 5.0.8, and of 4.0.18 in the same words.
FAILED = "Index build of ia failed. Please run full index rebuild to fix it."


# -- legacy


def test_legacy_build_from_pending_over_its_percents_to_built() -> None:
    reading = Reading()
    busy = pools(managing=1, executing=1)
    seen = [
        reading.look([index()], [], [], busy)["ia"],
        reading.look([index()], [task(100)], [], busy)["ia"],
        reading.look([index()], [task(300)], [], busy)["ia"],
        reading.look([index()], [task(500)], [], busy)["ia"],
        reading.look([index()], [], [], pools(managing=1))["ia"],
        reading.look([index()], [], listed("ia"))["ia"],
    ]

    told = [(item["state"], item["percent"]) for item in seen]
    assert told == [
        ("pending", 0.0),
        ("building", 10.0),
        ("building", 30.0),
        ("building", 50.0),
        ("building", 99.9),
        ("built", 100.0),
    ]
    assert (seen[3]["rate_percent_per_second"], seen[3]["eta_seconds"]) == (20.0, 2.5)
    assert seen[5]["eta_seconds"] is None
    assert seen[5]["first_seen_built"] is not None
    assert seen[5]["first_seen_built_uncertainty_seconds"] == 1.0
    assert seen[0]["kind"] == "legacy"


def test_when_an_index_was_built_before_the_first_look_is_not_known() -> None:
    reading = Reading()

    first = reading.look([index()], [], listed("ia"))["ia"]
    again = reading.look([index()], [], listed("ia"))["ia"]

    for item in (first, again):
        assert (item["state"], item["first_seen_built"]) == ("built", None)
        assert item["reasons"] == {
            "rate_percent_per_second": "it is not being built",
            "eta_seconds": "it is not being built",
            "first_seen_built": "it was built when it was first looked at",
        }


@pytest.mark.parametrize("gossip_code", [None, 1])
def test_stopped_build_has_failed_within_two_looks_whatever_gossip_says(gossip_code: int | None) -> None:
    reading = Reading()
    said: Said = NO_GOSSIP if gossip_code is None else heard(ia=gossip_code)
    reading.look([index()], [task(105)], [], pools(managing=1, executing=1), gossip=said)

    idle = pools(completed=2)
    first = reading.look([index()], [], [], idle, gossip=said)["ia"]
    second = reading.look([index()], [], [], idle, gossip=said)["ia"]

    assert (first["state"], first["percent"]) == ("building", 10.5)
    assert (second["state"], second["percent"]) == ("failed", 10.5)
    assert second["verdict"] == f"{FAILED} (nodetool rebuild_index k t ia)"
    assert on(second)["gossip"] == (None if gossip_code is None else "FULL_REBUILD_STARTED")
    assert on(second)["running"] is False


def test_rebuild_that_may_be_at_its_end_has_time_to_be_flushed() -> None:
    reading = Reading()
    reading.look([index()], [], listed("ia"))
    for progress in (300, 600, 900):
        reading.look([index()], [task(progress)], [], pools(executing=1))

    flushed = [reading.look([index()], [], [])["ia"]["state"] for _ in range(4)]
    built = reading.look([index()], [], listed("ia"))["ia"]["state"]

    assert (flushed, built) == (["building"] * 4, "built")


def test_rebuild_that_cannot_be_at_its_end_has_failed_with_the_second_look() -> None:
    reading = Reading()
    for progress in (30, 60, 90):
        reading.look([index()], [task(progress)], [], pools(executing=1))

    found = [reading.look([index()], [], [])["ia"]["state"] for _ in range(2)]

    assert found == ["building", "failed"]


def test_looks_in_quick_succession_are_not_two_looks() -> None:
    reading = Reading()
    reading.look([index()], [task(105)])

    found = [reading.look([index()], [], [], seconds=0.1)["ia"]["state"] for _ in range(8)]

    assert found == ["building"] * 8


def test_failed_index_is_building_again_from_its_first_percent_when_it_is_rebuilt() -> None:
    reading = Reading()
    reading.look([index()], [task(900)])
    for _ in range(3):
        reading.look([index()], [], [], pools(completed=2))

    rebuilt = reading.look([index()], [task(50, name="e4d75b00")], [], pools(executing=1))["ia"]

    assert (rebuilt["state"], rebuilt["percent"]) == ("building", 5.0)


def test_index_that_failed_before_the_first_look_is_found_with_the_second() -> None:
    reading = Reading()

    found = [reading.look([index()], [], [])["ia"]["state"] for _ in range(2)]

    assert found == ["pending", "failed"]


def test_percent_never_falls_and_tasks_that_are_gone_count_as_done() -> None:
    reading = Reading()
    busy = pools(managing=1, executing=2)
    looks = [
        [task(100, 1000, "one"), task(300, 3000, "two")],
        [task(90, 1000, "one"), task(1200, 3000, "two")],
        [task(1800, 3000, "two")],
    ]

    percents = [reading.look([index()], tasks, [], busy)["ia"]["percent"] for tasks in looks]

    assert percents == [10.0, 32.2, 70.0]


def test_new_indexes_of_a_table_are_built_in_their_order() -> None:
    reading = Reading()
    schema = [index("ia"), index("id")]
    busy = pools(managing=1, pending=1, executing=1)
    reading.look([index("ia")], [], [], pools(managing=1))

    first = reading.look(schema, [task(100, name="one")], [], busy)
    second = reading.look(schema, [task(20, name="two")], listed("ia"), pools(managing=1, executing=1))

    assert states(first) == {"ia": ("building", 10.0), "id": ("pending", 0.0)}
    assert states(second) == {"ia": ("built", 100.0), "id": ("building", 2.0)}


def test_task_of_one_of_two_indexes_gives_neither_a_percentage() -> None:
    reading = Reading()

    found = reading.look([index("ia"), index("id")], [task(100)], [], pools(managing=1, executing=1))

    assert states(found) == {"ia": ("building", None), "id": ("building", None)}
    reasons = found["ia"]["reasons"]
    assert isinstance(reasons, dict)
    assert reasons["percent"] == (
        "several indexes of k.t wait for their build, and the server does not say whose task runs"
    )


def test_failed_index_does_not_take_the_task_of_a_new_one() -> None:
    reading = Reading()
    reading.look([index("ia")], [task(105)])
    for _ in range(2):
        reading.look([index("ia")], [], [])

    found = reading.look(
        [index("ia"), index("id")], [task(10, name="two")], [], pools(managing=1, executing=1)
    )

    assert states(found) == {"ia": ("failed", 10.5), "id": ("building", 1.0)}


def test_stopped_index_has_failed_although_the_next_one_is_being_built() -> None:
    reading = Reading()
    schema = [index("ia"), index("iu", table="u")]
    busy = pools(managing=1, executing=1)
    reading.look(schema, [task(105)], [], busy)
    gone_on = pools(managing=1, executing=1, completed=2)

    for progress in (10, 20):
        found = reading.look(schema, [task(progress, name="two", table="u")], [], gone_on)

    assert states(found) == {"ia": ("failed", 10.5), "iu": ("building", 2.0)}


def test_index_that_is_being_noted_as_built_has_not_failed_while_others_are_built() -> None:
    reading = Reading()
    schema = [index("ia"), index("ib", SASI, table="u")]
    reading.look(schema, [task(990)], [], pools(managing=1, executing=1))
    of_sasi = task(10, name="two", table="u", directory="/data/k/u")

    for _ in range(4):
        found = reading.look(schema, [of_sasi], listed("ib"), pools(managing=1, executing=1))

    assert states(found)["ia"] == ("building", 99.9)


def test_build_task_that_does_not_move_is_stuck_after_five_minutes() -> None:
    reading = Reading()
    busy = pools(managing=1, executing=1)

    found = [reading.look([index()], [task(500)], [], busy, seconds=100.0)["ia"] for _ in range(4)]

    assert [item["state"] for item in found] == ["building", "building", "building", "stuck"]
    assert found[3]["verdict"] == "its build task has not moved for 300 s"


# -- SASI


def test_sasi_is_not_built_while_its_task_runs_though_it_is_listed() -> None:
    reading = Reading()
    schema = [index("ib", SASI)]
    directory = "/data/k/t-5f775510"
    building = reading.look(schema, [task(406, directory=directory)], listed("ib"), gossip=heard(ib=3))["ib"]
    reading.look(schema, [task(995, directory=directory)], listed("ib"), gossip=heard(ib=3))
    built = reading.look(schema, [], listed("ib"), gossip=heard(ib=3))["ib"]

    assert (building["kind"], building["state"], building["percent"]) == ("sasi", "building", 40.6)
    assert on(building)["listed_as_built"] is True
    assert on(building)["gossip"] == "BUILD_SUCCEEDED"
    assert (built["state"], built["percent"], built["verdict"]) == ("built", 100.0, None)


def test_sasi_that_is_built_does_not_take_the_tasks_of_others_before_5_0() -> None:
    reading = Reading()
    schema = [index("ib", SASI), index("ia")]
    reading.look([index("ib", SASI)], [], listed("ib"))

    found = reading.look(schema, [task(100, directory=None)], listed("ib"), pools(managing=1))

    assert states(found) == {"ib": ("built", 100.0), "ia": ("building", 10.0)}


def test_sasi_beside_a_legacy_build_is_told_apart_by_its_directory() -> None:
    reading = Reading()
    tasks = [task(100, name="one"), task(600, name="two", directory="/data/k/t")]

    found = reading.look(
        [index("ib", SASI), index("ia")], tasks, listed("ib"), pools(managing=1, executing=2)
    )

    assert states(found) == {"ib": ("building", 60.0), "ia": ("building", 10.0)}


def test_sasi_whose_task_is_gone_too_early_is_doubted() -> None:
    reading = Reading()
    schema = [index("ib", SASI)]
    for progress in (10, 20, 30, 40):
        reading.look(schema, [task(progress, directory="/data")], listed("ib"))

    found = reading.look(schema, [], listed("ib"))["ib"]

    assert found["state"] == "built"
    assert str(found["verdict"]).startswith("its build was last seen at 4 %, too far from its end")


# -- storage-attached


def test_storage_attached_build_by_its_flags_and_the_weight_of_its_tasks() -> None:
    reading = Reading()
    schema = [index("ic", "sai")]
    busy = pools(managing=1, executing=2)
    begun = flags("ic", building=True, queryable=False)
    waiting = reading.look(schema, [], [], busy, sai=[begun])["ic"]
    tasks = [task(108232, 1917384, "one"), task(89708, 359651, "two")]
    building = reading.look(schema, tasks, [], busy, sai=[begun])["ic"]
    done = flags("ic", building=False, queryable=True)
    built = reading.look(schema, [], listed("ic"), sai=[done], gossip=heard(ic=3))["ic"]

    assert (waiting["state"], waiting["percent"], waiting["queryable"]) == ("pending", 0.0, False)
    assert (building["kind"], building["state"]) == ("storage-attached", "building")
    assert building["percent"] == 8.7
    assert (built["state"], built["percent"], built["queryable"]) == ("built", 100.0, True)
    assert (on(built)["is_building"], on(built)["is_queryable"]) == (False, True)


def test_storage_attached_that_is_neither_building_nor_queryable_has_failed_with_the_second_look() -> None:
    reading = Reading()
    schema = [index("ic", "org.apache.cassandra.index.sai.StorageAttachedIndex")]
    reading.look(schema, [task(510)], [], sai=[flags("ic", building=True, queryable=False)])
    stopped = flags("ic", building=False, queryable=False)

    found = [reading.look(schema, [], [], sai=[stopped], gossip=heard(ic=1))["ic"] for _ in range(2)]

    assert [item["state"] for item in found] == ["building", "failed"]
    assert found[1]["queryable"] is False
    assert "nodetool rebuild_index k t ic" in str(found[1]["verdict"])


def test_twin_table_of_the_flags_serves_as_well() -> None:
    reading = Reading()
    told = {**said([index("ic", "sai")]), SAI_TWIN: [flags("ic", building=False, queryable=True)]}

    assert states(reading.nodes({A: told})) == {"ic": ("built", 100.0)}


def test_coverage_tells_which_index_lags_behind_its_table() -> None:
    def covered(name: str, *sstables: str) -> list[Row]:
        each = {"keyspace_name": "k", "table_name": "t", "index_name": name, "cell_count": 12757}
        return [{**each, "sstable_name": sstable, "per_column_disk_size": 320822} for sstable in sstables]

    done = [flags(name, building=False, queryable=True) for name in ("ic", "id")]
    rows = [*covered("ic", "nb-1", "nb-2"), *covered("id", "nb-1")]

    found = Reading().look(
        [index("ic", "sai"), index("id", "sai")], [], listed("ic", "id"), sai=done, coverage=rows
    )

    assert on(found["id"])["coverage"] == {
        "sstables": 1,
        "of_sstables": 2,
        "cells": 12757,
        "size_bytes": 320822,
    }
    assert on(found["ic"])["coverage"] == {
        "sstables": 2,
        "of_sstables": 2,
        "cells": 25514,
        "size_bytes": 641644,
    }
