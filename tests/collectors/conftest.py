"""A machine whose kernel's files a test writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_diagnostics.system.sampling import LocalCollector


class Machine:
    """A tree of /proc and /sys, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def write(self, **files: str) -> None:
        """Write files; "__" in a name is a slash."""
        for name, content in files.items():
            path = Path(self.root, *name.split("__"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def tick(self, collector: LocalCollector, after: float = 0.0) -> tuple[dict[str, object], dict[str, str]]:
        self.now += after
        data = collector.collect()
        reasons = data.pop("reasons", {})
        assert isinstance(reasons, dict)
        absent = {key for key, value in data.items() if value is None}
        assert absent <= set(reasons), "every absent value has its reason"
        return data, reasons


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)
