"""What the plugin adds to whole pytest runs: installed but off, and on.

    python benchmarks/overhead.py [--pairs N] [off] [ends] [no-ops] [five-ms]

Every figure is from alternating runs against the same command with ``-p no:diagnostics``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measure import compare, pytest_command, show, verdict, without_bytecode

BARE = ("-p", "no:diagnostics")
NO_OPS = 5000
SLOW_TESTS = 200


def main() -> None:
    """Measure and print one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "pytest.ini").write_text("[pytest]\n")
        (directory / "test_one.py").write_text("def test_one(): pass\n")
        (directory / "test_no_ops.py").write_text(
            f"import pytest\n@pytest.mark.parametrize('n', range({NO_OPS}))\ndef test_no_op(n): pass\n"
        )
        (directory / "test_5_ms.py").write_text(
            f"import pytest, time\n@pytest.mark.parametrize('n', range({SLOW_TESTS}))\n"
            "def test_5_ms(n): time.sleep(0.005)\n"
        )
        for part in options.parts:
            PARTS[part](directory, options.pairs)


def _off(directory: Path, pairs: int) -> None:
    for label, env, budget in (("", None, 3.0), (", no bytecode cache", without_bytecode(directory), 10.0)):
        found = compare(
            pytest_command("test_one.py"),
            pytest_command(*BARE, "test_one.py"),
            directory,
            pairs=3 * pairs,
            env=env,
        )
        added = 1e3 * found.added_cpu_seconds()
        show(
            f"installed but off, CPU added to a run{label}",
            f"{added:.1f} ms",
            f"{budget:g} ms",
            verdict(added, budget),
        )


def _start_and_end(directory: Path, pairs: int) -> None:
    for label, env in (("", None), (", no bytecode cache", without_bytecode(directory))):
        on = pytest_command("--diagnostics", "--diagnostics-report=none", "test_one.py")
        found = compare(on, pytest_command(*BARE, "test_one.py"), directory, pairs=pairs, env=env)
        added = found.added_wall_seconds()
        show(
            f"on, start and end of a run of one test{label}",
            f"{1e3 * added:.0f} ms",
            "320 ms",
            verdict(added, 0.32),
        )
        paged = compare(
            pytest_command("--diagnostics", "test_one.py"), on, directory, pairs=pairs, env=env
        ).added_wall_seconds()
        show(f"the same, added by writing the page{label}", f"{1e3 * paged:.0f} ms", "none", "")


def _no_ops(directory: Path, pairs: int) -> None:
    on = pytest_command("--diagnostics", "--diagnostics-report=none", "test_no_ops.py")
    one_on = pytest_command("--diagnostics", "--diagnostics-report=none", "test_one.py")
    found = compare(on, pytest_command(*BARE, "test_no_ops.py"), directory, pairs=pairs)
    fixed = compare(one_on, pytest_command(*BARE, "test_one.py"), directory, pairs=pairs).added_cpu_seconds()
    total = found.added_cpu_seconds()
    each = 1e6 * (total - fixed) / NO_OPS
    show(
        f"on, {NO_OPS:,} no-op tests: CPU added a test, end included",
        f"{each:.0f} µs",
        "100 µs",
        verdict(each, 100),
    )
    show(f"on, {NO_OPS:,} no-op tests: ratio of CPU", f"{found.cpu_ratio():.2f}", "none", "")


def _five_ms(directory: Path, pairs: int) -> None:
    for label, env in (("", None), (", no bytecode cache", without_bytecode(directory))):
        on = pytest_command("--diagnostics", "--diagnostics-report=none", "test_5_ms.py")
        found = compare(on, pytest_command(*BARE, "test_5_ms.py"), directory, pairs=pairs, env=env)
        one_on = pytest_command("--diagnostics", "--diagnostics-report=none", "test_one.py")
        fixed = compare(one_on, pytest_command(*BARE, "test_one.py"), directory, pairs=pairs, env=env)
        bare = sorted(cost.wall_seconds for cost in found.b)[len(found.b) // 2]
        share = 100 * (found.added_wall_seconds() - fixed.added_wall_seconds()) / bare
        show(
            f"on, {SLOW_TESTS} tests of 5 ms: wall time, start and end apart{label}",
            f"{share:+.1f} %",
            "1 %",
            verdict(share, 1.0),
        )
        show(
            f"on, {SLOW_TESTS} tests of 5 ms: ratio of wall times{label}",
            f"{found.wall_ratio():.3f}",
            "none",
            "",
        )


PARTS = {"off": _off, "ends": _start_and_end, "no-ops": _no_ops, "five-ms": _five_ms}

if __name__ == "__main__":
    main()
