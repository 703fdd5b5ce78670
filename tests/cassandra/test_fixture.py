"""A run of pytest against a real node: its sections, its fixture, and what is recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cassandra.launcher import Cluster

if TYPE_CHECKING:
    from cassandra.cluster import Session

ROWS = 60_000
BATCH_ROWS = 100


Ended = subprocess.CompletedProcess[str]


def run(place: Path, cassandra: Cluster, test: str, *options: str) -> tuple[Ended, Any]:
    """Run a test file that may use HOST against a cluster; return how it ended, and its summary."""
    points = f"--diagnostics-cassandra={cassandra.addresses[0]}:{cassandra.port}"
    ended = pytest_in(place, cassandra, test, "--diagnostics", points, *options)
    name = (place / "records" / "latest").read_text(encoding="utf-8").strip()
    return ended, json.loads((place / "records" / "runs" / name / "summary.json").read_text("utf-8"))


def pytest_in(place: Path, cassandra: Cluster, test: str, *options: str) -> Ended:
    (place / "test_it.py").write_text(f"HOST = {cassandra.addresses[0]!r}\n" + test, encoding="utf-8")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    plain = ["-p", "no:cacheprovider", "-p", "pytest_diagnostics.plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plain, "--diagnostics-dir=records", *options],
        cwd=place,
        env={**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def fill(session: Session, keyspace: str) -> None:
    from cassandra.concurrent import execute_concurrent
    from cassandra.query import BatchStatement, BatchType

    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v int, w text)")
    insert = session.prepare(f"INSERT INTO {keyspace}.t (id, v, w) VALUES (?, ?, ?)")

    def batch(first: int) -> BatchStatement:
        statement = BatchStatement(BatchType.UNLOGGED)
        for number in range(first, first + BATCH_ROWS):
            statement.add(insert, (number, number % 1000, "x" * 200))
        return statement

    execute_concurrent(session, ((batch(first), ()) for first in range(0, ROWS, BATCH_ROWS)), concurrency=3)


#: More than a result has room for.
MANY_VIEWS = 60


def create_view(keyspace: str, name: str) -> str:
    return (
        f"CREATE MATERIALIZED VIEW {keyspace}.{name} AS SELECT * FROM {keyspace}.t"
        " WHERE v IS NOT NULL AND id IS NOT NULL PRIMARY KEY (v, id)"
    )


def test_a_build_is_told_by_the_section_waited_for_and_drawn(
    cassandra: Cluster, session: Session, keyspace: str, tmp_path: Path
) -> None:
    fill(session, keyspace)
    session.execute(create_view(keyspace, "by_v"))
    ended, summary = run(
        tmp_path,
        cassandra,
        f"""
import time

def test_too_early(diagnostics):
    end = time.monotonic() + 60
    states = set()
    while time.monotonic() < end and "building" not in states:
        views = diagnostics.collect("cassandra_views")["cassandra_views"]["views"] or []
        states = {{view["state"] for view in views if view["keyspace"] == "{keyspace}"}}
        time.sleep(0.1)
    assert "building" not in states

def test_too_short(diagnostics):
    diagnostics.wait_until_built("{keyspace}.by_v", timeout=0.1)

def test_waits(diagnostics):
    diagnostics.wait_until_built("{keyspace}.by_v", timeout=120)

def test_is_built(diagnostics):
    diagnostics.wait_until_built("{keyspace}.by_v", timeout=0.5)

def test_has_none_of_the_name(diagnostics):
    diagnostics.wait_until_built("{keyspace}.nothing")
""",
        "--diagnostics-interval=0.3",
        "--diagnostics-report=report.html",
    )
    outcomes = [test["outcome"] for test in summary["tests"]]
    assert outcomes == ["failed", "failed", "passed", "passed", "failed"], ended.stdout + ended.stderr
    address = cassandra.addresses[0]
    assert f"view {keyspace}.by_v was still building on {address}: " in ended.stdout
    assert f"wait_until_built: {keyspace}.by_v was not built within 0.1 s" in ended.stdout
    assert f"{keyspace}.nothing: there is no such view or index" in ended.stdout
    (build,) = (build for build in summary["builds"] if build["name"] == f"{keyspace}.by_v")
    assert (build["kind"], build["state"]) == ("view", "built")
    percents = [step["percent"] for step in build["steps"] if step["state"] == "building" and step["percent"]]
    assert len(percents) >= 3
    assert percents == sorted(percents)
    waited = summary["tests"][2]
    assert abs(build["time_seconds"] - (waited["start_seconds"] + waited["wall_seconds"])) < 1.5
    assert f"{keyspace}.by_v" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_quoted_names_and_indexes_are_waited_for(
    cassandra: Cluster, session: Session, tmp_path: Path
) -> None:
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    session.execute(f'CREATE KEYSPACE "MyKS" WITH replication = {replication}')
    try:
        session.execute('CREATE TABLE "MyKS"."select" (id int PRIMARY KEY, "V" int)')
        session.execute('CREATE INDEX "By_V" ON "MyKS"."select" ("V")')
        session.execute(
            'CREATE MATERIALIZED VIEW "MyKS"."From" AS SELECT * FROM "MyKS"."select"'
            ' WHERE "V" IS NOT NULL AND id IS NOT NULL PRIMARY KEY ("V", id)'
        )
        ended, _ = run(
            tmp_path,
            cassandra,
            """
def test_waits(diagnostics):
    diagnostics.wait_until_built('"MyKS"."From"', timeout=60)
    diagnostics.wait_until_built('"MyKS"."select"."By_V"', timeout=60)
    diagnostics.wait_until_built('"MyKS"."By_V"', timeout=60)
""",
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    finally:
        session.execute('DROP KEYSPACE "MyKS"')


def test_a_view_that_is_dropped_meanwhile_is_not_waited_for(
    cassandra: Cluster, session: Session, keyspace: str, tmp_path: Path
) -> None:
    fill(session, keyspace)
    began = time.monotonic()
    ended, _ = run(
        tmp_path,
        cassandra,
        f"""
import threading
from cassandra.cluster import Cluster

def test_waits(diagnostics):
    cluster = Cluster([HOST])
    session = cluster.connect()
    session.execute({create_view(keyspace, "short")!r})
    drop = threading.Timer(1.5, session.execute, ["DROP MATERIALIZED VIEW {keyspace}.short"])
    drop.start()
    try:
        diagnostics.wait_until_built("{keyspace}.short", timeout=100)
    finally:
        drop.join()
        cluster.shutdown()
""",
    )
    assert f"{keyspace}.short was dropped while it was waited for" in ended.stdout, ended.stdout
    assert time.monotonic() - began < 100


@pytest.mark.parametrize(
    "options", [["--diagnostics"], ["--diagnostics", "-p", "xdist.plugin", "-n1"], []],
    ids=["recorded", "in a worker", "not recorded"],
)  # fmt: skip
def test_it_is_waited_for_wherever_the_test_runs(
    cassandra: Cluster, session: Session, keyspace: str, tmp_path: Path, options: list[str]
) -> None:
    if "-n1" in options:
        pytest.importorskip("xdist")
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v int)")
    session.execute(create_view(keyspace, "by_v"))
    ended = pytest_in(
        tmp_path,
        cassandra,
        f"""
def test_waits(diagnostics):
    diagnostics.wait_until_built("{keyspace}.by_v", timeout=60)
""",
        f"--diagnostics-cassandra={cassandra.addresses[0]}:{cassandra.port}",
        *options,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_view_is_found_among_so_many_that_not_all_are_listed(
    cassandra: Cluster, session: Session, keyspace: str, tmp_path: Path
) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v int)")
    for number in range(MANY_VIEWS):
        session.execute(create_view(keyspace, f"view_with_a_long_name_{number:020}"))
    ended = pytest_in(
        tmp_path,
        cassandra,
        f"""
def test_finds_it(diagnostics):
    name = "{keyspace}.view_with_a_long_name_{0:020}"
    diagnostics.wait_until_built(name, timeout=60)
    told = diagnostics.collect("cassandra_views")["cassandra_views"]
    assert told["left_out"] > 0
    assert name.partition(".")[2] in [view["view"] for view in told["views"]]

def test_finds_nothing(diagnostics):
    diagnostics.wait_until_built("{keyspace}.nothing")
""",
        "--diagnostics",
        f"--diagnostics-cassandra={cassandra.addresses[0]}:{cassandra.port}",
    )
    assert f"{keyspace}.nothing: there is no such view or index" in ended.stdout
    assert "1 failed, 1 passed" in ended.stdout, ended.stdout + ended.stderr


def test_a_session_of_the_suites_own_is_asked_where_a_hook_gives_it(
    cassandra: Cluster, session: Session, keyspace: str, tmp_path: Path
) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v int)")
    session.execute(create_view(keyspace, "by_v"))
    (tmp_path / "conftest.py").write_text(
        f"""
from cassandra.cluster import Cluster

cluster = Cluster([{cassandra.addresses[0]!r}])
session = cluster.connect()

def pytest_diagnostics_cassandra_session(config):
    return session

def pytest_unconfigure(config):
    cluster.shutdown()
""",
        encoding="utf-8",
    )
    test = f"""
def test_waits(diagnostics):
    diagnostics.wait_until_built("{keyspace}.by_v", timeout=60)
"""
    ended = pytest_in(tmp_path, cassandra, test, "--diagnostics")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_database_that_is_not_there_is_told_and_changes_no_outcome(
    cassandra: Cluster, tmp_path: Path
) -> None:
    test = """
def test_passes():
    pass

def test_waits(diagnostics):
    diagnostics.wait_until_built("ks.v", timeout=3)
"""
    points = "--diagnostics-cassandra=127.0.5.250:1"
    ended = pytest_in(tmp_path, cassandra, test, "--diagnostics", points)
    name = (tmp_path / "records" / "latest").read_text(encoding="utf-8").strip()
    summary = json.loads((tmp_path / "records" / "runs" / name / "summary.json").read_text("utf-8"))

    assert [one["outcome"] for one in summary["tests"]] == ["passed", "failed"], ended.stdout + ended.stderr
    assert "ks.v was not built within 3 s: database unreachable since " in ended.stdout
    assert "\ndatabase unreachable since " in ended.stdout
    assert "\nbuilds  database unreachable " in ended.stdout
    assert [gap["kind"] for gap in summary["gaps"] if gap["kind"] == "unreachable"] == ["unreachable"]
    assert summary["builds"] == []
    assert summary["health"]["state"] == "good", summary["health"]
