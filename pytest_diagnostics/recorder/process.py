"""The recorder in a process of its own, as pytest sees it: started, asked, ended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress

from ..core.clock import Pid, SystemClock
from ..core.model import DiagnosticResult, JsonValue
from ..core.recording import mapping
from ..storage.files import Files, create_file, read_file
from ..storage.results import latest_results, result_of, results_since
from ..storage.runs import RunDirectory
from .channel import Channel, Message, from_printable
from .launch import complaint, end, launch, started
from .plan import GIVEN_UP, Plan

#: A recorder process begins to record some 60 ms after its start, on a machine that has much else to do after
#: a second or two; after this long it is given up.
BEGIN_SECONDS = 4.0
#: How often one that has not begun yet is looked for while somebody waits for it.
LOOK_SECONDS = 0.005
#: What is added to the patience of a question on its way back.
GRACE_SECONDS = 0.2
#: By its tag a posted collection is fetched, after the teardown.
_COUNT = iter(range(1, 1 << 62))


class Sleep:
    """A pause that no mock of ``time.sleep`` shortens or counts."""

    def __init__(self) -> None:
        from ..core.threads import Flag

        self._flag = Flag()

    def __call__(self, seconds: float) -> None:
        self._flag.wait(seconds)


class RemoteCollection:
    """A collection that a recorder process makes; its results are fetched when somebody waits for them."""

    def __init__(self, recorder: ProcessRecorder, names: list[str] | None, tag: str) -> None:
        self.results: dict[str, DiagnosticResult] = {}
        self._recorder = recorder
        self._names = names
        self._tag = tag
        self._missing = set(recorder.names if names is None else names)
        self._posted = recorder.post({"op": "collect", "names": names, "tag": tag})

    @property
    def missing(self) -> list[str]:
        """The names of the collectors whose result did not come."""
        return sorted(self._missing)

    def wait(self, timeout: float) -> bool:
        """Fetch the results; False when some are not there after ``timeout`` seconds."""
        # What is there when one collector lets the time pass must still come back in time.
        patience = timeout - min(GRACE_SECONDS, timeout / 4)
        question: dict[str, object] = {"op": "fetch", "tag": self._tag, "timeout": patience}
        if not self._posted:
            question = {"op": "now", "names": self._names, "timeout": patience}
        answer = self._recorder.ask(question, timeout)
        if answer is None:
            return False
        self.results.update(self._recorder.results_in(answer))
        missing = answer.get("missing")
        if not isinstance(missing, list):
            return False  # it says why it has no answer: all of them are missing
        self._missing = {str(name) for name in missing}
        return not self._missing


class ProcessRecorder:
    """A recorder process and the way to it, for one process of the run."""

    kind = "process"

    def __init__(self, run: RunDirectory, plan: Plan, worker: str, *, variables: Iterable[str] = ()) -> None:
        """``plan`` is what it is told; ``variables`` names what more of the environment it needs."""
        self.plan = plan
        self._worker = worker
        self.where = "a process of its own"
        self._run = run
        self._variables = tuple(variables)
        self._clock = SystemClock()
        self._channel = Channel(from_printable(plan.address))
        self._session_names = list(plan.collectors)
        #: Collectors that it runs for this process' tests.
        self._added: list[str] = []
        self._launched_at = self._clock.monotonic()
        self._shard: str | None = None
        self._ended = False
        self._problems: list[str] = []
        #: By the names of their files, the lines that it could not write.
        self.unwritten: dict[str, list[bytes]] = {}

    # -- its life

    def start(self) -> None:
        """Start the process and return at once; RecordingError says why it cannot be."""
        launch(self.plan, variables=self._variables)

    @property
    def has_begun(self) -> bool:
        """Whether its shard is there."""
        return self._shard_path() is not None

    @property
    def late(self) -> bool:
        """Whether it should have begun by now, and has not."""
        waited = self._clock.monotonic() - self._launched_at
        return not self.has_begun and (waited >= BEGIN_SECONDS or self._has_failed())

    def give_up(self) -> str:
        """End what was started of it and return why; where that cannot be found, a note ends it later."""
        self._ended = True
        with suppress(OSError):
            if not os.path.islink(self._run.path):
                create_file(os.path.join(self._run.path, GIVEN_UP))
        end(self.plan.address)
        said = complaint(self._run.path)
        if said:
            return f"the recorder process did not begin: {said}"
        return f"the recorder process did not begin within {BEGIN_SECONDS:g} s"

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""
        return not self._ended

    @property
    def is_collecting(self) -> bool:
        """Nothing is collected in this process."""
        return False

    @property
    def names(self) -> list[str]:
        """The collectors that run for this process."""
        return list(dict.fromkeys([*self._session_names, *self._added]))

    def stop(self, timeout: float) -> None:
        """Have it make its final collection and end; one that does not answer is killed.

        What it sampled is in its shard already.
        """
        if self._ended:
            return
        deadline = self._clock.monotonic() + timeout
        self._await_begin(min(deadline, self._launched_at + BEGIN_SECONDS))
        remaining = max(0.1, deadline - self._clock.monotonic())
        answer, trouble = None, "it is stopped"
        if not self._is_stopped():
            answer = self._channel.ask(
                {"op": "finish", "timeout": remaining}, remaining + GRACE_SECONDS, insist=True
            )
            trouble = self._channel.trouble
        self._ended = True
        if answer is not None and answer.get("ended"):
            told = mapping(answer, "unwritten")
            self.unwritten = {
                os.path.basename(name): [str(line).encode() for line in lines]
                for name, lines in told.items()
                if isinstance(lines, list)
            }
            return
        if not self.has_begun:
            self._problems.append(self.give_up())
            return
        self._problems.append(
            f"the recorder process did not end with the run ({trouble}): samples end where its shard ends"
        )
        end(self.plan.address)

    def announce(self) -> None:
        """Have this process watched from now on, not only from when it is noticed."""
        self.post({"op": "watch"})

    def leave(self, timeout: float) -> bool | None:
        """Forget about it: it belongs to another process, or to several, the last of which ends it.

        Returns whether this was the last; None when it does not say.
        """
        last: bool | None = False
        if self.plan.shared and not self._ended:
            deadline = self._clock.monotonic() + timeout
            self._await_begin(min(deadline, self._launched_at + BEGIN_SECONDS))
            remaining = max(0.1, deadline - self._clock.monotonic())
            message = self._signed({"op": "leave", "timeout": remaining})
            answer = self._channel.ask(message, remaining + GRACE_SECONDS, insist=True)
            last = None if answer is None else answer.get("last") is True
        self._ended = True
        return last

    # -- what runs in it

    def add_session(self, names: Iterable[str]) -> None:
        """Collect from more collectors for the rest of the session."""
        names = list(names)
        if self._insisted({"op": "add_session", "names": names}):
            self._session_names += names

    def add_named(self, names: Iterable[str], interval: float | None) -> None:
        """Collect from more collectors for this process' tests."""
        names = list(names)
        if self._insisted({"op": "add", "names": names, "interval": interval}):
            self._added += names

    def remove(self, name: str, timeout: float) -> None:
        """Have the final collection of a collector of this process made, and let it go."""
        if name not in self._added:
            return
        self._added.remove(name)
        answer = self.ask({"op": "remove", "names": [name], "timeout": timeout}, timeout)
        if answer is None:
            self._problems.append(f"{name}: no final collection was confirmed ({self._channel.trouble})")
        elif answer.get("late"):
            self._problems.append(f"{name} did not end within {timeout:g} s")

    # -- what it collected

    def request(self, names: Iterable[str] | None = None) -> RemoteCollection | None:
        """Ask for a collection now without waiting for it."""
        if self._ended or not self.names:
            return None
        tag = f"{Pid.current()}-{next(_COUNT)}"
        return RemoteCollection(self, None if names is None else list(names), tag)

    def collect_now(
        self, names: Iterable[str], timeout: float, about: Sequence[str] = ()
    ) -> dict[str, DiagnosticResult]:
        """Have the named collectors asked, and wait for the results."""
        question = self._signed({"op": "now", "names": list(names), "timeout": timeout, "about": list(about)})
        deadline = self._clock.monotonic() + timeout
        self._await_begin(deadline)
        remaining = max(0.01, deadline - self._clock.monotonic())
        answer = self._channel.ask(question, remaining + GRACE_SECONDS, insist=True)
        return {} if answer is None else self.results_in(answer)

    def latest(self) -> dict[str, DiagnosticResult]:
        """Return the newest result of every collector, as its shard has it."""
        found: dict[str, DiagnosticResult] = {}
        for path in self._sources():
            found.update(latest_results(path, self._clock))
        return found

    def results(self, since: float) -> list[DiagnosticResult]:
        """Return what was collected since a moment, as its shard has it."""
        found = [result for path in self._sources() for result in results_since(path, since, self._clock)]
        return sorted(found, key=lambda result: result.monotonic)

    def results_in(self, answer: Message) -> dict[str, DiagnosticResult]:
        """Return the results of an answer by their collectors' names."""
        found = {}
        for name, fields in mapping(answer, "results").items():
            result = result_of(fields, self._clock) if isinstance(fields, dict) else None
            if result is not None:
                found[name] = result
        return found

    # -- the talks

    def post(self, message: dict[str, object]) -> bool:
        """Say something; True when it will be heard."""
        return not self._ended and self._channel.post(self._signed(message))

    def ask(self, message: dict[str, object], timeout: float) -> Message | None:
        """Ask something; None without an answer in time."""
        return None if self._ended else self._channel.ask(self._signed(message), timeout)

    @property
    def problems(self) -> list[str]:
        """Sentences about what went wrong, for the health line."""
        return list(dict.fromkeys(self._problems))

    # -- inside

    def _signed(self, message: dict[str, object]) -> dict[str, object]:
        return {**message, "pid": Pid.current(), "role": self._worker}

    def _insisted(self, message: dict[str, object]) -> bool:
        """Post, and wait for a recorder that has only just been started."""
        if self.post(message):
            return True
        self._await_begin(self._launched_at + BEGIN_SECONDS)
        if self.post(message):
            return True
        told: JsonValue = [str(name) for name in message["names"]]  # type: ignore[attr-defined] # our own list
        self._problems.append(
            f"{told} could not be asked for in the recorder process: {self._channel.trouble}"
        )
        return False

    def _await_begin(self, deadline: float) -> None:
        pause = Sleep()
        while not self.has_begun and not self._has_failed() and self._clock.monotonic() < deadline:
            pause(LOOK_SECONDS)

    def _shard_path(self) -> str | None:
        if self._shard is None:
            directory = str(self._run.shards)
            with suppress(OSError):
                for name in Files.names(directory):
                    if name.startswith("recorder-") and name != f"recorder-{self.plan.pid}.jsonl":
                        self._shard = os.path.join(directory, name)
        return self._shard

    def _sources(self) -> list[str]:
        role = "process-live" if self._worker == "main" else f"{self._worker}-process-live"
        own = str(self._run.shard(role, Pid.current()))
        return [path for path in (self._shard_path(), own) if path is not None]

    def _has_failed(self) -> bool:
        """Whether something was said and nobody is there who could still begin.

        A shell that only warns, of a locale for example, starts the recorder all the same.
        """
        return bool(complaint(self._run.path)) and not started(self.plan.address)

    def _is_stopped(self) -> bool:
        """Whether its process is stopped: one that cannot answer is not waited for."""
        pid = self._pid()
        try:
            stat = read_file(f"/proc/{pid}/stat", 4096)
        except OSError:
            return False
        return stat.rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])

    def _pid(self) -> int:
        digits = os.path.basename(self._shard_path() or "").removesuffix(".jsonl").rpartition("-")[2]
        return int(digits) if digits.isdecimal() else 0
