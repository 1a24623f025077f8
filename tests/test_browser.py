"""The pages in a real Chromium: nothing is fetched, nothing complains, posts stay text."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, browser
from test_report_page import ATTACK, SCORED, everything, page

NEEDED = "needs Debian's chromium and chromium-driver"
IS_HERE = bool(shutil.which("chromium") and shutil.which("chromedriver"))
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not IS_HERE and not os.environ.get("CI"), reason=NEEDED),
]
EVIL = [replace(p, text=f"=cmd() {ATTACK}", groups=("=g<b>", *p.groups[:1])) for p in SCORED]


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert IS_HERE, NEEDED
    with browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pages") / "report.html"
    file.write_text(page(EVIL, everything(EVIL), with_text=True), encoding="utf-8")
    return file


def opened(window: Browser, file: Path, **how: Any) -> Browser:
    window.open(file, **how)
    window.run("window.alerted = window.alerted || 0; window.alert = () => window.alerted++")
    return window


def test_nothing_is_fetched_and_the_console_is_silent(window: Browser, report: Path) -> None:
    opened(window, report)
    assert window.console() == []
    assert window.requests() == []


def test_a_post_with_a_script_or_a_formula_stays_text(window: Browser, report: Path) -> None:
    opened(window, report)
    assert window.run("return document.scripts.length") == 1
    assert window.run("return document.querySelectorAll('img, b').length") == 0
    assert window.run("return document.body.innerText.includes('=cmd() <script>alert(1)')")
    assert window.run("return window.alerted") == 0


def test_no_other_script_can_run(window: Browser, report: Path) -> None:
    opened(window, report)
    window.run("var s = document.createElement('script'); s.textContent = 'window.evil = 1';"
               "document.body.appendChild(s)")  # fmt: skip
    assert window.run("return window.evil") is None
    assert any("Content Security Policy" in line for line in window.console())


def test_a_click_on_a_head_sorts_by_number_and_back(window: Browser, report: Path) -> None:
    opened(window, report)
    column = """
        var table = [...document.querySelectorAll('table')]
            .find(t => t.caption && t.caption.textContent === 'Replies');
        table.tHead.rows[0].cells[1].querySelector('button').click();
        return [...table.tBodies[0].rows].map(r => Number(r.cells[1].dataset.value));
    """
    up, down = window.run(column), window.run(column)
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)
    assert len(up) > 2


def test_dark_and_light_are_two_papers_with_readable_ink(window: Browser, report: Path) -> None:
    script = """
        var style = getComputedStyle(document.body);
        var axis = document.querySelector('.drawing svg text');
        return [style.backgroundColor, style.color, getComputedStyle(axis).fill];
    """
    light = opened(window, report).run(script)
    dark = opened(window, report, dark=True).run(script)
    assert light[0] != dark[0]
    assert (light[1], dark[1]) == (light[2], dark[2])  # a drawing's words have the page's ink


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_the_page_itself_never_scrolls_sideways(window: Browser, report: Path, width: int) -> None:
    opened(window, report, width=width, height=800)
    assert window.run("return document.documentElement.scrollWidth") <= width


def test_on_paper_the_tables_are_whole(window: Browser, report: Path) -> None:
    opened(window, report)
    window.devtools("Emulation.setEmulatedMedia", media="print")
    script = "return getComputedStyle(document.querySelector('.scroll')).overflowX"
    assert window.run(script) == "visible"
    assert len(window.devtools("Page.printToPDF")["data"]) > 20_000
    window.devtools("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("width", [390, 1200])
def test_dots_and_their_words_stay_inside_the_page(
    window: Browser, report: Path, width: int
) -> None:
    opened(window, report, width=width, height=800)
    outside = """
        var seen = [...document.querySelectorAll('.dots .who, .dots .num, .dots .track, .mark *')];
        return seen.map(e => e.getBoundingClientRect())
            .filter(r => r.left < 0 || r.right > window.innerWidth).length;
    """
    assert window.run(outside) == 0
    covered = """
        var rows = [...document.querySelectorAll('.dots li:not(.axis)')];
        return rows.filter(row => {
            var who = row.querySelector('.who').getBoundingClientRect();
            var num = row.querySelector('.num').getBoundingClientRect();
            return who.right > num.left && who.bottom > num.top && num.bottom > who.top;
        }).length;
    """
    assert window.run(covered) == 0


def test_on_paper_what_is_folded_is_open(window: Browser, report: Path) -> None:
    opened(window, report)
    window.devtools("Emulation.setEmulatedMedia", media="print")
    script = "return document.querySelector('details.section table').getBoundingClientRect().height"
    assert window.run(script) > 0
    window.devtools("Emulation.setEmulatedMedia", media="")


def test_every_section_is_reached_by_its_link(window: Browser, report: Path) -> None:
    opened(window, report)
    broken = """
        var links = [...document.querySelectorAll('nav a')];
        return links.filter(a => !document.querySelector(a.hash)).length;
    """
    assert window.run(broken) == 0
    assert window.run("return document.querySelectorAll('nav a').length") > 5
