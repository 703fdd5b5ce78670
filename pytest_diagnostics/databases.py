"""Which database is watched, and as whom: from options, ini keys and the hook that gives a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .collectors import CASSANDRA, CASSANDRA_DEFAULT, load
from .core.errors import ConfigurationError
from .options import OPTIONS
from .settings import value_of

if TYPE_CHECKING:
    from .collectors.cassandra.target import Target
    from .core.collector import DiagnosticCollector

_OPTIONS = {option.name: option for option in OPTIONS if option.name.startswith("cassandra")}
_PREFIX = "--diagnostics-"


def named_cluster(config: pytest.Config) -> Target | None:
    """Return the cluster that options name; raises ``pytest.UsageError`` for what the user has to mend."""
    values = {name: value_of(config, option) for name, option in _OPTIONS.items()}
    hosts, source = values.pop("cassandra")
    if not hosts:
        given = [source for _, source in values.values() if source.startswith("--")]
        if given:
            raise pytest.UsageError(f"{given[0]}: of which cluster? Give {_PREFIX}cassandra=HOST[:PORT],...")
        return None
    from .collectors.cassandra.target import Target, driver_missing

    missing = driver_missing()
    if missing is not None and source.startswith("--"):
        raise pytest.UsageError(f"{source}: {missing}")
    text = {name: str(value) for name, (value, _) in values.items()}
    tls = text["cassandra-tls"]
    try:
        target = Target.parse(
            str(hosts),
            source,
            user=text["cassandra-user"],
            password_variable=text["cassandra-password-variable"],
            password_file=_file(config, *values["cassandra-password-file"]),
            datacenter=text["cassandra-datacenter"],
            tls=tls != "off",
            tls_authority="" if tls in ("off", "on") else _file(config, *values["cassandra-tls"]),
            tls_certificate=_file(config, *values["cassandra-certificate"]),
        )
    except ConfigurationError as exc:
        raise pytest.UsageError(str(exc)) from exc
    if not hasattr(config, "workerinput"):
        _try_out(target, values)
    return target


def options_for(target: Target) -> dict[str, dict[str, object]]:
    """Return what the collectors of a cluster are made with, by their names."""
    return {name: {"target": target.fields()} for name in CASSANDRA}


def of_session(config: pytest.Config) -> list[DiagnosticCollector]:
    """Return collectors for the session that a plugin gives; none when none does."""
    session = config.hook.pytest_diagnostics_cassandra_session(config=config)
    if session is None:
        return []
    return [load(name, session=session) for name in CASSANDRA_DEFAULT]


@contextmanager
def live_session(config: pytest.Config) -> Iterator[object]:
    """Give the session of a plugin, or one of our own to the cluster that options name, for a while.

    Raises ``pytest.UsageError`` where there is neither, and what ``Connection.open`` raises.
    """
    given = config.hook.pytest_diagnostics_cassandra_session(config=config)
    if given is not None:
        yield given
        return
    target = named_cluster(config)
    if target is None:
        raise pytest.UsageError(
            f"of which cluster? Give session=, {_PREFIX}cassandra=HOST[:PORT],... or the hook "
            "pytest_diagnostics_cassandra_session"
        )
    from .collectors.cassandra.connection import Connection

    connection = Connection(target)
    connection.open()
    try:
        yield connection.session
    finally:
        connection.close()


def _try_out(target: Target, values: dict[str, tuple[object, str]]) -> None:
    """Find out whether we could log in, as far as that can be known here."""
    password = [values[f"cassandra-password-{where}"] for where in ("variable", "file")]
    if all(value for value, _ in password):
        raise pytest.UsageError(f"{password[0][1]}, {password[1][1]}: give one of them")
    named = next((source for value, source in password if value), "")
    user, source = values["cassandra-user"]
    if user and not named:
        raise pytest.UsageError(
            f"{source}: user {user!r} has no password; give {_PREFIX}cassandra-password-variable=NAME "
            f"or {_PREFIX}cassandra-password-file=PATH"
        )
    if named and not user:
        raise pytest.UsageError(f"{named}: a password of nobody; give {_PREFIX}cassandra-user=NAME, too")
    certificate, where = values["cassandra-certificate"]
    if certificate and not target.tls:
        raise pytest.UsageError(f"{where}: a certificate is for TLS; give {_PREFIX}cassandra-tls=on, too")
    try:
        target.password()
    except ConfigurationError as exc:
        raise pytest.UsageError(f"{named}: {exc}") from exc
    try:
        if target.tls:
            target.tls_context()
    except ConfigurationError as exc:
        raise pytest.UsageError(f"{values['cassandra-tls'][1]}: {exc}") from exc


def _file(config: pytest.Config, value: object, source: str) -> str:
    """Return an absolute path: the recorder process works in another directory."""
    if not value:
        return ""
    base = config.invocation_params.dir if source.startswith("--") else config.rootpath
    return str((base / Path(str(value)).expanduser()).absolute())
