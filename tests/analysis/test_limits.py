"""Limits that tests declare."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_diagnostics.analysis.limits import judge, message, parse_limits
from pytest_diagnostics.analysis.schema import Usage
from pytest_diagnostics.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("peak_rss", 200, 200),
        ("peak_rss", "200 MB", 200_000_000),
        ("peak_rss", "1.5 GiB", 1_610_612_736),
        ("rss_growth", "64kB", 64_000),
        ("read_bytes", "64KiB", 65_536),
        ("write_bytes", " .5 MB ", 500_000),
        ("write_bytes", "7 B", 7),
        ("cpu_seconds", 2, 2.0),
        ("cpu_seconds", 0.25, 0.25),
        ("wall_seconds", "500 ms", 0.5),
        ("cpu_wait_seconds", "2s", 2.0),
        ("throttled_seconds", "1 min", 60.0),
        ("children_cpu_seconds", "250 us", 0.00025),
        ("fds_leaked", 0, 0),
        ("threads_leaked", "3", 3),
        ("oom_kills", 1.0, 1),
    ],
)
def test_a_limit_may_be_said_in_units(name: str, given: object, value: float) -> None:
    assert parse_limits({name: given}) == {name: pytest.approx(value)}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("peak_rss", "200"),
        ("peak_rss", "200 s"),
        ("peak_rss", "200 mb"),
        ("peak_rss", "much"),
        ("peak_rss", -1),
        ("peak_rss", 0.5),
        ("peak_rss", True),
        ("peak_rss", None),
        ("peak_rss", float("nan")),
        ("cpu_seconds", "2 MB"),
        ("cpu_seconds", "-2 s"),
        ("cpu_seconds", float("inf")),
        ("fds_leaked", "3 kB"),
        ("fds_leaked", 1.5),
        ("oom_kills", [1]),
    ],
)
def test_what_cannot_be_a_limit_is_named_with_what_can(name: str, given: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_limits({name: given})
    assert f"diagnostics_limit({name}={given!r})" in str(caught.value)
    assert "give " in str(caught.value)


def test_an_unknown_limit_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match=r"memory='1 MB'\): there is no such limit; there are: .*peak_rss"
    ):
        parse_limits({"memory": "1 MB"})
    with pytest.raises(ConfigurationError, match="names no limit"):
        parse_limits({})


def test_every_limit_reads_a_figure_of_the_schema() -> None:
    every = [
        "wall_seconds",
        "cpu_seconds",
        "cpu_wait_seconds",
        "children_cpu_seconds",
        "peak_rss",
        "rss_growth",
        "read_bytes",
        "write_bytes",
        "major_faults",
        "fds_leaked",
        "threads_leaked",
        "children_leaked",
        "oom_kills",
        "throttled_seconds",
    ]
    everything: dict[str, float] = dict.fromkeys(Usage.__annotations__, 7)
    verdicts = judge(parse_limits(dict.fromkeys(every, 1)), everything, everything, {})
    assert [verdict["name"] for verdict in verdicts] == every
    assert {verdict["state"] for verdict in verdicts} == {"exceeded"}


@pytest.mark.parametrize(
    ("limits", "setup", "call", "value", "state", "detail"),
    [
        (
            {"cpu_seconds": 2.0},
            {"cpu_seconds": 0.5},
            {"cpu_seconds": 1.0},
            1.5,
            "ok",
            "call: 1 s, setup: 500 ms",
        ),
        (
            {"cpu_seconds": 1.5},
            {"cpu_seconds": 0.5},
            {"cpu_seconds": 1.0},
            1.5,
            "ok",
            "call: 1 s, setup: 500 ms",
        ),
        (
            {"cpu_seconds": 1.0},
            {"cpu_seconds": 2.0},
            {"cpu_seconds": 1.0},
            3.0,
            "exceeded",
            "setup: 2 s, call: 1 s",
        ),
        ({"peak_rss": 9.0}, {"peak_rss_bytes": 8}, {"peak_rss_bytes": 9}, 9.0, "ok", "call: 9 B, setup: 8 B"),
        ({"fds_leaked": 0.0}, {"fds_change": 2}, {"fds_change": -2}, 0.0, "ok", "setup: 2, call: -2"),
        ({"fds_leaked": 0.0}, {"fds_change": 2}, {"fds_change": -1}, 1.0, "exceeded", "setup: 2, call: -1"),
        (
            {"rss_growth": 10.0},
            {"rss_change_bytes": 7},
            {"rss_change_bytes": 7},
            14.0,
            "exceeded",
            "call: 7 B, setup: 7 B",
        ),
    ],
)
def test_limits_are_judged_over_setup_and_call_together(
    limits: Mapping[str, float],
    setup: Mapping[str, float],
    call: Mapping[str, float],
    value: float,
    state: str,
    detail: str,
) -> None:
    (verdict,) = judge(limits, setup, call, {})
    assert (verdict["value"], verdict["state"], verdict["detail"]) == (value, state, detail)


def test_an_unavailable_figure_is_not_checked_and_says_why() -> None:
    (verdict,) = judge({"peak_rss": 1.0}, {}, {}, {"peak_rss_bytes": "clear_refs is not permitted"})
    assert (verdict["state"], verdict["value"], verdict["unit"]) == ("not checked", None, "bytes")
    assert (
        verdict["detail"] == "peak_rss_bytes is not available for setup and call: clear_refs is not permitted"
    )


def test_what_one_phase_alone_exceeds_is_exceeded_and_what_it_does_not_is_not_checked() -> None:
    exceeded, unknown, leak = judge(
        {"cpu_seconds": 1.0, "wall_seconds": 9.0, "fds_leaked": 0.0},
        {},
        {"cpu_seconds": 2.0, "wall_seconds": 2.0, "fds_change": 5},
        {},
    )
    assert (exceeded["state"], exceeded["value"]) == ("exceeded", 2.0)
    assert (unknown["state"], unknown["value"]) == ("not checked", None)
    assert "setup: it was not measured" in unknown["detail"]
    assert leak["state"] == "not checked"  # setup may have closed what the call opened


def test_the_message_shows_limit_value_and_where() -> None:
    verdicts = judge(
        parse_limits({"peak_rss": "200 MB", "cpu_seconds": 2, "fds_leaked": 0}),
        {"peak_rss_bytes": 35e6, "cpu_seconds": 0.1, "fds_change": 0},
        {"peak_rss_bytes": 231.4e6, "cpu_seconds": 0.2, "fds_change": 3},
        {},
    )
    assert message(verdicts) == (
        "diagnostics_limit exceeded: peak_rss 231.4 MB, limit 200.0 MB (call: 231.4 MB, setup: 35.0 MB)\n"
        "  and fds_leaked 3, limit 0 (call: 3, setup: 0)"
    )
    assert message([verdict for verdict in verdicts if verdict["state"] == "ok"]) == ""
