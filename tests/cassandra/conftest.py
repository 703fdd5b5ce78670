"""Fixtures of a real Cassandra: a shared node, clusters of a test's own, fresh keyspaces.

``cassandra`` is one node of 5.0.8, shared by the session: read and write there, but do not end it. A test
that ends nodes, or wants several, or another version, or other settings, asks for a cluster of its own:

    @pytest.mark.parametrize("cassandra", [{"nodes": 3, "config": {"num_tokens": 1}}], indirect=True)
    @pytest.mark.parametrize("cassandra", ["4.0.18", "4.1.10"], indirect=True)

It lives as long as the module's tests with that parameter. With xdist every worker would start its own nodes:
all tests here are of one group, and ``--dist=loadgroup`` keeps them in one worker.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diagnostics.collectors.cassandra.watch import Watch
from tests.cassandra import launcher
from tests.cassandra.container import Container
from tests.cassandra.jars import MissingError
from tests.cassandra.launcher import Cluster
from tests.cassandra.running import Running, named_cluster

if TYPE_CHECKING:
    from cassandra.cluster import Session

REQUIRED = "PYTEST_DIAGNOSTICS_REQUIRE_CASSANDRA"
HERE = Path(__file__).parent
TAIL_LINES = 60

#: What a test may be given; only a Cluster has nodes to end.
Server = Cluster | Container | Running

numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cassandra)
            if item.config.pluginmanager.hasplugin("xdist"):
                item.add_marker(pytest.mark.xdist_group("cassandra"))


@pytest.fixture(autouse=True)
def forgotten_refusals() -> None:
    """Forget who refused us, which a process does not: another cluster may have the same address."""
    Watch._refusals.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Skip what a fixture cannot be had for."""
    try:
        return (yield)
    except MissingError as problem:
        pytest.skip(str(problem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skip what finds out in its midst that it cannot be had."""
    try:
        return (yield)
    except MissingError as problem:
        pytest.skip(str(problem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of each node's log with a failure; fail what is skipped where Cassandra is required."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(REQUIRED):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{REQUIRED} is set, and this test was skipped: {reason}"
    if report.failed:
        cluster = getattr(item, "funcargs", {}).get("cassandra")
        for node in cluster.nodes if isinstance(cluster, Cluster) else ():
            if node.log.exists():
                report.sections.append((f"Cassandra at {node.address}, {node.log}", node.tail(TAIL_LINES)))
    return report


@pytest.fixture(scope="session")
def shared_cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give the cluster that PYTEST_DIAGNOSTICS_CASSANDRA names, else one node of ours, else a container."""
    launcher.require_driver()
    named = named_cluster()
    if named is not None:
        yield named
        return
    version = launcher.default_version()
    with of_our_own(tmp_path_factory.mktemp("cassandra"), version) as cluster:
        yield cluster


def of_our_own(folder: Path, version: str) -> Cluster | Container:
    """Return a node from jars, or in a container where there is no other way."""
    reason = launcher.missing(version)
    if reason is None:
        return Cluster(version, directory=folder)
    try:
        return Container(folder, version)
    except MissingError as problem:
        raise MissingError(f"{reason}; {problem}") from problem


@pytest.fixture(scope="module")
def cassandra(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give the shared node, or the cluster of the parameter: a version, or the arguments of Cluster."""
    wanted = getattr(request, "param", None)
    if wanted is None:
        yield request.getfixturevalue("shared_cassandra")
        return
    arguments = {"version": wanted} if isinstance(wanted, str) else wanted
    with Cluster(directory=tmp_path_factory.mktemp("cassandra"), **arguments) as cluster:
        yield cluster


@pytest.fixture
def session(cassandra: Server) -> Iterator[Session]:
    """Give a driver session of the test's own."""
    with cassandra.session() as session:
        yield session


@pytest.fixture
def keyspace(cassandra: Server, session: Session) -> Iterator[str]:
    """Give the name of a new keyspace, with one replica of each row; it is dropped after the test."""
    name = f"t{os.getpid()}_{next(numbers)}"
    session.execute(
        f"CREATE KEYSPACE {name} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    yield name
    session.execute(f"DROP KEYSPACE IF EXISTS {name}")
