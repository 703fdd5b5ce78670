"""The package's public names: lazy, and what a type checker believes them to be."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_diagnostics

SOURCE = Path(pytest_diagnostics.__file__)


def typed_names() -> dict[str, str]:
    """Return name -> home of what the package's TYPE_CHECKING block imports."""
    names = {}
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for alias in node.names:
                assert alias.asname == alias.name, f"{alias.name} is not re-exported"
                names[alias.name] = f"pytest_diagnostics.{node.module}"
    return names


@pytest.mark.parametrize("name", [name for name in pytest_diagnostics.__all__ if name != "__version__"])
def test_public_name_is_what_a_type_checker_believes(name: str) -> None:
    home = typed_names()[name]

    assert getattr(pytest_diagnostics, name) is getattr(importlib.import_module(home), name)


def test_names_for_the_type_checker_are_the_public_ones() -> None:
    assert {*typed_names(), "__version__"} == set(pytest_diagnostics.__all__)
    assert pytest_diagnostics.__all__ == sorted(pytest_diagnostics.__all__)
    assert set(pytest_diagnostics.__all__) <= set(dir(pytest_diagnostics))


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert pytest_diagnostics.__version__ == version("pytest-diagnostics")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'pytest_diagnostics' has no attribute 'Nothing'"):
        _ = pytest_diagnostics.Nothing


def test_import_of_the_package_costs_nothing() -> None:
    program = "import sys; import pytest_diagnostics; print(*sys.modules)"
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(SOURCE.parent.parent)!r}); {program}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert [name for name in loaded if name.startswith("pytest_diagnostics.")] == []
    assert not loaded & {"dataclasses", "importlib.metadata"}
