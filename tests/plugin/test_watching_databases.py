"""A run that watches a database which is not there: nothing changes but what is told of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from pytest_diagnostics.session import STOP_SECONDS
from tests.plugin.conftest import Differential, Ran

pytest.importorskip("cassandra", exc_type=ImportError)

TESTS = """
import pytest

def test_passes(): assert 1 + 1 == 2
def test_fails(): assert 1 + 1 == 3
@pytest.fixture
def broken(): raise OSError("no fixture")
def test_errs(broken): pass
@pytest.mark.skip
def test_is_skipped(): pass
"""
#: What a run of a few tests may take on a busy machine, beside what waits for a database.
RUN_SECONDS = 15.0


@pytest.fixture
def silent() -> Iterator[str]:
    """Give a host and a port that accepts and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.2.3", 0))
        listening.listen(50)
        yield f"127.0.2.3:{listening.getsockname()[1]}"


@pytest.fixture
def refusing(silent: str) -> str:
    """Give a port at which nobody listens."""
    return f"127.0.2.4:{silent.rpartition(':')[2]}"


def connections(ran: Ran, name: str = "cassandra_views") -> list[dict[str, object]]:
    """Return what each result of a collector says of its connection."""
    found = []
    for record in ran.records("result"):
        data = record["data"]
        if record["collector"] == name and isinstance(data, dict):
            assert data["views" if name == "cassandra_views" else "indexes"] is None
            found.append(data["connection"])
    return found


@pytest.mark.parametrize("recorder", ["process", "thread"])
@pytest.mark.parametrize("where", ["silent", "refusing"])
def test_a_database_that_is_not_there_changes_nothing_and_is_named(
    differential: Differential, recorder: str, where: str, request: pytest.FixtureRequest
) -> None:
    differential.write(test_it=TESTS)
    cluster = request.getfixturevalue(where)
    differential.diagnostics += (
        f"--diagnostics-cassandra={cluster}",
        f"--diagnostics-recorder={recorder}",
    )
    off = differential.run(on=False)
    began = time.monotonic()
    on = differential.run(on=True)
    took = time.monotonic() - began

    differential.same(off, on)
    assert took < RUN_SECONDS + STOP_SECONDS
    assert connections(on), on.out
    assert {connection["state"] for connection in connections(on)} == {"unreachable"}
    assert "unreachable" in f"{on.out}{on.problems()}{on.summary['gaps']}"
    assert on.collector("cpu")["results"] > 0


def test_one_process_asks_for_all_workers(xdist: Differential, refusing: str) -> None:
    xdist.write(test_it=TESTS)
    xdist.diagnostics += (f"--diagnostics-cassandra={refusing}",)
    ran = xdist.run("-n2", on=True)

    (run,) = ran.runs
    asking = {
        path.name.partition("-")[0]
        for path in (run / "shards").iterdir()
        if '"collector":"cassandra_' in path.read_text()
    }
    assert ran.outcomes()["test_passes"] == "passed", ran.out
    assert asking == {"recorder"}


@pytest.mark.parametrize("recorder", ["process", "thread"])
def test_single_tests_may_ask_by_marker_and_fixture(
    differential: Differential, refusing: str, recorder: str
) -> None:
    differential.write(
        test_it="""
        import pytest

        @pytest.mark.diagnostics("cassandra_indexes", interval=0.05)
        def test_by_marker(diagnostics):
            told = diagnostics.collect("cassandra_indexes")["cassandra_indexes"]
            assert told["connection"]["state"] == "unreachable", told
            assert "refused" in told["reasons"]["indexes"], told

        def test_by_fixture(diagnostics):
            told = diagnostics.collect("cassandra_views")["cassandra_views"]
            assert told["views"] is None, told
        """
    )
    differential.diagnostics += (
        f"--diagnostics-cassandra={refusing}",
        f"--diagnostics-recorder={recorder}",
        "--diagnostics-collectors=-cassandra_views,-cassandra_indexes",
    )
    ran = differential.run(on=True)

    assert ran.code == 0, ran.out
    assert connections(ran, "cassandra_indexes")


def test_at_test_scope_each_test_has_its_own(differential: Differential, refusing: str) -> None:
    differential.write(test_it=TESTS)
    differential.diagnostics += (f"--diagnostics-cassandra={refusing}", "--diagnostics-scope=test")
    ran = differential.pair()

    assert len(connections(ran)) >= 2


def test_the_fixture_knows_the_cluster_without_diagnostics_too(
    differential: Differential, refusing: str
) -> None:
    differential.write(
        test_it="""
        def test_by_fixture(diagnostics):
            told = diagnostics.collect("cassandra_views")["cassandra_views"]
            assert told["connection"]["state"] == "unreachable", told
        """
    )
    ran = differential.run(f"--diagnostics-cassandra={refusing}", on=False)

    assert ran.code == 0, ran.out


def test_a_hook_that_gives_no_session_or_raises_costs_nothing(differential: Differential) -> None:
    differential.write(
        test_it=TESTS,
        conftest="""
        def pytest_diagnostics_cassandra_session(config):
            raise RuntimeError("the session could not be made")
        """,
    )
    ran = differential.pair()

    assert "the session could not be made" in ran.problems()
