"""Tests that run while a materialized view is being built; the second fails for that reason, on purpose."""

from __future__ import annotations

import pytest
from cassandra.cluster import Session

from pytest_diagnostics.fixtures import Diagnostics

VIEW = (
    "CREATE MATERIALIZED VIEW by_buyer AS SELECT * FROM orders"
    " WHERE buyer IS NOT NULL AND id IS NOT NULL PRIMARY KEY (buyer, id)"
)
#: 100,000 orders of 1,000 buyers.
EACH = 100


def orders_of(shop: Session, buyer: int) -> int:
    """Return how many orders the view knows of a buyer."""
    return len(list(shop.execute("SELECT id FROM by_buyer WHERE buyer = %s", (buyer,))))


def test_makes_the_view(shop: Session) -> None:
    """The statement comes back at once; the server has just begun."""
    shop.execute(VIEW)


def test_forgets_that_views_take_their_time(shop: Session) -> None:
    """Fails: the view is there, and has a part of the orders."""
    assert orders_of(shop, 7) == EACH


@pytest.mark.parametrize("part", range(4))
def test_reads_orders_meanwhile(shop: Session, part: int) -> None:
    """The base table answers as ever."""
    read = shop.prepare("SELECT note FROM orders WHERE id = ?")
    for number in range(part * 400, part * 400 + 400):
        assert shop.execute(read, (number,)).one().note


def test_waits_for_the_view(shop: Session, diagnostics: Diagnostics) -> None:
    """Passes: it asks for what it needs."""
    diagnostics.wait_until_built("diagnostics_example.by_buyer", timeout=180)
    assert orders_of(shop, 7) == EACH


@pytest.mark.parametrize("buyer", [1, 500, 999])
def test_finds_orders_by_buyer(shop: Session, buyer: int) -> None:
    """From now on the view has all."""
    assert orders_of(shop, buyer) == EACH
