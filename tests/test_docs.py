"""The documents say what the code says."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pytest_diagnostics
from pytest_diagnostics import attachment, cli, hookspecs, options, plugin, testing
from pytest_diagnostics.analysis import limits
from pytest_diagnostics.collectors import BUILT_IN, CASSANDRA, load
from pytest_diagnostics.core.collector import DiagnosticCollector
from pytest_diagnostics.core.handlers import ExceptionHandler, ExceptionStrategy
from pytest_diagnostics.core.manager import DiagnosticManager
from pytest_diagnostics.core.model import (
    CollectorError,
    DiagnosticResult,
    Event,
    Execution,
    Health,
    HealthState,
)
from pytest_diagnostics.fixtures import Diagnostics

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
#: Pages whose Python is complete as it stands, and is run.
RUN = [
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("library", "hooks", "markers-and-fixture", "reports")),
]


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def ids(path: Path) -> str:
    return path.stem


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def signature(function: Callable[..., object], *, typed: bool = False) -> str:
    """Return a function's signature as a document writes it: without ``self``, and with types or without."""
    parts: list[str] = []
    keyword_only = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only and not any("*" in p for p in parts):
            parts.append("*")
        keyword_only = parameter.kind is parameter.KEYWORD_ONLY
        bare = parameter if typed else parameter.replace(annotation=parameter.empty)
        default = bare.default
        text = str(bare).replace("'", "") if typed else str(bare)
        if isinstance(default, ExceptionStrategy):
            text = f"{parameter.name}={type(default).__name__}.{default.name}"
        parts.append(text)
    return f"({', '.join(parts)})"


# -- options, markers, hooks, commands


@pytest.mark.parametrize("option", options.OPTIONS, ids=lambda option: option.name)
def test_every_option_has_its_row(option: options.Option) -> None:
    values = "|".join(option.choices) or option.metavar or ""
    flag = f"--diagnostics-{option.name}" + ("=" + values.replace("|", r"\|") if values else "")
    rows = [line for line in page("options").splitlines() if line.startswith(f"| `{flag}` ")]

    assert len(rows) == 1, f"docs/options.md has no row that begins with `{flag}`"
    assert f"`{option.key}`" in rows[0]
    default = rows[0].split(" | ")[2]
    if isinstance(option.default, bool):
        assert default == ("on" if option.default else "off")
    elif option.default != "":
        assert default == f"`{option.default}`"


def test_options_page_names_no_option_that_is_not() -> None:
    known = {f"--diagnostics-{option.name}" for option in options.OPTIONS}
    for path in PAGES:
        named = set(re.findall(r"--diagnostics-[a-z]+(?:-[a-z]+)*", path.read_text("utf-8")))
        assert named <= known, path.name


@pytest.mark.parametrize("marker", plugin.MARKERS, ids=lambda text: text.partition(":")[0].partition("(")[0])
def test_every_marker_is_documented_with_its_signature(marker: str) -> None:
    assert f"`@pytest.mark.{marker.partition(':')[0]}`" in page("markers-and-fixture")


def test_every_limit_is_documented_with_its_unit() -> None:
    told = dict(
        re.findall(r"^\| `([a-z_]+)` \| (seconds|bytes|count) \|", page("markers-and-fixture"), re.MULTILINE)
    )

    assert told == {name: figure.unit for name, figure in limits._FIGURES.items()}
    for unit in (*limits._SIZES, *limits._TIMES):
        assert f"`{unit}`" in page("markers-and-fixture")
    for name in told:
        assert name in plugin.MARKERS[-1]


def hooks() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("pytest_diagnostics_")]


@pytest.mark.parametrize("name", hooks())
def test_every_hook_is_documented_with_its_exact_signature(name: str) -> None:
    function = getattr(hookspecs, name)
    returned = inspect.signature(function).return_annotation

    assert f"\n{name}{signature(function, typed=True)} -> {returned}\n" in page("hooks")


def test_hooks_page_names_no_hook_that_is_not() -> None:
    for path in PAGES:
        named = set(re.findall(r"\bpytest_diagnostics_[a-z_]+", path.read_text("utf-8")))
        assert named <= {*hooks()}, path.name


def test_every_command_is_documented() -> None:
    parser = cli._parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))

    for name in commands.choices:
        assert f"pytest-diagnostics {name}" in page("reports")


def test_every_junit_property_is_documented() -> None:
    told = set(re.findall(r"`diagnostics_([a-z_]+)`", page("reports")))

    assert told == set(attachment.JUNIT_KEYS)


# -- collectors


def page_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_collectors_page", DOCS / "make_collectors_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_collectors_page_is_what_the_collectors_say() -> None:
    assert page("collectors") == page_maker().text(), "run: python docs/make_collectors_page.py"


@pytest.mark.parametrize("name", sorted({*BUILT_IN} - {*CASSANDRA}))
def test_every_collected_key_is_documented(name: str) -> None:
    collector = load(name)
    told = set(re.findall(r"``([A-Za-z0-9_]+)``", type(collector).__doc__ or ""))
    try:
        collector.start()
        keys = set(_keys(collector.collect())) | set(_keys(collector.collect()))
    finally:
        collector.stop()
    # Told once for all resources: "``cpu_some_avg10`` and so on", "with ``_per_sec``".
    together = re.compile(
        r"(cgroup_)?(cpu|memory|io|irq)_(some|full)_(avg10|percent)|(read|write)_bytes_per_sec"
    )

    assert {key for key in keys - told - {"reasons"} if not together.fullmatch(key)} == set()


def _keys(data: object) -> Iterator[str]:
    if isinstance(data, dict):
        yield from (str(key) for key in data)


# -- the library


def test_every_public_name_is_documented() -> None:
    assert [name for name in pytest_diagnostics.__all__ if f"`{name}" not in page("library")] == []


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (DiagnosticManager, "library"),
        (DiagnosticCollector, "library"),
        (ExceptionHandler, "library"),
        (Diagnostics, "markers-and-fixture"),
    ],
)
def test_every_public_member_is_documented_with_its_signature(kind: type[object], where: str) -> None:
    document = " ".join(page(where).split())
    missing = []
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        shown = f"{name}{signature(member)}" if inspect.isfunction(member) else name
        if f"`{shown}`" not in document:
            missing.append(shown)

    assert missing == []
    if kind is not Diagnostics:
        assert f"`{kind.__name__}{signature(kind)}`" in document


@pytest.mark.parametrize("kind", [DiagnosticResult, Event, Execution, CollectorError, Health])
def test_every_field_of_a_record_is_documented(kind: type[object]) -> None:
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type] # they are dataclasses

    assert [name for name in names if f"`{name}`" not in page("library")] == []


def test_every_double_for_authors_is_documented() -> None:
    names = [
        name for name, thing in vars(testing).items() if getattr(thing, "__module__", "") == testing.__name__
    ]

    public = [name for name in names if not name.startswith("_")]
    assert public
    assert [name for name in public if f"`{name}" not in page("writing-a-collector")] == []


def test_every_state_and_strategy_is_documented() -> None:
    for state in HealthState:
        assert f"| {state.name} |" in page("library")
    for strategy in ExceptionStrategy:
        assert f"| `{strategy.name}` |" in page("hooks")


# -- links and code


def anchors(path: Path) -> set[str]:
    """Return the anchors that a page's headings have on GitHub."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_python_in_documents_compiles(path: Path) -> None:
    for code in blocks(path, "python"):
        ast.parse(code, filename=path.name)


def run(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    paths = os.pathsep.join(filter(None, [str(ROOT), str(at), inherited.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=at,
        env={**inherited, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_tests_in_documents_pass(tmp_path: Path) -> None:
    codes = [code for path in RUN for code in blocks(path, "python") if "def test_" in code]
    for number, code in enumerate(codes):
        (tmp_path / f"test_block_{number}.py").write_text(code, encoding="utf-8")

    ended = run("-m", "pytest", "-q", "--diagnostics", "-p", "no:cacheprovider", at=tmp_path)

    assert len(codes) >= 4
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_hooks_in_documents_work(tmp_path: Path) -> None:
    codes = [code for path in RUN for code in blocks(path, "python") if "def pytest_" in code]
    plugins = [f"-pblock_{number}" for number in range(len(codes))]
    for number, code in enumerate(codes):
        (tmp_path / f"block_{number}.py").write_text(code, encoding="utf-8")
    (tmp_path / "test_one.py").write_text("def test_one(diagnostics):\n    diagnostics.collect('queue')\n")

    options = ["--diagnostics", "--diagnostics-strict", "-p", "no:cacheprovider"]
    ended = run("-m", "pytest", *plugins, *options, at=tmp_path)

    assert len(codes) >= 6
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^health +good", ended.stdout, re.MULTILINE), ended.stdout


def test_scripts_in_documents_run(tmp_path: Path) -> None:
    codes = [
        code for path in RUN for code in blocks(path, "python") if not re.search(r"def (test|pytest)_", code)
    ]
    assert len(codes) >= 2
    for code in codes:
        ended = run("-W", "error", "-c", code, at=tmp_path)
        assert ended.returncode == 0, ended.stderr


# -- the first commands


def test_ci_runs_what_the_readme_says() -> None:
    first, second = blocks(ROOT / "README.md", "sh")[:2]
    called = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert second.strip() in called
    assert second in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "examples/interesting" in first
    assert first.count("\n") == second.count("\n") == 1
