"""Everyday tests: one computes, one waits, one fails, and the first to use the catalogue pays for it."""

import time

import pytest


def test_finds_an_article(catalogue):
    assert catalogue[7] == "article 7"


def test_prices_every_article(work):
    work(1.0)


def test_waits_for_the_warehouse():
    time.sleep(1.0)


def test_adds_up_an_order(work):
    work(0.2)
    assert sum([19, 5, 4]) == 29


@pytest.mark.diagnostics("process", interval=0.05)
def test_packs_the_archive(work):
    archive = bytearray(150_000_000)
    work(0.3)
    assert archive


@pytest.mark.diagnostics_limit(wall_seconds="5 s", peak_rss="2 GB")
def test_stays_within_its_limits(work):
    work(0.1)


def test_accounts_its_own_parts(diagnostics, work):
    with diagnostics.stretch("build the index") as index:
        work(0.3)
    with diagnostics.stretch("wait for the answer") as answer:
        time.sleep(0.3)
    now = diagnostics.collect("memory")

    assert index.usage["cpu_seconds"] > answer.usage["cpu_seconds"]
    assert now["memory"]["total_bytes"] > 0
