"""Simulacron: nodes that speak the protocol and say what they were told to: for what cannot be had."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tests.cassandra import jars, settings
from tests.cassandra.launcher import Addresses, require_driver, session_of
from tests.cassandra.nodes import Process

if TYPE_CHECKING:
    from cassandra.cluster import Session

ARTIFACT = jars.Artifact("com.datastax.oss.simulacron", "simulacron-standalone", "0.12.0")
READY = "Started HTTP server interface"
#: It starts in about a second.
START_TIMEOUT_SECONDS = 60.0
HTTP_TIMEOUT_SECONDS = 20.0
#: The highest protocol that 0.12.0 speaks; the driver has to be told.
PROTOCOL_VERSION = 4
NAME = "simulated"


class Simulacron:
    """Simulated nodes of one data centre, ended when the block is left, as Cluster's are.

    What a driver asks when it connects (``system.local``, ``system.peers``) it answers by itself, and every
    query that was not primed with no rows. A table that is to be missing needs ``prime_error``.
    """

    def __init__(self, nodes: int = 1, *, version: str = "4.0.0", directory: Path | None = None) -> None:
        require_driver()
        java, _ = jars.java()
        jar = jars.fetch(ARTIFACT) / f"{ARTIFACT.name}-{ARTIFACT.version}.jar"
        self._version, self._owned = version, directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="simulacron-"))
        self._addresses = Addresses(nodes)
        self.addresses, self.port = self._addresses.all, settings.NATIVE_PORT
        self._http = f"http://127.0.0.1:{self._addresses.jmx_ports[0]}"
        self.process = Process(
            [
                java,
                *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                *("-jar", str(jar), "-t", "127.0.0.1", "-i", self.addresses[0]),
                *("-p", str(self._addresses.jmx_ports[0])),
            ],
            self.directory / "simulacron.log",
        )

    def __enter__(self) -> Simulacron:
        try:
            self.process.start(READY, START_TIMEOUT_SECONDS)
            count = len(self.addresses)
            self._ask("POST", f"/cluster?data_centers={count}&cassandra_version={self._version}&name={NAME}")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.kill()
        self._addresses.release()
        if self._owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    def prime(
        self,
        query: str,
        rows: Sequence[Mapping[str, object]],
        column_types: Mapping[str, str],
        *,
        node: int | None = None,
        delay_ms: int = 0,
    ) -> None:
        """Answer a query, letter by letter the same, with rows: on all nodes, or on one (0 is the first).

        The types are CQL's (``{"tokens": "list<text>"}``). A query that is primed again gets the new answer.
        """
        # It knows this type only by the protocol's name.
        types = {name: re.sub(r"\btext\b", "varchar", kind) for name, kind in column_types.items()}
        then = {"result": "success", "rows": list(rows), "column_types": types}
        self._prime(query, {**then, "delay_in_ms": delay_ms}, node)

    def prime_error(
        self, query: str, message: str, *, kind: str = "invalid", node: int | None = None
    ) -> None:
        """Answer a query with an error: ``invalid`` (a missing table), ``unauthorized``, ``server_error``."""
        self._prime(query, {"result": kind, "message": message, "delay_in_ms": 0}, node)

    def forget(self) -> None:
        """Forget everything that was primed."""
        self._ask("DELETE", f"/prime/{NAME}")

    def asked(self) -> list[str]:
        """Return the queries that the nodes were asked, the first node's first, each in its order."""
        log = self._ask("GET", f"/log/{NAME}")
        return [
            entry["query"]
            for centre in log["data_centers"]
            for node in centre["nodes"]
            for entry in node.get("queries", ())
            if entry["type"] in ("QUERY", "EXECUTE")
        ]

    @contextlib.contextmanager
    def session(self, **options: Any) -> Iterator[Session]:
        """Give a driver session; the options are those of the driver's Cluster."""
        options.setdefault("protocol_version", PROTOCOL_VERSION)
        with session_of(self.addresses, self.port, **options) as session:
            yield session

    def _prime(self, query: str, then: Mapping[str, object], node: int | None) -> None:
        where = f"/prime/{NAME}" if node is None else f"/prime/{NAME}/0/{node}"
        self._ask("POST", where, {"when": {"request": "query", "query": query}, "then": then})

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._http + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as problem:
            said = problem.read().decode("utf-8", "replace")
            raise ValueError(f"{method} {path}: {problem}: {said}") from problem
