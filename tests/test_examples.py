"""The examples do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


def run(*arguments: str, at: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python on an example, with this package and nothing of this session's environment for pytest."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    paths = [environment.pop("PYTHONPATH", ""), str(ROOT), inherited.pop("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=at,
        env={**inherited, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_suite(
    suite: str, records: Path, *options: str, at: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    plain = ["-p", "no:cacheprovider", "--diagnostics", f"--diagnostics-dir={records}"]
    return run("-m", "pytest", suite, *plain, *options, at=at, **environment)


def summary_of(records: Path) -> dict[str, Any]:
    name = (records / "latest").read_text(encoding="utf-8").strip()
    summary: dict[str, Any] = json.loads((records / "runs" / name / "summary.json").read_text("utf-8"))
    return summary


@pytest.fixture(scope="module")
def interesting(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The first command of the README, into a directory of our own."""
    place = tmp_path_factory.mktemp("interesting")
    page = f"--diagnostics-report={place / 'report.html'}"
    return run_suite("examples/interesting", place / "records", page, at=ROOT), place


def test_interesting_suite_ends_as_the_readme_says(
    interesting: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    ended, place = interesting

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "3 failed, 7 passed" in ended.stdout
    assert re.search(r"^report +\S*report\.html$", ended.stdout, re.MULTILINE)
    assert re.search(r"^health +\w", ended.stdout, re.MULTILINE), ended.stdout
    assert (place / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_interesting_suite_tells_each_test_from_the_others(
    interesting: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    summary = summary_of(interesting[1] / "records")
    usage = {test["nodeid"].partition("::")[2]: test["usage"] for test in summary["tests"]}
    fixtures = {fixture["name"] for fixture in summary["fixtures"]}

    assert usage["test_prices_every_article"]["cpu_seconds"] >= 1.0
    assert usage["test_waits_for_the_warehouse"]["wall_seconds"] >= 1.0
    assert usage["test_waits_for_the_warehouse"]["cpu_seconds"] < 0.3
    assert usage["test_keeps_its_memory"]["rss_change_bytes"] > 70_000_000
    assert "catalogue" in fixtures
    assert usage["test_finds_an_article"]["wall_seconds"] < 0.4


@pytest.mark.skipif(sys.platform != "linux", reason="exact figures of waiting and descriptors are Linux'")
def test_interesting_suite_names_the_starved_and_the_leaking(
    interesting: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    ended, place = interesting
    summary = summary_of(place / "records")
    usage = {test["nodeid"].partition("::")[2]: test["usage"] for test in summary["tests"]}
    starved = usage["test_answers_within_a_second"]

    assert starved["cpu_wait_seconds"] > starved["cpu_seconds"]
    # At an edge the sampling thread may just be reading a file.
    assert 48 <= usage["test_keeps_its_descriptors"]["fds_change"] <= 53
    assert re.search(r"fds_leaked \d\d, limit 0", ended.stdout)
    assert re.search(r"waiting for one \(\d+ %\)", ended.stdout)


def test_interesting_suite_without_diagnostics_only_loses_its_limit() -> None:
    kept = ["--deselect=test_neighbour.py", "-k", "keeps_its_descriptors or adds_up"]

    ended = run("-m", "pytest", "-p", "no:cacheprovider", *kept, at=EXAMPLES / "interesting")

    assert "1 failed, 1 passed" in ended.stdout, ended.stdout + ended.stderr


def test_collector_given_by_a_hook(tmp_path: Path) -> None:
    ended = run_suite("by_hook", tmp_path, at=EXAMPLES / "custom_collector")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    sizes = [s for s in summary_of(tmp_path)["series"] if s["name"] == "spool.size_bytes"]
    assert max(value for value in sizes[0]["values"] if value is not None) > 0


def test_collector_offered_by_an_entry_point(tmp_path: Path) -> None:
    project = EXAMPLES / "custom_collector"
    offered = re.search(r'^spool = "(.+)"$', (project / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert offered is not None
    # What installing the example would leave behind, without a build that needs the network.
    installed = tmp_path / "site" / "spool_collector-0.1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: spool-collector\nVersion: 0.1\n")
    (installed / "entry_points.txt").write_text(
        f"[pytest_diagnostics.collectors]\nspool = {offered.group(1)}\n"
    )
    spool = tmp_path / "spool"
    spool.mkdir()

    ended = run_suite(
        "by_name",
        tmp_path / "records",
        "--diagnostics-collectors=+spool",
        at=project,
        PYTHONPATH=os.pathsep.join([str(project), str(installed.parent)]),
        SPOOL_DIR=str(spool),
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    summary = summary_of(tmp_path / "records")
    assert "spool" in {collector["name"] for collector in summary["collectors"]}
    assert "unknown collector" not in summary["health"]["line"]


def test_manager_without_pytest() -> None:
    ended = run("-W", "error", "examples/library/watch.py", at=ROOT)

    assert ended.returncode == 0, ended.stderr
    assert "queue: connection: the queue's server is away" in ended.stdout
    assert "asked for: cpu, memory, queue" in ended.stdout
    assert re.search(r"^queue: \d+ results, 1 failed, healthy$", ended.stdout, re.MULTILINE)
