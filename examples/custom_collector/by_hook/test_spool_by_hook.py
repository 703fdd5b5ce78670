from __future__ import annotations

import time
from pathlib import Path

from pytest_diagnostics.fixtures import Diagnostics


def test_the_spool_fills(spool: Path) -> None:
    for number in range(10):
        (spool / f"letter-{number}").write_bytes(b"x" * 1000)
        time.sleep(0.05)


def test_asks_the_collector_now(spool: Path, diagnostics: Diagnostics) -> None:
    (spool / "letter").write_bytes(b"x" * 500)

    answer = diagnostics.collect("spool")

    assert answer["spool"]["size_bytes"] == 500
