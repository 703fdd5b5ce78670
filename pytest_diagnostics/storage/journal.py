"""What a writer met and what it lost, told in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field

_WORDS = {
    "ENOSPC": "disk full",
    "EDQUOT": "quota exceeded",
    "EROFS": "file system became read-only",
    "EMFILE": "too many open files in this process",
    "ENFILE": "too many open files on this machine",
    "EIO": "input/output error",
    "EACCES": "permission denied",
    "EPERM": "operation not permitted",
    "EFBIG": "file size limit reached",
    "ENOENT": "file removed again",
    "ELOOP": "a symbolic link in the file's place",
}


@dataclass
class Faults:
    """The account of one writer."""

    #: Records that could not be written at once.
    kept: int = 0
    #: Records given up.
    dropped: int = 0
    #: Records in which values had to be replaced.
    replaced: int = 0
    #: Records in the file when it was removed; None when it was not.
    removed: int | None = None
    _first: dict[str, tuple[str, int]] = field(default_factory=dict)
    _refused: dict[str, tuple[int, str]] = field(default_factory=dict)

    def met(self, name: str, text: str, written: int) -> None:
        """Note an error; only the first of each name is told."""
        self._first.setdefault(name, (_WORDS.get(name, text), written))

    def refused(self, kind: str, exc: Exception) -> None:
        """Note a record that could not be put into words."""
        count, text = self._refused.get(kind, (0, f"{type(exc).__name__}: {exc}"[:200]))
        self._refused[kind] = (count + 1, text)

    def sentences(self, *, waiting: int, closed: bool) -> list[str]:
        """Return what happened, the cause first; ``waiting`` records are still in memory.

        Once the writer is ``closed``, these are not in the file and never will be.
        """
        dropped = self.dropped + (waiting if closed else 0)
        told = [f"{text} ({name}) after {count} records" for name, (text, count) in self._first.items()]
        if self.kept:
            fate = "no" if waiting or dropped >= self.kept else "yes"
            if waiting and not closed:
                fate = "not yet"
            lost = f", {dropped} lost" if dropped else ""
            cause = told.pop(0) if told else "a write failed"
            told.insert(0, f"{cause}; {self.kept} kept in memory{lost}, written at the end: {fate}")
        elif dropped:
            told.insert(0, f"{dropped} records lost")
        if self.removed is not None:
            told.append(f"the recording was removed during the run; {self.removed} records lost")
        if self.replaced:
            told.append(f"{self.replaced} records held values that JSON cannot say; these were replaced")
        for kind, (count, text) in self._refused.items():
            told.append(f"{count} {kind} records could not be encoded ({text})")
        return told


@dataclass
class Cap:
    """Thins results when a shard has grown beyond its bound; phases are always written."""

    limit: int
    thinned: int = 0
    dropped: int = 0
    _seen: dict[str, int] = field(default_factory=dict)

    def admits(self, collector: str, size: int) -> bool:
        """Return whether a collector's next result is to be written, with ``size`` bytes in the shard."""
        if size <= self.limit:
            return True
        if size > 1.5 * self.limit:
            self.dropped += 1
            return False
        seen = self._seen.get(collector, 0)
        self._seen[collector] = seen + 1
        if seen % 10 == 0:
            return True
        self.thinned += 1
        return False

    def sentences(self) -> list[str]:
        """Return what was left out, if anything was."""
        told = []
        if self.thinned:
            told.append(
                f"more than {_mib(self.limit)} recorded: only every 10th result of a collector was written "
                f"from then on ({self.thinned} left out)"
            )
        if self.dropped:
            told.append(f"more than {_mib(self.limit * 1.5)} recorded: {self.dropped} results were left out")
        return told


def _mib(size: float) -> str:
    return f"{size / 1024 / 1024:.4g} MiB"
