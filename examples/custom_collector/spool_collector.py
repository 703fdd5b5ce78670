"""A collector of our own: what waits in a spool directory."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pytest_diagnostics import DiagnosticCollector, UnavailableError


class SpoolCollector(DiagnosticCollector):
    """The files that wait in a directory.

    - ``files``: how many
    - ``size_bytes``: of all of them together
    - ``oldest_seconds``: the age of the oldest; None when there is none
    """

    def __init__(self, directory: str | None = None) -> None:
        """Watch ``directory``; the environment variable SPOOL_DIR names it where nobody gives one."""
        super().__init__("spool")
        self._directory = directory or os.environ.get("SPOOL_DIR")

    def probe(self) -> str | None:
        """Say why this cannot work here; then it is never asked, and the report tells the reason."""
        return None if self._directory else "no directory is given, and SPOOL_DIR is not set"

    def collect(self) -> dict[str, float | None]:
        """Look into the directory. An exception becomes an error in the report, never a zero."""
        if self._directory is None or not Path(self._directory).is_dir():
            raise UnavailableError(f"{self._directory} is no directory")
        found = [entry.stat() for entry in os.scandir(self._directory) if entry.is_file()]
        now = time.time()
        return {
            "files": len(found),
            "size_bytes": sum(file.st_size for file in found),
            "oldest_seconds": now - min(file.st_mtime for file in found) if found else None,
        }
