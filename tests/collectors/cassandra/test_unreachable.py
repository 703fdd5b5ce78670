"""Databases that are not there, or say nothing: data, in bounded time, without a word in anybody's log."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from pytest_diagnostics import MVDiagnosticCollector, ViewConsistencyCheck
from pytest_diagnostics.collectors.cassandra import watch as watching
from pytest_diagnostics.collectors.cassandra.connection import (
    CLOSE_SECONDS,
    CONNECT_SECONDS,
    Connection,
    RefusedError,
    UnreachableError,
)
from pytest_diagnostics.collectors.cassandra.queries import Answers, Query
from pytest_diagnostics.collectors.cassandra.target import Target
from pytest_diagnostics.collectors.cassandra.watch import CassandraCollector, Watch
from pytest_diagnostics.core.errors import ConfigurationError

pytest.importorskip("cassandra", exc_type=ImportError)

#: What this machine, which is shared, may add to a bound.
SLACK = 2.0


class Looker(CassandraCollector):
    """The smallest collector of a cluster."""

    default_name = "looker"
    queries = (Query("views", "system_schema", "views", node_local=False),)
    topics = ("views",)

    def read(self, answers: Answers) -> dict[str, object]:
        return {"views": len(answers.replies)}


@pytest.fixture
def silent() -> Iterator[Target]:
    """Give a port that accepts and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.2.1", 0))
        listening.listen(50)
        yield Target(("127.0.2.1",), listening.getsockname()[1])


@pytest.fixture
def refusing() -> Target:
    """Give a port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.2.1", 0))
        return Target(("127.0.2.1",), bound.getsockname()[1])


def dictionary(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def outages(connection: dict[str, object]) -> list[dict[str, object]]:
    found = connection["outages"]
    assert isinstance(found, list)
    return found


def test_a_refused_port_is_told_at_once(refusing: Target) -> None:
    connection = Connection(refusing)
    began = time.monotonic()

    with pytest.raises(UnreachableError, match=r"port \d+: connection: [\d.:]+ Connection refused$"):
        connection.open()

    assert time.monotonic() - began < SLACK
    assert not connection.is_open


def test_a_port_that_says_nothing_is_given_up_in_time(silent: Target) -> None:
    connection = Connection(silent)
    began = time.monotonic()

    with pytest.raises(
        UnreachableError, match=r"127\.0\.2\.1 port \d+: .*: (no answer in time|Timed out .*)$"
    ):
        connection.open()

    assert time.monotonic() - began < CONNECT_SECONDS + CLOSE_SECONDS + SLACK


def test_a_name_that_nobody_knows_is_unreachable_too() -> None:
    with pytest.raises(UnreachableError, match=r"no-such-host\.invalid"):
        Connection(Target(("no-such-host.invalid",))).open()


def test_a_collection_does_not_wait_for_a_silent_port_and_says_since_when(silent: Target) -> None:
    looker = Looker(silent)
    looker.start()
    began = time.monotonic()
    first, second = looker.collect(), looker.collect()
    took = time.monotonic() - began
    looker.stop()

    assert took < watching.FIRST_SECONDS + 1.0
    assert (first["views"], second["views"], first["server"]) == (None, None, None)
    assert dictionary(first["reasons"])["views"] == dictionary(first["connection"])["reason"]
    connection = dictionary(second["connection"])
    assert connection["state"] == "unreachable"
    (outage,) = outages(connection)
    assert (outage["to"], outage["from"] is not None) == (None, True)
    assert time.monotonic() - began < took + CLOSE_SECONDS + SLACK
    assert dictionary(first["poll"])["queries"] == 0


def test_tries_come_more_and_more_rarely(refusing: Target) -> None:
    tried: list[float] = []

    class Counting(Connection):
        def open(self) -> None:
            tried.append(time.monotonic())
            super().open()

    watch = Watch(refusing, None)
    watch._connection = Counting(refusing)
    until = time.monotonic() + 4.5
    pause = threading.Event()
    while time.monotonic() < until:
        with pytest.raises(UnreachableError):
            watch.ask(Looker.queries)
        pause.wait(0.05)

    pauses = [later - before for before, later in pairwise(tried)]
    assert len(tried) == 3, pauses
    assert 1.0 <= pauses[0] < 2.0 <= pauses[1] < 3.5
    assert len(outages(watch.told())) == 1


def test_a_user_who_was_refused_is_not_tried_again_by_anybody(
    silent: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def refuse(self: Connection) -> None:
        opened.append(self)
        raise RefusedError("bad credentials")

    monkeypatch.setattr(Connection, "open", refuse)
    monkeypatch.setattr(Watch, "_refusals", {})
    for _ in range(3):
        looker = Looker(silent)
        looker.start()
        found = [dictionary(looker.collect()["connection"]) for _ in range(3)]
        looker.stop()
        assert {connection["state"] for connection in found} == {"refused"}
        assert {connection["reason"] for connection in found} == {"bad credentials"}
        told = [(outage["state"], outage["reason"]) for outage in outages(found[-1])]
        assert told == [("refused", "bad credentials")]

    assert len(opened) == 1


def test_collectors_of_one_cluster_share_a_watch_and_the_last_one_ends_it(refusing: Target) -> None:
    one, two, other = Watch.of(refusing), Watch.of(refusing), Watch.of(Target(("127.0.2.2",)))
    assert one is two
    assert one is not other

    one.release()
    assert Watch.of(refusing) is two
    for watch in (two, two, other):
        watch.release()
    again = Watch.of(refusing)
    assert again is not one
    again.release()


def test_what_the_driver_says_of_ours_is_in_nobodys_log(
    refusing: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UnreachableError):
        Connection(refusing).open()
    assert [record for record in caplog.records if record.name.startswith("cassandra")] == []

    # Loggers are as they were: what a session of the user's says is heard.
    logging.getLogger("cassandra.cluster").warning("of a session of the user's")
    assert [record.name for record in caplog.records] == ["cassandra.cluster"]
    assert not logging.getLogger("cassandra.cluster").filters


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_lets_the_parents_connection_be(silent: Target) -> None:
    looker = Looker(silent)
    looker.start()
    looker.collect()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        try:
            data = looker.collect()
            looker.stop()
            os._exit(0 if data["views"] is None else 3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert looker.collect()["views"] is None
    looker.stop()


def test_a_collector_without_a_cluster_says_what_to_give() -> None:
    assert Looker().probe() == "no database was named; give --diagnostics-cassandra=HOST[:PORT],..."
    with pytest.raises(ConfigurationError, match="a target or a session"):
        Looker(Target(("h",)), session=object())


def test_what_is_no_session_is_refused_with_the_remedy() -> None:
    """A Cluster in place of its session is what is easily given by mistake."""
    from cassandra.cluster import Cluster

    cluster = Cluster(["127.0.2.1"])
    try:
        with pytest.raises(ConfigurationError, match=r"'Cluster' is no session of the driver; give what"):
            MVDiagnosticCollector(cluster).collect()
        with pytest.raises(ConfigurationError, match=r"'Cluster' is no session of the driver; give what"):
            ViewConsistencyCheck(cluster, "ks", "v").run()
    finally:
        cluster.shutdown()
