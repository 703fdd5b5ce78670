"""The documented format is the one that is written."""

from __future__ import annotations

from pathlib import Path

from pytest_diagnostics.analysis import schema
from pytest_diagnostics.storage import records


def test_the_file_format_page_names_every_record_kind_and_every_summary_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "file-format.md").read_text(encoding="utf-8")
    shapes = [shape for name, shape in vars(schema).items() if hasattr(shape, "__total__")]
    assert len(shapes) > 15
    names = {key for shape in shapes for key in shape.__annotations__} | set(records.KINDS)
    assert sorted(name for name in names if f"`{name}`" not in page) == []
    assert f"format version {records.FORMAT_VERSION}" in page
    assert f"summary version {schema.VERSION}" in page
