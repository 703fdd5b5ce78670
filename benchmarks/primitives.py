"""What one tick, one edge and one record cost, in CPU time of the calling thread.

python benchmarks/primitives.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import show, verdict

from pytest_diagnostics.collectors import DEFAULT, load
from pytest_diagnostics.core.bounds import bound
from pytest_diagnostics.storage.shard import ShardWriter
from pytest_diagnostics.system.usage import open_usage_reader

ROUNDS = 7


def cpu_seconds(call: Callable[[], object], times: int) -> float:
    """Return the CPU time of one call: the median over rounds of many calls each."""
    call()
    rounds = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(times):
            call()
        rounds.append((time.thread_time() - began) / times)
    return statistics.median(rounds)


def apart_cpu_seconds(call: Callable[[], object], times: int) -> float:
    """Return the CPU time of one call 2 ms after the one before: nothing that was read then is fresh."""
    seconds = []
    for _ in range(times):
        until = time.thread_time() + 0.002
        while time.thread_time() < until:
            pass
        began = time.thread_time()
        call()
        seconds.append(time.thread_time() - began)
    return statistics.median(seconds)


def main() -> None:
    """Measure and print one row a figure."""
    collectors = [load(name) for name in DEFAULT]
    for collector in collectors:
        if collector.probe() is None:
            collector.start()

    def tick() -> None:
        for collector in collectors:
            bound(collector.collect())

    each = cpu_seconds(tick, 100)
    show(
        f"one tick of {len(collectors)} default collectors",
        f"{1e6 * each:.0f} µs",
        "1,000 µs",
        verdict(each, 1e-3),
    )
    for collector in collectors:
        show(f"  {collector.name}", f"{1e6 * cpu_seconds(collector.collect, 100):.0f} µs", "none", "")
        collector.stop()

    reader = open_usage_reader(peak="exact")
    edge = cpu_seconds(reader.edge, 2000)
    show("one edge, everything but the peak", f"{1e6 * edge:.1f} µs", "20 µs", verdict(edge, 20e-6))
    window = cpu_seconds(lambda: reader.close(reader.open()), 2000)
    show(
        "one window: two edges, exact peak, figures",
        f"{1e6 * window:.1f} µs",
        "40 µs",
        verdict(window, 40e-6),
    )
    apart = apart_cpu_seconds(lambda: reader.close(reader.open()), 500)
    show(
        "the same, 2 ms after the one before: what changes seldom is read",
        f"{1e6 * apart:.1f} µs",
        "none",
        "",
    )
    usage, absent = reader.close(reader.open())
    reader.release()
    with tempfile.TemporaryDirectory() as name:
        shard = ShardWriter(Path(name) / "main-1.jsonl")
        phase = {"nodeid": "tests/test_x.py::test_y", "when": "call", "usage": usage, "absent": absent}
        append = cpu_seconds(lambda: shard.append("phase", phase), 2000)
    show("one phase's record, encoded and written", f"{1e6 * append:.1f} µs", "none", "")


if __name__ == "__main__":
    main()
