"""What collectors of one cluster share, with a connection that answers as a test says; no driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from pytest_diagnostics.collectors.cassandra.connection import Connection, UnreachableError
from pytest_diagnostics.collectors.cassandra.queries import Answers, Node, Query, Reply, Ring, Row
from pytest_diagnostics.collectors.cassandra.target import Target, driver_missing
from pytest_diagnostics.collectors.cassandra.watch import (
    MOST_REST_SECONDS,
    RENEW_SECONDS,
    REUSE_SECONDS,
    CassandraCollector,
    Watch,
)
from pytest_diagnostics.core.clock import SystemClock
from pytest_diagnostics.core.errors import ConfigurationError

VIEWS = Query("views", "system_schema", "views", node_local=False)
BUILT = Query("built", "system", "built_views")
TARGET = Target(("node.test",))


class Clock(SystemClock):
    """Goes on when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.anchor_monotonic

    def monotonic(self) -> float:
        return getattr(self, "now", 0.0) or super().monotonic()


class Answering(Connection):
    """A connection that is there, whose nodes answer or do not."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(TARGET)
        self.clock = clock
        self.asked: list[str] = []
        self.closed = 0
        self.error: str | None = None
        self.seconds = 0.01

    @property
    def is_open(self) -> bool:
        return True

    def close(self) -> None:
        self.closed += 1

    def ask(self, queries: Iterable[Query], timeout: float = 1.0) -> Answers:
        assert timeout > 0
        queries = list(queries)
        self.asked += [query.topic for query in queries]
        rows: list[Row] | None = [] if self.error is None else None
        replies = {
            query.topic: {"a": Reply(query.topic, "SELECT", "a", rows=rows, error=self.error)}
            for query in queries
        }
        nodes = (Node("a", "id", True, "5.0.8", ""),)
        return Answers(nodes, replies, Ring(), {}, self.clock.now, len(queries), self.seconds)


class Looker(CassandraCollector):
    """The smallest collector of a cluster."""

    queries = (VIEWS, BUILT)
    topics = ("views",)

    def read(self, answers: Answers) -> dict[str, object]:
        return {"views": sorted(answers.replies)}


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch.of(TARGET)
    watch.clock = Clock()
    watch._connection = Answering(watch.clock)
    yield watch
    watch.release()


@pytest.fixture
def connection(watch: Watch) -> Answering:
    found = watch._connection
    assert isinstance(found, Answering)
    return found


def part(data: dict[str, object], key: str) -> dict[str, object]:
    found = data[key]
    assert isinstance(found, dict)
    return found


def test_what_was_just_asked_is_not_asked_again(watch: Watch, connection: Answering) -> None:
    first = watch.ask([VIEWS])
    connection.clock.now += REUSE_SECONDS / 2
    second = watch.ask([VIEWS, BUILT])
    connection.clock.now += 1.0
    third = watch.ask([VIEWS])

    assert connection.asked == ["views", "built", "views"]
    assert (first.asked, second.asked, third.asked) == (1, 1, 1)
    assert second.replies["views"] == first.replies["views"]
    assert second.moment == first.moment < third.moment  # as old as the oldest of what it holds


def test_a_collector_that_is_asked_again_asks_again(watch: Watch, connection: Answering) -> None:
    first, second = Looker(TARGET, name="first"), Looker(TARGET, name="second")
    for _ in range(2):
        connection.clock.now += REUSE_SECONDS / 10
        first.collect()
        connection.clock.now += REUSE_SECONDS / 10
        second.collect()
    first.stop()
    second.stop()

    assert connection.asked == ["views", "built"] * 2  # each time once for both


def test_an_outage_begins_with_the_first_silence_and_ends_with_the_first_answer(
    watch: Watch, connection: Answering
) -> None:
    watch.ask([VIEWS])
    connection.error = "timeout: no answer within 3.0 s"
    for _ in range(3):
        connection.clock.now += 1.0
        with pytest.raises(UnreachableError, match="a: timeout: no answer within"):
            watch.ask([VIEWS])
    connection.error = None
    connection.clock.now += 1.0
    watch.ask([VIEWS])

    told = watch.told()
    assert (told["state"], told["reason"]) == ("connected", None)
    outages = told["outages"]
    assert isinstance(outages, list)
    (outage,) = outages
    assert outage["reason"] == "a: timeout: no answer within 3.0 s"
    start, end = (watch.clock.wall(connection.clock.now - ago) for ago in (3.0, 0.0))
    assert (outage["from"], outage["to"]) == tuple(t.isoformat(timespec="milliseconds") for t in (start, end))


def test_a_server_that_says_no_is_there(watch: Watch, connection: Answering) -> None:
    connection.error = "permission: no SELECT permission"
    watch.ask([VIEWS])

    assert watch.told()["state"] == "connected"


def test_a_cluster_that_is_lost_for_long_is_looked_for_anew(watch: Watch, connection: Answering) -> None:
    connection.error = "connection: down"
    for _ in range(int(RENEW_SECONDS)):
        with pytest.raises(UnreachableError):
            watch.ask([VIEWS])
        connection.clock.now += 1.0
    assert connection.closed == 0

    with pytest.raises(UnreachableError):
        watch.ask([VIEWS])

    assert connection.closed == 1


@pytest.mark.parametrize(("busy", "rests"), [(0.1, 0.0), (0.5, 2.0), (3.0, 12.0), (9.0, MOST_REST_SECONDS)])
def test_a_slow_server_is_asked_for_a_fifth_of_the_time(
    connection: Answering, busy: float, rests: float
) -> None:
    looker = Looker(TARGET)
    connection.seconds = busy
    data = looker.collect()
    looker.stop()

    assert looker.rest_seconds == rests
    assert part(data, "poll") == {"seconds": 0.0, "queries": 2, "rests_seconds": rests}


def test_a_rest_ends_when_the_server_is_quick_again(connection: Answering) -> None:
    looker = Looker(TARGET)
    connection.seconds = 2.0
    looker.collect()
    connection.seconds = 0.01
    connection.clock.now += 9.0
    looker.collect()
    looker.stop()

    assert looker.rest_seconds == 0.0


def test_without_an_answer_what_was_to_be_told_is_none_with_its_reason(connection: Answering) -> None:
    looker = Looker(TARGET)
    connection.error = "timeout: no answer within 3.0 s"
    data = looker.collect()
    looker.stop()

    assert (data["views"], data["server"]) == (None, None)
    assert part(data, "reasons") == {"views": "a: timeout: no answer within 3.0 s"}


@pytest.mark.parametrize(
    ("text", "points", "port"),
    [
        ("a", ("a",), 9042),
        ("a:1,b:1", ("a", "b"), 1),
        ("::1", ("::1",), 9042),
        ("[::1]:7", ("::1",), 7),
    ],
)
def test_a_target_is_read_and_travels_as_json(text: str, points: tuple[str, ...], port: int) -> None:
    target = Target.parse(text, "source", user="scott", password_variable="P")

    assert (target.contact_points, target.port) == (points, port)
    assert Target.from_fields({**target.fields(), "contact_points": list(points)}) == target
    assert target.variables == ("P",)


def test_a_target_without_what_it_needs_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_PASSWORD", raising=False)
    looker = Looker(Target(("a",), user="scott", password_variable="NO_SUCH_PASSWORD"))

    expected = driver_missing() or "the environment has no variable NO_SUCH_PASSWORD"
    assert looker.probe() == expected
    with pytest.raises(ConfigurationError, match="NO_SUCH_PASSWORD"):
        Target(("a",), user="scott", password_variable="NO_SUCH_PASSWORD").password()
