"""A test with a deadline, and a busy neighbour that makes it miss it.

The failure says only that it took too long. The diagnostics say why: it waited for a CPU.
"""

import contextlib
import os
import subprocess
import sys
import time

#: Ends by itself, should nobody be left to end it.
BUSY = "import time\nend = time.monotonic() + 8\nwhile time.monotonic() < end: pass"


@contextlib.contextmanager
def busy_neighbours():
    """Run three busy processes for every CPU that this thread may use: for one, where that can be said."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if allowed:
        os.sched_setaffinity(0, {min(allowed)})  # the neighbours inherit it
    count = 3 if allowed else 3 * (os.cpu_count() or 1)
    neighbours = []
    try:
        for _ in range(count):
            neighbours.append(subprocess.Popen([sys.executable, "-S", "-E", "-c", BUSY]))
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
        for neighbour in neighbours:
            neighbour.wait()
        if allowed:
            os.sched_setaffinity(0, allowed)


def test_answers_within_a_second(work):
    with busy_neighbours():
        began = time.monotonic()
        work(0.6)
        took = time.monotonic() - began

    assert took < 1.0, "too slow"
