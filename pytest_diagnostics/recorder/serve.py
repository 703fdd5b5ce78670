"""The main thread of a recorder process: answers pytest, watches, samples long tests densely."""

from __future__ import annotations

import os
import select
import shutil
from collections import OrderedDict
from collections.abc import Callable
from math import inf

from ..core.clock import SystemClock
from ..core.entry import Demand
from ..core.errors import DiagnosticError
from ..core.model import DiagnosticResult, JsonValue
from ..core.threads import start_thread
from ..storage import records
from ..storage.runs import RunDirectory
from .bursts import Bursts
from .channel import Listener, Message, Talk, names_in, pid_in, texts_in, timeout_in
from .follow import Follower
from .main import LAST_SECONDS, Desk, unwritten
from .ourselves import Ourselves
from .pace import LOOK_SECONDS, Pace
from .plan import GIVEN_UP, Plan
from .watched import Stall, Watched

#: How often the watched processes are looked at while one of them is stopped.
STOPPED_LOOK_SECONDS = 0.05
#: A look that comes later than this is told of, with its reason.
LATE_SECONDS = 0.5
#: Where no pidfd tells of an end at once, it is looked for.
BLIND_LOOK_SECONDS = 0.25
#: A connection that says nothing for this long is closed.
DUMB_SECONDS = 1.0
#: Collections that nobody fetched.
MAX_TAGS = 256
#: How long after the death of the last worker of a host another one may take its place.
REPLACEMENT_SECONDS = 10.0


class Service:
    """Serves one run until its processes are gone or pytest says that it is finished."""

    def __init__(self, plan: Plan, run: RunDirectory, session: Desk, listener: Listener | None) -> None:
        self.plan = plan
        self.run_directory = run
        self.session = session
        self._clock = SystemClock()
        self._desks: dict[int, Desk] = {}
        self._tags: OrderedDict[str, list[Demand]] = OrderedDict()
        self._talks: dict[int, Talk] = {}
        self._follower = Follower(str(run.shards))
        self._watched: dict[int, Watched] = {}
        #: Processes whose end was told.
        self._told: set[int] = set()
        #: Since when nobody is watched.
        self._alone_since = inf
        self._ourselves = Ourselves()
        self._pace = Pace(plan.interval)
        self._bursts = Bursts(self._follower, wanted=plan.burst, interval=plan.interval)
        self._given_up = os.path.join(plan.run, GIVEN_UP)
        self._finish: tuple[Talk, float] | None = None
        self._listener = listener
        self._poll = select.poll()
        self._poll.register(self._pace, select.POLLIN)
        #: What a poll returns when nothing but a tick was over.
        self._nudged = [(self._pace.fileno(), select.POLLIN)]
        session.recorder.sink.settled = self._pace.tick
        self._orders: dict[str, Callable[[Message, Talk], None]] = {
            "collect": self._collect,
            "fetch": self._fetch,
            "now": self._now,
            "add": self._add,
            "add_session": self._add_session,
            "remove": self._remove,
            "watch": self._watch_asker,
            "leave": self._leave,
            "finish": self._begin_finish,
        }

    def run(self) -> None:
        """Serve until the end, then make the final collections and close the shards."""
        if self._listener is not None:
            self._poll.register(self._listener, select.POLLIN)
        reason = "process ended"
        try:
            if self._watch(self.plan.pid, self.plan.role, self.plan.start_ticks) or self.plan.shared:
                reason = self._serve()
            else:
                self._read_on()
                self._tell_ended(Watched.missed(self.plan.pid, self.plan.role))
        finally:
            self._close(reason)

    # -- the loop

    def _serve(self) -> str:
        while True:
            pause = min(self._pace.at, self._bursts.at) - self._clock.monotonic()
            ready = self._poll.poll(max(0.0, 1000 * pause))
            now = self._clock.monotonic()
            if ready == self._nudged:
                self._pace.take_nudge(now)
            elif ready or self._talks:
                self._attend(dict(ready), now)
            if self._finish is not None:
                return "finished"
            if now >= self._pace.at:
                self._look(now)
            if self._is_over(now):
                return "process ended"
            if now >= self._bursts.at:
                self._sample_densely(now)

    def _attend(self, ready: dict[int, int], now: float) -> None:
        # Before anything is heard: what is watched from then on has the number of a closed connection.
        if self._pace.fileno() in ready:
            self._pace.take_nudge(now)
        gone = [one for one in self._watched.values() if one.fileno() in ready]
        self._hear(ready, now)
        if self._finish is None:
            for watched in gone:
                self._take_leave(watched)

    def _look(self, now: float) -> None:
        late = now - self._pace.at
        if late >= LATE_SECONDS:
            self._gap(*self._ourselves.why_late(late, now))
        self._ourselves.look()
        self.session.shard.flush()  # even if a collector hangs in the thread that would
        for desk in self._desks.values():
            desk.shard.flush()
        self._read_on()
        pause = self._pace.calm_seconds
        for watched in list(self._watched.values()):
            stall = watched.look(self._follower)
            if stall is not None:
                self._tell_stall(stall, watched)
            if watched.is_stopped:
                pause = STOPPED_LOOK_SECONDS
            elif not watched.is_calm:
                pause = min(pause, LOOK_SECONDS)
            if watched.fileno() < 0:
                pause = min(pause, BLIND_LOOK_SECONDS)
                if not watched.is_there():
                    self._take_leave(watched)
        # Not os.path.exists: a stat that finds nothing, as nearly always, raises.
        if os.getppid() == self.plan.pid or os.access(self._given_up, os.F_OK):
            self._watched.clear()
            self._alone_since = -inf
        self._pace.looked(now, pause)
        self._bursts.look(now)

    def _is_over(self, now: float) -> bool:
        """Return whether nobody is left to be watched, nor to be expected."""
        if not self.plan.shared:
            return self.plan.pid not in self._watched
        self._alone_since = inf if self._watched else min(self._alone_since, now)
        return now - self._alone_since >= REPLACEMENT_SECONDS

    # -- the watched processes

    def _watch(self, pid: int, role: str, started: int | None) -> bool:
        try:
            watched = self._watched[pid] = Watched(pid, role, started, self.session.held.pop(pid, -1))
        except OSError:
            return False  # gone already, of another machine, or not ours to see
        if watched.fileno() >= 0:
            self._poll.register(watched.fileno(), select.POLLIN)
        if role != "main":
            self.session.workers[role] = pid
        return True

    def _read_on(self) -> None:
        """Take in what was written; whoever writes for the first time is watched from now on."""
        for followed in self._follower.read_on():
            known = followed.ended or followed.pid in self._watched or followed.pid in self._told
            if not known and not self._watch(followed.pid, followed.role, None):
                self._tell_ended(Watched.missed(followed.pid, followed.role))

    def _take_leave(self, watched: Watched) -> None:
        """Tell how a process ended, unless it said so itself."""
        ending = watched.ending()
        stall = watched.last_words()
        if stall is not None:
            self._tell_stall(stall, watched)
        self._read_on()
        self._forget(watched)
        self._tell_ended(ending)

    def _forget(self, watched: Watched) -> None:
        del self._watched[watched.pid]
        self.session.workers.pop(watched.role, None)
        if watched.fileno() >= 0:
            self._poll.unregister(watched.fileno())
        watched.close()

    def _tell_ended(self, ending: dict[str, JsonValue]) -> None:
        now = self._clock.monotonic()
        pid = pid_in(ending)
        if pid in self._told:
            return
        self._told.add(pid)
        everyone = list(self._follower.processes.values())
        own = [followed for followed in everyone if followed.pid == pid]
        if any(followed.ended for followed in own):
            return
        violent = ending["signal"] or ending["exit_code"]
        if not violent and all(followed.removed for followed in own):
            return  # it may well have said so, in a shard that a test removed
        # The main process' end is that of its workers, too.
        lost = everyone if pid == self.plan.pid and not self.plan.shared else own
        ending["running"] = [told for told in (followed.told() for followed in lost) if told is not None]
        self._event("process_ended", now, ending)

    def _tell_stall(self, stall: Stall, watched: Watched) -> None:
        who: dict[str, JsonValue] = {"pid": watched.pid, "worker": watched.role}
        self._gap(stall.kind, stall.end, {**who, **stall.evidence})

    def _gap(self, kind: str, end: float, details: dict[str, JsonValue]) -> None:
        self.session.shard.append(
            "gap", {"collector": None, "monotonic": end, "gap": kind, "details": details}
        )

    def _event(self, event: str, now: float, details: dict[str, JsonValue]) -> None:
        self.session.shard.append(
            "event", {"collector": None, "monotonic": now, "event": event, "details": details}
        )

    # -- long tests

    def _sample_densely(self, now: float) -> None:
        self._read_on()
        begun, sample = self._bursts.due(now)
        for told in begun:
            self._event("burst", now, told)
        if sample:
            self.session.recorder.request(self.session.recorder.quick)

    # -- what is asked

    def _hear(self, ready: dict[int, int], now: float) -> None:
        if self._listener is not None and self._listener.fileno() in ready:
            while (talk := self._listener.accept(now)) is not None:
                self._talks[talk.fileno()] = talk
                self._poll.register(talk, select.POLLIN)
        for number, talk in list(self._talks.items()):
            try:
                message = talk.receive()
            except (OSError, ValueError):
                message, talk.began = None, 0.0
            if message is None and now - talk.began < DUMB_SECONDS:
                continue
            del self._talks[number]
            self._poll.unregister(number)
            if message is None:
                talk.close()
            else:
                self._obey(message, talk)

    def _obey(self, message: Message, talk: Talk) -> None:
        order = self._orders.get(str(message.get("op")))
        if order is None:
            talk.answer({"error": f"unknown order {message.get('op')!r}"})
            return
        try:
            order(message, talk)
        except (DiagnosticError, RuntimeError) as exc:
            self.session.troubles.append(f"{message.get('op')}: {exc}")
            talk.answer({"error": str(exc)})

    def _desks_of(self, message: Message) -> list[Desk]:
        own = self._desks.get(pid_in(message))
        return [self.session] if own is None else [self.session, own]

    def _demands(self, message: Message) -> list[Demand]:
        names = message.get("names")
        wanted = {str(name) for name in names} if isinstance(names, list) else None
        for desk in self._desks_of(message):
            desk.recorder.attend(wanted or (), texts_in(message, "about"))
        demands = [desk.recorder.request(wanted) for desk in self._desks_of(message)]
        return [demand for demand in demands if demand is not None]

    def _collect(self, message: Message, talk: Talk) -> None:
        talk.close()
        self._tags[str(message.get("tag"))] = self._demands(message)
        if len(self._tags) > MAX_TAGS:
            self._tags.popitem(last=False)

    def _fetch(self, message: Message, talk: Talk) -> None:
        demands = self._tags.pop(str(message.get("tag")), [])
        self._aside(lambda: self._answer_with(demands, message, talk))

    def _now(self, message: Message, talk: Talk) -> None:
        demands = self._demands(message)
        self._aside(lambda: self._answer_with(demands, message, talk))

    def _answer_with(self, demands: list[Demand], message: Message, talk: Talk) -> None:
        if not demands:
            talk.answer({"error": "no such collection: it was never begun, or forgotten"})
            return
        deadline = self._clock.monotonic() + timeout_in(message)
        results: dict[str, JsonValue] = {}
        missing: list[str] = []
        for demand in demands:
            demand.wait(max(0.0, deadline - self._clock.monotonic()))
            for name, result in dict(demand.results).items():
                results[name] = _fields(result)
            missing += demand.missing
        for desk in self._desks_of(message):
            desk.shard.flush()  # who has the answer finds it in the file as well
        talk.answer({"results": results, "missing": missing})

    def _add(self, message: Message, talk: Talk) -> None:
        talk.close()
        pid = pid_in(message)
        desk = self._desks.get(pid)
        if desk is None:
            role = str(message.get("role") or "main")
            desk = self._desks[pid] = Desk.for_tests(self.run_directory, self.plan, role, pid)
        interval = message.get("interval")
        desk.add(names_in(message), float(interval) if isinstance(interval, (int, float)) else None)

    def _add_session(self, message: Message, talk: Talk) -> None:
        talk.close()
        self.session.add(names_in(message), None)

    def _watch_asker(self, message: Message, talk: Talk) -> None:
        talk.close()
        pid = talk.pid
        if pid > 0 and pid == pid_in(message) and pid not in self._watched:
            self._watch(pid, str(message.get("role") or "main"), None)

    def _leave(self, message: Message, talk: Talk) -> None:
        """Let a process go; the last one that shares this recorder takes home what was recorded."""
        pid = pid_in(message)
        self._told.add(pid)
        self._read_on()
        if pid in self._watched:
            self._forget(self._watched[pid])
        if self.plan.shared and not self._watched:
            self._begin_finish(message, talk)
            return
        desk = self._desks.pop(pid, None)
        self._aside(lambda: self._answer_left(desk, message, talk))

    def _answer_left(self, desk: Desk | None, message: Message, talk: Talk) -> None:
        if desk is not None:
            desk.close("finished", timeout_in(message))
        talk.answer({"last": False})

    def _remove(self, message: Message, talk: Talk) -> None:
        desk = self._desks.get(pid_in(message))
        self._aside(lambda: self._answer_removed(desk, message, talk))

    def _answer_removed(self, desk: Desk | None, message: Message, talk: Talk) -> None:
        late = []
        deadline = self._clock.monotonic() + timeout_in(message)
        for name in names_in(message):
            if desk is not None and name in desk.recorder.names:
                remaining = max(0.0, deadline - self._clock.monotonic())
                if not desk.recorder.manager.remove_collector(name, remaining):
                    late.append(name)
        talk.answer({"late": late})

    def _begin_finish(self, message: Message, talk: Talk) -> None:
        self._finish = talk, timeout_in(message)

    def _aside(self, call: Callable[[], None]) -> None:
        """Do what may have to wait in a thread of its own."""
        start_thread(call, "diagnostics-answer")

    # -- the end

    def _close(self, reason: str) -> None:
        talk, timeout = self._finish if self._finish is not None else (None, LAST_SECONDS)
        now = self._clock.monotonic()
        for watched in self._watched.values():
            for stall in (watched.look(), watched.last_words()):
                if stall is not None:
                    self._tell_stall(stall, watched)
        deadline = now + timeout
        desks = (*self._desks.values(), self.session)
        for desk in desks:
            desk.close(reason, max(0.2, deadline - self._clock.monotonic()))
        if self._listener is not None:
            self._listener.close()
        if talk is not None:
            talk.answer({"ended": True, "last": True, "unwritten": unwritten(desks)})
        elif self.plan.shared:
            # Nobody is left who could take home what was recorded.
            shutil.rmtree(self.plan.temporary, ignore_errors=True)


def _fields(result: DiagnosticResult) -> JsonValue:
    written = records.from_record(result)
    return None if written is None else written[1]
