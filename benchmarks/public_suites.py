"""Run suites that were not written here, with and without us: same outcomes, and what it costs.

    python benchmarks/public_suites.py [--pairs N] [--xdist] [NAME ...]

Fetches source distributions by name with pip, installs each with its test dependencies into a virtual
environment of its own below a temporary directory, and runs its tests in alternation. Tests whose outcome
differs between two runs without us are not compared; they are listed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import venv
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from measure import run

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Suite:
    """How to run one distribution's tests."""

    version: str
    needs: tuple[str, ...] = ()
    #: Arguments for pytest.
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    #: Run what is installed, beside the sources and not inside them.
    beside: bool = False


SUITES = {
    "pluggy": Suite("1.6.0", ("pytest-benchmark",), ("testing", "--benchmark-disable")),
    "attrs": Suite("25.3.0", ("hypothesis", "cloudpickle", "zope.interface"), ("tests",)),
    "flask": Suite("3.1.1", ("asgiref", "python-dotenv", "pytest<9"), ("tests",)),
    # The whole of it waits for minutes where nobody is logged in; its sources hide what was built of them.
    "psutil": Suite("7.0.0", ("setuptools",), ("--pyargs", "psutil.tests.test_process"), beside=True),
    "structlog": Suite(
        "25.4.0", ("pretend", "freezegun", "pytest-asyncio", "time-machine", "rich"), ("tests",)
    ),
    "click": Suite("8.2.1", ("pytest<9",), ("tests",)),
}


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SUITES))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--xdist", action="store_true")
    parser.add_argument("--keep", type=Path, help="work in this directory and keep it")
    options = parser.parse_args()
    base = options.keep or Path(tempfile.mkdtemp(prefix="public-suites-"))
    base.mkdir(parents=True, exist_ok=True)
    print("| suite | tests | without, s | with, s | ratio of medians | CPU ratio | outcomes |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.names:
        print(measure(name, SUITES[name], base, pairs=options.pairs, xdist=options.xdist), flush=True)


def measure(name: str, suite: Suite, base: Path, *, pairs: int, xdist: bool) -> str:
    """Return a suite's row."""
    python, source = prepared(name, suite, base)
    source = base / name if suite.beside else source
    env = {**os.environ, **suite.env}
    workers = ("-n", "2") if xdist else ()

    def command(on: bool, number: int) -> list[str]:
        ours = ("--diagnostics", f"--diagnostics-dir={base / 'runs'}") if on else ("-p", "no:diagnostics")
        junit = base / f"{name}-{'on' if on else 'off'}-{number}.xml"
        return [str(python), "-m", "pytest", "-q", *workers, *ours, f"--junit-xml={junit}", *suite.arguments]

    run(command(False, 0), source, env)
    run(command(True, 0), source, env)
    off, on = [], []
    for number in range(1, pairs + 1):
        for which in (False, True) if number % 2 else (True, False):
            (on if which else off).append(run(command(which, number), source, env))
    outcomes = [
        (outcomes_of(base / f"{name}-off-{number}.xml"), outcomes_of(base / f"{name}-on-{number}.xml"))
        for number in range(pairs + 1)
    ]
    wall = statistics.median(c.wall_seconds for c in off), statistics.median(c.wall_seconds for c in on)
    cpu = statistics.median(c.cpu_seconds for c in off), statistics.median(c.cpu_seconds for c in on)
    codes = {cost.exit_code for cost in off}, {cost.exit_code for cost in on}
    tests = len(outcomes[0][0])
    said = compared(outcomes) + (
        "" if codes[0] == codes[1] else f"; exit codes {codes[0]} without, {codes[1]} with"
    )
    return (
        f"| {name} {suite.version} | {tests} | {wall[0]:.2f} | {wall[1]:.2f} | {wall[1] / wall[0]:.3f} "
        f"| {cpu[1] / cpu[0]:.3f} | {said} |"
    )


def prepared(name: str, suite: Suite, base: Path) -> tuple[Path, Path]:
    """Return the interpreter of a suite's environment and its source directory, made once."""
    home = base / name
    python = home / "venv" / "bin" / "python"
    if not python.exists():
        home.mkdir(parents=True, exist_ok=True)
        venv.create(home / "venv", with_pip=True)
        pip = [str(python), "-m", "pip", "-q"]
        fetch = ["--no-binary", ":all:", "--no-deps", "--no-build-isolation", "-d", str(home)]
        subprocess.run(
            [
                *pip,
                "install",
                "setuptools",
                "wheel",
                "hatchling",
                "flit-core",
                "hatch-vcs",
                "setuptools-scm",
                "hatch-fancy-pypi-readme",
            ],
            check=True,
        )
        subprocess.run([*pip, "download", *fetch, f"{name}=={suite.version}"], check=True)
        archive = next(home.glob("*.tar.gz"))
        with tarfile.open(archive) as packed:
            packed.extractall(home, filter="data")
        source = next(path for path in home.iterdir() if path.is_dir() and path.name != "venv")
        subprocess.run(
            [*pip, "install", str(source), *suite.needs, "pytest", "pytest-xdist", str(ROOT)], check=True
        )
    source = next(path for path in home.iterdir() if path.is_dir() and path.name != "venv")
    return python, source


def outcomes_of(path: Path) -> dict[tuple[str, str, int], str]:
    """Return test -> outcome of a JUnit file; a name that comes again gets a number."""
    found: dict[tuple[str, str, int], str] = {}
    seen: dict[tuple[str, str], int] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        key = case.get("classname", ""), case.get("name", "")
        seen[key] = seen.get(key, -1) + 1
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[(*key, seen[key])] = "+".join(kinds) or "passed"
    return found


def compared(runs: list[tuple[dict[tuple[str, str, int], str], dict[tuple[str, str, int], str]]]) -> str:
    """Say whether outcomes with us are those without, leaving out what is unstable without us."""
    reference = runs[0][0]
    unstable = {key for off, _ in runs for key in {*off, *reference} if off.get(key) != reference.get(key)}
    different = {
        key
        for _, on in runs
        for key in {*on, *reference}
        if key not in unstable and on.get(key) != reference.get(key)
    }
    if different:
        return f"{len(different)} DIFFER, such as {sorted(different)[0]}"
    return "same" if not unstable else f"same ({len(unstable)} unstable without us left out)"


if __name__ == "__main__":
    sys.exit(main())
