"""Naming a cluster: what the options and their ini twins come to, and what is refused with which words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_diagnostics.collectors import CASSANDRA_DEFAULT
from pytest_diagnostics.databases import named_cluster, options_for
from pytest_diagnostics.options import OPTIONS
from pytest_diagnostics.session import SESSION

pytest.importorskip("cassandra", exc_type=ImportError)

#: Nobody listens there; nothing below connects.
NAMED = "--diagnostics-cassandra=127.0.2.99:9999"


@pytest.fixture
def secret(inside: pytest.Pytester) -> Path:
    path = inside.path / "secret"
    path.write_text("tiger\n")
    path.chmod(0o600)
    return path


def test_no_option_takes_a_password() -> None:
    assert {option.name for option in OPTIONS if "password" in option.name} == {
        "cassandra-password-variable",
        "cassandra-password-file",
    }


def test_options_say_where_to_connect_and_as_whom(inside: pytest.Pytester, secret: Path) -> None:
    config = inside.parseconfig(
        "--diagnostics-cassandra=db1:9999, db2:9999",
        "--diagnostics-cassandra-user=scott",
        "--diagnostics-cassandra-password-file=secret",
        "--diagnostics-cassandra-datacenter=north",
        "--diagnostics-cassandra-tls=on",
    )

    target = named_cluster(config)

    assert target is not None
    assert (target.contact_points, target.port, target.datacenter) == (("db1", "db2"), 9999, "north")
    assert (target.user, target.password_file, target.tls) == ("scott", str(secret), True)
    password = target.password()
    assert password is not None
    assert (password.reveal(), repr(password)) == ("tiger", "***")


def test_an_option_wins_over_its_ini_key(inside: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "tiger")
    inside.makeini(
        "[pytest]\ndiagnostics_cassandra = 127.0.2.98\ndiagnostics_cassandra_user = scott\n"
        "diagnostics_cassandra_password_variable = DB_PASSWORD\n"
    )

    by_ini, by_flag = named_cluster(inside.parseconfig()), named_cluster(inside.parseconfig(NAMED))

    assert by_ini is not None
    assert by_flag is not None
    assert (by_ini.contact_points, by_ini.port) == (("127.0.2.98",), 9042)
    assert (by_flag.contact_points, by_flag.port) == (("127.0.2.99",), 9999)
    assert by_ini.variables == by_flag.variables == ("DB_PASSWORD",)
    assert "tiger" not in repr(options_for(by_ini))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--diagnostics-cassandra=:9042"], "--diagnostics-cassandra: ':9042' is no HOST or HOST:PORT"),
        (["--diagnostics-cassandra=a:b"], "--diagnostics-cassandra: 'a:b' is no HOST or HOST:PORT"),
        (["--diagnostics-cassandra=,"], "--diagnostics-cassandra: ',' names no host"),
        (["--diagnostics-cassandra=a:1,b:2"], "names several ports"),
        (["--diagnostics-cassandra-user=u"], "--diagnostics-cassandra-user: of which cluster? Give"),
        (
            [NAMED, "--diagnostics-cassandra-user=u"],
            "user 'u' has no password; give --diagnostics-cassandra-",
        ),
        ([NAMED, "--diagnostics-cassandra-password-variable=P"], "a password of nobody; give"),
        (
            [NAMED, "--diagnostics-cassandra-user=u", "--diagnostics-cassandra-password-variable=NOT_SET"],
            "--diagnostics-cassandra-password-variable: the environment has no variable NOT_SET",
        ),
        (
            [NAMED, "--diagnostics-cassandra-user=u", "--diagnostics-cassandra-password-file=open"],
            "can be read by others than its owner; chmod 600 it",
        ),
        (
            [NAMED, "--diagnostics-cassandra-user=u", "--diagnostics-cassandra-password-file=nowhere"],
            "--diagnostics-cassandra-password-file: the password file",
        ),
        (
            [
                NAMED,
                "--diagnostics-cassandra-user=u",
                "--diagnostics-cassandra-password-file=open",
                "--diagnostics-cassandra-password-variable=HOME",
            ],
            "give one of them",
        ),
        ([NAMED, "--diagnostics-cassandra-tls=nowhere"], "--diagnostics-cassandra-tls: TLS cannot be set up"),
        ([NAMED, "--diagnostics-cassandra-certificate=c"], "a certificate is for TLS; give"),
    ],
)
def test_what_cannot_work_is_refused_before_any_test(
    inside: pytest.Pytester, args: list[str], message: str
) -> None:
    (inside.path / "open").write_text("tiger")
    (inside.path / "open").chmod(0o644)
    inside.makepyfile("def test_it(): pass")

    done = inside.runpytest("--diagnostics", *args)

    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: *{message.replace('[', '[[]')}*"])
    done.stdout.no_fnmatch_line("*tiger*")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("", {"cpu", *CASSANDRA_DEFAULT}),
        ("cpu", {"cpu", *CASSANDRA_DEFAULT}),
        ("-cassandra_indexes", {"cpu", "cassandra_views"}),
    ],
)
def test_a_named_cluster_adds_its_collectors_to_those_that_are_chosen(
    inside: pytest.Pytester, chosen: str, expected: set[str]
) -> None:
    config = inside.parseconfigure("--diagnostics", NAMED, f"--diagnostics-collectors={chosen}")

    names = set(config.stash[SESSION].names)

    assert names & {"cpu", "cassandra_views", "cassandra_indexes", "cassandra_consistency"} == expected


def test_options_alone_import_no_driver(inside: pytest.Pytester) -> None:
    inside.makepyfile(
        """
        import sys

        def test_it():
            assert not [name for name in sys.modules if name.partition(".")[0] == "cassandra"]
        """
    )

    # The recorder process imports it; pytest does not.
    done = inside.runpytest_subprocess("--diagnostics", "--diagnostics-report=none", NAMED)

    assert done.ret == pytest.ExitCode.OK


def test_plans_hold_where_a_password_is_and_never_the_password(
    inside: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, secret: Path
) -> None:
    from pytest_diagnostics.recorder.plan import Plan

    monkeypatch.setenv("DB_PASSWORD", "tiger")
    target = named_cluster(
        inside.parseconfig(
            NAMED, "--diagnostics-cassandra-user=u", "--diagnostics-cassandra-password-variable=DB_PASSWORD"
        )
    )
    assert target is not None
    plan = Plan("run", "name", "address", 1, None, ("cassandra_views",), 1.0, options=options_for(target))

    there_and_back = Plan.from_json(plan.to_json())

    assert there_and_back.to_json() == plan.to_json()
    assert "DB_PASSWORD" in plan.to_json()
    assert "tiger" not in plan.to_json()
    assert sys.getsizeof(plan.to_json()) < 4096
