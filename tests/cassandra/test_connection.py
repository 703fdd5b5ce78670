"""The way to a real cluster: what is asked and how often, whose session it is, nodes that go and return."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_diagnostics.collectors.cassandra import connection as connecting
from pytest_diagnostics.collectors.cassandra.connection import CLOSE_SECONDS, Connection, RefusedError
from pytest_diagnostics.collectors.cassandra.polling import REQUEST_SECONDS
from pytest_diagnostics.collectors.cassandra.queries import Answers, Query
from pytest_diagnostics.collectors.cassandra.target import Target
from pytest_diagnostics.collectors.cassandra.watch import CassandraCollector
from tests.cassandra.conftest import Server
from tests.cassandra.launcher import Cluster

pytest.importorskip("cassandra", exc_type=ImportError)

VIEWS = Query("views", "system_schema", "views", ("keyspace_name", "view_name"), node_local=False)
BUILT = Query("built", "system", "built_views", ("keyspace_name", "view_name"))
TASKS = Query("tasks", "system_views", "sstable_tasks")
CLIENTS = Query("clients", "system_views", "clients")
COLUMNS = Query("columns", "system_schema", "columns", ("table_name",), node_local=False)
GONE = Query("gone", "system", "never_was")


class Looker(CassandraCollector):
    """The smallest collector of a cluster."""

    default_name = "looker"
    queries = (VIEWS, BUILT, TASKS)
    topics = ("views",)

    def read(self, answers: Answers) -> dict[str, object]:
        reply = answers.anyone("views")
        return {"views": None if reply is None or reply.rows is None else len(reply.rows)}


def target_of(cassandra: Server, **more: object) -> Target:
    return Target(tuple(cassandra.addresses), cassandra.port, **more)  # type: ignore[arg-type] # by name


@pytest.fixture
def connection(cassandra: Server) -> Iterator[Connection]:
    connection = Connection(target_of(cassandra))
    yield connection
    connection.close()


def rows(answers: Answers, topic: str) -> list[dict[str, object]]:
    reply = answers.anyone(topic)
    assert reply is not None
    assert reply.rows is not None, reply.reason
    return [dict(row) for row in reply.rows]


def state_of(data: dict[str, object]) -> object:
    connection = data["connection"]
    assert isinstance(connection, dict)
    return connection["state"]


# -- asking


def test_rows_nothing_offered_and_an_error_are_three_things(connection: Connection) -> None:
    failing = Query("failing", "system", "built_views", where="no_such_column = 1")
    answers = connection.ask([TASKS, GONE, failing])

    (node,) = answers.nodes
    tasks, gone, failed = (answers.reply(topic, node.address) for topic in ("tasks", "gone", "failing"))
    assert tasks is not None
    assert gone is not None
    assert failed is not None
    assert (isinstance(tasks.rows, list), tasks.reason) == (True, None)
    assert (gone.rows, gone.error) == (None, None)
    assert gone.unavailable == "this version has no table system.never_was"
    assert (failed.rows, failed.unavailable) == (None, None)
    assert "no_such_column" in str(failed.error)
    assert node.is_up
    assert answers.catalogs[node.address].is_scylla is False
    assert answers.ring.tokens


# Cassandra takes letters, digits and _ only, in quotes too; what else a name may hold is tested without it.
@pytest.mark.parametrize("name", ["MyKS", "select"])
def test_keyspaces_may_be_named_as_they_like(cassandra: Server, connection: Connection, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        with cassandra.session() as session:
            session.execute(
                f"CREATE KEYSPACE {quoted} "
                "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
            )
            session.execute(f'CREATE TABLE {quoted}."from" (a int PRIMARY KEY, b int)')
            session.execute(
                f'CREATE MATERIALIZED VIEW {quoted}."where" AS SELECT * FROM {quoted}."from" '
                "WHERE a IS NOT NULL AND b IS NOT NULL PRIMARY KEY (b, a)"
            )
        of_it = Query(
            "of_it",
            "system_schema",
            "views",
            where="keyspace_name = %s",
            parameters=(name,),
            node_local=False,
        )
        answers = connection.ask([VIEWS, of_it])
    finally:
        with cassandra.session() as session:
            session.execute(f"DROP KEYSPACE IF EXISTS {quoted}")

    assert {"keyspace_name": name, "view_name": "where"} in rows(answers, "views")
    assert [row["view_name"] for row in rows(answers, "of_it")] == ["where"]
    reply = answers.anyone("of_it")
    assert reply is not None
    assert reply.query.endswith(f"WHERE keyspace_name = '{name}'")
    assert set(answers.ring.replicas[name][0]) == {answers.nodes[0].host_id}


def test_pages_are_fetched_up_to_the_cap(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "FETCH_ROWS", 10)
    capped = Query("capped", "system_schema", "columns", ("table_name",), node_local=False, most_rows=25)
    answers = connection.ask([capped, COLUMNS])

    cut, whole = answers.anyone("capped"), answers.anyone("columns")
    assert cut is not None
    assert whole is not None
    assert (len(cut.rows or ()), cut.truncated, whole.truncated) == (25, True, False)
    assert len(whole.rows or ()) > 200
    assert (whole.rows or [])[:25] == cut.rows


def test_the_server_sees_one_connection_and_the_drivers_own(
    cassandra: Server, connection: Connection
) -> None:
    before = len(rows(connection.ask([CLIENTS]), "clients"))
    another = Connection(target_of(cassandra))
    another.ask([VIEWS, CLIENTS, TASKS, BUILT])
    after = len(rows(another.ask([CLIENTS]), "clients"))
    another.close()

    assert after - before == 2


def test_what_was_asked_is_counted_and_two_collectors_ask_once(cassandra: Server) -> None:
    one, two = Looker(target_of(cassandra)), Looker(target_of(cassandra), name="two")
    one.start()
    two.start()
    await_state(one, "connected", 30)
    time.sleep(0.3)
    first, second = one.collect(), two.collect()
    one.stop()
    two.stop()

    polls = [data["poll"] for data in (first, second)]
    assert [poll["queries"] for poll in polls if isinstance(poll, dict)] == [4, 0]
    assert first["views"] == second["views"] is not None
    assert (one.as_of, two.as_of) == (one.as_of, one.as_of)


# -- a session of the user's


@pytest.mark.filterwarnings("ignore:Legacy execution parameters:DeprecationWarning")
@pytest.mark.parametrize("kind", ["profiles", "legacy", "named tuples", "lists of tuples"])
def test_a_session_of_the_users_stays_as_it_is(cassandra: Server, kind: str) -> None:
    from cassandra.policies import RoundRobinPolicy
    from cassandra.query import dict_factory, named_tuple_factory, tuple_factory

    factories = {
        "named tuples": named_tuple_factory,
        "lists of tuples": tuple_factory,
        "legacy": dict_factory,
    }
    legacy = {"execution_profiles": None, "load_balancing_policy": RoundRobinPolicy()}
    options = {} if kind == "profiles" else legacy
    with cassandra.session(**options) as session:
        if kind in factories:
            session.row_factory = factories[kind]
        before = (session.keyspace, session.execute("SELECT key FROM system.local").one())
        connection = Connection(session=session)
        answers = connection.ask([BUILT, COLUMNS])
        connection.close()
        after = (session.keyspace, session.execute("SELECT key FROM system.local").one())

    assert len(rows(answers, "columns")) > 200
    assert set(rows(answers, "columns")[0]) == {"table_name"}
    assert (before, type(before[1]).__name__) == (after, type(after[1]).__name__)


def test_a_session_that_the_user_has_closed_is_data(cassandra: Server) -> None:
    with cassandra.session() as session:
        looker = Looker(session=session)
        looker.start()
        assert state_of(looker.collect()) == "connected"
    time.sleep(0.3)
    data = looker.collect()
    looker.stop()

    assert (state_of(data), data["views"]) == ("unreachable", None)


# -- nodes that go and return


@pytest.mark.parametrize("cassandra", [{"version": "5.0.8"}], indirect=True)
def test_a_node_that_hangs_dies_and_returns_is_told_with_its_outages(cassandra: Cluster) -> None:
    (node,) = cassandra.nodes
    looker = Looker(target_of(cassandra))
    looker.start()
    await_state(looker, "connected", 30)
    time.sleep(0.3)

    node.suspend()
    began = time.monotonic()
    hanging = looker.collect()
    first_took = time.monotonic() - began
    began = time.monotonic()
    still = looker.collect()
    second_took = time.monotonic() - began
    node.resume()
    back = await_state(looker, "connected", 30)
    node.kill()
    gone = await_state(looker, "unreachable", 10)
    node.start()
    again = await_state(looker, "connected", 60)
    began = time.monotonic()
    node.suspend()
    looker.stop()
    stopped = time.monotonic() - began

    assert (hanging["views"], still["views"], gone["views"]) == (None, None, None)
    assert first_took < REQUEST_SECONDS + 1.0
    assert second_took < 0.5
    assert stopped < CLOSE_SECONDS + 1.0
    assert "no answer within" in str(hanging["reasons"])
    assert "not answered" in str(still["reasons"])
    assert isinstance(back["views"], int)
    connection = again["connection"]
    assert isinstance(connection, dict)
    assert [outage["to"] is not None for outage in connection["outages"]] == [True, True]
    assert all(outage["from"] < outage["to"] for outage in connection["outages"])


def await_state(looker: Looker, state: str, seconds: float) -> dict[str, object]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = looker.collect()
        if state_of(data) == state:
            return data
        time.sleep(0.3)
    raise AssertionError(f"not {state} within {seconds} s, but {data['connection']}")


# -- users

AUTHENTICATING = {
    "version": "5.0.8",
    "config": {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"},
}


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize("cassandra", [AUTHENTICATING], indirect=True)
def test_a_wrong_password_is_sent_once_and_the_right_one_works(
    cassandra: Cluster, password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cassandra.auth import PlainTextAuthenticator

    sent: list[object] = []
    respond = PlainTextAuthenticator.evaluate_challenge

    def counting(self: PlainTextAuthenticator, challenge: bytes) -> bytes:
        sent.append(self)
        return bytes(respond(self, challenge))

    monkeypatch.setattr(PlainTextAuthenticator, "evaluate_challenge", counting)
    password_file.write_text("wrong\n")
    # The same node under two names.
    points = (cassandra.addresses[0], "127.0.0.1")
    refused = Connection(Target(points, cassandra.port, user="cassandra", password_file=str(password_file)))
    for _ in range(3):
        with pytest.raises(RefusedError, match="refuses user 'cassandra'"):
            refused.ask([VIEWS])
    assert len(sent) == 1

    password_file.write_text("cassandra\n")
    accepted = Connection(target_of(cassandra, user="cassandra", password_file=str(password_file)))
    rows(accepted.ask([VIEWS]), "views")
    accepted.close()


@pytest.mark.parametrize("cassandra", [AUTHENTICATING], indirect=True)
def test_without_a_user_a_server_that_wants_one_refuses(cassandra: Cluster) -> None:
    looker = Looker(target_of(cassandra))
    looker.start()
    refused = await_state(looker, "refused", 30)
    again = looker.collect()
    looker.stop()

    assert state_of(again) == "refused"
    assert "requires authentication" in str(refused["reasons"])


@pytest.mark.parametrize("cassandra", [AUTHENTICATING], indirect=True)
def test_what_a_user_may_not_read_is_said_and_the_rest_is_read(
    cassandra: Cluster, password_file: Path
) -> None:
    from cassandra.auth import PlainTextAuthProvider

    password_file.write_text("tiger")
    with cassandra.session(auth_provider=PlainTextAuthProvider("cassandra", "cassandra")) as session:
        session.execute("CREATE ROLE IF NOT EXISTS scott WITH PASSWORD = 'tiger' AND LOGIN = true")
    connection = Connection(target_of(cassandra, user="scott", password_file=str(password_file)))
    answers = connection.ask([VIEWS, BUILT, TASKS])
    connection.close()

    (node,) = answers.nodes
    built = answers.reply("built", node.address)
    assert built is not None
    assert (built.rows, built.unavailable) == (None, None)
    assert str(built.error).startswith("permission: ")
    assert rows(answers, "views") == []
