"""The only place that talks to the driver of Cassandra, or of ScyllaDB: both are named ``cassandra``.

It is imported when a connection is made, never before: whoever watches no database does not pay for it.
Nothing here waits for a server longer than its timeout says.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from ...core.clock import Pid, SystemClock
from ...core.errors import ConfigurationError, UnavailableError
from ...core.threads import start_thread
from .levels import factor, told
from .login import Login, Provider, refusal
from .polling import REQUEST_SECONDS, Poller
from .queries import Answers, Node, Query, Ring, Row
from .quiet import Quiet
from .target import Target, refuse_no_session

if TYPE_CHECKING:
    from cassandra.cluster import Cluster, ExecutionProfile, ResponseFuture, Session
    from cassandra.metadata import TokenMap
    from cassandra.policies import RetryPolicy

CONNECT_SECONDS = 3.0
#: The driver's own patience with a statement. We wait shorter, and ask a node nothing more meanwhile.
DRIVER_SECONDS = 30.0
#: How long a shutdown of the driver, which may talk to a server that hangs, is waited for.
CLOSE_SECONDS = 2.0
#: The longest pause of the driver between two tries to reach a node that was lost.
RECONNECT_SECONDS = 10.0
FETCH_ROWS = 1000
APPLICATION = "pytest-diagnostics"


class UnreachableError(UnavailableError):
    """Nobody answers at the contact points; the message says how each refused."""


class RefusedError(UnavailableError):
    """The server answers, but not to this user: trying again does not help, and may lock the account."""


class _Pending:
    """One statement on its way to one node; its pages come one after another."""

    def __init__(self, most_rows: int) -> None:
        self.rows: list[Row] = []
        self.error: BaseException | None = None
        self.truncated = False
        self._most_rows = most_rows
        self._done = threading.Event()
        self._given_up = False

    def wait(self, timeout: float) -> bool:
        """Wait for the last page."""
        return self._done.wait(timeout)

    def give_up(self) -> None:
        """Fetch no further pages."""
        self._given_up = True

    def page(self, rows: object, future: ResponseFuture) -> None:
        """Take a page, and fetch the next one unless there are enough rows; in the driver's thread."""
        try:
            self.rows.extend(_dicts(rows, future))
            if future.has_more_pages and len(self.rows) < self._most_rows and not self._given_up:
                future.start_fetching_next_page()
                return
        except Exception as exc:  # noqa: BLE001 - the driver would only log it
            self.failed(exc)
            return
        self.truncated = bool(future.has_more_pages) or len(self.rows) > self._most_rows
        del self.rows[self._most_rows :]
        self._done.set()

    def failed(self, exc: BaseException) -> None:
        """Take an error instead of rows; in the driver's thread."""
        self.error = exc
        self._done.set()


class Connection:
    """One session with every node of one cluster: a cluster object of its own, or a session that was given.

    ``ask`` is for one thread at a time. No node is ever asked two things at once: one that has not answered
    yet is not asked again.
    """

    def __init__(self, target: Target | None = None, session: object | None = None) -> None:
        """Remember where to connect, or whose session to use; nothing is opened yet."""
        if (target is None) == (session is None):
            raise ConfigurationError("give a target or a session, one of them")
        if session is not None:
            refuse_no_session(session)
        self.target = target
        self._given = cast("Session | None", session)
        self._session = self._given
        self._cluster: Cluster | None = self._given.cluster if self._given is not None else None
        self._pid = Pid.current()
        self._poller = Poller(self, SystemClock())
        self._lock = threading.Lock()
        self._quiet = Quiet()
        self._refused: RefusedError | None = None
        #: Whether the given session's cluster was made without execution profiles.
        self._legacy = False
        self._profile: ExecutionProfile | None = None
        self._retries: RetryPolicy | None = None
        #: What the ring was computed from, and the ring.
        self._ring: tuple[TokenMap, list[Row], Ring] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a session to ask through, in this process."""
        return self._session is not None and self._pid == Pid.current()

    @property
    def session(self) -> object | None:
        """The session, for what needs one of the driver's; None without a connection."""
        return self._session if self.is_open else None

    def open(self) -> None:
        """Connect. Raises UnreachableError, RefusedError or ConfigurationError, and leaves nothing behind."""
        if self._refused is not None:
            raise self._refused
        if self._pid != Pid.current():
            self.after_fork_in_child()
        if self._session is not None:
            return
        if self.target is None:
            raise UnreachableError("the session belongs to the process that forked this one")
        cluster: Cluster | None = None
        try:
            cluster = _cluster(self.target)
            self._quiet.begin(cluster)
            session = cluster.connect()
        except ConfigurationError:
            raise
        except Exception as exc:
            if cluster is None:  # a name that nobody resolves
                raise UnreachableError(f"{self.target}: {told(exc)}") from exc
            _shut_down(cluster, self._quiet)
            refused = _refusal(exc)
            if refused is not None:
                self._refused = RefusedError(f"{self.target} refuses {_who(self.target)}: {refused}")
                raise self._refused from exc
            raise UnreachableError(f"{self.target}: {told(exc)}") from exc
        self._profile, self._retries = _asking()
        self._cluster, self._session = cluster, session
        self._quiet.opener = None

    def close(self) -> None:
        """End the session if it is ours, within ``CLOSE_SECONDS`` whatever the server does."""
        self._session = self._given
        if self._given is None:
            cluster, self._cluster = self._cluster, None
            if cluster is not None and self._pid == Pid.current():
                _shut_down(cluster, self._quiet)
        self._poller.forget()
        self._ring = None

    def after_fork_in_child(self) -> None:
        """Forget what only the parent has, without a word to it."""
        self._pid = Pid.current()
        self._lock = threading.Lock()
        self._given = self._session = None
        if self._cluster is not None and self.target is not None:
            _disown(self._cluster)
        self._cluster = self._ring = None
        self._quiet = Quiet()
        self._poller.forget()

    def ask(self, queries: Iterable[Query], timeout: float = REQUEST_SECONDS) -> Answers:
        """Put each query to every node that has an answer of its own, one after another.

        ``timeout`` is for each query. Raises what ``open`` raises; a node that does not answer, or a query
        that fails, is a reply with its reason.
        """
        with self._lock:
            self.open()
            return self._poller.poll(queries, timeout)

    # -- what the poller asks for

    def nodes(self) -> list[Node]:
        """Return the nodes that are asked, sorted by address."""
        if self._cluster is None:
            return []
        datacenter = self.target.datacenter if self.target is not None else ""
        found = [
            Node(
                address=str(host.address),
                host_id=str(host.host_id),
                is_up=host.is_up,
                release_version=str(host.release_version or ""),
                datacenter=str(host.datacenter or ""),
            )
            for host in self._cluster.metadata.all_hosts()
        ]
        return sorted((n for n in found if datacenter in ("", n.datacenter)), key=lambda node: node.address)

    def ring(self, keyspaces: Sequence[Row]) -> Ring:
        """Return who owns which range of which keyspace; computed when nodes or keyspaces changed."""
        from cassandra.metadata import ReplicationStrategy

        token_map = self._cluster.metadata.token_map if self._cluster is not None else None
        if token_map is None:
            return Ring()
        rows = list(keyspaces)
        if self._ring is not None and self._ring[0] is token_map and self._ring[1] == rows:
            return self._ring[2]
        tokens = tuple(int(token.value) for token in token_map.ring if isinstance(token.value, int))
        replicas, factors = {}, {}
        for row in rows if len(tokens) == len(token_map.ring) else ():
            name = str(row["keyspace_name"])
            options = dict(row.get("replication") or {})  # type: ignore[call-overload] # a map of texts
            strategy = ReplicationStrategy.create(options.pop("class", ""), options)
            if strategy is None or not hasattr(strategy, "make_token_replica_map"):
                continue
            found = strategy.make_token_replica_map(token_map.token_to_host_owner, token_map.ring)
            replicas[name] = tuple(
                frozenset(str(host.host_id) for host in found.get(token, ())) for token in token_map.ring
            )
            factors[name] = factor(options)
        ring = Ring(tokens, replicas, factors) if len(tokens) == len(token_map.ring) else Ring()
        self._ring = token_map, rows, ring
        return ring

    def send(self, address: str, cql: str, level: str, most_rows: int) -> _Pending:
        """Send a statement to one node; raises when the driver knows no way to it."""
        from cassandra import ConsistencyLevel
        from cassandra.query import SimpleStatement

        hosts = self._cluster.metadata.all_hosts() if self._cluster is not None else ()
        host = next((host for host in hosts if str(host.address) == address), None)
        if host is None or self._session is None:
            raise ConnectionError("it left the cluster")
        if self._profile is None:
            self._profile, self._retries = _asking()
        statement = SimpleStatement(
            cql,
            retry_policy=self._retries,
            consistency_level=getattr(ConsistencyLevel, level),
            fetch_size=FETCH_ROWS,
        )
        with_profile = {} if self._legacy else {"execution_profile": self._profile}
        try:
            future = self._session.execute_async(statement, timeout=DRIVER_SECONDS, host=host, **with_profile)
        except ValueError:
            if self._legacy:
                raise
            # A session of the user's whose cluster was made with the parameters of old: it takes no profile.
            self._legacy = True
            return self.send(address, cql, level, most_rows)
        pending = _Pending(most_rows)
        future.add_callbacks(pending.page, pending.failed, callback_args=(future,))
        return pending


def _dicts(rows: object, future: ResponseFuture) -> Iterable[Row]:
    """Return rows as dicts, whatever the row factory of a given session made of them."""
    from cassandra.cluster import ResultSet

    if rows is None:
        return  # a result without so much as the names of columns
    if not isinstance(rows, (list, tuple)):
        raise TypeError(f"the session's row factory gives a {type(rows).__name__}, no list of rows")
    names: list[str] | None = None
    for row in rows:
        if isinstance(row, dict):
            yield row
            continue
        if not isinstance(row, (list, tuple)):
            raise TypeError(f"the session's row factory gives {type(row).__name__}, no tuples or dicts")
        if names is None:
            names = list(ResultSet(future, []).column_names or ())
        yield dict(zip(names, row, strict=True))


def _cluster(target: Target) -> Cluster:
    """Make a cluster object; raises ConfigurationError when that is impossible here."""
    password = target.password()
    try:
        from cassandra import AuthenticationFailed
        from cassandra.auth import PlainTextAuthProvider
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster
        from cassandra.policies import ExponentialReconnectionPolicy
    except ImportError as exc:
        raise ConfigurationError(
            "watching Cassandra or ScyllaDB needs their driver: pip install cassandra-driver"
        ) from exc
    except Exception as exc:  # the driver's DependencyException, which is no ImportError
        raise ConfigurationError(f"the driver cannot be imported here: {exc}") from exc
    options: dict[str, object] = {
        # Its log events come through monitoring reports, which scylla-driver does not know.
        "monitor_reporting_enabled": False,
    }
    if not hasattr(Cluster, "monitor_reporting_enabled"):
        options.clear()
    if target.tls:
        options["ssl_context"] = target.tls_context()
    if password is not None:
        provider = cast("Provider", PlainTextAuthProvider(target.user, password.reveal()))
        options["auth_provider"] = Login(provider, AuthenticationFailed)
    return Cluster(
        list(target.contact_points),
        port=target.port,
        execution_profiles={EXEC_PROFILE_DEFAULT: _asking()[0]},
        application_name=APPLICATION,
        compression=False,
        connect_timeout=CONNECT_SECONDS,
        control_connection_timeout=REQUEST_SECONDS,
        executor_threads=2,
        idle_heartbeat_interval=5,
        idle_heartbeat_timeout=5,
        max_schema_agreement_wait=0,
        reconnection_policy=ExponentialReconnectionPolicy(1.0, RECONNECT_SECONDS),
        # Thousands of tables and views: what is needed of the schema is read by queries that are bounded.
        schema_metadata_enabled=False,
        **options,
    )


def _asking() -> tuple[ExecutionProfile, RetryPolicy]:
    """Return how to ask: rows as dicts, one try."""
    from cassandra import ConsistencyLevel
    from cassandra.cluster import ExecutionProfile
    from cassandra.policies import FallthroughRetryPolicy, RoundRobinPolicy
    from cassandra.query import dict_factory

    retries = FallthroughRetryPolicy()
    profile = ExecutionProfile(
        consistency_level=ConsistencyLevel.LOCAL_ONE,
        load_balancing_policy=RoundRobinPolicy(),
        request_timeout=REQUEST_SECONDS,
        retry_policy=retries,
        row_factory=dict_factory,
    )
    return profile, retries


def _shut_down(cluster: Cluster, quiet: Quiet) -> None:
    """Let the driver close its sockets and end its threads; one that cannot is left to its daemons."""

    def shut_down() -> None:
        with suppress(Exception):  # whatever it is, nobody can be helped by it any more
            cluster.shutdown()
        quiet.end()

    start_thread(shut_down, "diagnostics-cassandra-close").join(CLOSE_SECONDS)


def _disown(cluster: Cluster) -> None:
    """Keep a forked child's exit from shutting down what is its parent's."""
    from cassandra import cluster as driver

    getattr(driver, "_clusters_for_shutdown", set()).discard(cluster)


def _who(target: Target) -> str:
    return f"user {target.user!r}" if target.user else "whoever gives no user"


def _refusal(exc: BaseException) -> str | None:
    """Return why a server does not let us in; None when that is not what happened."""
    from cassandra import AuthenticationFailed, Unauthorized

    causes = getattr(exc, "errors", None)
    for cause in (exc, *(causes.values() if isinstance(causes, Mapping) else ())):
        if isinstance(cause, Unauthorized):
            return str(cause)
        if isinstance(cause, AuthenticationFailed) and refusal(str(cause)) is not None:
            return str(cause)
    return None
