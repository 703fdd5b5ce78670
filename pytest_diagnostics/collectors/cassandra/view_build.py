"""What state a view's build is in on one node, judged from poll to poll. Pure but for what it remembers.

The server's own word is not taken: its status table says STARTED for ever after a build that was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from .progress import Progress
from .states import State
from .view_facts import STARTED, SUCCESS, Evidence

#: After a failure the server sleeps for 300 s and begins anew; with a margin for the beginning itself.
RETRY_SECONDS = 360.0
#: Two looks that are closer together than this are not two looks: the server writes in between.
QUIET_SECONDS = 0.4
#: Tables that are not written at one moment may contradict each other for so long.
SETTLE_SECONDS = 3.0
#: Before its first range a build flushes its base table, and shows nothing.
FIRST_SECONDS = 30.0


@dataclass(frozen=True)
class Judged:
    """The state on one node, why it is so in words (None when there is nothing to say), and how far."""

    state: State
    sentence: str | None = None
    #: Not rounded; None with a reason.
    percent: float | None = None
    rate_percent_per_second: float | None = None
    eta_seconds: float | None = None
    #: True when what was known of the build before is void: it began anew.
    is_new: bool = False


class _Lasting:
    """How long, and over how many looks, something has been so."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.looks = 0

    def note(self, is_so: bool, moment: float) -> None:
        if not is_so:
            self.since, self.looks = None, 0
            return
        if self.since is None:
            self.since = moment
        self.looks += 1

    def seconds(self, moment: float) -> float:
        return 0.0 if self.since is None else moment - self.since

    def confirmed(self, moment: float, seconds: float) -> bool:
        """Return whether it was seen at least twice, so many seconds apart."""
        return self.looks > 1 and self.seconds(moment) >= seconds


class Build:
    """One view on one node: what was seen of it so far."""

    def __init__(self, retry_seconds: float = RETRY_SECONDS) -> None:
        """``retry_seconds`` is the longest that this kind of server pauses by itself."""
        self._retry_seconds = retry_seconds
        self.progress = Progress()
        #: What is done for sure, also while the node does not answer: percent, None before the first look.
        self.at_least: float | None = None
        self._fingerprint: object = None
        self._same, self._same_work = _Lasting(), _Lasting()
        self._work: object = None
        self._quiet, self._vanished, self._contradiction = _Lasting(), _Lasting(), _Lasting()
        self._was_begun = False
        self._interrupted = False

    def judge(self, evidence: Evidence) -> Judged:
        """Return the state after one more look."""
        moment = evidence.moment
        if evidence.unknown is not None:
            # What was seen before and what will be seen after do not follow each other.
            self._quiet.note(False, moment)
            return Judged(State.UNKNOWN, evidence.unknown)
        if evidence.locally_built:
            self.at_least = 100.0
            return self._built(evidence)
        if evidence.in_schema is False and not evidence.begun:
            return Judged(State.ABSENT, "the node's own schema does not have it")
        is_new = self._follow(evidence)
        state, sentence = self._unfinished(evidence)
        percent = self.at_least = self.progress.add(moment, evidence.percent)
        is_building = state is State.BUILDING
        return Judged(
            state,
            sentence,
            percent,
            self.progress.rate_percent_per_second if is_building else None,
            self.progress.eta_seconds if is_building else None,
            is_new,
        )

    def _built(self, evidence: Evidence) -> Judged:
        moment = evidence.moment
        self._interrupted = False
        self._contradiction.note(evidence.status == STARTED, moment)
        if evidence.status != STARTED:
            return Judged(State.BUILT, None, 100.0)
        if evidence.announced is True:
            settled = self._contradiction.confirmed(moment, SETTLE_SECONDS)
            sentence = "it is among the built views and announced, and the status table says STARTED"
        else:
            settled = self._contradiction.confirmed(moment, self._retry_seconds)
            sentence = "it is built here, and not announced yet: the status table says STARTED"
        return Judged(State.INCONSISTENT if settled else State.BUILT, sentence, 100.0)

    def _follow(self, evidence: Evidence) -> bool:
        """Note what changed since the look before; return whether the build began anew."""
        moment = evidence.moment
        changed = evidence.fingerprint != self._fingerprint
        self._fingerprint = evidence.fingerprint
        if changed:
            self._same.note(False, moment)
            self._quiet.note(False, moment)
        self._same.note(True, moment)
        if evidence.work != self._work:
            self._same_work.note(False, moment)
        self._work = evidence.work
        self._same_work.note(True, moment)
        is_quiet = evidence.running is False and evidence.idle is True
        self._quiet.note(is_quiet, moment)
        if evidence.running or (changed and evidence.begun and not is_quiet):
            self._interrupted = False
        self._contradiction.note(evidence.status == SUCCESS and not evidence.begun, moment)
        # Rows that were there and are gone for two looks, without the view being built: it began anew.
        self._vanished.note(self._was_begun and not evidence.begun, moment)
        is_new = self._vanished.confirmed(moment, QUIET_SECONDS)
        if is_new:
            self.progress.forget()
            self._interrupted = False
        self._was_begun = evidence.begun or (self._was_begun and not is_new)
        return is_new

    def _unfinished(self, evidence: Evidence) -> tuple[State, str | None]:
        """Return the state of a view that the node has not built."""
        moment = evidence.moment
        is_begun = evidence.begun or bool(evidence.running)
        if evidence.status == SUCCESS and not is_begun:
            if self._contradiction.confirmed(moment, SETTLE_SECONDS):
                return (
                    State.INCONSISTENT,
                    "the status table says SUCCESS, and it is not among the built views",
                )
            return (State.BUILDING if self.progress.percent else State.PENDING), None
        if self._quiet.since is not None or self._interrupted:
            return self._at_rest(evidence)
        if self._is_stuck(evidence):
            return State.STUCK, self._stuck_sentence(evidence)
        if is_begun:
            contradiction = evidence.status == SUCCESS
            return State.BUILDING, "the status table says SUCCESS already" if contradiction else None
        if evidence.idle is False:
            return State.PENDING, "the node builds other views first"
        return State.PENDING, None

    def _at_rest(self, evidence: Evidence) -> tuple[State, str | None]:
        """Return the state of an unfinished view that nobody works on."""
        moment = evidence.moment
        quiet = self._quiet.seconds(moment)
        if evidence.begun or self._interrupted:
            if not self._interrupted and not self._quiet.confirmed(moment, QUIET_SECONDS):
                return State.BUILDING, None
            if evidence.just_started:
                return (
                    State.PENDING,
                    "the node has just started, and takes the build up again 30 s after that",
                )
            self._interrupted = True
            return State.INTERRUPTED, self._interrupted_sentence(evidence)
        if evidence.status == STARTED and quiet >= FIRST_SECONDS and not evidence.just_started:
            return State.INTERRUPTED, (
                f"the status table says STARTED, and nobody has worked on it for {quiet:.0f} s"
            )
        return State.PENDING, None

    def _interrupted_sentence(self, evidence: Evidence) -> str:
        seconds = self._same.seconds(evidence.moment)
        word = f", though the status table says {evidence.status}" if evidence.status else ""
        start = f"no progress for {seconds:.0f} s, no build task runs and {_whose(evidence)}{word}"
        if seconds < self._retry_seconds:
            return f"{start}: a failed build is begun again after 300 s, one that was stopped is not"
        return f"{start}, and it was not begun again within {self._retry_seconds:.0f} s"

    def _is_stuck(self, evidence: Evidence) -> bool:
        moment = evidence.moment
        if not self._same.confirmed(moment, self._retry_seconds):
            return False
        if evidence.running:
            return True
        is_somebodys = evidence.begun or evidence.status == STARTED
        return is_somebodys and self._same_work.confirmed(moment, self._retry_seconds)

    def _stuck_sentence(self, evidence: Evidence) -> str:
        seconds = self._same.seconds(evidence.moment)
        if evidence.running:
            who = "its build task runs"
        elif evidence.idle is False:
            who = "the builder of views is busy"
        else:
            who = "it is begun"
        return f"nothing has changed for {seconds:.0f} s, though {who}"


def _whose(evidence: Evidence) -> str:
    return "the executor of view builds is idle" if evidence.idle else "the executor is busy with other views"
