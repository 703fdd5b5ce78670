"""Who is asked what, with nodes that answer, refuse or say nothing: no driver, no server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from pytest_diagnostics.collectors.cassandra.polling import Poller
from pytest_diagnostics.collectors.cassandra.queries import Answers, Node, Query, Ring, Row
from pytest_diagnostics.core.clock import SystemClock

BUILT = Query("built", "system", "built_views", ("keyspace_name", "view_name"))
TASKS = Query("tasks", "system_views", "sstable_tasks", needed=("kind",))
STATUS = Query("status", "system_distributed", "view_build_status", node_local=False)
#: What a node offers, as system_schema.columns tells it.
COLUMNS = [
    {"keyspace_name": "system", "table_name": "built_views", "column_name": "view_name"},
    {"keyspace_name": "system_distributed", "table_name": "view_build_status", "column_name": "status"},
]
VIRTUAL = [{"keyspace_name": "system_views", "table_name": "sstable_tasks", "column_name": "kind"}]


#: The driver's exceptions are known by their names.
Unauthorized = type("Unauthorized", (Exception,), {})
InvalidRequest = type("InvalidRequest", (Exception,), {})


@dataclass
class Told:
    """An answer on its way: it is there, or it comes when ``there`` is set."""

    rows: list[Row] = field(default_factory=list)
    error: BaseException | None = None
    truncated: bool = False
    there: bool = True
    given_up: bool = False

    def wait(self, timeout: float) -> bool:
        assert timeout >= 0
        return self.there

    def give_up(self) -> None:
        self.given_up = True


class Nodes:
    """A wire to nodes that answer as a test says."""

    def __init__(self, *addresses: str, factor: int = 0) -> None:
        self.known = [Node(address, f"id-{address}", True, "5.0.8", "dc1") for address in addresses]
        self.sent: list[tuple[str, str, str]] = []
        self.factor = factor
        self.answer: Callable[[str, str, str], Told] = lambda _address, _cql, _level: Told()

    def nodes(self) -> list[Node]:
        return list(self.known)

    def ring(self, keyspaces: Sequence[Row]) -> Ring:
        assert isinstance(keyspaces, list)
        return Ring(factors={"system_distributed": self.factor})

    def send(self, address: str, cql: str, level: str, most_rows: int) -> Told:
        assert most_rows > 0
        self.sent.append((address, cql, level))
        if '"system_schema"."columns"' in cql:
            return Told(list(COLUMNS))
        if '"system_virtual_schema"."columns"' in cql:
            return Told(list(VIRTUAL))
        return self.answer(address, cql, level)

    def asked(self, word: str) -> list[str]:
        """Return who was asked something with this word."""
        return [address for address, cql, _ in self.sent if word in cql]


def poll(wire: Nodes, *queries: Query) -> Answers:
    return Poller(wire, SystemClock()).poll(queries)


def errors(answers: Answers, topic: str) -> dict[str, str | None]:
    return {address: reply.error for address, reply in answers.replies[topic].items()}


def test_what_a_node_does_not_offer_is_not_asked_and_is_no_error() -> None:
    wire = Nodes("a")
    answers = poll(wire, BUILT, Query("gone", "system", "no_such_table"), TASKS)

    built, gone = answers.reply("built", "a"), answers.reply("gone", "a")
    assert built is not None
    assert gone is not None
    assert (built.rows, built.reason) == ([], None)
    assert (gone.rows, gone.unavailable, gone.error) == (
        None,
        "this version has no table system.no_such_table",
        None,
    )
    assert wire.asked("no_such_table") == []
    assert built.query == 'SELECT "view_name" FROM "system"."built_views"'  # the columns that there are


def test_tables_are_learned_once_and_anew_when_a_node_was_away_or_has_another_version() -> None:
    wire = Nodes("a", "b")
    poller = Poller(wire, SystemClock())
    poller.poll([BUILT])
    poller.poll([BUILT])
    assert wire.asked('"system_schema"."columns"') == ["a", "b"]

    a, b = wire.known
    wire.known = [Node("a", "id-a", False, "5.0.8", "dc1"), b]
    poller.poll([BUILT])
    wire.known = [a, Node("b", "id-b", True, "6.0", "dc1")]
    poller.poll([BUILT])

    assert wire.asked('"system_schema"."columns"') == ["a", "b", "a", "b"]


def test_a_silent_node_is_asked_one_thing_until_it_answers_and_the_others_go_on() -> None:
    silent = Told(there=False)
    wire = Nodes("a", "b")
    wire.answer = lambda address, cql, _level: silent if address == "b" and "built" in cql else Told()
    poller = Poller(wire, SystemClock())

    first = poller.poll([BUILT, TASKS])
    second = poller.poll([BUILT, TASKS])

    assert errors(first, "built")["b"] == "timeout: no answer within 0.0 s"
    assert errors(first, "tasks") == {
        "a": None,
        "b": "timeout: not asked, as it has not answered 'built' yet",
    }
    assert errors(second, "built")["b"] == "timeout: not asked, as it has not answered 'built' yet"
    assert (wire.asked("built"), wire.asked("tasks")) == (["a", "b", "a"], ["a", "a"])
    assert silent.given_up

    silent.there = True
    wire.answer = lambda _address, _cql, _level: Told()
    assert errors(poller.poll([BUILT]), "built") == {"a": None, "b": None}


def test_no_node_has_ever_two_statements_to_answer() -> None:
    wire = Nodes("a", "b")
    open_now: dict[str, Told] = {}

    def answer(address: str, _cql: str, _level: str) -> Told:
        assert address not in open_now or open_now[address].there
        open_now[address] = Told(there=len(wire.sent) % 3 != 0)
        return open_now[address]

    wire.answer = answer
    poller = Poller(wire, SystemClock())
    for _ in range(20):
        poller.poll([BUILT, TASKS, STATUS])
        for told in open_now.values():
            told.there = True

    assert len(wire.sent) > 60


def test_a_replicated_table_is_read_at_a_quorum_where_there_can_be_one() -> None:
    wire = Nodes("a", "b", "c", factor=3)
    reply = poll(wire, STATUS).anyone("status")

    assert reply is not None
    assert reply.consistency == "QUORUM"


def test_a_quorum_that_cannot_be_is_not_asked_for_and_the_level_says_why() -> None:
    wire = Nodes("a", factor=3)
    reply = poll(wire, STATUS).anyone("status")

    assert reply is not None
    assert reply.consistency == "ONE (a quorum of 3 copies needs 2 nodes, 1 are up)"
    assert "QUORUM" not in {level for _, _, level in wire.sent}


def test_a_quorum_that_is_refused_is_read_at_one_and_says_so() -> None:
    wire = Nodes("a", "b", factor=2)
    wire.answer = lambda _address, _cql, level: (
        Told(error=ConnectionError("too few replicas")) if level == "QUORUM" else Told()
    )
    reply = poll(wire, STATUS).anyone("status")

    assert reply is not None
    assert reply.consistency == "ONE (QUORUM could not be had: connection: too few replicas)"


def test_what_may_not_be_read_is_asked_of_no_other_node() -> None:
    wire = Nodes("a", "b", factor=0)
    wire.answer = lambda _address, cql, _level: Told(
        error=Unauthorized("no SELECT") if "status" in cql else None
    )
    reply = poll(wire, STATUS).anyone("status")

    assert reply is not None
    assert reply.error == "permission: no SELECT"
    assert wire.asked("view_build_status") == ["a"]


def test_a_server_without_virtual_tables_is_asked_what_it_has() -> None:
    wire = Nodes("a")
    send = wire.send

    def refusing(address: str, cql: str, level: str, most_rows: int) -> Told:
        if "system_virtual_schema" in cql:
            return Told(error=InvalidRequest("Keyspace system_virtual_schema does not exist"))
        return send(address, cql, level, most_rows)

    wire.send = refusing  # type: ignore[method-assign] # this one node
    answers = poll(wire, BUILT, TASKS)

    assert errors(answers, "built") == {"a": None}
    tasks = answers.reply("tasks", "a")
    assert tasks is not None
    assert tasks.unavailable == "this version has no table system_views.sstable_tasks"


def test_a_node_whose_tables_could_not_be_read_says_so_and_is_asked_again() -> None:
    wire = Nodes("a")
    unreadable = Told(error=ConnectionError("gone"))
    send = wire.send
    wire.send = lambda address, cql, level, most_rows: (  # type: ignore[method-assign] # this one node
        unreadable if '"system_schema"."columns"' in cql else send(address, cql, level, most_rows)
    )
    poller = Poller(wire, SystemClock())
    assert errors(poller.poll([BUILT]), "built") == {
        "a": "connection: which tables it has could not be read: gone"
    }

    wire.send = send  # type: ignore[method-assign] # it is back
    assert errors(poller.poll([BUILT]), "built") == {"a": None}


def test_a_cluster_without_a_known_node_is_an_error_and_not_nothing() -> None:
    reply = poll(Nodes(), STATUS).anyone("status")

    assert reply is not None
    assert (reply.rows, reply.error) == (None, "connection: no node is known")


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        (('My"KS',), "'My\"KS'"),
        (("it's",), "'it''s'"),
        ((("select", "b"),), "('select', 'b')"),
        ((7,), "7"),
        ((True,), "true"),
    ],
)
def test_parameters_stand_in_their_places_in_what_is_sent(parameters: tuple[object, ...], where: str) -> None:
    query = Query("built", "system", "built_views", where="keyspace_name = %s", parameters=parameters)
    wire = Nodes("a")
    reply = poll(wire, query).reply("built", "a")

    assert reply is not None
    assert reply.query.endswith(f"WHERE keyspace_name = {where}")
    assert wire.sent[-1][1] == reply.query
