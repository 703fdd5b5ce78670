"""The only place that talks to the driver of Cassandra, or of ScyllaDB: both are named ``cassandra``.

It is imported when a connection is made, never before: whoever watches no database does not pay for it.
Nothing here waits for a server longer than its timeout says.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...core.clock import SystemClock
from ...core.errors import ConfigurationError, ErrorType, UnavailableError
from ...core.threads import start_thread
from .levels import factor, is_unavailable, level, told
from .queries import Answers, Catalog, Node, Query, Reply, Ring, Row
from .target import Target

if TYPE_CHECKING:
    from cassandra.cluster import Cluster, ExecutionProfile, ResponseFuture, Session
    from cassandra.pool import Host

CONNECT_SECONDS = 3.0
REQUEST_SECONDS = 3.0
#: How long a shutdown of the driver, which may talk to a server that hangs, is waited for.
CLOSE_SECONDS = 2.0
#: The longest pause of the driver between two tries to reach a node that was lost.
RECONNECT_SECONDS = 10.0
FETCH_ROWS = 1000
APPLICATION = "pytest-diagnostics"

_COLUMNS = ("keyspace_name", "table_name", "column_name")
_STORED = Query(
    "catalog",
    "system_schema",
    "columns",
    _COLUMNS,
    where="keyspace_name IN ('system', 'system_schema', 'system_distributed')",
)
_VIRTUAL = Query("virtual_catalog", "system_virtual_schema", "columns", _COLUMNS)
_KEYSPACES = Query("keyspaces", "system_schema", "keyspaces", node_local=False)
#: What there is to be read before anything is known.
_BARE = Catalog({("system_schema", "columns"): _COLUMNS, ("system_schema", "keyspaces"): ("keyspace_name",)})
_VIRTUAL_KEYSPACE = ("system_virtual_schema", "columns")


class UnreachableError(UnavailableError):
    """Nobody answers at the contact points; the message says how each refused."""


class RefusedError(UnavailableError):
    """The server answers, but not to this user: trying again does not help, and may lock the account."""


@dataclass
class _Asked:
    """One statement on its way to one node."""

    future: ResponseFuture
    rows: list[Row]
    done: threading.Event
    error: BaseException | None = None
    truncated: bool = False


class Connection:
    """One session with every node of one cluster: a cluster object of its own, or a session that was given.

    ``ask`` is for one thread at a time. No node is ever asked two things at once: one that has not answered
    yet is not asked again.
    """

    def __init__(self, target: Target | None = None, session: Session | None = None) -> None:
        """Remember where to connect, or whose session to use; nothing is opened yet."""
        if (target is None) == (session is None):
            raise ConfigurationError("give a target or a session, one of them")
        self.target = target
        self._given = session
        self._session = session
        self._cluster: Cluster | None = session.cluster if session is not None else None
        self._clock = SystemClock()
        self._lock = threading.Lock()
        #: Address -> what it has not answered yet.
        self._unanswered: dict[str, _Asked] = {}
        self._catalogs: dict[str, Catalog] = {}
        self._profiles: dict[str, object] = {}
        self._refused: RefusedError | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a session to ask through."""
        return self._session is not None

    def open(self) -> None:
        """Connect. Raises UnreachableError, RefusedError or ConfigurationError, and leaves nothing behind."""
        if self._refused is not None:
            raise self._refused
        if self._session is not None or self.target is None:
            return
        cluster = _cluster(self.target)
        try:
            self._session = cluster.connect()
        except Exception as exc:
            _shut_down(cluster)
            refusal = _refusal(exc)
            if refusal is not None:
                self._refused = RefusedError(f"{self.target} refuses user {self.target.user!r}: {refusal}")
                raise self._refused from exc
            raise UnreachableError(f"{self.target}: {told(exc)}") from exc
        self._cluster = cluster

    def close(self) -> None:
        """End the session if it is ours, within ``CLOSE_SECONDS`` whatever the server does."""
        self._session = self._given
        cluster, self._cluster = self._cluster, None
        if cluster is not None and self._given is None:
            _shut_down(cluster)
        self._catalogs.clear()
        self._unanswered.clear()

    def after_fork_in_child(self) -> None:
        """Forget what only the parent has."""
        self._lock, self._session, self._cluster = threading.Lock(), None, None

    def ask(self, queries: Iterable[Query], timeout: float = REQUEST_SECONDS) -> Answers:
        """Put each query to every node that has an answer of its own, one after another.

        ``timeout`` is for each query. Raises what ``open`` raises; a node that does not answer, or a query
        that fails, is a reply with its reason.
        """
        with self._lock:
            self.open()
            moment = self._clock.monotonic()
            nodes = self._nodes()
            self._learn([node for node in nodes if node.address not in self._catalogs], timeout)
            keyspaces = self._anywhere(_KEYSPACES, nodes, timeout)
            replies = {_KEYSPACES.topic: {keyspaces.node: keyspaces}}
            ring = self._ring(keyspaces.rows or [])
            for query in queries:
                if query.node_local:
                    replies[query.topic] = self._everywhere(query, nodes, timeout)
                else:
                    reply = self._anywhere(query, nodes, timeout, ring)
                    replies[query.topic] = {reply.node: reply}
            return Answers(tuple(nodes), replies, ring, dict(self._catalogs), moment)

    # -- the nodes

    def _nodes(self) -> list[Node]:
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

    def _host(self, address: str) -> Host | None:
        hosts = self._cluster.metadata.all_hosts() if self._cluster is not None else ()
        return next((host for host in hosts if str(host.address) == address), None)

    def forget(self, address: str) -> None:
        """Ask a node anew which tables it has: it was away, and may be of another version now."""
        self._catalogs.pop(address, None)

    def _learn(self, nodes: Sequence[Node], timeout: float) -> None:
        """Read which tables and columns these nodes have."""
        stored = self._everywhere(_STORED, nodes, timeout, _BARE)
        for address, reply in stored.items():
            if reply.rows is None:
                continue  # asked again with the next poll
            offered = Catalog({**Catalog.of_rows(reply.rows).tables, **_BARE.tables})
            virtual = replace(_VIRTUAL, topic="virtual_catalog")
            known = Catalog({**offered.tables, _VIRTUAL_KEYSPACE: _COLUMNS})
            more = self._everywhere(virtual, [n for n in nodes if n.address == address], timeout, known)
            rows = more[address].rows
            if rows is not None:
                self._catalogs[address] = Catalog({**offered.tables, **Catalog.of_rows(rows).tables})
            elif is_unavailable(more[address].error):
                self._catalogs[address] = offered  # ScyllaDB and Cassandra 3 have no virtual keyspaces

    def _ring(self, keyspaces: Iterable[Row]) -> Ring:
        from cassandra.metadata import ReplicationStrategy

        token_map = self._cluster.metadata.token_map if self._cluster is not None else None
        if token_map is None:
            return Ring()
        replicas, factors = {}, {}
        for row in keyspaces:
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
        tokens = tuple(int(token.value) for token in token_map.ring if isinstance(token.value, int))
        return Ring(tokens, replicas, factors) if len(tokens) == len(token_map.ring) else Ring()

    # -- the queries

    def _anywhere(
        self, query: Query, nodes: Sequence[Node], timeout: float, ring: Ring | None = None
    ) -> Reply:
        """Ask the nodes in turn until one answers; a replicated table at a quorum where it can be had."""
        reply = Reply(query.topic, query.cql(_BARE), "", error=f"{ErrorType.CONNECTION}: no node is known")
        wanted, why = level(query, nodes, ring)
        catalog = _BARE if query is _KEYSPACES else None
        for node in sorted(nodes, key=lambda node: node.is_up is False):
            for at in dict.fromkeys((wanted, "ONE")):
                reply = self._everywhere(query, [node], timeout, catalog, level=at)[node.address]
                if reply.rows is not None:
                    return replace(reply, consistency=f"{at} ({why})" if why else at)
                why = f"{at} could not be had: {reply.reason}"
            if reply.unavailable is not None:
                break
        return reply

    def _everywhere(
        self,
        query: Query,
        nodes: Sequence[Node],
        timeout: float,
        catalog: Catalog | None = None,
        *,
        level: str = "LOCAL_ONE",
    ) -> dict[str, Reply]:
        """Ask all these nodes at the same time."""
        began = self._clock.monotonic()
        replies: dict[str, Reply] = {}
        asked: dict[str, _Asked] = {}
        for node in nodes:
            tables = catalog or self._catalogs.get(node.address)
            reply = Reply(query.topic, query.cql(tables or _BARE), node.address, moment=began)
            refusal = query.refusal(tables) if tables is not None else None
            if refusal is not None:
                replies[node.address] = replace(reply, unavailable=refusal)
                continue
            replies[node.address] = reply
            if tables is None:
                replies[node.address] = replace(
                    reply, error=f"{ErrorType.CONNECTION}: which tables it has could not be read"
                )
                continue
            try:
                asked[node.address] = self._send(query, reply.query, node.address, level, timeout)
            except Exception as exc:  # noqa: BLE001 - the driver raises errors of many classes
                replies[node.address] = replace(reply, error=told(exc))
        deadline = began + timeout
        for address, one in asked.items():
            one.done.wait(max(0.0, deadline - self._clock.monotonic()))
            replies[address] = self._taken(replies[address], address, one, began)
        return replies

    def _send(self, query: Query, cql: str, address: str, level: str, timeout: float) -> _Asked:
        unanswered = self._unanswered.get(address)
        if unanswered is not None and not unanswered.done.is_set():
            raise TimeoutError("it has not answered what it was asked before")
        self._unanswered.pop(address, None)
        host = self._host(address)
        if host is None or self._session is None:
            raise ConnectionError("it left the cluster")
        from cassandra.query import SimpleStatement

        statement = SimpleStatement(cql, fetch_size=FETCH_ROWS)
        future = self._session.execute_async(
            statement,
            query.parameters or None,
            timeout=timeout,
            execution_profile=self._profile(level),
            host=host,
        )
        asked = _Asked(future, [], threading.Event())
        most = query.most_rows

        def page(rows: Iterable[Row]) -> None:
            asked.rows.extend(rows)
            if future.has_more_pages and len(asked.rows) < most:
                future.start_fetching_next_page()
                return
            asked.truncated = bool(future.has_more_pages) or len(asked.rows) > most
            del asked.rows[most:]
            asked.done.set()

        def failed(exc: BaseException) -> None:
            asked.error = exc
            asked.done.set()

        future.add_callbacks(page, failed)
        return asked

    def _taken(self, reply: Reply, address: str, asked: _Asked, began: float) -> Reply:
        now = self._clock.monotonic()
        reply = replace(reply, seconds=now - began, moment=now)
        if not asked.done.is_set():
            self._unanswered[address] = asked
            return replace(reply, error=f"{ErrorType.TIMEOUT}: no answer within {now - began:.1f} s")
        if asked.error is not None:
            return replace(reply, error=told(asked.error))
        return replace(reply, rows=asked.rows, truncated=asked.truncated)

    def _profile(self, level: str) -> object:
        """Return how to ask: rows as dicts, one try, at this level."""
        profile = self._profiles.get(level)
        if profile is None:
            from cassandra import ConsistencyLevel

            profile = self._profiles[level] = _profile(getattr(ConsistencyLevel, level))
        return profile


def _cluster(target: Target) -> Cluster:
    """Make a cluster object; raises ConfigurationError when that is impossible here."""
    password = target.password()
    try:
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
        options["auth_provider"] = PlainTextAuthProvider(target.user, password.reveal())
    return Cluster(
        list(target.contact_points),
        port=target.port,
        execution_profiles={EXEC_PROFILE_DEFAULT: _profile(None)},
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


def _profile(level: int | None) -> ExecutionProfile:
    from cassandra import ConsistencyLevel
    from cassandra.cluster import ExecutionProfile
    from cassandra.policies import FallthroughRetryPolicy, RoundRobinPolicy
    from cassandra.query import dict_factory

    return ExecutionProfile(
        consistency_level=ConsistencyLevel.LOCAL_ONE if level is None else level,
        load_balancing_policy=RoundRobinPolicy(),
        request_timeout=REQUEST_SECONDS,
        retry_policy=FallthroughRetryPolicy(),
        row_factory=dict_factory,
    )


def _shut_down(cluster: Cluster) -> None:
    """Let the driver close its sockets and end its threads; one that cannot is left to its daemons."""

    def shut_down() -> None:
        with suppress(Exception):  # whatever it is, nobody can be helped by it any more
            cluster.shutdown()

    start_thread(shut_down, "diagnostics-cassandra-close").join(CLOSE_SECONDS)


def _refusal(exc: BaseException) -> str | None:
    """Return why a server does not let us in; None when that is not what happened."""
    from cassandra import AuthenticationFailed, Unauthorized

    causes = getattr(exc, "errors", None)
    for cause in (exc, *(causes.values() if isinstance(causes, Mapping) else ())):
        if isinstance(cause, (AuthenticationFailed, Unauthorized)):
            return str(cause)
    return None
