"""The page in a real browser: it renders, sorts, makes no requests, and is legible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.report.browser import Browser, start_browser
from tests.report.made import ACTIONS, AWKWARD, make_epochs, make_films, make_page, make_report, numbered

_CONTRAST = """
const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = (rgb) => { const [r, g, b] = rgb.match(/[\\d.]+/g).map(Number).map(channel);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const behind = (e) => { for (; e; e = e.parentElement) {
  const c = getComputedStyle(e).backgroundColor; if (c !== "rgba(0, 0, 0, 0)") return c; } };
const found = [];
for (const e of document.querySelectorAll("p, dt, dd, th button, td, a, li, pre, h1, h2, h3, caption"))
  found.push([ratio(light(getComputedStyle(e).color), light(behind(e))), e.tagName + " " + e.textContent]);
for (const e of document.querySelectorAll("svg text"))
  found.push([ratio(light(getComputedStyle(e).fill), light(behind(e))), "svg " + e.textContent]);
return found.sort((a, b) => a[0] - b[0])[0];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from start_browser(tmp_path_factory.mktemp("profile"))


def _page(folder: Path, num_clips: int, classes: Sequence[str], names: Sequence[str] = ()) -> Path:
    file = folder / "page.html"
    report = make_report(num_clips, classes, names=names, skill=2.0)
    films = make_films(names or ["a.mp4", "b.mp4"], classes)
    file.write_text(make_page(report, curves=make_epochs(), films=films), encoding="utf-8")
    return file


def test_the_page_runs_only_its_own_script_and_makes_no_requests(browser: Browser, tmp_path: Path) -> None:
    file = _page(tmp_path, 60, [*ACTIONS[:4], *AWKWARD], names=AWKWARD)
    browser.open(file)
    assert browser.requests() == [file.as_uri()]
    assert browser.complaints() == []
    assert browser.run("return window.harmed") is None
    assert "%" in browser.run("return document.querySelector('#top1').textContent")
    assert browser.run("return [...document.images].every(i => i.naturalWidth > 0) && document.images.length")


def test_clicks_on_a_heading_sort_and_reverse_the_table(browser: Browser, tmp_path: Path) -> None:
    browser.open(_page(tmp_path, 2020, numbered(12)))
    column = "return [...document.querySelectorAll('#classes tbody tr')].map(r => {}.textContent)"
    recalls = column.replace("{}", "r.cells[1]")
    for heading, turned in ((2, False), (2, True)):
        browser.click(f"#classes th:nth-child({heading}) button")
        values = [float(text.rstrip(" %")) for text in browser.run(recalls)]
        assert values == sorted(values, reverse=turned)
        assert len(set(values)) > 1
    browser.click("#classes th:nth-child(1) button")
    assert browser.run(column.replace("{}", "r.cells[0]")) == numbered(12)  # 2 before 10
    assert browser.run("return document.querySelectorAll('th[aria-sort]').length") == 1


@pytest.mark.parametrize("number", [2, 6, 101])
def test_nothing_is_wider_than_a_phone(browser: Browser, tmp_path: Path, number: int) -> None:
    browser.open(_page(tmp_path, 4 * number, numbered(number)), width=360, height=740)
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    size = "return parseFloat(getComputedStyle(document.querySelector('div.matrix tbody td')).fontSize)"
    assert browser.run(size) >= 9
    assert browser.run("return document.querySelector('div.matrix table').getBoundingClientRect().width") >= (
        17 * number
    )


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_enough_contrast(browser: Browser, tmp_path: Path, dark: bool) -> None:
    browser.open(_page(tmp_path, 120, ACTIONS), dark=dark)
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is not dark
    ratio, where = browser.run(_CONTRAST)
    assert ratio >= 4.5, where  # WCAG 2.2, 1.4.3
