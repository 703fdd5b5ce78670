"""What goes on a test's report: a text section, ``report.diagnostics``, JUnit properties.

Builtin types only on the wire: a report crosses process borders, and a subclass of ``str`` or an enum member
breaks the crossing. At most 4 KiB a report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import pytest

from .analysis.builds import sentences
from .core.figures import total
from .core.model import DiagnosticResult
from .packed import PackedFigures, packed_figures
from .report.sentences import usage_lines
from .report.words import line as in_one_line

if TYPE_CHECKING:
    from .core.figures import Usage
    from .recorder.kinds import Pending
    from .settings import Settings

# Bound and imported here: a failure is reported while the test's mocks and fake files are still there.
_dumps = json.JSONEncoder(allow_nan=False, default=str).encode
_loads = json.JSONDecoder().decode

MAX_BYTES = 4096
#: Figures of three phases are numbers of builtin types and less than 3 KiB: with no more than this beside
#: them nothing needs to be measured, which would cost a passing test more than its edges do.
SMALL_REASONS = 4
SMALL_REASON = 200
#: What there is of a test that passed.
_COMPLETE = frozenset({"version", "usage", "absent"})
SECTION = "diagnostics"
#: Figures that JUnit properties carry: enough to plot a test's history, few enough to read.
JUNIT_KEYS = (
    "wall_seconds",
    "cpu_seconds",
    "cpu_wait_seconds",
    "peak_rss_bytes",
    "read_bytes",
    "write_bytes",
)
#: Sampled series that a failing test's section shows: what the machine was doing meanwhile.
TELLING = (
    ("machine CPU", "cpu", "usage_percent"),
    ("stolen", "cpu", "steal_percent"),
    ("memory used", "memory", "percent"),
    ("CPU pressure", "pressure", "cpu_some_percent"),
    ("memory pressure", "pressure", "memory_some_percent"),
    ("I/O pressure", "pressure", "io_some_percent"),
)


def outcome_of(report: pytest.TestReport) -> str:
    """Return a report's outcome as the recording knows it: also xfailed and xpassed."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed" if report.passed else "failed"
    return str(report.outcome)


def failure_line(report: pytest.TestReport) -> str:
    """Return the one line that pytest's short summary would show, at most 2,000 characters."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = getattr(crash, "message", None) or report.longreprtext
    return str(message)[:2000]


def subtest_name(report: pytest.TestReport) -> str:
    """Return what a subtest calls itself: its message and its parameters."""
    context = getattr(report, "context", None)
    parameters = getattr(context, "kwargs", None) or {}
    parts = [str(getattr(context, "msg", None) or "")]
    parts += [f"{key}={value!r}" for key, value in dict(parameters).items()]
    return " ".join(part for part in parts if part)[:200] or "subtest"


def fixture_name(argname: str) -> str:
    """Return a fixture's name as its author knows it: pytest wraps xunit and unittest set-ups."""
    for hook in ("setup_module", "setup_class", "setUpClass"):
        if argname.startswith("_") and f"_{hook}_fixture_" in argname:
            return f"{hook} of {argname.partition('_fixture_')[2]}"
    return argname


def may_yet_be_xfailed(item: pytest.Item, call: pytest.CallInfo[None]) -> bool:
    """Return whether a failed phase may turn out as xfailed: pytest decides after us."""
    if call.excinfo is not None and isinstance(call.excinfo.value, pytest.xfail.Exception):
        return not item.config.getoption("runxfail", False)
    return may_be_expected_to_fail(item)


def may_be_expected_to_fail(item: pytest.Item) -> bool:
    """Return whether an xfail marker may apply: then the outcome of a passing test is pytest's to judge.

    A condition given as text is evaluated by pytest alone; it counts as met here.
    """
    if item.config.getoption("runxfail", False):
        return False
    for marker in item.iter_markers("xfail"):
        conditions = (
            *marker.args[:1],
            *([marker.kwargs["condition"]] if "condition" in marker.kwargs else []),
        )
        if not conditions or any(isinstance(c, str) or bool(c) for c in conditions):
            return True
    return False


def collection(reason: str, demands: Sequence[Pending]) -> dict[str, object]:
    """Return the fields of a collection on demand, which several recorders may have a part in."""
    results = {name: result for demand in demands for name, result in dict(demand.results).items()}
    moments = [result.monotonic for result in results.values()]
    errors = {name: str(result.error) for name, result in results.items() if result.error is not None}
    for demand in demands:
        errors.update(dict.fromkeys(demand.missing, "no answer in time"))
    return {
        "reason": reason,
        "monotonic": min(moments) if moments else None,
        "data": {name: result.data for name, result in results.items() if result.error is None},
        "errors": errors,
    }


def attach(
    report: pytest.TestReport,
    usage: Mapping[str, Usage],
    absent: Mapping[str, Mapping[str, str]],
    *,
    failed: bool,
    limits: list[dict[str, object]],
    settings: Settings,
    sampled: Callable[[], Mapping[str, DiagnosticResult]],
) -> None:
    """Attach to a failed phase's report, or to a teardown's."""
    first = not hasattr(report, "diagnostics")
    if settings.junit and first and report.when == "teardown":
        report.user_properties.extend(_properties(usage))
    reasons = {key: why for of in absent.values() for key, why in of.items()}
    if not failed and not limits and _small(reasons):
        packed = packed_figures(cast("Mapping[str, Mapping[str, object]]", usage), reasons)
        if packed is not None:
            report.diagnostics = packed  # type: ignore[attr-defined] # the attribute is our own
            return
    figures: dict[str, object] = {"version": 1, "usage": {when: dict(of) for when, of in usage.items()}}
    if limits:
        figures["limits"] = limits
    figures["absent"] = reasons
    if failed:
        latest = sampled()
        telling = _telling(latest)
        figures["sampled"] = dict(telling)
        if settings.show != "none":
            text = _section(str(report.when), usage, absent, telling)
            report.sections.append((SECTION, "\n".join([text, *_not_built(latest)])))
    report.diagnostics = _bounded(figures)  # type: ignore[attr-defined] # the attribute is our own


def to_wire(data: dict[str, object]) -> None:
    """Make ``report.diagnostics`` one ASCII string, which costs a process border next to nothing."""
    found = data.get("diagnostics")
    if isinstance(found, dict):
        data["diagnostics"] = _dumps(found.plain() if isinstance(found, PackedFigures) else found)


def from_wire(report: object) -> None:
    """Make it a dict again for readers on this side."""
    text = getattr(report, "diagnostics", None)
    if isinstance(text, str):
        figures = _loads(text)
        if figures.keys() == _COMPLETE and isinstance(figures["absent"], dict):
            figures = packed_figures(figures["usage"], figures["absent"]) or figures
        report.diagnostics = figures  # type: ignore[attr-defined] # the attribute is our own


def _small(absent: Mapping[str, str]) -> bool:
    """Return whether three phases' figures and these reasons fit a report without being measured."""
    return len(absent) <= SMALL_REASONS and all(len(why) <= SMALL_REASON for why in absent.values())


def _bounded(figures: dict[str, object]) -> dict[str, object]:
    """Return plain JSON data, without its largest parts when it exceeds what a report may carry."""
    for part in ("absent", "sampled", "limits", "usage"):
        text = _dumps(figures)
        if len(text) <= MAX_BYTES:
            break
        figures = {**figures, part: f"left out: a report carries {MAX_BYTES} bytes at most"}
    bounded: dict[str, object] = _loads(_dumps(figures))
    return bounded


def _properties(usage: Mapping[str, Usage]) -> list[tuple[str, object]]:
    together = total(usage.values())
    return [(f"diagnostics_{key}", str(together[key])) for key in JUNIT_KEYS if key in together]  # type: ignore[literal-required] # keys of Usage


def _telling(sampled: Mapping[str, DiagnosticResult]) -> list[tuple[str, float]]:
    found = []
    for label, name, key in TELLING:
        result = sampled.get(name)
        value = result.data.get(key) if result is not None and isinstance(result.data, dict) else None
        if isinstance(value, (int, float)):
            found.append((label, float(value)))
    return found


def _not_built(latest: Mapping[str, DiagnosticResult]) -> list[str]:
    """Return a line for each view and index of a watched database that was not built when last looked at."""
    return [in_one_line(told) for told in sentences({name: result.data for name, result in latest.items()})]


def _section(
    when: str,
    usage: Mapping[str, Usage],
    absent: Mapping[str, Mapping[str, str]],
    telling: list[tuple[str, float]],
) -> str:
    lines = usage_lines(when, usage.get(when, {}), absent.get(when, {}))
    if telling:
        values = ", ".join(f"{label} {value:.0f} %" for label, value in telling)
        lines.append(f"latest samples of the machine: {values}")
    return "\n".join(lines)
