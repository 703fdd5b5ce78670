"""Where the jars come from: a cache filled by Maven, or a Cassandra that is installed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CACHE_VARIABLE = "PYTEST_DIAGNOSTICS_CASSANDRA_CACHE"
#: Lists size and name of every jar; written last, so that an interrupted download has none.
MARKER = "complete"
#: 20 s were measured with an empty Maven repository; the rest is for slow networks.
DOWNLOAD_TIMEOUT_SECONDS = 600.0
LOWEST_JAVA = 17
#: All versions were seen to start on 17 and on 21. Java 24 took the security manager away, which Cassandra
#: installs when it starts (JEP 486).
HIGHEST_JAVA = 21


class MissingError(Exception):
    """What a test needs is not on this machine; the text says what is missing."""


@dataclass(frozen=True)
class Artifact:
    """What Maven is asked for; its runtime dependencies come with it."""

    group: str
    name: str
    version: str

    def pom(self) -> str:
        return (
            "<project><modelVersion>4.0.0</modelVersion>"
            "<groupId>jars</groupId><artifactId>jars</artifactId><version>1</version><dependencies><dependency>"
            f"<groupId>{self.group}</groupId><artifactId>{self.name}</artifactId>"
            f"<version>{self.version}</version></dependency></dependencies></project>\n"
        )

    def folder(self) -> Path:
        """Return where its jars are kept between runs."""
        named = os.environ.get(CACHE_VARIABLE)
        root = Path(named) if named else Path.home() / ".cache" / "pytest-diagnostics" / "cassandra"
        return root / (self.version if self.name == "cassandra-all" else f"{self.name}-{self.version}")


def cassandra(version: str) -> Artifact:
    return Artifact("org.apache.cassandra", "cassandra-all", version)


def fetched(artifact: Artifact) -> bool:
    """Return whether all its jars are in the cache, as long as they were when they were fetched."""
    folder = artifact.folder()
    try:
        listed = (folder / MARKER).read_text(encoding="utf-8").splitlines()
        pairs = [line.split(" ", 1) for line in listed]
        return bool(pairs) and all((folder / name).stat().st_size == int(size) for size, name in pairs)
    except (OSError, ValueError):
        return False


def fetch(artifact: Artifact) -> Path:
    """Return the folder of its jars, by Maven where the cache does not have them."""
    folder = artifact.folder()
    if fetched(artifact):
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingError(f"no Maven to fetch {artifact.name} {artifact.version} (apt install maven)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two sessions or workers that start together: the second waits, and finds the cache filled.
    with locked(folder.with_name(folder.name + ".lock")):
        if not fetched(artifact):
            download(artifact, folder, maven)
    return folder


def download(artifact: Artifact, folder: Path, maven: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "pom.xml").write_text(artifact.pom(), encoding="utf-8")
    command = [maven, "-q", "-B", "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as slow:
        raise MissingError(
            f"Maven did not fetch {artifact.name} {artifact.version} in {slow.timeout:.0f} s"
        ) from slow
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise MissingError(f"Maven could not fetch {artifact.name} {artifact.version}: {said}")
    lines = [f"{jar.stat().st_size} {jar.name}" for jar in sorted(folder.glob("*.jar"))]
    unfinished = folder / f"{MARKER}.part"
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(folder / MARKER)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock, waiting for it; the kernel frees the lock of a process that dies."""
    import fcntl  # absent on Windows, where nothing here runs

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def installed() -> tuple[str, Path] | None:
    """Return version and jars of the Cassandra that CASSANDRA_HOME names."""
    home = os.environ.get("CASSANDRA_HOME")
    if not home:
        return None
    for jar in sorted(Path(home, "lib").glob("apache-cassandra-*.jar")):
        found = re.fullmatch(r"apache-cassandra-(\d.*)\.jar", jar.name)
        if found:
            return found[1], jar.parent
    return None


def find(version: str) -> Path:
    """Return the folder of a version's jars: cached, by Maven, or of CASSANDRA_HOME."""
    try:
        return fetch(cassandra(version))
    except MissingError as problem:
        ours = installed()
        if ours is None:
            raise
        if ours[0] != version:
            raise MissingError(f"{problem}, and CASSANDRA_HOME is of {ours[0]}") from problem
        return ours[1]


@cache
def java() -> tuple[str, int]:
    """Return the Java to run and its version."""
    home = os.environ.get("JAVA_HOME")
    path = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if path is None:
        raise MissingError("no Java (apt install default-jre-headless)")
    try:
        done = subprocess.run([path, "-version"], check=False, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise MissingError(f"{path} does not run: {problem}") from problem
    said = done.stderr
    found = re.search(r'version "(\d+)', said)
    if found is None:
        raise MissingError(f"{path} does not say its version: {said.strip()[:200]}")
    version = int(found[1])
    if not LOWEST_JAVA <= version <= HIGHEST_JAVA:
        raise MissingError(f"{path} is Java {version}, and {LOWEST_JAVA} to {HIGHEST_JAVA} is needed")
    return path, version


@cache
def packages(module: str) -> tuple[str, ...]:
    """Return all packages of a Java module, those that it keeps to itself included."""
    said = subprocess.run(
        [java()[0], "--describe-module", module], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    return tuple(re.findall(r"^(?:qualified exports|exports|contains) (\S+)", said, re.MULTILINE))
