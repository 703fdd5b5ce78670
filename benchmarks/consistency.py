"""How long the checks of a view take, and how much memory: full and sampled, on one local Cassandra.

python benchmarks/consistency.py [ROWS]     (default: 200000; a million takes some minutes to write)

Starts a node as the tests do. The rows are compared while nothing is written.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import show, verdict

from pytest_diagnostics import ViewConsistencyCheck
from pytest_diagnostics.collectors.cassandra.consistency_report import ConsistencyReport
from tests.cassandra.launcher import Cluster

SAMPLE = 2_000
ROUNDS = 3
#: Rows are written as fast as the server takes them, on a machine that others use.
PATIENT = {"write_request_timeout": "30s"}
#: Rows of one partition.
PARTITION = 20


def resident_bytes() -> int:
    """Return what this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def peak_of(call: Callable[[], ConsistencyReport]) -> tuple[ConsistencyReport, int]:
    """Return what a call returns, and by how many bytes the process was larger at most meanwhile."""
    before, most, end = resident_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not end.wait(0.01):
            most = max(most, resident_bytes())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        report = call()
    finally:
        end.set()
        watching.join()
    return report, max(0, most - before)


def fill(session: Any, rows: int) -> None:
    """Write the rows, a partition at a time, which is several times as fast as one by one."""
    from cassandra.concurrent import execute_concurrent_with_args

    session.execute(
        "CREATE KEYSPACE bench WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute(
        "CREATE TABLE bench.t (p int, c int, email text, n bigint, tags set<text>, PRIMARY KEY (p, c))"
    )
    session.execute(
        "CREATE MATERIALIZED VIEW bench.by_email AS SELECT * FROM bench.t "
        "WHERE email IS NOT NULL AND p IS NOT NULL AND c IS NOT NULL PRIMARY KEY (email, p, c)"
    )
    insert = "INSERT INTO bench.t (p, c, email, n, tags) VALUES (?, ?, ?, ?, ?);"
    batch = session.prepare(f"BEGIN UNLOGGED BATCH {insert * PARTITION} APPLY BATCH")
    partitions = (
        [
            value
            for row in range(PARTITION)
            for value in (number, row, f"user{number}.{row}@example.org", row, {"a", "b"})
        ]
        for number in range(rows // PARTITION)
    )
    execute_concurrent_with_args(session, batch, partitions, concurrency=4)


def cpu_seconds(pid: int | str) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show_check(
    name: str, server: int | None, check: Callable[[], ConsistencyReport], budget_seconds: float
) -> None:
    """Run a check and print what it took; CPU time tells more than seconds where others use the machine."""
    pids = [str(server), "self"]
    before = [cpu_seconds(pid) for pid in pids]
    report, peak = peak_of(check)
    theirs, ours = (cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True))
    report.assert_consistent()
    seconds, peak_mib = report.seconds, peak / 2**20
    show(name, f"{seconds:.1f} s", f"{budget_seconds:.0f} s", verdict(seconds, budget_seconds))
    show("  CPU time of the server, and ours", f"{theirs:.1f} s, {ours:.1f} s", "-", "")
    show("  rows read a second", f"{report.rows_per_second:,.0f}", "-", "")
    show("  memory above what was there", f"{peak_mib:.0f} MiB", "50 MiB", verdict(peak_mib, 50.0))


def main() -> None:
    """Measure and print one row a figure."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    budget_seconds = 10.0 if rows <= 200_000 else 60.0 * rows / 1_000_000
    with (
        Cluster("5.0.8", config=PATIENT, heap_mebibytes=512, optimised=True) as cluster,
        cluster.session() as session,
    ):
        fill(session, rows)
        server = cluster.nodes[0].pid
        full = ViewConsistencyCheck(session, "bench", "by_email")
        sampled = ViewConsistencyCheck(session, "bench", "by_email", sample=SAMPLE)
        for number in range(ROUNDS):
            show_check(f"full check {number + 1} of {rows:,} rows", server, full.run, budget_seconds)
        for number in range(ROUNDS):
            show_check(f"sampled check {number + 1}, {SAMPLE:,} rows of each side", server, sampled.run, 5.0)


if __name__ == "__main__":
    main()
