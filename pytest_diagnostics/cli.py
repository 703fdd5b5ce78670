"""The command line: ``pytest-diagnostics doctor | runs | show RUN | report RUN``."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .analysis.summary import summarise
from .collectors import available_names, load
from .core.errors import ConfigurationError, DiagnosticError
from .endings import SETTLE_SECONDS, ending_of_run
from .rendering import recording_of, write_report, write_summary
from .report import terminal
from .report.words import line, seconds, size
from .storage.runs import RunInfo, find_run, list_runs, run_info
from .storage.tail import is_running, settle

if TYPE_CHECKING:
    from .analysis.schema import Summary
    from .core.collector import DiagnosticCollector
    from .storage.runs import RunDirectory

DEFAULT_DIRECTORY = "pytest-diagnostics"
#: Ticks that ``doctor`` takes of each collector; the cost it prints is their median.
DOCTOR_TICKS = 5
DOCTOR_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Checked:
    """What ``doctor`` found out about one collector."""

    name: str
    #: None when it works, else why not.
    reason: str | None
    #: CPU time of one tick, this process', median.
    cpu_seconds: float | None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or 2 for what the user has to mend."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read this has read enough; the interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (DiagnosticError, OSError) as exc:
        print(f"pytest-diagnostics: {exc}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-diagnostics", description="Look at recordings of test runs, and at what can be recorded."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="say of each collector whether it works here, and its cost")
    doctor.add_argument("collectors", nargs="*", metavar="COLLECTOR", help="only these")
    doctor.set_defaults(run=_doctor)
    runs = commands.add_parser("runs", help="list the recorded runs")
    runs.set_defaults(run=_runs)
    show = commands.add_parser("show", help="show a run's summary in the terminal")
    show.add_argument(
        "--tests", choices=("failed", "slow", "all", "none"), default="slow", help="(default: slow)"
    )
    show.add_argument("--json", action="store_true", help="print summary.json instead")
    show.set_defaults(run=_show)
    report = commands.add_parser("report", help="write a run's HTML report, also of a run that was killed")
    report.add_argument("-o", "--output", type=Path, help="write it here (default: into the run's directory)")
    report.set_defaults(run=_report)
    for command in (runs, show, report):
        command.add_argument(
            "--dir", default=DEFAULT_DIRECTORY, help=f"where runs are recorded (default: {DEFAULT_DIRECTORY})"
        )
    for command in (show, report):
        command.add_argument(
            "name",
            nargs="?",
            default="latest",
            metavar="RUN",
            help="latest, a run's name or its beginning, a path",
        )
    return parser


def _doctor(options: argparse.Namespace) -> int:
    known = available_names()
    unknown = [name for name in options.collectors if name not in known]
    if unknown:
        raise ConfigurationError(f"there is no collector {unknown[0]!r}; there are: {', '.join(known)}")
    checks = [check(name) for name in options.collectors or known]
    width = max(len(checked.name) for checked in checks)
    for checked in checks:
        if checked.reason is None and checked.cpu_seconds is not None:
            print(f"{checked.name:<{width}}  works        {seconds(checked.cpu_seconds)} of CPU a tick")
        else:
            print(f"{checked.name:<{width}}  unavailable  {line(checked.reason or 'no data')}")
    return 0


def check(name: str) -> Checked:
    """Try a collector: its probe, then some ticks."""
    try:
        collector = load(name)
        reason = collector.probe()
        return Checked(name, reason, None) if reason is not None else _tried(name, collector)
    except Exception as exc:  # noqa: BLE001 - what a collector raises is the answer
        return Checked(name, f"{type(exc).__name__}: {exc}", None)


def _tried(name: str, collector: DiagnosticCollector) -> Checked:
    costs = []
    data: object = None
    try:
        collector.start()
        for _ in range(DOCTOR_TICKS):
            time.sleep(DOCTOR_PAUSE_SECONDS)
            began = time.thread_time()
            data = collector.collect()
            if inspect.iscoroutine(data):
                data = asyncio.run(data)
            costs.append(time.thread_time() - began)
    finally:
        collector.stop()
    if isinstance(data, dict) and data.get("available") is False:
        return Checked(name, str(data.get("error") or "no data"), None)
    return Checked(name, None, sorted(costs)[len(costs) // 2])


def _runs(options: argparse.Namespace) -> int:
    found = list_runs(options.dir)
    if not found:
        print(f"no runs in {Path(options.dir).resolve()}; record one with: pytest --diagnostics")
        return 0
    for info in found:
        print(f"{info.name}  {_state(info)}")
    return 0


def _state(info: RunInfo) -> str:
    counts = _counts(info.counts, ended=True) if info.counts is not None else None
    if info.finished:
        return "finished, not summarised" if counts is None else counts or "no tests"
    ending = ending_of_run(info.directory, maybe_alive=info.alive)
    if ending is not None:
        return line(f"{ending}; {counts}" if counts else ending)
    return "running" if is_running(info.directory) else "running, or ended where it cannot be seen from here"


def _counts(counts: Mapping[str, int], *, ended: bool) -> str:
    # What still runs in the records of a run that is gone does so no more.
    names = {"running": "unfinished"} if ended else {}
    return ", ".join(f"{count} {names.get(outcome, outcome)}" for outcome, count in sorted(counts.items()))


def _show(options: argparse.Namespace) -> int:
    run = find_run(options.dir, options.name)
    summary = _summary(run)
    if options.json:
        print(json.dumps(summary, allow_nan=False))
        return 0
    head = summary["run"]
    ended, took = head["ending"] is not None, seconds(head["wall_seconds"])
    counts = _counts(summary["counts"], ended=ended) or "no tests"
    if ended:
        # Why there is no more of it comes first.
        print(f"run     {head['id']} {line(head['end_reason'])}")
        print(f"tests   {counts} in {took}")
    else:
        print(f"run     {head['id']}, {took}, {line(head['end_reason'])}: {counts}")
    report = str(run.report) if run.report.is_file() else None
    for text in terminal.lines(summary, show=options.tests, quiet=False, report=report):
        print(text)
    if report is None:
        print(f"report  write it with: pytest-diagnostics report --dir {options.dir} {run.name}")
    return 0


def _report(options: argparse.Namespace) -> int:
    run = find_run(options.dir, options.name)
    summary = _summary(run)
    if options.output is None and not run.summary.is_file() and not run_info(run).alive:
        write_summary(summary, run)
    path = write_report(summary, options.output or run.report)
    print(f"{path} ({size(Path(path).stat().st_size)})")
    return 0


def _summary(run: RunDirectory) -> Summary:
    """Summarise anew: a run's shards hold more than a summary of an older version shows."""
    alive = is_running(run)
    if not alive:
        settle(run, SETTLE_SECONDS)
    return summarise(recording_of(run, {}, []), alive=alive)
