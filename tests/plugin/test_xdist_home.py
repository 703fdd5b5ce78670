"""What workers of other hosts write to, and how it comes home."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_diagnostics import workers
from pytest_diagnostics.core.errors import RecordingError
from pytest_diagnostics.recorder.plan import Plan
from pytest_diagnostics.remote import HostDirectory, label_of
from pytest_diagnostics.storage import records
from pytest_diagnostics.workers import Errand, brought_home, packed

pytestmark = pytest.mark.skipif(os.name != "posix", reason="looks at owners and modes")

RUN = "20260102T120000Z-1a2b3c4d"
ERRAND = Errand(RUN, "a token", "ssh=far")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of a host's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def plan(pid: int) -> Plan:
    return Plan("/run", RUN, "@address", pid, 1, ("cpu",), 1.0, temporary="/run", host="far")


def write(directory: HostDirectory, name: str) -> None:
    (directory.run.shards / f"{name}.jsonl").write_bytes(records.encode("run", {"role": name}))


def home(text: str) -> tuple[dict[str, list[bytes]], int]:
    return brought_home(SimpleNamespace(workeroutput={workers.KEY: text}))


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ({"ssh": "far"}, "ssh=far"),
        ({"ssh": "me:secret@far"}, "ssh=far"),
        ({"ssh": "-p 2222 -i /home/me/key -C me@far"}, "ssh=far"),
        ({"ssh": "o'neill@far"}, "ssh=far"),
        ({"ssh": "-v"}, "ssh=unknown"),
        ({"socket": "10.0.0.1:8888"}, "socket=10.0.0.1:8888"),
        ({"popen": True, "via": "gate"}, "via=gate"),
        ({}, "another host"),
    ],
)
def test_a_host_is_called_by_its_gateway_without_user_and_password(
    spec: dict[str, object], label: str
) -> None:
    assert label_of(SimpleNamespace(**spec)) == label


def test_the_workers_of_a_host_meet_in_a_private_directory_and_elect_one() -> None:
    first, second = HostDirectory(ERRAND), HostDirectory(ERRAND)

    assert first.path == second.path
    assert stat.S_IMODE(os.lstat(first.path).st_mode) == 0o700
    assert first.run.name == RUN
    assert first.elect(plan(1)) == (plan(1), True)
    assert second.elect(plan(2)) == (plan(1), False)
    assert HostDirectory(Errand(RUN, "another token", "ssh=far")).path != first.path


def test_a_directory_that_others_can_enter_or_that_is_a_link_is_refused(elsewhere: Path) -> None:
    path = Path(HostDirectory(ERRAND).path)
    path.chmod(0o755)
    with pytest.raises(RecordingError, match="is not a private directory of this user"):
        HostDirectory(ERRAND)
    path.rename(elsewhere / "moved")
    path.symlink_to(elsewhere / "moved")
    with pytest.raises(RecordingError, match="symbolic link"):
        HostDirectory(ERRAND)


def test_the_last_worker_takes_home_what_is_left_and_removes_the_directory(elsewhere: Path) -> None:
    directory, own = HostDirectory(ERRAND), os.getpid()
    for name in (f"gw0-{own}", "gw1-1", "recorder-2"):
        write(directory, name)

    assert list(HostDirectory(ERRAND).carry(last=False)) == [f"gw0-{own}"]
    assert Path(directory.path).is_dir()
    assert sorted(HostDirectory(ERRAND).carry(last=True)) == ["gw1-1", "recorder-2"]
    assert list(elsewhere.iterdir()) == []


def test_without_a_recorder_shards_of_the_dead_are_taken_and_those_of_the_living_are_left() -> None:
    directory, own = HostDirectory(ERRAND), os.getpid()
    for name in (f"gw0-{own}", f"gw1-{os.getppid()}", "recorder-4194304"):
        write(directory, name)

    assert sorted(directory.carry(last=None)) == [f"gw0-{own}", "recorder-4194304"]
    assert Path(directory.path).is_dir()


def test_shards_come_home_as_they_were() -> None:
    lines = [records.encode("test", {"nodeid": "t.py::\udcff"}), b"torn"]

    assert home(packed({"gw0-1": lines})) == ({"gw0-1": lines}, 0)
    assert brought_home(SimpleNamespace()) == ({}, 0)


def test_of_too_much_the_results_are_thinned_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MAX_UNPACKED_BYTES", 20_000)
    phases = [records.encode("phase", {"nodeid": f"t.py::test_{n}"}) for n in range(100)]
    results = [records.encode("result", {"collector": "cpu", "monotonic": n}) for n in range(1000)]

    found, left_out = home(packed({"gw0-1": phases, "recorder-2": results}))

    assert found["gw0-1"] == phases
    assert found["recorder-2"] in [results[::every] for every in (2, 4, 8, 16)]
    assert left_out == 1000 - len(found["recorder-2"]) > 500


def test_even_a_run_of_too_many_tests_comes_home_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MAX_BROUGHT_BYTES", 2_000)
    phases = [records.encode("phase", {"nodeid": os.urandom(50).hex()}) for _ in range(1000)]

    found, left_out = home(packed({"gw0-1": phases}))

    assert 0 < len(found["gw0-1"]) < 100
    assert left_out == 1000 - len(found["gw0-1"])
