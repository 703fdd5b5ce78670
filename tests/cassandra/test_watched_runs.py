"""Whole runs beside a real server: one that is stopped in their midst, one whose session tests give."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pytest_diagnostics.session import STOP_SECONDS
from tests.cassandra.conftest import Server
from tests.cassandra.launcher import Cluster
from tests.plugin.conftest import Differential, Ran

pytest.importorskip("cassandra", exc_type=ImportError)

#: What a run of a few tests may take on a busy machine, beside what waits for a database.
RUN_SECONDS = 20.0


def told(ran: Ran, name: str = "cassandra_views") -> list[dict[str, object]]:
    """Return the data of a collector, result by result."""
    data = [record["data"] for record in ran.records("result") if record["collector"] == name]
    return [each for each in data if isinstance(each, dict)]


def states(ran: Ran) -> list[object]:
    """Return the states of the connection, one after another."""
    connections = [data["connection"] for data in told(ran)]
    return [each["state"] for each in connections if isinstance(each, dict)]


@pytest.mark.parametrize("recorder", ["process", "thread"])
@pytest.mark.parametrize("cassandra", [{"version": "5.0.8"}], indirect=True)
def test_a_server_that_is_stopped_in_mid_run_and_stays_so(
    cassandra: Cluster, tmp_path: Path, recorder: str
) -> None:
    (node,) = cassandra.nodes
    differential = Differential(tmp_path)
    differential.write(
        test_it=f"""
        import glob, os, signal, time
        import pytest

        def test_until_it_is_watched():
            until = time.monotonic() + 20
            while time.monotonic() < until:
                for path in glob.glob("pytest-diagnostics/runs/*/shards/*recorder-*.jsonl"):
                    if '"state":"connected"' in open(path).read():
                        return
                time.sleep(0.1)
            assert not glob.glob("pytest-diagnostics/runs/*"), "it was never connected"

        def test_stops_the_server():
            os.kill({node.pid}, signal.SIGSTOP)
            time.sleep(0.3)

        def test_fails(): assert 1 + 1 == 3
        """
    )
    differential.diagnostics += (
        f"--diagnostics-cassandra={cassandra.addresses[0]}:{cassandra.port}",
        f"--diagnostics-recorder={recorder}",
    )
    try:
        began = time.monotonic()
        on = differential.run(on=True, timeout=60)
        took = time.monotonic() - began
    finally:
        node.resume()

    assert on.code == 1, on.out
    assert on.outcomes() == {
        "test_until_it_is_watched": "passed",
        "test_stops_the_server": "passed",
        "test_fails": "failed",
    }
    assert took < RUN_SECONDS + STOP_SECONDS
    assert "connected" in states(on)
    late = [record for record in on.records("result") if record["collector"] == "cassandra_views"]
    assert states(on)[-1] == "unreachable" or late[-1].get("error"), (states(on), late[-1])
    assert on.collector("cpu")["errors"] == 0
    # Nothing of ours is left beside the server.
    assert not [name for name in on.problems().splitlines() if "cpu" in name]


def test_a_session_that_a_hook_gives_is_used_and_left_as_it_is(cassandra: Server, tmp_path: Path) -> None:
    differential = Differential(tmp_path)
    differential.write(
        conftest=f"""
        import pytest
        from cassandra.cluster import Cluster

        CLUSTER = Cluster({cassandra.addresses!r}, port={cassandra.port}, monitor_reporting_enabled=False)
        SESSION = CLUSTER.connect()

        @pytest.hookimpl(optionalhook=True)
        def pytest_diagnostics_cassandra_session(config):
            return SESSION

        def pytest_unconfigure(config):
            CLUSTER.shutdown()
        """,
        test_it="""
        import time
        from conftest import SESSION

        def test_uses_it():
            for _ in range(20):
                row = SESSION.execute("SELECT key FROM system.local").one()
                assert row.key == "local"
                time.sleep(0.05)
        """,
    )
    ran = differential.pair("-p", "no:warnings")

    assert "connected" in states(ran), ran.out
    views, indexes = told(ran)[-1], told(ran, "cassandra_indexes")[-1]
    assert (isinstance(views["views"], list), isinstance(indexes["indexes"], list)) == (True, True)
