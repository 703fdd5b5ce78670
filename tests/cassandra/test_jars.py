"""Jars are fetched once, wholly, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cassandra import jars, launcher

#: One jar of 140 kB without dependencies; Cassandra needs it too.
SMALL = jars.Artifact("org.hdrhistogram", "HdrHistogram", "2.1.12")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty cache."""
    monkeypatch.setenv(jars.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_interrupted_download_is_done_again(cache: Path) -> None:
    folder = SMALL.folder()
    folder.mkdir(parents=True)
    (folder / "HdrHistogram-2.1.12.jar").write_bytes(b"cut sho")

    assert not jars.fetched(SMALL)
    assert jars.fetch(SMALL) == folder

    assert jars.fetched(SMALL)
    assert (folder / "HdrHistogram-2.1.12.jar").stat().st_size > 100_000


def test_what_is_cached_needs_no_maven(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SMALL.folder()
    folder.mkdir(parents=True)
    (folder / "a.jar").write_bytes(b"four")
    (folder / jars.MARKER).write_text("4 a.jar\n")
    monkeypatch.setenv("PATH", "")

    assert jars.fetch(SMALL) == folder

    (folder / "a.jar").write_bytes(b"cut")
    with pytest.raises(jars.MissingError, match="no Maven to fetch HdrHistogram"):
        jars.fetch(SMALL)


def test_what_maven_cannot_find_is_said(cache: Path) -> None:
    nowhere = jars.Artifact("org.hdrhistogram", "HdrHistogram", "0.0.0-nothing")

    with pytest.raises(jars.MissingError, match=r"0\.0\.0-nothing"):
        jars.fetch(nowhere)

    assert not jars.fetched(nowhere)


@pytest.mark.parametrize(("kept", "reason"), [((), "no Java"), (("java",), "no Maven")])
def test_the_skip_says_what_to_install(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: tuple[str, ...], reason: str
) -> None:
    launcher.require_driver()
    (tmp_path / "bin").mkdir()
    for name in kept:
        (tmp_path / "bin" / name).symlink_to(jars.java()[0])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    jars.java.cache_clear()

    said = launcher.missing()

    jars.java.cache_clear()
    assert said is not None
    assert reason in said


def test_an_installed_cassandra_is_used_for_its_version(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lib = tmp_path / "home" / "lib"
    lib.mkdir(parents=True)
    (lib / "apache-cassandra-5.0.6.jar").touch()
    monkeypatch.setenv("CASSANDRA_HOME", str(lib.parent))
    monkeypatch.setenv("PATH", "")

    assert jars.find("5.0.6") == lib
    with pytest.raises(jars.MissingError, match=r"CASSANDRA_HOME is of 5\.0\.6"):
        jars.find("4.1.10")
