"""The page itself: one file that fetches nothing, holds a summary, and runs only our own scripts.

Data reaches the page as JSON in script elements that no browser executes; the policy in the page's head names
the hash of each script and style, so anything else that got in would not run.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..analysis.schema import Summary
from .page import page
from .payload import Json, chart_data, columns, details, in_order, meta, pack, series_names
from .timeline import timeline

_HERE = Path(__file__).parent
LIBRARY = ("uPlot.iife.min.js",)
STYLES = ("uPlot.min.css", "page.css", "parts.css")
SCRIPTS = (
    "dom.js",
    "format.js",
    "data.js",
    "view.js",
    "lanes.js",
    "builds.js",
    "charts.js",
    "table.js",
    "detail.js",
    "main.js",
)


@dataclass(frozen=True)
class Asset:
    """A script or style as it stands between its tags, and the hash that lets it run."""

    text: Markup
    digest: str


def _asset(names: tuple[str, ...], before: str = "", after: str = "") -> Asset:
    parts = [(_HERE / "static" / name).read_text(encoding="utf-8").rstrip("\n") for name in names]
    text = before + "\n".join(parts) + after
    # These end or confuse a raw text element, and a carriage return would change the hashed bytes.
    for mark in ("</script", "</style", "<!--", "\r"):
        if mark in text:
            raise ValueError(f"{', '.join(names)} must not contain {mark!r}")
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return Asset(Markup(text), f"sha256-{digest}")  # our own files, checked above


@cache
def assets() -> tuple[Asset, Asset, Asset]:
    """The chart library, our scripts as one function, and the styles."""
    own = _asset(SCRIPTS, before='(function () {\n"use strict";\n', after="\n})();")
    return _asset(LIBRARY), own, _asset(STYLES)


def policy() -> str:
    """The page's Content-Security-Policy: our own scripts and styles by hash, and nothing else."""
    library, own, style = assets()
    return (
        f"default-src 'none'; script-src '{library.digest}' '{own.digest}'; style-src '{style.digest}'; "
        "img-src data:; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def json_block(value: Json) -> Markup:
    """JSON for a script element: nothing in it can end the element or start another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII, so U+2028 is escaped already
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # escaped on the line above


@cache
def _environment() -> Environment:
    # Not select_autoescape: a template's name would decide whether it escapes.
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(summary: Summary) -> str:
    """The whole page as text. Only what the summary holds goes in."""
    tests = in_order(summary["tests"])
    drawn = timeline(summary)
    names = series_names(summary, drawn)
    chunks, dropped = details(tests, names)
    library, own, style = assets()
    return (
        _environment()
        .get_template("summary.html.j2")
        .render(
            view=page(summary),
            timeline=drawn,
            policy=policy(),
            style=style.text,
            scripts=[library.text, own.text],
            blocks=[
                ("d-meta", json_block(meta(summary, tests, drawn, names, dropped))),
                ("d-tests", json_block(pack(columns(tests)))),
                ("d-series", json_block(list(chart_data(drawn)))),
                ("d-details", json_block(list(chunks))),
            ],
        )
    )


def write(summary: Summary, path: str | os.PathLike[str]) -> None:
    """Render to a file that only its owner can read; an older page stays until the new one is whole."""
    text = render(summary)
    target = Path(path)
    # mkstemp makes it in the same directory, so that the replacement is one step, and 0600 if umask lets it.
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:80]}.", dir=target.parent)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(handle, 0o600)
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
