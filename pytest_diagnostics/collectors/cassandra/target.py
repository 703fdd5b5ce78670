"""Which database is watched, and as whom: no secret is part of it, only where one is found."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

DEFAULT_PORT = 9042


def driver_missing() -> str | None:
    """Return what to install when there is no driver; imports nothing of it."""
    # The driver's package has a file; a folder of tests that is called so has none.
    spec = importlib.util.find_spec("cassandra")
    if spec is None or spec.origin is None:
        return "watching Cassandra or ScyllaDB needs their driver: pip install cassandra-driver"
    return None


class Secret:
    """A text that no repr, log or record shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


@dataclass(frozen=True)
class Target:
    """A cluster and the account that reads it."""

    contact_points: tuple[str, ...]
    port: int = DEFAULT_PORT
    #: The nodes of this datacenter are asked; empty: all nodes.
    datacenter: str = ""
    user: str = ""
    #: The name of the environment variable that holds the password.
    password_variable: str = ""
    #: A file that holds it, readable by its owner alone.
    password_file: str = ""
    tls: bool = False
    #: The authority that signed the server's certificate; empty: those that the system trusts.
    tls_authority: str = ""
    #: A client's certificate with its key, where the server wants one.
    tls_certificate: str = ""

    @classmethod
    def parse(cls, text: str, source: str, **others: object) -> Target:
        """Return the target of ``HOST[:PORT],...``; raises ConfigurationError that names ``source``."""
        points, ports = [], set()
        for word in filter(None, (part.strip() for part in text.split(","))):
            host, port = _host_and_port(word, source)
            points.append(host)
            ports.add(port)
        if not points:
            raise ConfigurationError(f"{source}: {text!r} names no host; give HOST[:PORT],...")
        if len(ports) > 1:
            raise ConfigurationError(
                f"{source}: {text!r} names several ports; the nodes of one cluster share one"
            )
        return cls(tuple(points), ports.pop(), **others)  # type: ignore[arg-type] # of the options' table

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> Target:
        """Return the target of what ``fields`` returned, which may have travelled as JSON."""
        points = fields["contact_points"]
        if not isinstance(points, (list, tuple)):
            raise ConfigurationError(f"contact_points is {points!r}; give a list of hosts")
        return cls(**{**fields, "contact_points": tuple(points)})  # type: ignore[arg-type] # ours, by asdict

    def fields(self) -> dict[str, object]:
        """Return the target as JSON can say it."""
        return asdict(self)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the environment's variables that a process needs to log in."""
        return (self.password_variable,) if self.password_variable else ()

    def password(self) -> Secret | None:
        """Read the password; None without a user. Raises ConfigurationError with the remedy."""
        if not self.user:
            return None
        if self.password_file:
            return Secret(_read_private(self.password_file))
        if not self.password_variable:
            raise ConfigurationError(
                f"user {self.user!r} has no password: name an environment variable or a file that holds it"
            )
        text = os.environ.get(self.password_variable)
        if text is None:
            raise ConfigurationError(f"the environment has no variable {self.password_variable}")
        return Secret(text)

    def tls_context(self) -> ssl.SSLContext:
        """Return how to speak TLS; raises ConfigurationError when its files cannot be used."""
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.tls_authority or None)
            # Nodes are known by their addresses, certificates by names: what is checked is who signed them.
            context.check_hostname = False
            if self.tls_certificate:
                context.load_cert_chain(self.tls_certificate)
        except (OSError, ValueError) as exc:
            raise ConfigurationError(f"TLS cannot be set up: {exc}") from exc
        return context

    def __str__(self) -> str:
        return f"{', '.join(self.contact_points)} port {self.port}"


def refuse_no_session(session: object) -> None:
    """Raise ConfigurationError for what cannot be a live session of the driver, such as a Cluster."""
    if not hasattr(session, "cluster"):
        raise ConfigurationError(
            f"{type(session).__name__!r} is no session of the driver; give what Cluster.connect() returns"
        )


def _host_and_port(word: str, source: str) -> tuple[str, int]:
    if word.startswith("["):  # an IPv6 address with a port
        host, _, rest = word[1:].partition("]")
        port = rest.removeprefix(":")
    elif word.count(":") > 1:
        host, port = word, ""
    else:
        host, _, port = word.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise ConfigurationError(f"{source}: {word!r} is no HOST or HOST:PORT")
    return host, int(port) if port else DEFAULT_PORT


def _read_private(path: str) -> str:
    try:
        mode = Path(path).stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigurationError(f"{path} can be read by others than its owner; chmod 600 it")
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"the password file {path} cannot be read: {exc}") from exc
