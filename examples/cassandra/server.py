"""One node of Cassandra from Maven artifacts, for as long as a `with` block lasts; needs Java 17 to 23."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

VERSION = "5.0.8"
CACHE = Path.home() / ".cache" / "pytest-diagnostics" / "cassandra"
START_SECONDS = 180.0
POM = (
    "<project><modelVersion>4.0.0</modelVersion><groupId>jars</groupId><artifactId>jars</artifactId>"
    "<version>1</version><dependencies><dependency><groupId>org.apache.cassandra</groupId>"
    "<artifactId>cassandra-all</artifactId><version>{version}</version></dependency></dependencies></project>\n"
)
LOGBACK = (
    '<configuration><appender name="S" class="ch.qos.logback.core.ConsoleAppender"><encoder>'
    "<pattern>%-5level %date{ISO8601} %F:%L - %msg%n</pattern></encoder></appender>"
    '<root level="INFO"><appender-ref ref="S"/></root></configuration>\n'
)
#: What Cassandra 5.0 wants of Java's own packages, as its conf/jvm17-server.options has it.
OPENS = (
    "java.base/java.io java.base/java.lang java.base/java.lang.module "
    "java.base/java.lang.reflect java.base/java.nio java.base/java.util "
    "java.base/jdk.internal.loader java.base/jdk.internal.math java.base/jdk.internal.module "
    "java.base/jdk.internal.ref java.base/jdk.internal.reflect java.base/jdk.internal.util.jar "
    "java.base/sun.nio.ch jdk.compiler/com.sun.tools.javac "
    "jdk.management/com.sun.management.internal"
)
EXPORTS = (
    "java.base/java.lang.ref java.base/jdk.internal.misc java.base/jdk.internal.ref "
    "java.base/sun.nio.ch java.management.rmi/com.sun.jmx.remote.internal.rmi "
    "java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql "
    "jdk.attach/sun.tools.attach jdk.compiler/com.sun.tools.javac.file jdk.unsupported/sun.misc"
)


@contextlib.contextmanager
def cassandra() -> Iterator[str]:
    """Start a node on free ports of 127.0.0.1, give ``HOST:PORT``, and end it whatever happens."""
    library = jars()
    with tempfile.TemporaryDirectory(prefix="cassandra-", ignore_cleanup_errors=True) as place:
        base = Path(place)
        storage, native = free_ports(2)
        for folder in ("logs", "tmp"):
            (base / folder).mkdir()
        # JSON is YAML.
        (base / "cassandra.yaml").write_text(json.dumps(settings(base, storage, native)), encoding="utf-8")
        (base / "logback.xml").write_text(LOGBACK, encoding="utf-8")
        log = base / "logs" / "out"
        with log.open("wb") as out:
            node = subprocess.Popen(command(library, base), stdout=out, stderr=out, start_new_session=True)
        try:
            wait_until_it_listens(node, native, log)
            yield f"127.0.0.1:{native}"
        finally:
            node.kill()
            node.wait()


def jars() -> Path:
    """Return the folder of the jars, fetched by Maven when it is not there: 67 MB, for the next time, too."""
    folder = CACHE / VERSION
    if not (folder / "complete").exists():
        if shutil.which("mvn") is None:
            raise SystemExit("no Maven to fetch Cassandra with (apt install maven)")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(POM.format(version=VERSION), encoding="utf-8")
        print(f"fetching Cassandra {VERSION} to {folder} …", flush=True)
        fetch = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        subprocess.run([*fetch, f"-DoutputDirectory={folder}"], cwd=folder, check=True)
        listed = [f"{jar.stat().st_size} {jar.name}" for jar in sorted(folder.glob("*.jar"))]
        (folder / "complete").write_text("\n".join(listed) + "\n", encoding="utf-8")
    return folder


def command(library: Path, base: Path) -> list[str]:
    """Return what starts a node whose files are below ``base``."""
    if shutil.which("java") is None:
        raise SystemExit("no Java to run Cassandra with (apt install openjdk-17-jre-headless)")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', said)
    newer = found is not None and int(found[1]) > 17
    agent = max(library.glob("jamm-*.jar"))
    small = "-Xms384m -Xmx384m -Xss512k -XX:+UseSerialGC -XX:MaxDirectMemorySize=256m -XX:TieredStopAtLevel=1"
    return [
        "java",
        *small.split(),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS.split()),
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS.split()),
        # Since Java 18 a program may not install its security manager unless it is allowed to.
        *(["-Djava.security.manager=allow"] if newer else []),
        "-Djava.net.preferIPv4Stack=true",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        f"-javaagent:{agent}",
        f"-Dcassandra.config=file://{base}/cassandra.yaml",
        f"-Dcassandra.storagedir={base}",
        f"-Dcassandra.logdir={base}/logs",
        f"-Dlogback.configurationFile={base}/logback.xml",
        f"-Djava.io.tmpdir={base}/tmp",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.ring_delay_ms=1000",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-cp",
        f"{base}:{library}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]


def settings(base: Path, storage: int, native: int) -> dict[str, object]:
    """Return a cassandra.yaml for one small node with materialized views."""
    seeds = {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider"}
    return {
        "cluster_name": "example",
        "num_tokens": 4,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [{**seeds, "parameters": [{"seeds": f"127.0.0.1:{storage}"}]}],
        "listen_address": "127.0.0.1",
        "rpc_address": "127.0.0.1",
        "storage_port": storage,
        "native_transport_port": native,
        "data_file_directories": [f"{base}/data"],
        "commitlog_directory": f"{base}/commitlog",
        "hints_directory": f"{base}/hints",
        "saved_caches_directory": f"{base}/saved",
        "cdc_raw_directory": f"{base}/cdc",
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
        "auto_snapshot": False,
        "materialized_views_enabled": True,
        "memtable_allocation_type": "heap_buffers",
        "memtable_heap_space": "64MiB",
        "memtable_offheap_space": "32MiB",
        "concurrent_compactors": 1,
    }


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on at this moment."""
    with contextlib.ExitStack() as sockets:
        held = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def wait_until_it_listens(node: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when clients can connect; end the program with the log's end when they never will."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and node.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.2)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])
    raise SystemExit(f"Cassandra did not start:\n{tail}")


def end_on_sigterm() -> None:
    """Make SIGTERM end the program as Ctrl+C does, so that the node goes with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
