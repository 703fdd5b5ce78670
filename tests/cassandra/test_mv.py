"""MVDiagnosticCollector on a real node, and on none."""

from __future__ import annotations

import json
import re
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diagnostics import DiagnosticManager, ErrorType, MVDiagnosticCollector
from tests.cassandra.launcher import Cluster

if TYPE_CHECKING:
    from cassandra.cluster import Session


def lines(collector: MVDiagnosticCollector) -> list[dict[str, Any]]:
    assert collector.path is not None
    return [json.loads(line) for line in collector.path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def schema(session: Session, keyspace: str) -> str:
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v int)")
    session.execute(f"CREATE INDEX by_v ON {keyspace}.t (v)")
    session.execute(
        f"CREATE MATERIALIZED VIEW {keyspace}.mv AS SELECT * FROM {keyspace}.t"
        " WHERE v IS NOT NULL AND id IS NOT NULL PRIMARY KEY (v, id)"
    )
    return keyspace


@pytest.mark.parametrize("by_session", [True, False], ids=["session", "contact points"])
def test_it_tells_views_and_indexes_and_keeps_what_was_answered(
    cassandra: Cluster, session: Session, schema: str, tmp_path: Path, by_session: bool
) -> None:
    given = session if by_session else f"{cassandra.addresses[0]}:{cassandra.port}"
    collector = MVDiagnosticCollector(given, tmp_path, name="my views")
    with DiagnosticManager([collector], interval=60.0, stop_timeout=20.0) as manager:
        data: Any = None
        for _ in range(100):
            data = manager.collect_now(timeout=20.0)["my views"].data
            own = [item for item in data["views"] + data["indexes"] if item["keyspace"] == schema]
            if len(own) == 2 and all(item["state"] == "built" for item in own):
                break
            threading.Event().wait(0.1)
        assert [(item.get("view"), item.get("index"), item["state"]) for item in own] == [
            ("mv", None, "built"),
            (None, "by_v", "built"),
        ]
        assert own[0]["nodes"][cassandra.addresses[0]]["state"] == "built"
        assert own[1]["kind"] == "legacy"
        assert data["server"]["kind"] == "cassandra"
        assert data["connection"]["state"] == "connected"
        assert {"views", "indexes"} <= data["totals"].keys()

    path = collector.path
    assert path is not None
    assert path.parent == tmp_path / "diagnostics" / "mv_si_diagnostics"
    assert re.fullmatch(r"my_views_\d{8}_\d{6}\.log", path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = lines(collector)
    assert all(
        list(line) == ["timestamp", "query", "topic", "node", "data", "error"] and line["query"]
        for line in told
    )
    rows = [row for line in told if line["topic"] == "built_views" for row in line["data"] or []]
    assert any((row["keyspace_name"], row["view_name"]) == (schema, "mv") for row in rows)
    # A table that the version does not have is told apart from an empty one.
    assert all((line["data"] is None) == (line["error"] is not None) for line in told)
    if by_session:
        assert session.execute("SELECT release_version FROM system.local").one() is not None


def test_without_a_manager_it_works_as_well(session: Session, schema: str, tmp_path: Path) -> None:
    collector = MVDiagnosticCollector(session, tmp_path)
    data = collector.collect()
    collector.store(data)
    count = len(lines(collector))
    collector.store({})
    assert len(lines(collector)) == count
    collector.store(None)
    assert len(lines(collector)) == 2 * count
    collector.stop()


def test_without_an_answer_each_query_is_there_with_the_reason(tmp_path: Path) -> None:
    collector = MVDiagnosticCollector("127.0.5.250:1", tmp_path)
    with DiagnosticManager([collector], interval=60.0) as manager:
        result = manager.collect_now(timeout=20.0)["MVDiagnosticCollector"]

    assert result.error is None
    data: Any = result.data
    assert (data["views"], data["indexes"]) == (None, None)
    assert data["connection"]["state"] == "unreachable"
    told = lines(collector)
    assert len({line["topic"] for line in told}) > 5
    assert all(line["query"].startswith("SELECT ") and line["data"] is None for line in told)
    assert all("127.0.5.250" in line["error"] for line in told)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_an_error_of_storing_and_the_data_is_there(
    session: Session, schema: str, tmp_path: Path
) -> None:
    collector = MVDiagnosticCollector(session, tmp_path)
    with DiagnosticManager([collector], interval=60.0) as manager:
        manager.collect_now(timeout=20.0)
        path = collector.path
        assert path is not None
        full = MVDiagnosticCollector(session, tmp_path, name="full")
        full._path = Path("/dev/full")
        manager.add_collector(full)
        result = manager.collect_now(["full"], timeout=20.0)["full"]

    assert result.data is not None
    assert result.collected
    assert not result.stored
    assert result.error is not None
    assert result.error.type is ErrorType.STORAGE
    assert "No space left" in result.error.message


def test_a_directory_that_cannot_be_made_is_told_with_each_store(session: Session, tmp_path: Path) -> None:
    (tmp_path / "diagnostics").write_text("in the way", encoding="utf-8")
    collector = MVDiagnosticCollector(session, tmp_path)
    with DiagnosticManager([collector], interval=60.0) as manager:
        result = manager.collect_now(timeout=20.0)["MVDiagnosticCollector"]

    assert result.data is not None
    assert result.error is not None
    assert result.error.type is ErrorType.STORAGE
