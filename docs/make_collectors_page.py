"""Write docs/collectors.md: what each built-in collector says of itself, in the words of its class.

python docs/make_collectors_page.py
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

from pytest_diagnostics.collectors import BUILT_IN, DEFAULT

PAGE = Path(__file__).with_name("collectors.md")

HEAD = """# Collectors

<!-- Written by docs/make_collectors_page.py from the collectors' own docstrings; edit those. -->

A collector asks one source. Choose with `--diagnostics-collectors`: `cpu,memory` replaces the default ones,
`+perf_events,-disk` edits them. `pytest-diagnostics doctor` says of each whether it works on this machine,
why not, and what one tick costs.

What holds for all of them:

- A value that cannot be read is `None`, never 0, and the key `reasons` of the same result says why. A
  collector that cannot work at all is *unavailable*, with its reason; the run goes on without it.
- A rate needs two samples: the first one has none and says so. The same holds after a counter went backwards.
- Names of keys end in their unit: `_bytes`, `_seconds`, `_percent`, `_mhz`, `_celsius`, `_per_sec`. Counts
  have no unit; what differs is said at the key.
- Values are the machine's where `scope` is `host`, also in a container; those of a process have `scope`
  `process`.
- In the recording each number is a *series* with the name `collector.key`, such as `cpu.usage_percent` or
  `network.interfaces[eth0].bytes_recv`.

| name | class | by default | does not work |
|---|---|---|---|
"""

#: When a collector is unavailable as a whole. The reason that is shown is more exact.
UNAVAILABLE = {
    "cpu": "without /proc/stat, unless psutil knows the system",
    "memory": "without /proc/meminfo, unless psutil knows the system",
    "network": "without /proc/self/net/dev, unless psutil knows the system",
    "disk": "without /proc/self/mountinfo, unless psutil knows the system",
    "memory_bandwidth": "off Linux",
    "process": "without /proc/self/stat, unless psutil knows the system",
    "pressure": "off Linux, before Linux 4.20, and where the kernel has pressure switched off",
    "cgroup": "off Linux, and where no cgroup is mounted",
    "cassandra_views": "without `--diagnostics-cassandra`, and without a driver",
    "cassandra_indexes": "as `cassandra_views`",
    "cassandra_consistency": "as `cassandra_views`",
    "perf_events": "without the `perf` binary, and where the kernel lets this user count nothing",
}


def main() -> None:
    """Write the page."""
    PAGE.write_text(text(), encoding="utf-8")
    print(f"wrote {PAGE}")


def text() -> str:
    """Return the page."""
    classes = {name: _class(target) for name, target in BUILT_IN.items()}
    rows = [
        f"| [`{name}`](#{name}) | `{kind.__name__}` | {'on' if name in DEFAULT else 'off'} | {why} |"
        for (name, kind), why in zip(classes.items(), map(UNAVAILABLE.__getitem__, classes), strict=True)
    ]
    sections = [f"\n## {name}\n\n{described(kind)}\n" for name, kind in classes.items()]
    return HEAD + "\n".join(rows) + "\n" + "".join(sections)


def described(kind: type[object]) -> str:
    """Return a class's docstring as Markdown."""
    return re.sub(r"``([^`]+)``", r"`\1`", inspect.cleandoc(kind.__doc__ or ""))


def _class(target: str) -> type[object]:
    module, _, name = target.partition(":")
    kind: type[object] = getattr(import_module(module), name)
    return kind


if __name__ == "__main__":
    main()
