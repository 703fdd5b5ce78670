"""What views and indexes both ask a server for; equal queries of one tick are sent once."""

from __future__ import annotations

from .queries import Query

#: system_views.sstable_tasks: one row for each task that runs at this moment, with the table that it reads.
SSTABLE_TASKS = Query("sstable_tasks", "system_views", "sstable_tasks", needed=("kind", "progress", "total"))

#: Pools that are of no use to either are not asked for; one without a row has not been used yet.
THREAD_POOLS = Query(
    "thread_pools",
    "system_views",
    "thread_pools",
    ("name", "active_tasks", "pending_tasks", "blocked_tasks", "completed_tasks"),
    needed=("name", "active_tasks", "pending_tasks"),
    where="name IN ('ViewBuildExecutor', 'ViewMutationStage', 'SecondaryIndexManagement',"
    " 'SecondaryIndexExecutor', 'CompactionExecutor')",
)
