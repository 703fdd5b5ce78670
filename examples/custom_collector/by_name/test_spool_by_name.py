from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.mark.diagnostics("spool", interval=0.05)
def test_the_marker_names_the_collector() -> None:
    Path(os.environ["SPOOL_DIR"], "letter").write_bytes(b"x" * 500)
