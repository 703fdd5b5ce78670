"""Terminals that are missing, closed or full: no worse with diagnostics than without."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

TESTS = """
    import pytest

    @pytest.mark.parametrize("n", range(200))
    def test_it(n):
        print("output")
        assert n != 3
"""


@pytest.fixture
def suite(differential: Differential) -> Differential:
    differential.write(test_it=TESTS)
    return differential


@pytest.mark.parametrize(
    "args",
    [
        ("-pno:terminal",),
        ("-q",),
        ("-qq",),
        ("--no-summary",),
        ("--no-header",),
        ("-pno:logging", "-pno:threadexception", "-pno:unraisableexception", "-pno:warnings"),
        ("-pno:capture",),
        ("-s", "-rN", "--tb=no"),
        ("--color=yes", "-vv"),
        ("-pno:skipping",),
        ("-pno:faulthandler", "-pno:doctest", "-pno:unittest", "-pno:junitxml"),
    ],
    ids=" ".join,
)
def test_a_run_with_less_or_more_output_is_the_same(suite: Differential, args: tuple[str, ...]) -> None:
    on = suite.pair(*args, compare=("err",))
    assert on.code == 1
    assert on.summary["counts"] == {"passed": 199, "failed": 1}


@pytest.mark.skipif(os.name != "posix", reason="uses a shell")
@pytest.mark.parametrize(
    "redirection",
    ["| head -1; exit ${PIPESTATUS[0]}", ">&-", "2>&-", "2>/dev/full", ">/dev/full", ">&- 2>&-"],
)
def test_a_terminal_that_fails_does_no_more_harm_than_without_us(
    suite: Differential, redirection: str
) -> None:
    codes = []
    for on in (False, True):
        words = suite.command("-v", on=on)
        shell = f'"$@" {redirection}'
        ended = subprocess.run(
            ["bash", "-c", shell, "bash", *words],
            cwd=suite.path,
            env=suite.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        codes.append(ended.returncode)
    assert codes[0] == codes[1]
    if redirection == "2>/dev/full":  # the others end pytest before or in its first line
        (shard,) = suite.directory.glob("runs/*/shards/main-*")
        assert shard.read_bytes().count(b'"kind":"phase"') == 600


def test_junit_xml_is_the_same_unless_asked_otherwise(suite: Differential) -> None:
    files = []
    for on in (False, True):
        suite.run("--junit-xml=out.xml", "-pno:terminal", on=on)
        text = (suite.path / "out.xml").read_text()
        files.append([word for word in text.split() if not word.startswith(("time", "hostname"))])
    assert files[0] == files[1]
