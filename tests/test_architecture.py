"""The house's rules, read from the source: who imports whom, and how long things may get."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pytest_diagnostics"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

#: Room or file -> what of this package it may import. The rooms of one line do not know each other.
INSIDE: dict[str, set[str]] = {
    "core": {"core"},
    "system": {"core", "system"},
    "collectors": {"core", "system"},
    # What belongs to one database; the collectors beside it are none of its business, as a test below says.
    "collectors/cassandra": {"core", "collectors"},
    "storage": {"core", "storage"},
    "analysis": {"core", "analysis"},
    "report": {"core", "analysis", "report"},
    "recorder": {"core", "system", "collectors", "storage", "recorder"},
    "testing.py": {"core", "contract.py"},
    "contract.py": {"core"},
    "options.py": set(),
    "settings.py": {"options.py"},
}
#: Room or file -> what it may import besides the standard library, outside of this package.
OUTSIDE: dict[str, set[str]] = {
    "core": set(),
    "system": set(),
    "system/usage_portable.py": {"psutil"},
    "collectors": {"psutil"},
    "collectors/cassandra": set(),
    "collectors/cassandra/connection.py": {"cassandra"},
    "storage": set(),
    "analysis": set(),
    "report": set(),
    "report/html.py": {"jinja2", "markupsafe"},
    "recorder": set(),
    "testing.py": set(),
    "contract.py": set(),
    "cli.py": set(),
    "rendering.py": set(),
}
#: What is imported when the plugin is installed and switched off.
ALWAYS_IMPORTED = ("plugin.py", "options.py", "hookspecs.py")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_POSITIONAL = 5

Function = ast.FunctionDef | ast.AsyncFunctionDef


def place(path: Path) -> str:
    """Return a source's path inside the package: ``core/loop.py``."""
    return path.relative_to(PACKAGE).as_posix()


def rule(rules: dict[str, set[str]], inside: str) -> set[str] | None:
    """Return the rule for one file: its own, else that of the nearest folder that has one."""
    while inside not in rules and "/" in inside:
        inside = inside.rpartition("/")[0]
    return rules.get(inside)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute module) of every import, wherever in the file it stands."""
    package = ["pytest_diagnostics", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1])
            if node.module:
                yield node.lineno, f"{base}.{node.module}"
            else:
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def target(module: str) -> str:
    """Return the room or file of this package that a module belongs to."""
    first = module.split(".")[1] if "." in module else "__init__"
    return first if (PACKAGE / first).is_dir() else f"{first}.py"


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_rooms_import_only_what_the_table_permits() -> None:
    wrong = []
    for path in SOURCES:
        inside = place(path)
        allowed, outside = rule(INSIDE, inside), rule(OUTSIDE, inside)
        for line, module in imports(path):
            ours = module.split(".")[0] == "pytest_diagnostics"
            if ours and allowed is not None and target(module) not in allowed:
                wrong.append(f"{inside}:{line} imports {module}")
            library = module.split(".")[0]
            known = ours or library in sys.stdlib_module_names
            if not known and outside is not None and library not in outside:
                wrong.append(f"{inside}:{line} imports {library}")
    assert wrong == []


def test_every_room_has_a_rule() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert rooms <= set(INSIDE)
    assert rooms <= set(OUTSIDE)


def test_collectors_do_not_know_each_other() -> None:
    wrong = [
        f"{place(path)}:{line} imports {module}"
        for path in (PACKAGE / "collectors").glob("*.py")
        for line, module in imports(path)
        if module.startswith("pytest_diagnostics.collectors.")
    ]
    wrong += [
        f"{place(path)}:{line} imports {module}"
        for folder in (PACKAGE / "collectors").iterdir()
        if folder.is_dir()
        for path in folder.glob("*.py")
        for line, module in imports(path)
        if module.startswith("pytest_diagnostics.collectors.") and module.split(".")[2] != folder.name
    ]
    assert wrong == []


def test_what_is_always_imported_is_small_and_imports_only_itself() -> None:
    lines = 0
    for name in ALWAYS_IMPORTED:
        source = (PACKAGE / name).read_text(encoding="utf-8")
        lines += len(source.splitlines())
        for node in ast.parse(source).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names]
                module = getattr(node, "module", None)
                if isinstance(node, ast.ImportFrom) and node.level:
                    assert all(f"{each}.py" in ALWAYS_IMPORTED for each in ([module] if module else names)), (
                        f"{name}:{node.lineno}"
                    )
    assert lines <= 300


def test_fresh_interpreter_imports_nothing_heavy_for_the_plugin() -> None:
    program = (
        "import pytest, sys; before = set(sys.modules); import pytest_diagnostics.plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())

    ours = {module for module in loaded if module.startswith("pytest_diagnostics")}
    assert ours == {
        "pytest_diagnostics",
        *(f"pytest_diagnostics.{name.removesuffix('.py')}" for name in ALWAYS_IMPORTED),
    }
    assert not loaded & {"jinja2", "psutil", "asyncio", "multiprocessing", "importlib.metadata"}


def test_manager_needs_no_asyncio_and_no_library() -> None:
    program = (
        "import sys; from pytest_diagnostics import DiagnosticManager;"
        "from pytest_diagnostics.testing import ScriptedCollector;"
        "m = DiagnosticManager([ScriptedCollector()]); m.start_collecting(); m.stop_collecting();"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert not set(done.stdout.split()) & {"asyncio", "jinja2", "psutil", "pytest"}


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_stay_readable(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    long = [
        f"{node.name} has {length} lines"
        for node in functions(path)
        # A builder of test data may be as long as its data.
        if (path in SOURCES or node.name.startswith("test_"))
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert long == []
    assert lines <= MAX_FILE_LINES


def test_functions_take_at_most_five_positional_parameters() -> None:
    wrong = []
    for path in SOURCES:
        for node in functions(path):
            names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
            if len([name for name in names if name not in ("self", "cls")]) > MAX_POSITIONAL:
                wrong.append(f"{place(path)}:{node.lineno} {node.name}")
    assert wrong == []


def test_no_class_is_taken_for_a_test_class() -> None:
    wrong = [
        f"{place(path)}: {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
    ]
    assert wrong == []


def test_core_knows_no_any() -> None:
    wrong = [
        f"{place(path)}:{node.lineno}"
        for path in (PACKAGE / "core").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name) and node.id == "Any")
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "Any" for alias in node.names))
    ]
    assert wrong == []


def test_what_catches_everything_says_why() -> None:
    wrong = []
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "everything"
            if not re.search(r"\b(Base)?Exception\b|everything", caught):
                continue
            if any(isinstance(each, ast.Raise) for each in ast.walk(node)):
                continue  # it only looks on, or translates
            if not re.search(r"# noqa: BLE001 - \w+", lines[node.lineno - 1]):
                wrong.append(f"{place(path)}:{node.lineno} catches {caught} without a reason")
    assert wrong == []


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{place(path)}:{node.lineno}"
        for path in SOURCES
        if place(path) != "cli.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []
