"""``report.diagnostics`` of a test that passed, in little memory: pytest keeps all reports to the end.

Most figures of most tests are 0, and all tests have the same keys. What is left of a test are the numbers
that are not 0, as a few bytes; the rest is shared. The dicts are made when somebody looks.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

T = TypeVar("T")

#: A phase's name, the keys of its figures, and which of them are not 0: a byte each.
Layout = tuple[str, tuple[str, ...], bytes]
#: Figures that are absent, and why.
Reasons = tuple[tuple[str, str], ...]


class Shared:
    """What many tests have in common, in this process. It is little, as long as they resemble each other."""

    #: What is beyond this is not packed: the tables must not grow with the tests.
    most: ClassVar[int] = 4096
    layouts: ClassVar[list[Layout]] = []
    reasons: ClassVar[list[Reasons]] = [()]

    _layout_numbers: ClassVar[dict[Layout, int]] = {}
    _reasons_numbers: ClassVar[dict[Reasons, int]] = {(): 0}
    # A test may mock what a module holds.
    _dumps = staticmethod(marshal.dumps)
    _loads = staticmethod(marshal.loads)
    #: Version 2 has binary floats, and does not look for objects that occur twice.
    _VERSION: ClassVar[int] = 2

    @classmethod
    def pack(cls, usage: Mapping[str, Mapping[str, object]], reasons: Mapping[str, str]) -> bytes | None:
        """Return the figures of all phases in a few bytes; None where there is no room for a new form."""
        number = cls._number(cls._reasons_numbers, cls.reasons, tuple(reasons.items()) if reasons else ())
        said: list[object] = [number]
        for when, figures in usage.items():
            values = figures.values()
            layout = (when, tuple(figures), bytes(map(bool, values)))
            number = cls._layout_numbers.get(layout)
            if number is None:
                number = cls._number(cls._layout_numbers, cls.layouts, layout)
            said.append(number)
            said += filter(None, values)
        return None if None in said else cls._dumps(said, cls._VERSION)

    @classmethod
    def unpack(cls, packed: bytes) -> dict[str, object]:
        """Return what ``report.diagnostics`` is for everybody."""
        number, *rest = cls._loads(packed)
        said = iter(rest)
        usage: dict[str, dict[str, object]] = {}
        for layout in said:
            when, keys, present = cls.layouts[layout]
            usage[when] = {
                key: next(said) if there else 0.0 if key.endswith("_seconds") else 0
                for key, there in zip(keys, present, strict=True)
            }
        return {"version": 1, "usage": usage, "absent": dict(cls.reasons[number])}

    @classmethod
    def _number(cls, numbers: dict[T, int], known: list[T], one: T) -> int | None:
        """Return the place of something in its table, None where the table is full."""
        number = numbers.get(one)
        if number is None and len(known) < cls.most:
            number = numbers[one] = len(known)
            known.append(one)
        return number


class PackedFigures(dict[str, object]):
    """A dict that makes its content when it is first asked for anything."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        # One key is there from the beginning: to C, json's encoder for one, a dict of size 0 is empty.
        super().__init__(version=1)
        self._packed: bytes | None = packed

    def plain(self) -> dict[str, object]:
        """Return the same as an ordinary dict, without keeping it."""
        return dict(self) if self._packed is None else Shared.unpack(self._packed)

    def fill(self) -> None:
        """Become what an ordinary dict would be."""
        packed, self._packed = self._packed, None
        if packed is not None:
            dict.update(self, Shared.unpack(packed))

    def __reduce_ex__(self, protocol: object) -> tuple[type[dict[str, object]], tuple[dict[str, object]]]:
        return dict, (self.plain(),)


def _filled(name: str) -> Callable[..., object]:
    method = getattr(dict, name)

    def filled(self: PackedFigures, *args: object, **kwargs: object) -> object:
        self.fill()
        return method(self, *args, **kwargs)

    filled.__name__ = name
    return filled


for _name in (
    *("__contains__", "__delitem__", "__eq__", "__getitem__", "__ior__", "__iter__", "__len__", "__ne__"),
    *(
        "__or__",
        "__repr__",
        "__reversed__",
        "__ror__",
        "__setitem__",
        "clear",
        "copy",
        "get",
        "items",
        "keys",
    ),
    *("keys", "pop", "popitem", "setdefault", "update", "values"),
):
    setattr(PackedFigures, _name, _filled(_name))


def packed_figures(
    usage: Mapping[str, Mapping[str, object]], reasons: Mapping[str, str]
) -> PackedFigures | None:
    """Return what a report carries of a test that passed; None where it cannot be packed."""
    packed = Shared.pack(usage, reasons)
    return None if packed is None else PackedFigures(packed)
