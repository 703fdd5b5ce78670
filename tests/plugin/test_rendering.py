"""A summary is written in parts, and reads as if it were written at once."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, cast

import pytest

from pytest_diagnostics import rendering

if TYPE_CHECKING:
    from pytest_diagnostics.analysis.schema import Summary


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_a_summary_in_parts_is_the_one_written_at_once(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "AT_A_TIME", 2)
    tests = [{"nodeid": f"test_{n}\ud800", "usage": {"fds": n}} for n in range(count)]
    summary = cast("Summary", {"schema": "x", "tests": tests, "gaps": [], "run": {"ended": None}})

    assert rendering.encoded(summary) == json.dumps(summary).encode("ascii") + b"\n"


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        rendering.encoded(cast("Summary", {"tests": [math.nan]}))
