"""The last way to a node: a container engine, where there is no Java or no Maven.

Only one node, and only to be read and written: what ends, stops or asks a process needs a node of our own.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from tests.cassandra import settings
from tests.cassandra.jars import MissingError
from tests.cassandra.launcher import DEFAULT_VERSION, Addresses, require_driver, session_of
from tests.cassandra.nodes import READY, Process

if TYPE_CHECKING:
    from cassandra.cluster import Session

ENGINES = ("docker", "podman")
#: The image may have to be pulled first.
START_TIMEOUT_SECONDS = 600.0
#: The image's own settings leave views and SASI indexes off.
ENABLE = (
    "sed -i -E 's/^(materialized_views|sasi_indexes)_enabled: .*/\\1_enabled: true/'"
    " /etc/cassandra/cassandra.yaml && exec docker-entrypoint.sh cassandra -f"
)


def engine() -> str:
    """Return the engine that answers here."""
    for name in ENGINES:
        path = shutil.which(name)
        if path is None:
            continue
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            # The client alone is no engine: docker's daemon may not run.
            subprocess.run([path, "info"], check=True, capture_output=True, timeout=30)
            return path
    raise MissingError("no container engine that answers (docker, podman)")


class Container:
    """One node in a container, ended when the block is left or when this process ends."""

    def __init__(self, directory: Path, version: str = DEFAULT_VERSION) -> None:
        require_driver()
        path = engine()
        self.version = version
        self._addresses = Addresses(1)
        self.addresses, self.port = self._addresses.all, settings.NATIVE_PORT
        address = self.addresses[0]
        run = [path, "run", "--rm", "--sig-proxy=true", "-p", f"{address}:{self.port}:{self.port}"]
        run += ["-e", "MAX_HEAP_SIZE=512M", "-e", "HEAP_NEWSIZE=128M"]
        # The engine's client hands SIGTERM on to the container; killed itself, it would leave it behind.
        self.process = Process(
            [*run, f"cassandra:{version}", "bash", "-c", ENABLE], directory / "container.log", signal.SIGTERM
        )

    @property
    def nodes(self) -> NoReturn:
        raise MissingError("a node in a container has no process of ours to end (needs Java and Maven)")

    def __enter__(self) -> Container:
        try:
            self.process.start(READY, START_TIMEOUT_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.stop()
        self._addresses.release()

    @contextlib.contextmanager
    def session(self, **options: Any) -> Iterator[Session]:
        """Give a driver session; the options are those of the driver's Cluster."""
        with session_of(self.addresses, self.port, **options) as session:
            yield session
