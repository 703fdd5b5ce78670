"""Which collectors run: from ``--diagnostics-collectors``, a marker's names, and plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest

from .collectors import DEFAULT, available_names, load
from .core.collector import DiagnosticCollector
from .core.errors import ConfigurationError
from .guard import Guard

#: A collector's name -> what its constructor is given.
Options = Mapping[str, Mapping[str, object]]


def names_of(text: str, source: str, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names that ``text`` selects: "cpu,memory" replaces the default, "+x,-y" edits it.

    ``more`` names those that another option adds, unless "-y" drops them.
    Raises ``pytest.UsageError`` for unknown names and for a mixture of both forms.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    edits = [word for word in words if word[0] in "+-"]
    if edits and len(edits) != len(words):
        raise pytest.UsageError(
            f"{source}: {text!r} mixes names that replace the default with +names and -names that edit it; "
            "use one form"
        )
    checked([word[1:] if edits else word for word in words], source)
    if not words:
        return (*DEFAULT, *more)
    if not edits:
        return tuple(dict.fromkeys([*words, *more]))
    chosen = [*DEFAULT, *more, *(word[1:] for word in edits if word[0] == "+")]
    dropped = {word[1:] for word in edits if word[0] == "-"}
    return tuple(name for name in dict.fromkeys(chosen) if name not in dropped)


def checked(names: Iterable[str], source: str) -> None:
    """Raise ``pytest.UsageError`` for a name that no collector has."""
    known: list[str] | None = None
    for name in names:
        if name in DEFAULT:
            continue
        # Looking for installed collectors takes milliseconds; who names built-in ones does not pay them.
        known = sorted(available_names()) if known is None else known
        if name not in known:
            raise pytest.UsageError(
                f"{source}: there is no collector {name!r}; there are: {', '.join(known)}"
            )
        try:
            load(name)
        except ConfigurationError as exc:
            raise pytest.UsageError(f"{source}: {exc}") from exc


def loaded(names: Iterable[str], options: Options) -> tuple[list[DiagnosticCollector], list[str]]:
    """Return the collectors of these names, and a sentence for each that could not be made."""
    collectors, troubles = [], []
    for name in names:
        try:
            collectors.append(load(name, **options.get(name, {})))
        except ConfigurationError as exc:
            troubles.append(str(exc))
    return collectors, troubles


def offered(
    config: pytest.Config, guard: Guard, running: Iterable[str]
) -> tuple[list[str], list[DiagnosticCollector]]:
    """Return names and objects that ``pytest_diagnostics_collectors`` gives beside the ``running`` ones.

    A name that several give, or that runs already, is one collector. What cannot be taken costs no other.
    """
    taken = set(running)
    names: list[str] = []
    objects: list[DiagnosticCollector] = []
    for answer in guard(config.hook.pytest_diagnostics_collectors, config=config) or ():
        for one in guard(list, answer or ()) or ():
            if not isinstance(one, str):
                objects.append(one)
            elif one not in taken and guard(load, one) is not None:
                taken.add(one)
                names.append(one)
    return names, objects
