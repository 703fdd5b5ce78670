"""Figures on the reports of passing tests: packed until somebody looks, a dict to whoever does."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
from collections.abc import Callable

import pytest

from pytest_diagnostics.core.figures import KEYS
from pytest_diagnostics.packed import PackedFigures, Shared, packed_figures

PHASES = ("setup", "call", "teardown")


def usage(rss_bytes: int = 64_000_000) -> dict[str, dict[str, object]]:
    """Return what three phases of a small test used."""
    zeros: dict[str, object] = {key: 0.0 if key.endswith("_seconds") else 0 for key in KEYS}
    some = {"wall_seconds": 0.0125, "rss_bytes": rss_bytes, "rss_change_bytes": -4096, "fds": 13}
    return {when: {**zeros, **some} for when in PHASES}


def packed(figures: dict[str, dict[str, object]], reasons: dict[str, str] | None = None) -> PackedFigures:
    found = packed_figures(figures, reasons or {})
    assert found is not None
    return found


LOOKS: dict[str, Callable[[dict[str, object]], object]] = {
    "itself": lambda found: found,
    "dict": dict,
    "unpacking": lambda found: {**found},
    "union": lambda found: found | {},
    "union from the right": lambda found: {} | found,
    "items": lambda found: dict(found.items()),
    "keys": lambda found: {key: found[key] for key in found},
    "get": lambda found: {key: found.get(key) for key in ("version", "usage", "absent")},
    "copy": lambda found: found.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda found: pickle.loads(pickle.dumps(found)),
    "json": lambda found: json.loads(json.dumps(found)),
    "json with indentation": lambda found: json.loads(json.dumps(found, indent=1)),
    "repr": lambda found: eval(repr(found), {}),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_whoever_looks_first_finds_all(look: Callable[[dict[str, object]], object]) -> None:
    expected = {"version": 1, "usage": usage(), "absent": {"oom_kills": "no cgroup"}}

    found = look(packed(usage(), {"oom_kills": "no cgroup"}))

    assert found == expected
    assert json.dumps(found) == json.dumps(expected)  # types and order


def test_a_change_stays() -> None:
    found = packed(usage())
    found["usage"]["call"]["fds"] = 14  # type: ignore[index] # a dict of dicts
    found["more"] = 1

    assert found["usage"]["call"]["fds"] == 14  # type: ignore[index]
    assert list(found) == ["version", "usage", "absent", "more"]
    assert len(found) == 4


def test_phases_may_lack_figures_and_there_may_be_fewer_of_them() -> None:
    few: dict[str, dict[str, object]] = {"setup": {"wall_seconds": 0.5}, "teardown": {}}

    assert packed(few)["usage"] == few


def test_they_take_a_fraction_of_the_memory() -> None:
    found = packed(usage())

    kept = gc.get_referents(found)
    assert dict.__sizeof__(found) + sum(sys.getsizeof(one) for one in kept if isinstance(one, bytes)) < 600


def test_tests_that_do_not_resemble_each_other_fill_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    packed(usage())
    monkeypatch.setattr(Shared, "most", 1)
    strange: dict[str, dict[str, object]] = {"call": {"an_unheard_of_figure": 1}}

    assert packed_figures(strange, {}) is None
    assert packed_figures({}, {"fds": "a reason that nobody has given yet"}) is None
    assert packed(usage())["usage"] == usage()
