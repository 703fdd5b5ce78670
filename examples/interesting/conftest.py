"""What the tests of this suite share."""

import hashlib
import time

import pytest


def burn(cpu_seconds):
    """Keep one CPU busy until this thread has spent that much of its time."""
    end = time.thread_time() + cpu_seconds
    digest = b""
    while time.thread_time() < end:
        digest = hashlib.sha256(digest * 100).digest()
    return digest


@pytest.fixture
def work():
    """Give the tests something to do."""
    return burn


@pytest.fixture(scope="session")
def catalogue():
    """Build something large for the whole session: it gets a row of its own in the report."""
    burn(0.5)
    entries = {number: f"article {number}" for number in range(300_000)}
    yield entries
    entries.clear()
