"""The guide for authors of collectors is true: its Python runs, its tests pass, its tables are the code's."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from pytest_diagnostics import DiagnosticCollector, ErrorType, ExceptionStrategy, hookspecs, testing
from pytest_diagnostics.collectors import GROUP

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "writing-a-collector.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    """Run the guide's Python, top to bottom, as one module."""
    space: dict[str, object] = {"__name__": "guide"}
    for block in re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "writing-a-collector.md", "exec"), space)
    return space


@pytest.mark.parametrize("name", re.findall(r"^def (test_\w+)", GUIDE, re.MULTILINE))
def test_test_in_the_guide_passes(names: dict[str, object], name: str) -> None:
    test = names[name]
    assert callable(test)
    test()


def test_guide_names_every_error_type_strategy_and_double(names: dict[str, object]) -> None:
    for error_type in ErrorType:
        assert f"| `{error_type}` |" in GUIDE or f"is of type\n|---|---|\n{error_type}" in GUIDE, error_type
    for word in (*ExceptionStrategy.__members__, *testing.__all__):
        assert word in GUIDE or word == "CheckedCollector", word


@pytest.mark.parametrize(
    ("attribute", "default"),
    re.findall(r"^\| `(\w+)` \| (`True`|`False`|the .*?) \|", GUIDE, re.MULTILINE),
)
def test_defaults_in_the_guide_are_the_classes(attribute: str, default: str) -> None:
    expected = {"`True`": True, "`False`": False}.get(default)

    assert getattr(DiagnosticCollector, attribute) is expected


def test_hook_and_entry_point_group_in_the_guide_exist(names: dict[str, object]) -> None:
    hook = names["pytest_diagnostics_collectors"]
    assert callable(hook)
    assert inspect.signature(hook).parameters.keys() <= (
        inspect.signature(hookspecs.pytest_diagnostics_collectors).parameters.keys()
    )
    assert f'entry-points."{GROUP}"' in GUIDE
