"""What is built is whole: files, entry points, dependencies."""

from __future__ import annotations

import configparser
import email
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pytest_diagnostics"

#: Asks the build backend, as pip does, but takes the setuptools that is here and needs no network.
BUILD = """
import sys
from setuptools import build_meta
kind, where = sys.argv[1:]
print(getattr(build_meta, f"build_{kind}")(where))
"""


def build(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that nothing is left in the source tree."""
    place = tmp_path_factory.mktemp(kind)
    source = place / "source"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(PACKAGE, source / "pytest_diagnostics", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ended = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(place)],
        cwd=source,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return place / ended.stdout.strip().splitlines()[-1]


def needs_setuptools() -> None:
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed")
    from importlib.metadata import version

    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("the build needs setuptools 77 or newer")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    needs_setuptools()
    return zipfile.ZipFile(build("wheel", tmp_path_factory))


def text_of(wheel: zipfile.ZipFile, end: str) -> str:
    (name,) = (name for name in wheel.namelist() if name.endswith(f".dist-info/{end}"))
    return wheel.read(name).decode()


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    built = {name for name in wheel.namelist() if name.startswith("pytest_diagnostics/")}

    assert expected - built == set()
    assert built - expected == set()
    for name in ("py.typed", "report/static/LICENSE.uPlot", "report/templates/summary.html.j2"):
        assert f"pytest_diagnostics/{name}" in built


def test_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {re.sub(r"-[0-9.]+\.dist-info", ".dist-info", top) for top in tops} == {
        "pytest_diagnostics",
        "pytest_diagnostics.dist-info",
    }


def test_wheel_carries_both_licences(wheel: zipfile.ZipFile) -> None:
    names = [name for name in wheel.namelist() if ".dist-info/licenses/" in name]

    assert {name.rpartition("/")[2] for name in names} == {"LICENSE", "LICENSE.uPlot"}


def test_entry_points_are_there(wheel: zipfile.ZipFile) -> None:
    points = configparser.ConfigParser()
    points.read_string(text_of(wheel, "entry_points.txt"))

    assert dict(points["pytest11"]) == {"diagnostics": "pytest_diagnostics.plugin"}
    assert dict(points["console_scripts"]) == {"pytest-diagnostics": "pytest_diagnostics.cli:main"}


def test_dependencies_are_these_four(wheel: zipfile.ZipFile) -> None:
    metadata = email.message_from_string(text_of(wheel, "METADATA"))
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]

    assert sorted(re.match(r"[\w-]+", line)[0] for line in needed) == ["jinja2", "pluggy", "psutil", "pytest"]  # type: ignore[index] # every requirement begins with a name
    assert metadata["Requires-Python"] == ">=3.10"
    assert {"xdist", "test"} <= set(metadata.get_all("Provides-Extra", []))


def test_sdist_can_be_built_from(tmp_path_factory: pytest.TempPathFactory) -> None:
    needs_setuptools()

    with tarfile.open(build("sdist", tmp_path_factory)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    for name in ("pyproject.toml", "README.md", "LICENSE", "pytest_diagnostics/py.typed"):
        assert name in names
    for folder in ("templates", "static"):
        expected = {path.name for path in (PACKAGE / "report" / folder).iterdir() if path.is_file()}
        prefix = f"pytest_diagnostics/report/{folder}/"
        assert expected <= {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
