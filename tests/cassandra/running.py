"""A cluster that somebody else started, named by PYTEST_DIAGNOSTICS_CASSANDRA=HOST[:PORT]."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from tests.cassandra import settings
from tests.cassandra.jars import MissingError
from tests.cassandra.launcher import require_driver, session_of

if TYPE_CHECKING:
    from cassandra.cluster import Session

VARIABLE = "PYTEST_DIAGNOSTICS_CASSANDRA"


class Running:
    """What can be had of a cluster that is not ours: sessions, but no nodes to end."""

    def __init__(self, address: str, port: int) -> None:
        self.addresses, self.port = [address], port

    @property
    def nodes(self) -> NoReturn:
        raise MissingError(f"the cluster of {VARIABLE} is not ours to end")

    @contextlib.contextmanager
    def session(self, **options: Any) -> Iterator[Session]:
        """Give a driver session; the options are those of the driver's Cluster."""
        with session_of(self.addresses, self.port, **options) as session:
            yield session


def named_cluster() -> Running | None:
    """Return the cluster of the environment variable."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    require_driver()
    host, _, port = named.partition(":")
    return Running(host, int(port) if port else settings.NATIVE_PORT)
