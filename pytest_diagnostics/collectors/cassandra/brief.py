"""What is kept of a large cluster's answer, so that a result stays below its bound. Pure.

A small cluster's views and indexes are all listed, with every node. Of a large one are listed those that
somebody waits for, those that are not built, the worst first, and those whose state changed since the result
before. Whatever is not listed is counted, by state, and a digest of it tells whether it is as it was before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2s
from json.encoder import encode_basestring_ascii

from .states import State

#: Up to this size of a result, everything is listed.
SMALL_BYTES = 48 * 1024
#: No result is larger; the core takes 64 KiB, and the connection, with its ten last outages, comes on top.
MOST_BYTES = 56 * 1024
MOST_LISTED = 100
#: Of these, those that somebody waits for.
MOST_ATTENDED = 20
#: Of it, for what stands beside the list.
REST_BYTES = MOST_BYTES // 3
#: Of one listed view or index in a large cluster: its worst nodes.
MOST_NODES = 6
#: Of the cluster's nodes, and of the errors and reasons by node or topic, when the list would have no room.
MOST_ENTRIES = 40
#: Longer texts, which are the server's error messages, are cut.
MOST_CHARACTERS = 300

#: In these states nothing more becomes of a view or an index.
_OVER = frozenset({State.BUILT.value, State.DROPPED.value})

Item = Mapping[str, object]


def json_bytes(value: object, most: int = MOST_BYTES) -> int:
    """Return at least the bytes of a value as the core counts them; it stops counting above ``most``.

    Numbers count as the longest that there are: to write each of them would cost more than it saves.
    """
    if value is None or isinstance(value, bool):
        return 6
    if isinstance(value, float):
        return 25
    if isinstance(value, int):
        return 4 + value.bit_length() * 3 // 10
    if isinstance(value, str):
        plain = value.isascii() and value.isidentifier()
        return len(value) + 3 if plain else len(encode_basestring_ascii(value)) + 1
    size = 3
    if isinstance(value, Mapping):
        for key, item in value.items():
            size += json_bytes(key) + 1 + json_bytes(item, most - size)
            if size > most:
                break
    elif isinstance(value, (list, tuple)):
        for item in value:
            size += json_bytes(item, most - size)
            if size > most:
                break
    return size


class Brief:
    """Shortens result after result of one collector; it remembers the states of the one before."""

    def __init__(self, topic: str, name: Callable[[Item], str]) -> None:
        """Shorten the list at ``topic`` of each result; ``name`` tells its items apart."""
        self._topic = topic
        self._name = name
        self._before: dict[str, str] = {}
        self._is_first = True
        #: Names that are to be listed whatever their state, the latest last.
        self._attended: dict[str, None] = {}
        #: Names that were listed last as not built, nor dropped: how each ended is to be listed, too.
        self._open: frozenset[str] = frozenset()

    def attend(self, name: str) -> None:
        """Have this one listed from now on, of a large cluster, too; some others that were are let go."""
        # Another thread may be listing at this moment: what it looks into is not changed.
        others = [other for other in self._attended if other != name]
        self._attended = dict.fromkeys([*others, name][-MOST_ATTENDED:])

    def attends(self, name: str) -> bool:
        """Return whether this one is to be listed though it is built."""
        return name in self._attended or name in self._open

    def shorten(
        self, result: Mapping[str, object], calm: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        """Return a result of at most ``MOST_BYTES``, with what is not listed counted and digested.

        ``calm`` are the names and states of so many more that they could not all be listed, and that are
        built and unchanged: they are counted without having been told.

        It adds ``total``, ``states`` (how many of each, of all), ``changed`` (how many have another state
        than in the result before, or are new, or gone; None in the first), ``left_out``,
        ``left_out_states`` and ``digest``, which is None while nothing is left out.
        """
        found = result.get(self._topic)
        if not isinstance(found, list):
            return _shortened(result)
        items: list[Item] = found
        states = {**(calm or {}), **{self._name(item): str(item["state"]) for item in items}}
        before, self._before = self._before, states
        is_first, self._is_first = self._is_first, False
        changed = {name for name, state in states.items() if before.get(name) != state}
        rest = _shortened({key: value for key, value in result.items() if key != self._topic})
        counts: dict[str, object] = {
            "total": len(states),
            "states": _counted(states.values()),
            "changed": None if is_first else len(changed) + len(before.keys() - states.keys()),
            "left_out": 0,
            "left_out_states": {},
            "digest": None,
        }
        # Room for the counts of every state, and for the digest.
        room = json_bytes(rest) + 1024
        if not calm and room + json_bytes(items, SMALL_BYTES - room) <= SMALL_BYTES:
            self._note_told(states, states)
            return {**rest, self._topic: [dict(item) for item in items], **counts}
        listed = self._chosen(items, set() if is_first else changed, MOST_BYTES - room)
        names = {self._name(item) for item in listed}
        self._note_told(names, states)
        left_out = {name: state for name, state in states.items() if name not in names}
        counts["left_out"] = len(left_out)
        counts["left_out_states"] = _counted(left_out.values())
        counts["digest"] = digest(left_out)
        return {**rest, self._topic: listed, **counts}

    def _chosen(self, items: Iterable[Item], changed: set[str], room: int) -> list[dict[str, object]]:
        """Return what is worth its room: the worst first, and of the equally bad those that changed.

        What somebody waits for, and what has come to its end since it was listed, has its room before them.
        """
        ranked = []
        for item in items:
            badness, name = State(str(item["state"])).badness, self._name(item)
            is_attended, is_over = name in self._attended, name in self._open and item["state"] in _OVER
            if badness or name in changed or is_attended or is_over:
                ranked.append((not is_attended, not is_over, -badness, name not in changed, name, item))
        ranked.sort(key=lambda one: one[:5])
        listed = []
        for *_, item in ranked[:MOST_LISTED]:
            short = _shortened_item(item)
            size = json_bytes(short, room)
            if size <= room:
                room -= size
                listed.append(short)
        return listed

    def _note_told(self, names: Iterable[str], states: Mapping[str, str]) -> None:
        """Remember what is listed while it is not over; what was and is gone altogether is forgotten."""
        told = set(names)
        unlisted = {name for name in self._open if name not in told and name in states}
        self._open = frozenset(unlisted | {name for name in told if states[name] not in _OVER})


def digest(states: Mapping[str, str]) -> str:
    """Return a fingerprint of names and their states, 16 hexadecimal digits: a change of any changes it."""
    told = "".join([f"{name}\0{states[name]}\0" for name in sorted(states)])
    return blake2s(told.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def _counted(states: Iterable[str]) -> dict[str, int]:
    """Return how many there are of each state that occurs, the best first."""
    found = Counter(states)
    return {state.value: found[state.value] for state in State if state.value in found}


def _shortened_item(item: Item) -> dict[str, object]:
    """Return one view or index with its worst nodes only; the others are counted, by state."""
    short: dict[str, object] = {key: _cut(value) for key, value in item.items()}
    nodes = item.get("nodes")
    if isinstance(nodes, Mapping) and len(nodes) > MOST_NODES:
        ranked = sorted(nodes, key=lambda address: (-_badness(nodes[address]), str(address)))
        short["nodes"] = {address: _cut(nodes[address]) for address in ranked[:MOST_NODES]}
        short["nodes_left_out"] = _counted(str(nodes[address]["state"]) for address in ranked[MOST_NODES:])
    return short


def _badness(node: object) -> int:
    return State(str(node["state"])).badness if isinstance(node, Mapping) else -1


def _shortened(rest: Mapping[str, object]) -> dict[str, object]:
    """Return what stands beside the list, in a third of the bound: nodes, errors, reasons."""
    if json_bytes(rest, REST_BYTES) <= REST_BYTES:
        return dict(rest)
    return _entries(rest, REST_BYTES, most=len(rest))


def _entries(value: Mapping[str, object], room: int, *, most: int = MOST_ENTRIES) -> dict[str, object]:
    """Return as many entries as there is room for, small ones and those of bad nodes first.

    What is left out is counted, as ``left_out`` among its likes.
    """
    room -= 24  # for "left_out"
    sizes = {key: json_bytes(key) + 1 + json_bytes(entry, room) for key, entry in value.items()}
    ranked = sorted(value, key=lambda key: (_is_well(value[key]), sizes[key]))
    kept: dict[str, object] = {}
    for place, key in enumerate(ranked[:most]):
        entry = value[key]
        # Many small entries are worth more than a large one: none takes what others could share.
        share = max(room // (min(len(ranked), most) - place), 0)
        if sizes[key] > share:
            room_of_it = share - json_bytes(key) - 1
            entry = _cut(entry)
            if isinstance(entry, Mapping) and json_bytes(entry, room_of_it) > room_of_it:
                entry = _entries(entry, room_of_it)
            if json_bytes(entry, room_of_it) > room_of_it:
                continue
        kept[key] = entry
        room -= json_bytes(key) + 1 + json_bytes(entry)
    left_out = len(value) - len(kept)
    return {
        **{key: kept[key] for key in value if key in kept},
        **({"left_out": left_out} if left_out else {}),
    }


def _is_well(entry: object) -> bool:
    return isinstance(entry, Mapping) and entry.get("state") == "up"


def _cut(value: object) -> object:
    """Return a value whose texts have at most ``MOST_CHARACTERS``."""
    if isinstance(value, str):
        return value if len(value) <= MOST_CHARACTERS else value[: MOST_CHARACTERS - 1] + "…"
    if isinstance(value, Mapping):
        return {key: _cut(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(item) for item in value]
    return value
