"""pytest-xdist with workers on other hosts, for which socket servers stand: no path is shared with them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential, Ran

pytestmark = [
    pytest.mark.xdist,
    pytest.mark.skipif(sys.platform != "linux", reason="the recorder's sockets are abstract"),
]

#: Starts the worker's side of a gateway, for one connection after the other.
SERVER = "import runpy; runpy.run_module('execnet.script.socketserver', run_name='__main__')"

Serve = Callable[[], str]


@pytest.fixture
def hosts(xdist: Differential) -> Differential:
    """A directory for runs whose workers have a temporary directory, and paths, of their own."""
    (xdist.path / "suite").mkdir()
    (xdist.path / "tmp").mkdir()
    return xdist


@pytest.fixture
def serve(hosts: Differential) -> Iterator[Serve]:
    """Start a server that is one worker of another host, and return its --tx option."""
    started: list[subprocess.Popen[str]] = []

    def start() -> str:
        where = hosts.path / f"server{len(started)}"
        where.mkdir()
        environment = {**hosts.environment(), "TMPDIR": str(hosts.path / "tmp")}
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", SERVER, "127.0.0.1:0"],
            cwd=where,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        port = process.stdout.readline().rpartition(",")[2].strip(" )\n")
        return f"--tx=socket=127.0.0.1:{port}"

    yield start
    for process in started:
        process.kill()
        process.communicate()


def run(hosts: Differential, *tx: str) -> Ran:
    """Run the suite on these workers; the copies that xdist makes of it are deprecated, and say so."""
    suite = hosts.path / "suite"
    return hosts.run(
        *tx, "--dist=load", "--max-worker-restart=0", f"--rsyncdir={suite}", str(suite), on=True, timeout=120
    )


def recorders(ran: Ran) -> dict[str, set[str]]:
    """Return for each host the workers that its recorder told apart."""
    found: dict[str, set[str]] = {}
    (directory,) = ran.runs
    for path in (directory / "shards").glob("recorder*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        told = [line for line in lines if line["kind"] == "result" and line["collector"] == "process"]
        workers = {name for line in told for name in (line["data"] or {}).get("workers", ())}
        found.setdefault(lines[0].get("host", ""), set()).update(workers)
    return found


def test_each_host_has_a_recorder_whose_samples_stay_with_its_tests(
    hosts: Differential, serve: Serve
) -> None:
    (hosts.path / "suite" / "test_it.py").write_text(
        "import time, pytest\n"
        "@pytest.mark.parametrize('n', range(6))\n"
        "def test_it(n):\n"
        "    time.sleep(0.4)\n"
        "    assert n != 5\n"
    )

    on = run(hosts, "--tx=popen", serve(), serve())

    assert on.summary["counts"] == {"passed": 5, "failed": 1}
    here, (there,) = recorders(on).pop(""), set(recorders(on)) - {""}
    assert here == {"gw0"}
    assert recorders(on)[there] == {"gw1", "gw2"}
    assert there.startswith("socket=127.0.0.1:")
    assert {attempt["worker"] for attempt in on.summary["tests"]} == {"gw0", "gw1", "gw2"}
    for attempt in on.summary["tests"]:
        own = f"process.workers[{attempt['worker']}].rss_bytes"
        assert [name for name in attempt["samples"] if name.endswith(".rss_bytes")] == [own]
        assert attempt["samples"]["memory.percent"]["count"] >= 1
    assert sum(attempt["collections"] != [] for attempt in on.summary["tests"]) == 1
    # The report keeps them apart.
    assert len([recorder for recorder in on.summary["recorders"] if there in recorder["where"]]) == 1
    sources = {series["source"] for series in on.summary["series"] if series["name"] == "memory.percent"}
    assert len(sources) == 2
    assert len([source for source in sources if there in source]) == 1
    # Nothing stays behind.
    assert list((hosts.path / "tmp").glob("pytest-diagnostics-*")) == []
    assert "lost" not in on.problems()


def test_a_host_s_recorder_survives_the_worker_that_started_it(hosts: Differential, serve: Serve) -> None:
    (hosts.path / "suite" / "test_it.py").write_text(
        "import json, os, pathlib, signal, tempfile, time, pytest\n"
        "@pytest.mark.parametrize('n', range(6))\n"
        "def test_it(n):\n"
        "    time.sleep(0.5)\n"
        "    (plan,) = pathlib.Path(tempfile.gettempdir()).glob('pytest-diagnostics-*/*/plan.json')\n"
        "    if json.loads(plan.read_text())['pid'] == os.getpid():\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    on = run(hosts, serve(), serve())

    (ending,) = on.summary["endings"]
    (crashed,) = [attempt for attempt in on.summary["tests"] if attempt["outcome"] == "crashed"]
    assert (ending["process"], ending["nodeid"]) == (crashed["worker"], crashed["nodeid"])
    assert crashed["samples"][f"process.workers[{crashed['worker']}].rss_bytes"]["count"] >= 1
    assert on.summary["counts"]["passed"] >= 1
    assert recorders(on)[""] == set()
    assert list((hosts.path / "tmp").glob("pytest-diagnostics-*")) == []


def test_what_dies_with_all_of_its_host_is_told(hosts: Differential, serve: Serve) -> None:
    (hosts.path / "suite" / "test_it.py").write_text("import os\ndef test_it(): os._exit(3)\n")

    on = run(hosts, serve())

    assert on.code == pytest.ExitCode.TESTS_FAILED
    assert "nothing that worker gw0 recorded on its host came home" in on.problems()


def test_a_worker_that_takes_the_place_of_the_only_one_of_its_host_brings_both_home(
    hosts: Differential,
) -> None:
    (hosts.path / "suite" / "test_it.py").write_text(
        "import os, time, pytest\n"
        "@pytest.mark.parametrize('n', range(3))\n"
        "def test_it(n):\n"
        "    time.sleep(0.4)\n"
        "    if n == 0: os._exit(4)\n"
    )
    hosts.env["TMPDIR"] = str(hosts.path / "tmp")

    on = hosts.run(
        "--px=popen//id=gate", "--tx=popen//via=gate", "--dist=load", "suite", on=True, timeout=120
    )

    assert on.summary["counts"] == {"passed": 2, "crashed": 1}
    assert [(ending["process"], ending["exit_code"]) for ending in on.summary["endings"]] == [("gw0", 4)]
    assert {host.partition(" ")[0]: told for host, told in recorders(on).items()} == {
        "": set(),
        "via=gate": {"gw0", "gw1"},
    }
    assert list((hosts.path / "tmp").glob("pytest-diagnostics-*")) == []
