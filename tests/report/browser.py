"""Fixtures of a real browser for the report's page; the conftest beside gives them to the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_diagnostics.analysis.schema import Summary
from pytest_diagnostics.report.html import write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip


def _missing(reason: str) -> NoReturn:
    if os.environ.get("PYTEST_DIAGNOSTICS_REQUIRE_LIVE"):
        pytest.fail(f"this job must run it: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or _missing("no chromium on PATH")
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error as error:
            _missing(f"chromium does not start: {error}")
        yield browser
        browser.close()


@pytest.fixture
def seen() -> list[str]:
    """What a page complained about, or asked the network for."""
    return []


@pytest.fixture
def show(chromium: Browser, seen: list[str], tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a summary, or a page's text; a page that complains fails its test unless that was the point."""
    contexts = []

    def open_page(
        found: Summary | str,
        anchor: str = "",
        width: int = 1280,
        scheme: str = "light",
        scripts: bool = True,
        quiet: bool = True,
    ) -> Page:
        target = tmp_path / "report.html"
        if isinstance(found, str):
            target.write_text(found, encoding="utf-8", newline="\n")
        else:
            write(found, target)
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=scripts,
        )
        context.set_offline(True)
        contexts.append((context, quiet))
        page = context.new_page()
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("console", lambda message: seen.append(message.text))
        page.on("request", lambda request: seen.extend([request.url][request.url.startswith("file:") :]))
        page.goto(target.as_uri() + anchor)
        if scripts:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context, _ in contexts:
        context.close()
    if all(quiet for _, quiet in contexts):
        assert seen == []
