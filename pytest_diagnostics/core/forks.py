"""One hook for the whole process: at-fork hooks cannot be taken back, and managers come and go."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What has threads and locks that a forked child does not have."""

    def after_fork_in_child(self) -> None:
        """Be inert, without a word to the parent's threads, locks and files."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def tell_after_fork(forkable: Forkable) -> None:
    """Call ``forkable.after_fork_in_child`` in every forked child, as long as somebody holds it."""
    _known.add(forkable)


def _after_fork_in_child() -> None:
    for forkable in list(_known):
        forkable.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
