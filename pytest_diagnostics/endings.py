"""How earlier runs ended, told without reading them whole."""

from __future__ import annotations

import os

from .storage.runs import RunDirectory, has_ended, is_alive, previous_run
from .storage.tail import is_running, read_tail, settle

#: How long a recorder that is still there may take to write what it saw.
SETTLE_SECONDS = 0.5


def ending_of_run(run: RunDirectory, *, maybe_alive: bool = False) -> str | None:
    """Return how a run ended that did not finish, as a sentence without its subject; None when there is none.

    That is so when it finished, when its process is there, and, with ``maybe_alive``, when its records merely
    stop: they may go on.
    """
    if has_ended(run) or is_running(run):
        return None
    # Most runs finish: nothing of this is needed then, and pytest would have to load it.
    from .analysis.attempts import attempts_of
    from .analysis.endings import endings_of

    settle(run, SETTLE_SECONDS)
    recording = read_tail(run)
    tests = [test for test, _ in attempts_of(recording)]
    for ending in endings_of(recording, tests, finished=False)[:1]:
        if not (ending["inferred"] and maybe_alive):
            return ending["sentence"]
    return None


def previous_ending(directory: str | os.PathLike[str], before: RunDirectory) -> str | None:
    """Return how the run right before ``before`` ended, if it is gone and did not finish.

    Of any other run this was told when the run after it began.
    """
    run = previous_run(directory, before)
    if run is None or has_ended(run):
        return None
    sentence = ending_of_run(run, maybe_alive=is_alive(run))
    return None if sentence is None else f"run {run.name} {sentence}"
