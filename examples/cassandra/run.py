"""Start a Cassandra, run this folder's tests against it with diagnostics, and end it.

    python examples/cassandra/run.py [HOST[:PORT]] [options of pytest]

With an address the tests run against the cluster that is there, in a keyspace of their own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import server

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Return pytest's exit code: 1, as one of the tests fails on purpose."""
    named = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    server.end_on_sigterm()
    with contextlib.nullcontext(named) if named is not None else server.cassandra() as address:
        print(f"Cassandra answers at {address}", flush=True)
        options = ["--diagnostics", f"--diagnostics-cassandra={address}"]
        if not any(option.startswith("--diagnostics-report") for option in arguments):
            options.append(f"--diagnostics-report={Path.cwd() / 'report.html'}")
        command = [sys.executable, "-m", "pytest", str(HERE), *options, *arguments]
        return subprocess.run(
            command, env={**os.environ, "EXAMPLE_CASSANDRA": address}, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
