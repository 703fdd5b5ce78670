"""What a run's header says of the machine: names and versions from a fixed list, never an environment."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

#: Variables that name a CI job. Their values are public; no other variable is ever recorded.
CI_VARIABLES = (
    "CI",
    "BUILD_NUMBER",
    "BUILDKITE_BUILD_NUMBER",
    "CIRCLE_BUILD_NUM",
    "CI_JOB_ID",
    "CI_PIPELINE_ID",
    "GITHUB_ACTIONS",
    "GITHUB_JOB",
    "GITHUB_REF_NAME",
    "GITHUB_RUN_ID",
    "GITHUB_SHA",
    "GITLAB_CI",
    "JENKINS_URL",
    "TF_BUILD",
)
PACKAGES = ("pytest-diagnostics", "pytest-xdist", "psutil")


def environment(config: pytest.Config) -> dict[str, str]:
    """Return the environment of a run, as text by name."""
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "pytest": pytest.__version__,
        # Not platform.platform(): it starts a process, which a test may find among its children.
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        "machine": platform.machine(),
        "host": platform.node(),
        "rootdir": str(config.rootpath),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found.update(_capacity())
    for name in CI_VARIABLES:
        value = os.environ.get(name)
        if value:
            found[name] = value[:200]
    return found


def _capacity() -> dict[str, str]:
    """Return what the machine has and what of it this process may use."""
    found = {"cpus": str(os.cpu_count() or "unknown")}
    if sys.platform == "linux":
        from .system.cgroup import Allowance

        allowance = Allowance()
        allowance.refresh(0.0)
        if allowance.cores is not None:
            found["cpus usable"] = f"{allowance.cores:g}"
        if allowance.memory_bytes is not None:
            found["memory usable"] = f"{allowance.memory_bytes / 1024**3:.1f} GiB"
    return found
