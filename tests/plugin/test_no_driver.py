"""Without a driver of Cassandra: who asks for it on the command line is told what to install. Needs none."""

from __future__ import annotations

import pytest

NAMED = "--diagnostics-cassandra=127.0.2.99:9999"


@pytest.fixture
def without_driver(inside: pytest.Pytester) -> str:
    """Write what makes pytest's process take the driver for missing."""
    inside.makeconftest(
        """
        import importlib.util
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *args: None if name == "cassandra" else find(name, *args)
        """
    )
    return "pip install cassandra-driver"


def test_without_a_driver_an_option_is_refused_and_an_ini_key_is_not(
    inside: pytest.Pytester, without_driver: str
) -> None:
    inside.makepyfile("def test_it(): pass")

    refused = inside.runpytest_subprocess("--diagnostics", NAMED)
    inside.makeini("[pytest]\ndiagnostics_cassandra = 127.0.2.99\ndiagnostics_recorder = thread\n")
    told = inside.runpytest_subprocess("--diagnostics", "--diagnostics-report=none")

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines([f"*--diagnostics-cassandra: *{without_driver}*"])
    assert told.ret == pytest.ExitCode.OK
    told.stdout.fnmatch_lines([f"*cassandra_views*{without_driver}*"])
