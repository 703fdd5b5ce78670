"""What a check proves, and how it says so."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal

import pytest

from pytest_diagnostics import ConfigurationError, ViewConsistencyCheck
from pytest_diagnostics.collectors.cassandra.consistency_report import (
    Bound,
    ConsistencyReport,
    Example,
    most_expected,
    plain,
)


def report(missing: int = 0, examples: tuple[Example, ...] = (), unjudged: int = 0) -> ConsistencyReport:
    return ConsistencyReport(
        keyspace="ks",
        view="by_email",
        base="users",
        mode="sampled",
        counts={"checked": 4_000, "missing": missing, "ghost": 0, "differs": 0},
        examples={"missing": examples, "ghost": (), "differs": ()},
        not_built_on=("127.0.0.1",),
        consistency="QUORUM",
        consistency_reason="there are 3 copies of each row",
        sample=2_000,
        max_seconds=5.0,
        cut_short=unjudged > 0,
        bound=Bound.of(missing, 2_000, unjudged),
        suspects=5,
        unsettled=2,
        undecided=0,
        unjudged=unjudged,
        seconds=1.5,
        rows_read=8_000,
        rows_per_second=5_333.3,
    )


def test_none_of_n_is_the_rule_of_three() -> None:
    bound = Bound.of(0, 1_000)

    assert bound.share == pytest.approx(3 / 1_000, rel=0.01)
    assert "none of 1,000 sampled rows wrong: at 95 % confidence at most 0.30%" in bound.sentence


@pytest.mark.parametrize(("seen", "most"), [(0, 2.996), (1, 4.744), (2, 6.296), (10, 16.96), (100, 118.1)])
def test_some_of_n_is_poissons_upper_limit(seen: int, most: float) -> None:
    # Of the tables of the Poisson distribution: the mean at which so few or fewer have a chance of 5 %.
    assert most_expected(seen) == pytest.approx(most, rel=0.001)


def test_rows_that_nobody_looked_at_again_may_be_wrong() -> None:
    bound = Bound.of(10, 1_000, 90)

    assert bound.share == Bound.of(100, 1_000).share
    assert "10 of 1,000 sampled rows wrong, 90 not judged: at 95 % confidence" in bound.sentence
    told = str(report(1, unjudged=90))
    assert "fewer rows than the 2,000 asked for: max_seconds=5 was over" in told
    assert "90 rows seemed wrong, and there was no time to look at them again" in told


def test_bound_of_a_full_check_of_nothing_and_of_all() -> None:
    assert Bound.of(0, None).share == 0.0
    assert Bound.of(0, 0).share == 1.0
    assert Bound.of(0, 0, 5).share == 1.0
    assert Bound.of(10, 10).share == 1.0


def test_all_rows_were_compared_and_some_not_judged() -> None:
    bound = Bound.of(3, None, 5, checked=100)

    assert bound.share == 0.05
    assert bound.sentence == (
        "every row was compared: none but those reported is wrong, except perhaps 5 not judged"
    )


def test_first_line_promises_no_more_than_was_found() -> None:
    clean = replace(report(), unsettled=0)

    assert str(clean).startswith("view ks.by_email says what its base table says")
    for more in (replace(clean, unsettled=1), replace(clean, undecided=1), replace(clean, unjudged=1)):
        assert str(more).startswith("view ks.by_email seems to say what its base table says")
    nothing = replace(clean, bound=Bound.of(0, 0))
    assert str(nothing).startswith("view ks.by_email is not known to say what its base table says")
    assert str(replace(report(1), unsettled=1)).startswith("view ks.by_email does not say what")


def test_clean_report_asserts_nothing_and_is_json() -> None:
    clean = report()

    clean.assert_consistent()
    assert clean.is_consistent
    told = json.loads(json.dumps(clean.as_dict(), allow_nan=False))
    assert told["counts"] == {"checked": 4_000, "missing": 0, "ghost": 0, "differs": 0}
    assert told["bound"]["share"] == pytest.approx(0.0015, rel=0.01)
    assert "view ks.by_email seems to say what its base table says" in str(clean)
    assert "2 rows went on changing while they were looked at: not judged" in str(clean)


def test_wrong_report_says_which_rows_at_which_level() -> None:
    wrong = report(3, (Example("missing", {"email": "a@b", "id": 1}),))

    with pytest.raises(AssertionError) as caught:
        wrong.assert_consistent()
    assert str(caught.value).splitlines()[1:4] == [
        "  3 missing (in the base table, not in the view)",
        "    email='a@b', id=1",
        "    and 2 more",
    ]
    assert "read at QUORUM: there are 3 copies of each row" in str(caught.value)
    unbuilt = "it was not built on 127.0.0.1 when the check began: what is missing may be what the build"
    assert unbuilt in str(caught.value)
    assert unbuilt not in str(report())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        (True, True),
        (2**70, 2**70),
        (1.5, 1.5),
        (math.nan, "nan"),
        (b"\0\xff", "0x00ff"),
        (Decimal("1.50"), "1.50"),
        (datetime(2026, 1, 1, tzinfo=timezone.utc), "2026-01-01T00:00:00+00:00"),
        ({"b": b"\1"}, "{'b': '0x01'}"),
        ([1, None], "[1, None]"),
        ("x" * 300, "x" * 200 + "… (300 characters)"),
    ],
)
def test_value_of_an_example(value: object, told: object) -> None:
    assert plain(value) == told


@pytest.mark.parametrize(
    "options", [{"sample": 0}, {"rows_per_second": 0}, {"settle_seconds": -1}, {"max_examples": -1}]
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        ViewConsistencyCheck(object(), "ks", "v", **options)  # type: ignore[arg-type] # one number each


def test_time_that_is_too_little_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"max_seconds=2 is too little .* give more than 3, or None"):
        ViewConsistencyCheck(object(), "ks", "v", sample=10, max_seconds=2)
