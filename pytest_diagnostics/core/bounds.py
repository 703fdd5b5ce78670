"""What a result may hold: JSON, finite numbers, 64 KiB, depth 8. The rest is converted, cut or refused.

It happens when a result is taken, never at the end of a run, where one odd value would cost all of them.
"""

from __future__ import annotations

import math
import sys
from binascii import b2a_base64
from collections.abc import Mapping, Sequence, Set, ValuesView
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from itertools import islice
from json.encoder import encode_basestring_ascii
from numbers import Integral, Real
from pathlib import PurePath
from typing import NamedTuple, cast

from .errors import ValidationError
from .model import JsonValue

MAX_BYTES = 64 * 1024
MAX_DEPTH = 8
#: What stands for a value below the permitted depth.
TOO_DEEP = "…"


class Bounded(NamedTuple):
    """Data that can be recorded, and what had to be done to it."""

    data: JsonValue
    coerced: int
    truncated: bool


class _Walk:
    """One pass over one value; ``size`` is at least the length of its JSON, in ASCII and without spaces."""

    def __init__(self, max_bytes: int, max_depth: int) -> None:
        self.max_bytes = max_bytes
        self.max_depth = max_depth
        self.size = 0
        self.coerced = 0
        self.truncated = False
        self._open: set[int] = set()

    def value(self, value: object, depth: int) -> JsonValue:
        kind = type(value)
        if value is None or kind is bool:
            self.size += 5
            return value  # type: ignore[return-value] # None or bool, by the line above
        if kind is int:
            return self._integer(value)  # type: ignore[arg-type] # exact type checked
        if kind is float:
            return self._float(value)  # type: ignore[arg-type] # exact type checked
        if kind is str:
            return self._text(value)  # type: ignore[arg-type] # exact type checked
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, (list, tuple)) and not hasattr(value, "_asdict"):
            return self._sequence(value, depth)
        return self._converted(value, depth)

    def _integer(self, value: int) -> JsonValue:
        # 64 digits is far beyond any counter, and json.dumps refuses the really long ones from 3.11 on.
        if value.bit_length() > 212:
            self.coerced += 1
            return self._text(hex(value))
        self.size += 3 + value.bit_length() * 3 // 10
        return value

    def _float(self, value: float) -> JsonValue:
        if math.isfinite(value):
            self.size += 24  # the longest there is; to measure each costs more than a result holds
            return value
        self.size += 4
        self.coerced += 1
        return None

    def _text(self, value: str) -> str:
        """Return a text cut to the room that is left, without what cannot be written in UTF-8."""
        room = max(0, self.max_bytes - self.size - 2)
        if len(value) <= room and value.isascii() and value.isidentifier():  # as keys are; nothing to escape
            self.size += len(value) + 2
            return value
        if len(value) > room:
            self.truncated = True
            value = value[:room]
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:  # half a surrogate pair, as in the name of a file that is not UTF-8
                value = value.encode("utf-8", "backslashreplace").decode()
                self.coerced += 1
        written = len(encode_basestring_ascii(value)) - 2
        while written > room:  # what JSON escapes takes up to twelve characters
            self.truncated = True
            value = value[: int(len(value) * room / written)]
            written = len(encode_basestring_ascii(value)) - 2
        self.size += written + 2
        return value

    def _enter(self, value: object, depth: int) -> bool:
        """Note an open container; False when it lies too deep to be opened."""
        if id(value) in self._open:
            raise ValidationError("the data contains itself")
        if depth >= self.max_depth:
            self.truncated = True
            self.size += 8
            return False
        self._open.add(id(value))
        self.size += 2
        return True

    def _mapping(self, value: Mapping[object, object], depth: int) -> JsonValue:
        if not self._enter(value, depth):
            return TOO_DEEP
        result: dict[str, JsonValue] = {}
        for key, item in value.items():
            if self.size >= self.max_bytes:
                self.truncated = True
                break
            self.size += 2
            if type(key) is str:
                name = self._text(key)
            else:
                self.coerced += 1
                name = self._text(str(key))
            if name in result:  # 1 and "1", or two that were cut to the same text: one of them is lost
                self.truncated = True
            result[name] = self.value(item, depth + 1)
        self._open.discard(id(value))
        return result

    def _sequence(self, value: list[object] | tuple[object, ...], depth: int) -> JsonValue:
        if not self._enter(value, depth):
            return TOO_DEEP
        result: list[JsonValue] = []
        for item in value:
            if self.size >= self.max_bytes:
                self.truncated = True
                break
            self.size += 1
            result.append(self.value(item, depth + 1))
        self._open.discard(id(value))
        return result

    def _converted(self, value: object, depth: int) -> JsonValue:
        """Convert what JSON does not know; a conversion that raises is a validation error."""
        self.coerced += 1
        try:
            plain = _plain(value)
        except Exception as exc:
            raise ValidationError(f"a {type(value).__name__} cannot be recorded: {exc!r}") from exc
        if plain is value:
            return self._text(f"<{type(value).__name__}>")
        if id(value) in self._open:
            raise ValidationError("the data contains itself")
        self._open.add(id(value))
        before = self.coerced
        converted = self.value(plain, depth)
        self._open.discard(id(value))
        # A NaN inside a Decimal or numpy number is one conversion, not two.
        self.coerced = max(before, self.coerced - (converted is None))
        return converted


def _plain(value: object) -> object:
    """Return a builtin value for a foreign one, or the value itself when nothing fits."""
    if isinstance(value, Enum):
        return value.value if not isinstance(value.value, Enum) else str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": b2a_base64(bytes(value[:MAX_BYTES]), newline=False).decode("ascii")}
    if isinstance(value, str):  # a subclass
        return str.__str__(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if hasattr(value, "_asdict"):  # a namedtuple, such as psutil's
        return value._asdict()
    if is_dataclass(value) and not isinstance(value, type):
        # Not asdict(): it copies everything below, whatever its size.
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Set):
        return sorted(islice(value, MAX_BYTES), key=repr)
    if isinstance(value, (Sequence, ValuesView)):  # a deque, a range, an array
        return list(islice(value, MAX_BYTES))
    if isinstance(value, (PurePath, BaseException)):
        return str(value)
    tolist = getattr(value, "tolist", None)  # numpy arrays and scalars
    return tolist() if callable(tolist) else _of_rare_class(value)


def _of_rare_class(value: object) -> object:
    """Convert what needs a module that is not worth importing before there is a value of it."""
    if (decimal := sys.modules.get("decimal")) and isinstance(value, decimal.Decimal):
        return math.nan if value.is_nan() else float(value)  # float() refuses a signalling NaN
    if (uuid := sys.modules.get("uuid")) and isinstance(value, uuid.UUID):
        return str(value)
    return value


def as_it_is(data: object) -> Bounded:
    """Return data of a collector that is declared ``plain``, without a look at it."""
    return Bounded(cast("JsonValue", data), 0, False)


def bound(data: object, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Bounded:
    """Return a copy of ``data`` that can be recorded.

    Non-finite numbers become None and foreign types their nearest builtin, both counted in ``coerced``.
    What exceeds ``max_bytes`` or ``max_depth`` is left out and ``truncated`` says so.
    Raises ValidationError for data that contains itself or cannot be converted.
    """
    walk = _Walk(max_bytes, max_depth)
    try:
        copy = walk.value(data, 0)
    except RecursionError as exc:
        raise ValidationError("the data is nested too deeply") from exc
    except ValidationError:
        raise
    except Exception as exc:  # a mapping that another thread changes, a key without a text
        raise ValidationError(f"the data cannot be read: {type(exc).__name__}: {exc}") from exc
    return Bounded(copy, walk.coerced, walk.truncated)
