"""What our own session with a cluster logs is nobody's: neither a test's ``caplog`` nor a log file's.

The driver logs by its modules' names, ours as well as a user's. Told apart are threads: those of our cluster
object, and ours that call it. One thread serves all clusters of a process, the one that reads their sockets;
what is logged there is dropped while there are no clusters but ours.
"""

from __future__ import annotations

import logging
import sys
import threading

#: The names of the threads in which we call the driver begin so.
OURS = "diagnostics-"


class Quiet(logging.Filter):
    """Drops the records of one cluster object, from ``begin`` to ``end``."""

    def __init__(self) -> None:
        super().__init__()
        self._cluster: object | None = None
        #: The thread that opens the cluster at this moment.
        self.opener: threading.Thread | None = None
        self._loggers: list[logging.Logger] = []

    def begin(self, cluster: object) -> None:
        """Listen to the driver's loggers; those of a user's session are let through."""
        self.end()
        self._cluster = cluster
        self.opener = threading.current_thread()
        known = dict(logging.root.manager.loggerDict)
        self._loggers = [
            one
            for name, one in known.items()
            if isinstance(one, logging.Logger) and (name == "cassandra" or name.startswith("cassandra."))
        ]
        for logger in self._loggers:
            logger.addFilter(self)

    def end(self) -> None:
        """Leave the loggers as they were."""
        for logger in self._loggers:
            logger.removeFilter(self)
        self._loggers = []
        self._cluster = self.opener = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is somebody else's."""
        cluster = self._cluster
        if cluster is None:
            return True
        thread = threading.current_thread()
        if (record.threadName or thread.name).startswith(OURS):
            return False
        if thread is self.opener or thread in _threads(cluster):
            return False
        if not _is_shared(thread):
            return True
        everyone = getattr(sys.modules.get("cassandra.cluster"), "_clusters_for_shutdown", {cluster})
        return any(one is not cluster for one in everyone)


def _threads(cluster: object) -> set[object]:
    executor = getattr(cluster, "executor", None)
    found = set(getattr(executor, "_threads", ()))
    return found | {getattr(cluster, "scheduler", None), getattr(cluster, "_idle_heartbeat", None)}


def _is_shared(thread: threading.Thread) -> bool:
    """Return whether a thread is the driver's that serves the sockets of all clusters."""
    return (
        thread.name in ("event_loop", "asyncore_cassandra_driver_event_loop") or "event_loop" in thread.name
    )
