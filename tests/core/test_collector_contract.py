"""Every collector of ours keeps the contract that ``pytest_diagnostics.testing`` asks of anybody's."""

from __future__ import annotations

import pytest

from pytest_diagnostics.collectors import BUILT_IN, load
from pytest_diagnostics.testing import check_collector


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_collector_keeps_the_contract(name: str) -> None:
    found = check_collector(lambda: load(name), needs=pytest.skip)

    assert found.name == name
    assert isinstance(found.data, dict)
