"""The consistency check against real servers: healthy views are left alone, whatever is in them."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_diagnostics import ConfigurationError, UnavailableError, ViewConsistencyCheck
from pytest_diagnostics.collectors import load
from pytest_diagnostics.collectors.cassandra.target import Target
from pytest_diagnostics.fixtures import Diagnostics
from tests.cassandra.busy import BusyTable, until
from tests.cassandra.conftest import Server

if TYPE_CHECKING:
    from cassandra.cluster import Session

BUSY_SECONDS = 30.0


def test_busy_healthy_view_is_never_called_wrong(session: Session, keyspace: str) -> None:
    reports = []
    end = until(BUSY_SECONDS)
    with BusyTable(session, keyspace) as table:
        while time.monotonic() < end:
            for view in ("by_email", "by_large"):
                for sample in (None, 300):
                    reports.append(ViewConsistencyCheck(session, keyspace, view, sample=sample).run())

    assert table.errors == []
    assert table.writes > 1_000
    assert [str(report) for report in reports if not report.is_consistent] == []
    assert all(report.undecided == 0 for report in reports)
    # Rows did change between the reads of the two sides: it is the later looks that cleared them.
    assert sum(report.suspects for report in reports) > 0
    # When nothing is written any more, everything can be judged, and the counts are those of the tables.
    for view in ("by_email", "by_large"):
        report = ViewConsistencyCheck(session, keyspace, view).run()
        report.assert_consistent()
        assert report.unsettled == 0


def test_values_of_every_kind_are_equal_on_both_sides(session: Session, keyspace: str) -> None:
    session.execute(f"CREATE TYPE {keyspace}.point (x int, y decimal)")
    session.execute(
        f"CREATE TABLE {keyspace}.t (id uuid, at timestamp, part text STATIC, who text, n varint, d decimal, "
        f"b blob, f double, day date, tags set<text>, m map<text, int>, l list<int>, p {keyspace}.point, "
        f"q frozen<{keyspace}.point>, address inet, took duration, PRIMARY KEY (id, at)) "
        "WITH CLUSTERING ORDER BY (at DESC)"
    )
    session.execute(
        f"CREATE MATERIALIZED VIEW {keyspace}.v AS SELECT id, at, who, n, d, b, f, day, tags, m, l, p, q, "
        f"address, took FROM {keyspace}.t WHERE who IS NOT NULL AND id IS NOT NULL AND at IS NOT NULL "
        "PRIMARY KEY ((who, at), id)"
    )
    values = (
        "'Ann', -170141183460469231731687303715884105728, 1.00, 0x00ff, NaN, '-5877641-06-23', {'a', 'b'}, "
        "{'k': 1}, [3, 1], {x: 1, y: 2.50}, {x: 1, y: null}, '::1', 12h30m"
    )
    columns = "id, at, who, n, d, b, f, day, tags, m, l, p, q, address, took"
    session.execute(f"INSERT INTO {keyspace}.t ({columns}) VALUES (uuid(), '2026-01-01', {values})")
    session.execute(f"INSERT INTO {keyspace}.t (id, at, who) VALUES (uuid(), '0001-01-01', 'Bob')")
    session.execute(
        f"INSERT INTO {keyspace}.t (id, at, n) VALUES (uuid(), '2026-01-01', 1)"
    )  # not in the view
    session.execute(f"INSERT INTO {keyspace}.t (id, part) VALUES (uuid(), 'a partition without rows')")

    report = ViewConsistencyCheck(session, keyspace, "v").run()

    assert report.is_consistent, str(report)
    assert report.counts["checked"] == 2


def test_where_that_only_the_server_can_judge(session: Session, keyspace: str) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (id int, price decimal, n int, PRIMARY KEY (id, price))")
    session.execute(
        f"CREATE MATERIALIZED VIEW {keyspace}.dear AS SELECT * FROM {keyspace}.t "
        "WHERE price > 9.99 AND id IS NOT NULL PRIMARY KEY (price, id)"
    )
    for number in range(100):
        session.execute(f"INSERT INTO {keyspace}.t (id, price, n) VALUES (%s, %s, 1)", (number, number))

    full = ViewConsistencyCheck(session, keyspace, "dear", settle_seconds=0.05).run()
    sampled = ViewConsistencyCheck(session, keyspace, "dear", sample=50, settle_seconds=0.05).run()

    assert (full.is_consistent, full.undecided, full.counts["checked"]) == (True, 0, 90)
    assert (sampled.is_consistent, sampled.undecided) == (True, 0)


@pytest.mark.parametrize("name", ["MyKS", "select"])
def test_names_that_need_quotes(session: Session, name: str) -> None:
    quoted = f'"{name}"'
    session.execute(
        f"CREATE KEYSPACE {quoted} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    try:
        session.execute(f'CREATE TABLE {quoted}."Table" ("Id" int PRIMARY KEY, "from" text, "my""n" int)')
        session.execute(
            f'CREATE MATERIALIZED VIEW {quoted}."token" AS SELECT * FROM {quoted}."Table" '
            'WHERE "from" IS NOT NULL AND "Id" IS NOT NULL PRIMARY KEY ("from", "Id")'
        )
        session.execute(f'INSERT INTO {quoted}."Table" ("Id", "from", "my""n") VALUES (1, \'a\', 2)')
        report = ViewConsistencyCheck(session, name, "token").run()
    finally:
        session.execute(f"DROP KEYSPACE {quoted}")

    assert report.counts == {"checked": 1, "missing": 0, "ghost": 0, "differs": 0}


def test_nothing_is_left_behind_and_theirs_is_untouched(session: Session, keyspace: str) -> None:
    insert = f"INSERT INTO {keyspace}.t (p, c, kind) VALUES (1, 'c', 'x')"
    BusyTable(session, keyspace).create()
    session.execute(insert)
    threads = set(threading.enumerate())
    handler, profiles = session.client_protocol_handler, dict(session.cluster.profile_manager.profiles)

    ViewConsistencyCheck(session, keyspace, "by_email").run()

    assert session.client_protocol_handler is handler
    assert session.cluster.profile_manager.profiles == profiles
    assert session.execute(f"SELECT c FROM {keyspace}.t").one().c == "c"
    assert {thread.name for thread in set(threading.enumerate()) - threads if not thread.daemon} == set()


def test_view_that_is_not_built_yet_is_said_to_be_so(
    cassandra: Server, session: Session, keyspace: str
) -> None:
    from cassandra.concurrent import execute_concurrent_with_args

    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v int)")
    insert = session.prepare(f"INSERT INTO {keyspace}.t (id, v) VALUES (?, ?)")
    execute_concurrent_with_args(
        session, insert, [(number, number % 100) for number in range(20_000)], concurrency=16
    )
    session.execute(
        f"CREATE MATERIALIZED VIEW {keyspace}.by_v AS SELECT * FROM {keyspace}.t "
        "WHERE v IS NOT NULL AND id IS NOT NULL PRIMARY KEY (v, id)"
    )

    early = ViewConsistencyCheck(session, keyspace, "by_v", sample=100, settle_seconds=0.001).run()

    assert early.not_built_on == tuple(cassandra.addresses)
    end = until(60.0)
    late = early
    while late.not_built_on and time.monotonic() < end:
        late = ViewConsistencyCheck(session, keyspace, "by_v").run()
    assert late.not_built_on == ()
    assert late.is_consistent, str(late)


def test_unknown_names_are_explained(session: Session, keyspace: str) -> None:
    BusyTable(session, keyspace).create()

    with pytest.raises(ConfigurationError, match="there is no keyspace 'Nowhere'"):
        ViewConsistencyCheck(session, "Nowhere", "v").run()
    with pytest.raises(ConfigurationError, match="no materialized view 't'; its views: by_email, by_large"):
        ViewConsistencyCheck(session, keyspace, "t").run()


def test_reads_are_no_faster_than_allowed(session: Session, keyspace: str) -> None:
    BusyTable(session, keyspace).create()
    for number in range(150):
        session.execute(f"INSERT INTO {keyspace}.t (p, c, kind, email) VALUES (%s, 'c', 'x', 'e')", (number,))

    report = ViewConsistencyCheck(session, keyspace, "by_email", rows_per_second=200).run()

    assert report.rows_read == 300
    assert 1.5 <= report.seconds < 10.0


def filled(session: Session, keyspace: str, rows: int, emails: int = 1_000_000) -> None:
    from cassandra.concurrent import execute_concurrent_with_args

    BusyTable(session, keyspace).create()
    insert = session.prepare(f"INSERT INTO {keyspace}.t (p, c, kind, email) VALUES (?, 'c', 'x', ?)")
    execute_concurrent_with_args(
        session, insert, [(n, f"e{n % emails}") for n in range(rows)], concurrency=16
    )


def test_sample_of_more_rows_than_a_page_is_of_the_whole_table(session: Session, keyspace: str) -> None:
    filled(session, keyspace, 5_600)

    some = ViewConsistencyCheck(session, keyspace, "by_email", sample=5_200, max_seconds=None).run()
    all_there_are = ViewConsistencyCheck(session, keyspace, "by_email", sample=6_000, max_seconds=None).run()

    assert some.counts["checked"] == 10_400
    assert some.bound.share > 0.0
    assert all_there_are.counts["checked"] == 5_600
    assert all_there_are.bound.share == 0.0


def test_sample_reads_little_more_than_it_compares(session: Session, keyspace: str) -> None:
    filled(session, keyspace, 1_000)

    report = ViewConsistencyCheck(session, keyspace, "by_email", sample=50).run()
    larger = ViewConsistencyCheck(session, keyspace, "by_email", sample=550).run()

    assert (report.counts["checked"], larger.counts["checked"]) == (100, 1_100)
    # Of each side: whether these are all, two windows and one more if they overlap. Of each row: its twin.
    assert report.rows_read <= 2 * (51 + 3 * 25) + 100
    assert larger.rows_read <= 2 * 551 + 5 * 1_100


def test_sample_of_a_view_of_few_partitions_is_as_large_as_asked_for(session: Session, keyspace: str) -> None:
    filled(session, keyspace, 1_000, emails=2)

    report = ViewConsistencyCheck(session, keyspace, "by_email", sample=300).run()

    assert report.counts["checked"] == 600


def test_sample_keeps_its_time_however_slowly_it_may_read(session: Session, keyspace: str) -> None:
    filled(session, keyspace, 1_000)

    report = ViewConsistencyCheck(
        session, keyspace, "by_email", sample=500, rows_per_second=10, max_seconds=4
    ).run()

    assert report.seconds < 6.0  # four, and what the last answers take on a machine that others use
    assert report.cut_short
    assert 0 < report.counts["checked"] <= report.rows_read <= 10 * (report.seconds + 1.0)


def test_level_is_as_asked_for(session: Session, keyspace: str) -> None:
    BusyTable(session, keyspace).create()
    session.execute(
        f"ALTER KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 3}}"
    )

    with pytest.raises(UnavailableError, match="at QUORUM"):
        ViewConsistencyCheck(session, keyspace, "by_email").run()
    report = ViewConsistencyCheck(session, keyspace, "by_email", consistency="local_one").run()
    assert report.consistency == "LOCAL_ONE"


@pytest.mark.filterwarnings("ignore:Legacy execution parameters:DeprecationWarning")
def test_cluster_with_options_of_the_older_kind(cassandra: Server, keyspace: str) -> None:
    from cassandra.policies import RoundRobinPolicy
    from cassandra.query import dict_factory

    chosen = {"execution_profiles": None, "load_balancing_policy": RoundRobinPolicy()}
    with cassandra.session(**chosen) as session:
        session.row_factory = dict_factory
        BusyTable(session, keyspace).create()
        session.execute(f"INSERT INTO {keyspace}.t (p, c, kind, email) VALUES (1, 'c', 'x', 'e')")

        report = ViewConsistencyCheck(session, keyspace, "by_email").run()
        sampled = ViewConsistencyCheck(session, keyspace, "by_email", sample=10).run()

    assert report.counts == sampled.counts == {"checked": 1, "missing": 0, "ghost": 0, "differs": 0}


def test_collector_takes_the_views_in_turn(cassandra: Server, session: Session, keyspace: str) -> None:
    BusyTable(session, keyspace).create()
    for number in range(150):
        session.execute(
            f"INSERT INTO {keyspace}.t (p, c, kind, email, n) VALUES (%s, 'c', 'x', 'e', 1)", (number,)
        )
    collector = load(
        "cassandra_consistency",
        target=Target(tuple(cassandra.addresses), cassandra.port).fields(),
        views=[f"{keyspace}.by_email", f"{keyspace}.by_large"],
        settle_seconds=0.05,
    )
    assert collector.probe() is None
    collector.start()
    try:
        deadline = until(60.0)
        data: dict[str, Any] = {}
        while len(data.get("views") or ()) < 2 and time.monotonic() < deadline:
            data = cast("dict[str, Any]", collector.collect())
    finally:
        collector.stop()

    views = data["views"]
    assert {view["view"]: view["counts"]["checked"] for view in views} == {"by_email": 150, "by_large": 129}
    assert all(view["is_consistent"] for view in views)
    assert (data["total"], data["left_out"], data["not_checked"]) == (2, 0, {})
    assert data["connection"]["state"] == "connected"
    json.dumps(data, allow_nan=False)


CHECKED = """
    import pytest
    from pytest_diagnostics import ConfigurationError

    def test_consistent(diagnostics):
        report = diagnostics.check_view("{keyspace}.by_email", sample=100)
        report.assert_consistent()
        assert report.counts["checked"] == 1

    def test_unknown(diagnostics):
        with pytest.raises(ConfigurationError, match="has no materialized view 'by_nothing'"):
            diagnostics.check_view("{keyspace}.by_nothing")
"""


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "not recorded"])
def test_fixture_checks_by_the_option(
    cassandra: Server, session: Session, keyspace: str, pytester: pytest.Pytester, recorded: bool
) -> None:
    BusyTable(session, keyspace).create()
    session.execute(f"INSERT INTO {keyspace}.t (p, c, kind, email) VALUES (1, 'c', 'x', 'e')")
    pytester.makepyfile(CHECKED.format(keyspace=keyspace))
    options = ["--diagnostics"] if recorded else []

    result = pytester.runpytest_subprocess(
        *options, f"--diagnostics-cassandra={','.join(cassandra.addresses)}:{cassandra.port}"
    )

    result.assert_outcomes(passed=2)


def test_fixture_checks_by_a_session_of_the_test(
    cassandra: Server, session: Session, keyspace: str, diagnostics: Diagnostics
) -> None:
    BusyTable(session, keyspace).create()

    report = diagnostics.check_view(f"{keyspace}.by_large", session=session)

    assert report.counts["checked"] == 0
    with pytest.raises(pytest.UsageError, match="of which cluster"):
        diagnostics.check_view(f"{keyspace}.by_large")
