"""The example does what its README says."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cassandra import jars, launcher
from tests.cassandra.launcher import Cluster

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "cassandra"


def test_the_examples_suite_shows_a_build_over_its_tests(cassandra: Cluster, tmp_path: Path) -> None:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    address = f"{cassandra.addresses[0]}:{cassandra.port}"
    places = [f"--diagnostics-dir={tmp_path / 'records'}", f"--diagnostics-report={tmp_path / 'page.html'}"]
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE / "run.py"), address, *places, "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    name = (tmp_path / "records" / "latest").read_text(encoding="utf-8").strip()
    path = tmp_path / "records" / "runs" / name / "summary.json"
    summary: dict[str, Any] = json.loads(path.read_text("utf-8"))
    failed = [test["nodeid"] for test in summary["tests"] if test["outcome"] != "passed"]
    assert [nodeid.rpartition("::")[2] for nodeid in failed] == ["test_forgets_that_views_take_their_time"]
    (build,) = (one for one in summary["builds"] if one["name"] == "diagnostics_example.by_buyer")
    assert build["state"] == "built"
    meanwhile = [test for test in summary["tests"] if "meanwhile" in test["nodeid"]]
    assert any(build["start_seconds"] < test["start_seconds"] < build["time_seconds"] for test in meanwhile)
    assert "diagnostics_example.by_buyer" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_examples_server_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = launcher.missing("5.0.8")
    if reason is not None:
        pytest.skip(str(reason))
    spec = importlib.util.spec_from_file_location("example_server", EXAMPLE / "server.py")
    assert spec is not None
    assert spec.loader is not None
    server = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server)
    # The jars that the other tests have fetched already.
    monkeypatch.setattr(server, "CACHE", jars.fetch(jars.cassandra("5.0.8")).parent)

    with server.cassandra() as address:
        host, _, port = address.partition(":")
        with launcher.session_of([host], int(port)) as session:
            assert session.execute("SELECT release_version FROM system.local").one()[0] == "5.0.8"

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5.0).close()
