"""What a node is started with: the Java flags and the cassandra.yaml of its version, for a small machine."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cassandra import jars

STORAGE_PORT = 7000
NATIVE_PORT = 9042

LOGBACK = """<configuration>
  <appender name="S" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{{ISO8601}} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="{level}"><appender-ref ref="S"/></root>
</configuration>
"""

#: The name before 4.1, for each setting that is set here; sizes and durations were plain numbers then.
NAMES_BEFORE_4_1 = {
    "commitlog_sync_period": "commitlog_sync_period_in_ms",
    "materialized_views_enabled": "enable_materialized_views",
    "sasi_indexes_enabled": "enable_sasi_indexes",
    "user_defined_functions_enabled": "enable_user_defined_functions",
    "memtable_heap_space": "memtable_heap_space_in_mb",
    "memtable_offheap_space": "memtable_offheap_space_in_mb",
    "file_cache_size": "file_cache_size_in_mb",
    "commitlog_segment_size": "commitlog_segment_size_in_mb",
    "commitlog_total_space": "commitlog_total_space_in_mb",
    "key_cache_size": "key_cache_size_in_mb",
    "counter_cache_size": "counter_cache_size_in_mb",
    "prepared_statements_cache_size": "prepared_statements_cache_size_mb",
    "max_hint_window": "max_hint_window_in_ms",
    "hints_flush_period": "hints_flush_period_in_ms",
    "read_request_timeout": "read_request_timeout_in_ms",
    "range_request_timeout": "range_request_timeout_in_ms",
    "write_request_timeout": "write_request_timeout_in_ms",
    "request_timeout": "request_timeout_in_ms",
}

#: Of conf/jvm17-server.options (5.0); each is opened to the class path.
OPENS = (
    *(f"java.base/java.{name}" for name in ("io", "lang", "lang.module", "lang.reflect", "nio", "util")),
    *(
        f"java.base/jdk.internal.{name}"
        for name in ("loader", "math", "module", "ref", "reflect", "util.jar")
    ),
    "java.base/sun.nio.ch",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
)
EXPORTS = (
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.util",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.unsupported/sun.misc",
)


def before(version: str, major: int, minor: int) -> bool:
    """Return whether a version such as ``6.0-alpha2`` is older than another."""
    first, second = version.split("-")[0].split(".")[:2]
    return (int(first), int(second)) < (major, minor)


def access(version: str) -> list[str]:
    """Return the flags that let Cassandra into Java's own packages."""
    opens: tuple[str, ...] = OPENS
    if before(version, 5, 0):
        # 4.x was made for Java 8 and 11. It runs on 17 when all of java.base is open to it.
        opens = (*OPENS, *(f"java.base/{name}" for name in jars.packages("java.base")))
    flags = [f"--add-opens={name}=ALL-UNNAMED" for name in dict.fromkeys(opens)]
    flags += [f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS]
    if jars.java()[1] > 17:
        # Since Java 18 a program may not install its security manager unless it is allowed to (JEP 411).
        flags.append("-Djava.security.manager=allow")
    return flags


def java_flags(version: str, library: Path, base: Path) -> list[str]:
    """Return the flags of a server whose files are below ``base``."""
    agents = sorted(library.glob("jamm-*.jar"))
    if not agents:
        raise jars.MissingError(f"no jamm-*.jar in {library}")
    return [
        "-Xss512k",
        "-XX:+UseSerialGC",
        "-XX:MaxDirectMemorySize=256m",
        "-XX:ActiveProcessorCount=2",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.net.preferIPv4Stack=true",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dio.netty.allocator.maxOrder=11",
        f"-javaagent:{agents[-1]}",
        f"-Dcassandra.config=file://{base}/cassandra.yaml",
        f"-Dcassandra.storagedir={base}",
        f"-Dcassandra.logdir={base}/logs",
        f"-Dlogback.configurationFile={base}/logback.xml",
        f"-Djava.io.tmpdir={base}/tmp",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.consistent.rangemovement=false",
        "-Dcassandra.ring_delay_ms=2000",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        # So many rows are made to measure what one costs: 100,000 take 1.4 s of CPU of each start.
        "-Dcassandra.memtable_row_overhead_computation_step=1000",
        # Tried again after as long while another node is down: with 0 it spins, and fills the log.
        "-Dcassandra.superuser_setup_delay_ms=200",
        *access(version),
    ]


def configuration(address: str, seed: str, base: Path) -> dict[str, object]:
    """Return the settings of one node, by their names since 4.1."""
    return {
        "cluster_name": "pytest-diagnostics",
        "num_tokens": 4,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{seed}:{STORAGE_PORT}"}],
            }
        ],
        "listen_address": address,
        "rpc_address": address,
        "storage_port": STORAGE_PORT,
        "native_transport_port": NATIVE_PORT,
        "start_native_transport": True,
        "data_file_directories": [f"{base}/data"],
        "commitlog_directory": f"{base}/commitlog",
        "hints_directory": f"{base}/hints",
        "saved_caches_directory": f"{base}/saved",
        "cdc_raw_directory": f"{base}/cdc",
        "auto_bootstrap": False,
        "auto_snapshot": False,
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
        "commitlog_segment_size": "8MiB",
        "commitlog_total_space": "64MiB",
        "materialized_views_enabled": True,
        "sasi_indexes_enabled": True,
        "memtable_allocation_type": "heap_buffers",
        "memtable_heap_space": "32MiB",
        "memtable_offheap_space": "32MiB",
        "file_cache_size": "16MiB",
        "key_cache_size": "1MiB",
        "counter_cache_size": "1MiB",
        "prepared_statements_cache_size": "1MiB",
        "concurrent_reads": 4,
        "concurrent_writes": 4,
        "concurrent_compactors": 1,
        "concurrent_materialized_view_builders": 1,
        "disk_access_mode": "standard",
    }


def named_for(version: str, settings: dict[str, object]) -> dict[str, object]:
    """Return settings by the names of a version; one that is None is left to the server's default."""
    settings = {name: value for name, value in settings.items() if value is not None}
    if not before(version, 4, 1):
        return settings
    return {
        NAMES_BEFORE_4_1.get(name, name): number(value) if name in NAMES_BEFORE_4_1 else value
        for name, value in settings.items()
    }


def number(value: object) -> object:
    """Return a size in MiB or a duration in ms without its unit."""
    found = re.fullmatch(r"(\d+)(?:MiB|ms)", value) if isinstance(value, str) else None
    return int(found[1]) if found else value
