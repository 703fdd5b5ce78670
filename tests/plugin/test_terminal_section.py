"""What a person sees in the terminal: short, in words, and safe to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

SUITE = """
    import pytest
    import time

    def test_quick():
        pass

    def test_slow():
        time.sleep(0.5)

    def test_hungry():
        assert len(bytearray(b"x" * (64 << 20)))

    @pytest.mark.diagnostics_limit(wall_seconds=0)
    def test_limited():
        pass

    def test_fails():
        assert 0
"""


def section(ran: Ran) -> list[str]:
    """Return the lines of our section."""
    head, _, rest = ran.out.partition(" diagnostics ===")
    assert head, ran.out
    lines = rest.splitlines()[1:]
    return lines[: next(number for number, line in enumerate(lines) if line.startswith("==="))]


def run(differential: Differential, *args: str) -> Ran:
    differential.write(test_it=SUITE)
    return differential.run(*args, on=True)


def test_six_lines_say_what_matters(differential: Differential) -> None:
    differential.diagnostics = ()

    on = run(differential)

    failed, slow, hungry, limits, report, health = section(on)
    assert failed.startswith("failed  test_it.py::test_")
    assert failed.endswith("; 1 other in the report")
    assert slow.startswith("slow    test_it.py::test_slow: 5")
    assert " on a CPU (" in slow
    assert hungry.startswith("hungry  test_it.py::test_hungry: peak memory ")
    assert hungry.endswith(" above its start")
    assert limits.startswith("limits  test_it.py::test_limited exceeded wall_seconds ")
    assert ", limit 0 ms (" in limits
    assert report == f"report  {on.runs[0] / 'report.html'}"
    assert health.startswith(("health  good: ", "health  degraded: "))


@pytest.mark.parametrize(
    ("show", "labels"),
    [
        ("failed", ["failed", "slow", "hungry", "limits", "health"]),
        ("slow", ["slow"] * 5 + ["limits", "health"]),
        ("all", ["passed", "passed", "passed", "failed", "failed", "limits", "health"]),
        ("none", ["health"]),
    ],
)
def test_more_or_less_is_shown_when_asked_for(
    differential: Differential, show: str, labels: list[str]
) -> None:
    on = run(differential, f"--diagnostics-show={show}")

    assert [line.split()[0] for line in section(on)] == labels


def test_quietly_only_the_report_is_named(differential: Differential) -> None:
    differential.diagnostics = ()
    differential.write(test_it="def test_it(): pass")

    on = differential.run("-q", "--diagnostics-collectors=memory", on=True)

    ours = [line for line in on.out.splitlines() if line.startswith(("report ", "health ", "slow ", "==="))]
    assert ours == [f"report  {on.runs[0] / 'report.html'}"]


def test_quietly_health_is_shown_when_it_is_not_good(differential: Differential) -> None:
    differential.write(
        test_it="def test_it(): pass",
        conftest="def pytest_diagnostics_collectors(config): raise RuntimeError('broken')",
    )

    on = differential.run("-q", on=True)

    assert on.health.startswith("health  degraded: ")
    assert "RuntimeError: broken" in on.health


def test_control_characters_are_escaped(differential: Differential) -> None:
    differential.write(
        test_it="""
            import pytest

            @pytest.mark.parametrize("value", [0], ids=["\\u202eevil"])
            def test_it(value):
                assert 0
        """,
        conftest="""
            def pytest_diagnostics_collectors(config):
                raise RuntimeError("\\x1b]0;title\\x07\\nhealth  good: forged\\r\\u009b31m")
        """,
    )

    on = differential.run("--diagnostics-show=all", on=True)

    text = "\n".join(section(on))
    assert not set(text) & set("\x1b\x07\r\x9b\u202e")
    assert text.count("\nhealth  ") == 1


@pytest.mark.parametrize(
    ("hook", "test", "code"),
    [
        ("raise RuntimeError('broken')", "pass", pytest.ExitCode.TESTS_FAILED),
        ("return None", "pass", pytest.ExitCode.OK),
        ("raise RuntimeError('broken')", "raise KeyboardInterrupt", pytest.ExitCode.INTERRUPTED),
    ],
)
def test_strict_fails_a_run_that_passed_but_was_not_watched(
    differential: Differential, hook: str, test: str, code: int
) -> None:
    differential.diagnostics = ("--diagnostics-report=none",)
    differential.write(
        test_it=f"def test_it(): {test}", conftest=f"def pytest_diagnostics_collectors(config): {hook}"
    )

    on = differential.run("--diagnostics-strict", on=True)

    assert on.code == code
    assert "1 failed" not in on.out


def test_degraded_diagnostics_alone_change_no_exit_code(differential: Differential) -> None:
    differential.write(
        test_it="def test_it(): pass",
        conftest="def pytest_diagnostics_collectors(config): raise RuntimeError('broken')",
    )

    assert differential.pair().code == pytest.ExitCode.OK


def test_a_summary_that_cannot_be_made_is_said(differential: Differential) -> None:
    differential.write(
        test_it="def test_it(): pass",
        conftest="""
            import pytest_diagnostics.rendering as rendering

            def broken(recording):
                raise RuntimeError("no summary today")

            rendering.summary_of = broken
        """,
    )

    on = differential.run("--diagnostics-strict", on=True)

    assert on.code == pytest.ExitCode.TESTS_FAILED
    reason = "DiagnosticsSession._finish failed: RuntimeError: no summary today"
    assert on.health == f"health  degraded: there is no summary: {reason}"
