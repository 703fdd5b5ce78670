"""The file itself: what stands in it, read without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import pytest_diagnostics.report.html as subject
from pytest_diagnostics.analysis.schema import Attempt, Summary
from pytest_diagnostics.report.html import assets, json_block, policy, render, write

STATIC = Path(subject.__file__).parent / "static"
Summaries = Callable[..., Summary]
Attempts = Callable[..., Attempt]


class Walk(HTMLParser):
    """Every start tag with its attributes, and the text of raw elements."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self._open: tuple[str, dict[str, str | None]] | None = None
        self._text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs)) if tag in ("script", "style") else None

    def handle_data(self, data: str) -> None:
        if self._open:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self.raw.append((*self._open, "".join(self._text)))
        self._open, self._text = None, []


@pytest.fixture
def text(realistic: Summaries) -> str:
    return render(realistic(30, 2, 60.0))


def test_nothing_in_the_page_runs_or_is_fetched_but_what_the_policy_names(text: str) -> None:
    walk = Walk(text)
    for tag, attributes in walk.tags:
        assert tag not in ("base", "iframe", "object", "embed", "img", "link", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("style", "src", "srcset", "action", "formaction")
            if name == "href":
                assert re.fullmatch(r"#t=[0-9a-f]{12}", value or "")


def test_ids_are_unique(text: str) -> None:
    ids = [attributes["id"] for _, attributes in Walk(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_policy_names_the_hash_of_each_script_and_style(text: str) -> None:
    walk = Walk(text)
    metas = [a for tag, a in walk.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert [a["content"] for a in metas] == [policy()]
    live = [(tag, body) for tag, attributes, body in walk.raw if attributes.get("type") != "application/json"]
    assert len(live) == 3
    for tag, body in live:
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src" in policy()
        assert f"'sha256-{digest}'" in policy()
    assert "unsafe" not in policy()


def test_the_policy_comes_before_anything_that_could_run(text: str) -> None:
    assert text.index("Content-Security-Policy") < text.index("<style") < text.index("<script")
    assert text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    "word", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
)
def test_our_scripts_never_make_markup_or_code_from_text(word: str) -> None:
    for asset in assets():
        assert word not in asset.text


def test_templates_never_switch_escaping_off() -> None:
    for template in (STATIC.parent / "templates").iterdir():
        found = template.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe|autoescape|\s[\w-]+=\{\{", found)


def test_vendored_files_are_the_ones_of_the_manifest() -> None:
    manifest = json.loads((STATIC / "VENDORED.json").read_text(encoding="utf-8"))
    assert manifest["uPlot"]["version"] == "1.6.32"
    for name, told in manifest["uPlot"]["files"].items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == told["sha256"], name
    vendored = {name for name in manifest["uPlot"]["files"] if name.endswith((".js", ".css"))}
    assert {path.name for path in STATIC.iterdir() if ".min." in path.name} == vendored
    assert set(subject.LIBRARY) | {"uPlot.min.css"} == vendored


def test_json_cannot_leave_its_element() -> None:
    told = json_block(["</script><!--<script>&\u2028\u2029\ud800"])
    assert not set(told) & set("<>&")
    assert told.isascii()
    assert json.loads(told) == ["</script><!--<script>&\u2028\u2029\ud800"]


def test_an_asset_that_would_end_its_element_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "bad.js").write_text("'</script>'")
    monkeypatch.setattr(subject, "_HERE", tmp_path)
    with pytest.raises(ValueError, match="</script"):
        subject._asset(("bad.js",))


def test_writing_replaces_at_once_and_is_for_the_owner_only(tmp_path: Path, summary: Summaries) -> None:
    target = tmp_path / "report.html"
    target.write_text("older")
    write(summary([]), target)
    assert target.read_bytes().startswith(b"<!doctype html>")
    assert b"\r" not in target.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    if sys.platform != "win32":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_page_that_cannot_be_written_leaves_the_older_one(tmp_path: Path, summary: Summaries) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match="report"):
        write(summary([]), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_surrogate_does_not_lose_the_page(tmp_path: Path, summary: Summaries, attempt: Attempts) -> None:
    found = summary([attempt("t.py::\udc80", "failed", failure="\ud800")])
    found["environment"]["\udcff"] = "\udcfe"
    write(found, tmp_path / "report.html")
    assert "t.py::\\udc80" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("tests", [0, 1, 2])
def test_small_runs_render(summary: Summaries, attempt: Attempts, tests: int) -> None:
    told = render(summary([attempt(f"t.py::t{n}") for n in range(tests)]))
    assert ("No tests ran" in told) == (tests == 0)
    assert "No samples were recorded: no collector ran." in told


def test_a_long_run_stays_small(realistic: Summaries) -> None:
    made = realistic(300, 4, 600.0)
    for number in range(20_000 - len(made["tests"])):
        copy = made["tests"][number % 300].copy()
        copy["nodeid"] = f"{copy['nodeid']}-{number}"
        made["tests"].append(copy)
    assert len(render(made)) < 8 << 20
