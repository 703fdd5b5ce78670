"""What is kept of a large cluster's answer: below the bound, and nothing lost without being counted."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping

import pytest

from pytest_diagnostics.collectors.cassandra.brief import (
    MOST_ATTENDED,
    MOST_BYTES,
    MOST_LISTED,
    MOST_NODES,
    SMALL_BYTES,
    Brief,
    digest,
    json_bytes,
)
from pytest_diagnostics.collectors.cassandra.states import State
from pytest_diagnostics.core.bounds import bound

STATES = [state.value for state in State]


def view(
    name: str, state: str = "built", *, nodes: int = 1, verdict: str | None = None, keyspace: str = "ks"
) -> dict[str, object]:
    """Return a view as its reader tells it."""
    return {
        "keyspace": keyspace,
        "view": name,
        "base": "base",
        "state": state,
        "percent": 100.0 if state == "built" else 12.3,
        "rate_percent_per_second": None,
        "eta_seconds": None,
        "keys_built": 123456,
        "verdict": verdict,
        "nodes": {
            f"10.0.{each // 256}.{each % 256}": {
                "state": state,
                "percent": 12.3,
                "running": True,
                "reasons": {"percent": "it could not be read"} if state == "unknown" else {},
            }
            for each in range(nodes)
        },
        "reasons": {},
    }


def brief() -> Brief:
    return Brief("views", lambda item: f"{item['keyspace']}.{item['view']}")


def listed(told: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return by name the views that a result has."""
    views = told["views"]
    assert isinstance(views, list)
    return {str(item["view"]): item for item in views}


def result(views: list[dict[str, object]], **more: object) -> dict[str, object]:
    return {"server": {"kind": "cassandra"}, "views": views, "nodes": {}, "errors": {}, **more}


def names(short: Mapping[str, object]) -> list[str]:
    listed = short["views"]
    assert isinstance(listed, list)
    return [item["view"] for item in listed]


def check(short: Mapping[str, object], views: list[dict[str, object]]) -> None:
    """Check what holds of every result: it is small enough, and every view is listed or counted."""
    assert json_bytes(short) <= MOST_BYTES
    assert len(json.dumps(short, separators=(",", ":"))) <= MOST_BYTES
    assert not bound(dict(short)).truncated
    assert bound(dict(short)).coerced == 0
    listed, states, left_out = short["views"], short["states"], short["left_out_states"]
    assert isinstance(listed, list)
    assert isinstance(states, dict)
    assert isinstance(left_out, dict)
    assert states == Counter(item["state"] for item in views)
    assert short["total"] == len(views)
    assert short["left_out"] == len(views) - len(listed) == sum(left_out.values())
    assert Counter(item["state"] for item in listed) + Counter(left_out) == Counter(states)


def test_small_cluster_is_listed_as_it_is() -> None:
    views = [view("a"), view("b", "building", nodes=3)]

    short = brief().shorten(result(views))

    check(short, views)
    assert short["views"] == views
    assert (short["left_out"], short["digest"], short["changed"]) == (0, None, None)
    assert json_bytes(short) <= SMALL_BYTES


@pytest.mark.parametrize("seed", range(12))
def test_bound_holds_for_thousands_of_views_in_any_state(seed: int) -> None:
    chance = random.Random(seed)
    weights = [chance.random() ** 4 for _ in STATES]
    shortener = brief()
    for _ in range(3):
        views = [
            view(
                f"v{number}" + 'é"\n\x00' * chance.randrange(3),
                chance.choices(STATES, weights)[0],
                nodes=chance.choice((1, 1, 3, 40)),
                verdict=chance.choice((None, "x" * chance.randrange(2000), "ü" * 500)),
            )
            for number in range(chance.choice((40, 400, 5000)))
        ]
        rest = {
            "nodes": {
                f"10.0.0.{n}": {"host_id": "x" * 36, "state": chance.choice(("up", "down"))}
                for n in range(400)
            },
            "errors": {f"10.0.0.{n}": {"built": "timeout: " + "no answer " * 50} for n in range(200)},
        }
        few = chance.random() < 0.5

        short = shortener.shorten(result(views) if few else result(views, **rest))

        check(short, views)


def test_worst_come_first_and_no_bad_one_gives_way_to_a_better() -> None:
    views = [view(f"v{number}", STATES[number % len(STATES)]) for number in range(5000)]

    short = brief().shorten(result(views))

    check(short, views)
    listed = short["views"]
    assert isinstance(listed, list)
    badness = [State(item["state"]).badness for item in listed]
    assert badness == sorted(badness, reverse=True)
    assert min(badness) == State.FAILED.badness
    assert 50 <= len(listed) <= MOST_LISTED


def test_what_changed_is_listed_once_even_when_it_is_built_now() -> None:
    shortener = brief()
    views = [view(f"v{number:04}", "building" if number == 7 else "built") for number in range(5000)]

    first = shortener.shorten(result(views))
    views[7]["state"] = "built"
    second = shortener.shorten(result(views))
    third = shortener.shorten(result(views))

    assert (names(first), first["changed"]) == (["v0007"], None)
    assert (names(second), second["changed"]) == (["v0007"], 1)
    assert (names(third), third["changed"]) == ([], 0)
    check(second, views)
    check(third, views)


def test_what_somebody_waits_for_is_listed_before_anything_else() -> None:
    shortener = brief()
    views = [view(f"v{number:04}", "failed" if number < 1000 else "built") for number in range(5000)]
    shortener.attend("ks.v4000")

    assert names(shortener.shorten(result(views)))[0] == "v4000"
    for number in range(MOST_ATTENDED):
        shortener.attend(f"ks.v{number:04}")
    assert "v4000" not in names(shortener.shorten(result(views)))


def test_the_end_of_what_was_listed_is_listed_before_those_that_are_still_waiting() -> None:
    shortener = brief()
    waiting = {f"v{number:03}": view(f"v{number:03}", "pending") for number in range(300)}
    shortener.shorten(result(list(waiting.values())))

    waiting["v000"] = view("v000")
    told = listed(shortener.shorten(result(list(waiting.values()))))

    assert told["v000"]["state"] == "built"
    assert "v000" not in listed(shortener.shorten(result(list(waiting.values()))))


def test_the_end_that_had_no_room_is_listed_when_it_has() -> None:
    shortener = brief()
    views = {f"v{number:03}": view(f"v{number:03}", "building") for number in range(300)}
    shortener.shorten(result(list(views.values())))
    for number in range(MOST_ATTENDED):
        shortener.attend(f"ks.v{200 + number}")

    ended: set[str] = set()
    views = {name: view(name) for name in views}
    for _ in range(2):
        ended |= set(listed(shortener.shorten(result(list(views.values())))))

    assert ended >= {f"v{number:03}" for number in range(MOST_LISTED)}


def test_what_is_gone_counts_as_a_change() -> None:
    shortener = brief()
    shortener.shorten(result([view("a"), view("b")]))

    assert shortener.shorten(result([view("a"), view("c")]))["changed"] == 2


def test_digest_changes_with_what_is_not_listed_and_with_nothing_else() -> None:
    shortener = brief()
    views = [view(f"v{number:04}") for number in range(5000)]
    first = shortener.shorten(result(views))
    reordered = shortener.shorten(result(views[::-1]))
    views[0]["view"] = "renamed"
    shortener.shorten(result(views))
    renamed = shortener.shorten(result(views))

    assert first["digest"] == reordered["digest"] == digest({f"ks.v{n:04}": "built" for n in range(5000)})
    assert renamed["digest"] != first["digest"]


def test_many_nodes_of_a_listed_view_are_its_worst_ones() -> None:
    item = view("a", "building", nodes=300)
    nodes = item["nodes"]
    assert isinstance(nodes, dict)
    nodes["10.0.1.7"] = {"state": "failed"}

    short = brief().shorten(result([item, *(view(f"v{n}") for n in range(300))]))

    listed = short["views"]
    assert isinstance(listed, list)
    assert next(iter(listed[0]["nodes"])) == "10.0.1.7"
    assert len(listed[0]["nodes"]) == MOST_NODES
    assert listed[0]["nodes_left_out"] == {"building": 300 - MOST_NODES}


def test_thousand_nodes_leave_room_for_the_list_and_the_bad_ones_stay() -> None:
    nodes = {f"10.0.{n // 256}.{n % 256}": {"host_id": "h" * 36, "state": "up"} for n in range(1000)}
    nodes["10.0.1.1"]["state"] = "down"
    views = [view(f"v{number}", "failed") for number in range(2000)]
    versions = dict.fromkeys(nodes, "5.0.8")

    short = brief().shorten(result(views, nodes=nodes, server={"kind": "cassandra", "versions": versions}))

    check(short, views)
    kept = short["nodes"]
    assert isinstance(kept, dict)
    assert "10.0.1.1" in kept
    assert kept["left_out"] == 1000 - (len(kept) - 1)
    assert isinstance(short["server"], dict)
    assert short["server"]["kind"] == "cassandra"
    assert len(names(short)) >= 50


def test_result_without_a_list_stays_without() -> None:
    short = brief().shorten({"views": None, "reasons": {"views": "nobody answers"}})

    assert short == {"views": None, "reasons": {"views": "nobody answers"}}


def test_sizes_are_never_below_what_the_core_counts() -> None:
    chance = random.Random(5)
    for _ in range(200):
        value = {
            "é" * chance.randrange(5): chance.choice((None, True, -(10**18), 1.5, 'a"\n\u2028é', "plain")),
            "list": [chance.randrange(10**9) for _ in range(chance.randrange(5))],
        }
        size = json_bytes(value)

        assert not bound(value, max_bytes=size).truncated
        assert len(json.dumps(value, separators=(",", ":"))) <= size
