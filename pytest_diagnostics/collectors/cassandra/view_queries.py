"""What is asked about materialized views."""

from __future__ import annotations

from .queries import Query
from .shared import SSTABLE_TASKS, THREAD_POOLS

#: Rows of the largest cluster that is foreseen: thousands of views on many nodes.
MOST_ROWS = 100_000

#: Every node is asked which views its schema has: one that lags behind does not build what it does not know.
VIEWS = Query(
    "views",
    "system_schema",
    "views",
    ("keyspace_name", "view_name", "base_table_name", "base_table_id", "id"),
    most_rows=MOST_ROWS,
)
LOCAL = Query("local", "system", "local", ("schema_version", "gossip_generation", "release_version"))
BUILDS = Query("view_builds", "system", "view_builds_in_progress", most_rows=MOST_ROWS)
BUILT = Query("built_views", "system", "built_views", most_rows=MOST_ROWS)
_STATUS_COLUMNS = ("keyspace_name", "view_name", "host_id", "status")
STATUS = Query(
    "view_status",
    "system_distributed",
    "view_build_status",
    _STATUS_COLUMNS,
    node_local=False,
    most_rows=MOST_ROWS,
)
HINTS = Query("pending_hints", "system_views", "pending_hints")

# What changes slowly and costs much: asked every RARELY_SECONDS, and remembered.
RARELY_SECONDS = 30.0
#: The same while there are new views.
NEW_SECONDS = 5.0
PARTITIONS = Query("partition_sizes", "system_views", "max_partition_size", most_rows=MOST_ROWS)
TOMBSTONES = Query("tombstones", "system_views", "tombstones_per_read", most_rows=MOST_ROWS)

METRIC_PREFIX = "org.apache.cassandra.metrics.ClientRequest."
#: The metric's name -> the key of a node's data.
METRICS = {
    f"{METRIC_PREFIX}ViewPendingMutations.ViewWrite": "view_pending_mutations",
    f"{METRIC_PREFIX}ViewReplicasAttempted.ViewWrite": "view_replicas_attempted",
    f"{METRIC_PREFIX}ViewReplicasSuccess.ViewWrite": "view_replicas_success",
    f"{METRIC_PREFIX}Failures.ViewWrite": "view_write_failures",
    f"{METRIC_PREFIX}Timeouts.ViewWrite": "view_write_timeouts",
}
VIEW_METRICS = Query(
    "view_metrics",
    "system_metrics",
    "client_request_group",
    ("name", "value"),
    needed=("name", "value"),
    where=f"name IN ({', '.join(['%s'] * len(METRICS))})",
    parameters=tuple(METRICS),
)

# ScyllaDB's own tables.
SCYLLA_BUILDS = Query("scylla_builds", "system", "scylla_views_builds_in_progress", most_rows=MOST_ROWS)
SCYLLA_STATUS = Query(
    "scylla_status",
    "system",
    "view_build_status_v2",
    _STATUS_COLUMNS,
    node_local=False,
    most_rows=MOST_ROWS,
)
SCYLLA_TASKS = Query("scylla_tasks", "system", "view_building_tasks", node_local=False, most_rows=MOST_ROWS)
SCYLLA_PROCESSING = Query(
    "scylla_processing",
    "system",
    "scylla_local",
    ("key", "value"),
    where="key = 'view_building_processing_base_id'",
    node_local=False,
)

#: Where the tablets are: how many tasks a build began with. Their tables are asked for rarely, too.
SCYLLA_TABLETS = Query(
    "scylla_tablets",
    "system",
    "tablets",
    ("table_id", "last_token", "replicas"),
    needed=("table_id", "replicas"),
    node_local=False,
    most_rows=MOST_ROWS,
)

# The order matters. What a build leaves when it ends is written in the order built_views, rows of progress,
# status: they are read in the order progress, built_views, status, so that no moment looks like another.
CASSANDRA_QUERIES = (LOCAL, VIEWS, BUILDS, SSTABLE_TASKS, THREAD_POOLS, BUILT, STATUS, HINTS, VIEW_METRICS)
SCYLLA_QUERIES = (LOCAL, VIEWS, SCYLLA_BUILDS, SCYLLA_TASKS, SCYLLA_PROCESSING, BUILT, SCYLLA_STATUS, STATUS)
RARE_QUERIES = (PARTITIONS, TOMBSTONES)
SCYLLA_RARE_QUERIES = (SCYLLA_TABLETS,)
#: All that is ever asked.
VIEW_QUERIES = tuple(
    dict.fromkeys(
        (*SCYLLA_QUERIES[:-2], *CASSANDRA_QUERIES, SCYLLA_STATUS, *RARE_QUERIES, *SCYLLA_RARE_QUERIES)
    )
)
#: Topics that only the other kind of server has, and whose absence says nothing.
SCYLLA_TOPICS = frozenset(query.topic for query in (*SCYLLA_QUERIES, *SCYLLA_RARE_QUERIES)) - {
    query.topic for query in CASSANDRA_QUERIES
}
CASSANDRA_TOPICS = frozenset(query.topic for query in (*CASSANDRA_QUERIES, *RARE_QUERIES)) - {
    query.topic for query in SCYLLA_QUERIES
}
