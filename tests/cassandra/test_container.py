"""The last way is gone when it has to be: the engine's client is asked to end, and never killed first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cassandra import container
from tests.cassandra.jars import MissingError

#: What a client of an engine does as far as we see it: it says what the container says, and ends on SIGTERM.
CLIENT = """#!/bin/sh
[ "$1" = info ] && exit {daemon}
echo "$@"
trap 'echo asked to end; exit 143' TERM
echo 'INFO Starting listening for CQL clients on /0.0.0.0:9042'
while :; do sleep 0.05; done
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, daemon: int) -> None:
    client = folder / "podman"
    client.write_text(CLIENT.format(daemon=daemon), encoding="utf-8")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(container, "ENGINES", ("podman",))


def test_a_container_is_run_and_asked_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, daemon=0)

    with container.Container(tmp_path, "5.0.8") as node:
        assert node.process.running
        with pytest.raises(MissingError, match="no process of ours"):
            node.nodes  # noqa: B018

    said = node.process.output()
    assert f"{node.addresses[0]}:9042:9042" in said
    assert "cassandra:5.0.8" in said
    assert said.endswith("asked to end\n")


def test_a_client_without_its_daemon_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, daemon=1)

    with pytest.raises(MissingError, match="no container engine that answers"):
        container.engine()
