"""Make the images of the documentation: run the example suite, then photograph its terminal and its page.

    python docs/make_screenshots.py [builds]

Needs Chromium on PATH and playwright, which the extra ``test`` brings. With ``builds`` it makes the image of
a view's build alone, which takes Java, Maven and a minute: it starts a Cassandra.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
COLUMNS = 132
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
#: The failing test whose panel is shown: the one that the diagnostics explain.
STARVED = "test_answers_within_a_second"
_ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")
_COLOURS = {"31": "#f07178", "32": "#a5d76e", "33": "#ffcb6b", "34": "#82aaff", "36": "#89ddff"}
_TERMINAL = """<!doctype html><meta charset="utf-8"><style>
html { background: #1d2129; } pre { margin: 0; padding: 18px 22px; color: #d6dae2; display: inline-block;
font: 15px/1.4 "DejaVu Sans Mono", "Liberation Mono", monospace; } b { color: #fff; }
</style><pre>"""


def main(arguments: list[str]) -> int:
    """Make all images but that of a build, or that one; return the exit code."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("there is no chromium on PATH", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        page = Path(place, "report.html")
        if arguments == ["builds"]:
            run_builds(page, Path(place, "records"))
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            shoot_builds(browser, page)
            return 0
        told = run_suite(page, Path(place, "records"))
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        shoot_terminal(browser, told, Path(place, "terminal.html"))
        shoot_page(browser, page, "light")
        shoot_page(browser, page, "dark", heading="Run timeline")
        shoot_page(browser, page, "light", test=STARVED)
        browser.close()
    for image in sorted(IMAGES.glob("*.png")):
        print(f"{image.relative_to(ROOT)}  {image.stat().st_size / 1000:.0f} kB")
    return 0


def run_suite(page: Path, records: Path) -> str:
    """Run the example suite and return what the terminal shows."""
    options = ["--color=yes", "--tb=short", "--diagnostics", f"--diagnostics-report={page}"]
    places = [f"--diagnostics-dir={records}", "-p", "no:cacheprovider"]
    # Only the plugin itself: what else is installed here is nobody's business.
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": str(COLUMNS), "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pytest_diagnostics.plugin", *options, *places],
        cwd=ROOT / "examples" / "interesting",
        env={**os.environ, **alone},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 1:
        raise SystemExit(f"the example suite ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    shown = ended.stdout.replace(str(page), "report.html")
    return re.sub(r"recorded to \S+/runs/", "recorded to pytest-diagnostics/runs/", shown)


def run_builds(page: Path, records: Path) -> None:
    """Run the example that builds a view."""
    example = ROOT / "examples" / "cassandra" / "run.py"
    places = [f"--diagnostics-report={page}", f"--diagnostics-dir={records}", "-p", "no:cacheprovider"]
    ended = subprocess.run([sys.executable, str(example), *places], check=False)
    if ended.returncode != 1:
        raise SystemExit(f"the example of Cassandra ended with {ended.returncode}")


def shoot_builds(browser: Browser, page: Path) -> None:
    """Photograph the lanes, and the charts that stand in the window below them."""
    tab = browser.new_page(viewport={"width": 1280, "height": 348}, color_scheme="light")
    tab.goto(page.as_uri())
    tab.get_by_role("heading", name="Run timeline").evaluate("found => found.scrollIntoView()")
    tab.wait_for_timeout(700)
    tab.screenshot(path=IMAGES / "page-builds.png")
    tab.close()


def shoot_terminal(browser: Browser, told: str, draft: Path) -> None:
    """Photograph the failure that the diagnostics explain, and the section at the end."""
    lines = [line for line in told.splitlines() if "rootdir:" not in _ESCAPE.sub("", line)]
    plain = [_ESCAPE.sub("", line) for line in lines]
    begin = next(n for n, line in enumerate(plain) if line.startswith("____") and STARVED in line)
    end = next(n for n, line in enumerate(plain) if n > begin and line.startswith("____"))
    last = next(n for n, line in enumerate(plain) if "= diagnostics =" in line)
    command = "<b>$ pytest --diagnostics --diagnostics-report=report.html --tb=short examples/interesting</b>"
    parts = [command, *map(coloured, lines[begin:end]), *map(coloured, lines[last:])]
    draft.write_text(_TERMINAL + "\n".join(parts) + "</pre>", encoding="utf-8")
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.goto(draft.as_uri())
    tab.locator("pre").screenshot(path=IMAGES / "terminal.png")
    tab.close()


def coloured(line: str) -> str:
    """Return a terminal's line as HTML."""
    return "".join(_pieces(line)).rstrip()


def _pieces(line: str) -> Iterator[str]:
    style: list[str] = []
    for place, piece in enumerate(_ESCAPE.split(line)):
        if place % 2 == 0:
            text = html.escape(piece)
            yield f'<span style="{";".join(style)}">{text}</span>' if style and text else text
            continue
        for code in piece.split(";"):
            if code in ("", "0"):
                style = []
            elif code == "1":
                style.append("font-weight:bold")
            elif code in _COLOURS:
                style.append(f"color:{_COLOURS[code]}")


def shoot_page(browser: Browser, page: Path, scheme: str, heading: str = "", test: str = "") -> None:
    """Photograph the page as it opens, from a heading on, or with a test's panel."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 1000}, color_scheme="dark" if scheme == "dark" else "light"
    )
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_timeout(500)
    name = f"page-{scheme}"
    if test:
        tab.get_by_role("link", name=test).first.click()
        name = "page-test"
    if heading:
        tab.get_by_role("heading", name=heading).evaluate("found => found.scrollIntoView()")
    tab.wait_for_timeout(700)
    tab.screenshot(path=IMAGES / f"{name}.png")
    context.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
