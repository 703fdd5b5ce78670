"""Real Cassandra nodes for tests: as many as asked for, of the version asked for, on addresses of their own.

    with Cluster("5.0.8", nodes=3) as cluster, cluster.session() as session:
        session.execute("SELECT release_version FROM system.local")
        cluster.nodes[2].kill()

A node that this starts is ended by ``stop()``, by the end of the ``with`` block, and by the end of this
process, a SIGKILL included (guard.py). It does not survive its guard either on Linux.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from tests.cassandra import jars, settings
from tests.cassandra.nodes import START_TIMEOUT_SECONDS, Node

if TYPE_CHECKING:
    from cassandra.cluster import Session

DEFAULT_VERSION = "5.0.8"
VERSIONS = ("4.0.18", "4.1.10", "5.0.8", "6.0-alpha2")
#: Below the ephemeral ports, so that no outgoing connection takes one between the check and the start.
FIRST_JMX_PORT = 10_000
MOST_NODES = 9


def missing(version: str = DEFAULT_VERSION) -> str | None:
    """Return why no Cassandra of this version can be started here; None when it can. Downloads nothing."""
    try:
        if sys.platform != "linux":
            raise jars.MissingError("nodes need the loopback addresses of Linux (127.0.x.y)")
        require_driver()
        jars.java()
        if not jars.fetched(jars.cassandra(version)) and shutil.which("mvn") is None:
            jars.find(version)
    except jars.MissingError as problem:
        return str(problem)
    return None


def prepare(version: str = DEFAULT_VERSION) -> Path:
    """Return the folder of a version's jars, fetched by now; raise MissingError where it cannot start."""
    reason = missing(version)
    if reason:
        raise jars.MissingError(reason)
    return jars.find(version)


def default_version() -> str:
    """Return 5.0.8, or the version of CASSANDRA_HOME where nothing else can be had."""
    installed = jars.installed()
    if missing(DEFAULT_VERSION) and installed is not None:
        return installed[0]
    return DEFAULT_VERSION


def require_driver() -> None:
    """Raise MissingError without a driver that can be imported."""
    try:
        import cassandra.cluster  # noqa: F401
    except (
        Exception
    ) as problem:  # DependencyException, of a driver without an event loop, is a plain Exception
        raise jars.MissingError(f"no Cassandra driver (pip install cassandra-driver): {problem}") from problem


@contextlib.contextmanager
def session_of(addresses: list[str], port: int, **options: Any) -> Iterator[Session]:
    """Give a driver session; the options are those of the driver's Cluster."""
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy

    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=20.0)
    chosen: dict[str, Any] = {
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
        "reconnection_policy": ConstantReconnectionPolicy(0.5, max_attempts=None),
        "connect_timeout": 10.0,
        "control_connection_timeout": 10.0,
        "monitor_reporting_enabled": False,
        **options,
    }
    driver = Cluster(addresses, port=port, **chosen)
    try:
        yield driver.connect(wait_for_all_pools=True)
    finally:
        driver.shutdown()


class Addresses:
    """The network 127.0.<number>.0 for one cluster, so that clusters run side by side.

    A lock that the kernel frees with the process keeps others away, of other sessions too.
    """

    def __init__(self, count: int) -> None:
        self.number, self._lock = self._choose(count)
        self.all = [f"127.0.{self.number}.{node}" for node in range(1, count + 1)]
        self.jmx_ports = [FIRST_JMX_PORT + 10 * self.number + node for node in range(1, count + 1)]

    @staticmethod
    def _choose(count: int) -> tuple[int, IO[str]]:
        import fcntl  # absent on Windows, where missing() says no

        folder = Path(tempfile.gettempdir(), f"pytest-diagnostics-cassandra-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in range(20, 250):
            lock = (folder / f"127.0.{number}").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for node in range(1, count + 1):
                    check_free(f"127.0.{number}.{node}", settings.NATIVE_PORT)
                    check_free(f"127.0.{number}.{node}", settings.STORAGE_PORT)
                    check_free("127.0.0.1", FIRST_JMX_PORT + 10 * number + node)
            except OSError:
                lock.close()
            else:
                return number, lock
        raise jars.MissingError("no loopback network 127.0.x.0 with free ports")

    def release(self) -> None:
        self._lock.close()


def check_free(address: str, port: int) -> None:
    """Raise OSError unless a server could listen there."""
    with socket.socket() as probe:
        # As Java does: connections that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))


def is_up(node: Node) -> str:
    """Return what another node logs when it finds one alive."""
    return f"/{node.address}:{settings.STORAGE_PORT} is now UP"


class Cluster:
    """Nodes of one version, started when it is entered, ended when it is left.

    Java's second compiler is off unless ``optimised``: a start then takes 7 s of CPU instead of 12, and what
    is read and written for minutes takes longer. Where a test measures the server's speed, turn it on.
    """

    def __init__(
        self,
        version: str = DEFAULT_VERSION,
        nodes: int = 1,
        *,
        config: Mapping[str, object] | None = None,
        heap_mebibytes: int = 384,
        optimised: bool = False,
        directory: Path | None = None,
    ) -> None:
        if not 1 <= nodes <= MOST_NODES:
            raise ValueError(f"1 to {MOST_NODES} nodes, not {nodes}")
        library = prepare(version)
        self.version, self.port = version, settings.NATIVE_PORT
        self._owned = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="cassandra-"))
        self._addresses = Addresses(nodes)
        self.addresses = self._addresses.all
        flags = [f"-Xms{heap_mebibytes}m", f"-Xmx{heap_mebibytes}m"]
        if not optimised:
            flags.append("-XX:TieredStopAtLevel=1")
        self._has_roles = "PasswordAuthenticator" in str((config or {}).get("authenticator"))
        self.nodes: list[Node] = []
        for address, jmx_port in zip(self.addresses, self._addresses.jmx_ports, strict=True):
            node = Node(version, library, address, self.directory / address, jmx_port=jmx_port)
            node.configure(self.addresses[0], config or {}, flags)
            self.nodes.append(node)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every node, and wait until each is ready and sees the others; all or none."""
        try:
            # The first is the seed; the others wait for it, and not for each other.
            self.nodes[0].start()
            if self._has_roles:
                self.nodes[0].await_log("Created default superuser role", START_TIMEOUT_SECONDS)
            for node in self.nodes[1:]:
                node.launch()
            for node in self.nodes[1:]:
                node.await_ready()
            for node in self.nodes:
                self._await_others(node)
        except BaseException:
            self.stop()
            raise

    def restart(self, node: Node) -> None:
        """Start a node again, and wait until it sees the others and they see it."""
        sizes = {
            other: other.log.stat().st_size for other in self.nodes if other is not node and other.running
        }
        node.restart()
        for other, size in sizes.items():
            node.await_log(is_up(other), START_TIMEOUT_SECONDS)
            other.await_log(is_up(node), START_TIMEOUT_SECONDS, since=size)

    def _await_others(self, node: Node) -> None:
        for other in self.nodes:
            if other is not node:
                node.await_log(is_up(other), START_TIMEOUT_SECONDS)

    def stop(self, *, drain: bool = False) -> None:
        """End every node and remove what it stored. Nothing is left to be drained for, unless asked for."""
        try:
            for node in self.nodes:
                if drain:
                    node.stop()
            for node in self.nodes:
                node.kill()
                node.forget()
        finally:
            self._addresses.release()
        if self._owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    @contextlib.contextmanager
    def session(self, **options: Any) -> Iterator[Session]:
        """Give a driver session to all nodes; the options are those of the driver's Cluster."""
        with session_of(self.addresses, self.port, **options) as session:
            yield session
