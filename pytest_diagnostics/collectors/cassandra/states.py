"""The states that a view or an index can be in, on one node and on all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class State(str, Enum):
    """What is so, whatever the server's status tables say. The order is from good to bad."""

    #: Everything that it is built from was gone through, and the server has noted that.
    BUILT = "built"
    #: Work on it is under way.
    BUILDING = "building"
    #: It is in the schema, and nothing has been begun.
    PENDING = "pending"
    #: It was in the schema, and is not any more.
    DROPPED = "dropped"
    #: It is not in the schema.
    ABSENT = "absent"
    #: It cannot be told: the node is away, or a query failed.
    UNKNOWN = "unknown"
    #: The server's tables contradict each other.
    INCONSISTENT = "inconsistent"
    #: Somebody works, and nothing has moved for longer than the server itself would pause.
    STUCK = "stuck"
    #: Begun, not finished, and nobody works on it: it will not go on by itself.
    INTERRUPTED = "interrupted"
    #: The server gave up.
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value

    @property
    def badness(self) -> int:
        """How bad it is: 0 for built, the most for failed."""
        return _BADNESS[self]

    @property
    def is_begun(self) -> bool:
        """Whether it is on its way: begun or about to, and not done."""
        return self in (State.BUILDING, State.PENDING, State.INTERRUPTED, State.STUCK)


_BADNESS = {state: place for place, state in enumerate(State)}

#: In these states the work goes on or is done: nobody needs to do anything.
HEALTHY = frozenset({State.BUILT, State.BUILDING, State.PENDING})


def worst(states: Iterable[State]) -> State:
    """Return the worst of the nodes' states; unknown when there is none."""
    return max(states, key=lambda state: state.badness, default=State.UNKNOWN)


def counted(states: Iterable[State]) -> dict[str, int]:
    """Return how many there are of each state that occurs, the best first."""
    found = sorted(states, key=lambda state: state.badness)
    return {state.value: found.count(state) for state in dict.fromkeys(found)}
