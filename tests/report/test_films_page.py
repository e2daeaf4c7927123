"""The page of `spans --report`: as text, and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.report.browser import Browser, start_browser
from vidlstm.errors import FailureCode
from vidlstm.media.jpeg import encode_jpeg
from vidlstm.records import Failure, FilmSpans, Problem, Span
from vidlstm.report.films import FilmCard, render_films
from vidlstm.report.timelines import clock, ticks

COLOURS = {"<b>walk</b>": "#cc3333", "sit down": "#33aa33"}


def made_page(num_films: int = 2, num_spans: int = 6) -> str:
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    jpeg = encode_jpeg(picture, 128, 96, 20)
    spans = tuple(
        Span(10.0 * k, 10.0 * k + 6, list(COLOURS)[k % 2], 0.5 + k % 5 / 10) for k in range(num_spans)
    )
    curves = {name: [0.1, 0.9, 0.4] for name in (*COLOURS, "background")}
    cards = [
        FilmCard(FilmSpans(f"films/{n}.mp4", spans, 10.0 * num_spans, 25.0), curves, {0: jpeg, 1: jpeg})
        for n in range(num_films)
    ]
    idle = FilmCard(FilmSpans("idle.mp4", (), 8.0, 25.0), {}, {})
    problem = Problem(FailureCode.NOT_A_VIDEO, "is not a video")
    cards += [idle, FilmCard(Failure("<script>bad.mp4", problem), {}, {})]
    return render_films(cards, COLOURS, idle="background", title="Spans", command="vidlstm spans films")


def test_films_have_a_timeline_and_spans_and_failures_a_reason() -> None:
    page = made_page()
    assert page.count('<svg class="timeline"') == 3
    assert page.count("<title>sit down 10.00 to 16.00 s, score 0.60</title>") == 2
    assert 'x="16.667%" width="10.000%"' in page
    assert page.count("<img ") == 4
    assert "no spans" in page
    assert page.index("the scores of the classes that occur; dashed: background") < page.index("<section")
    assert "not_a_video: is not a video" in page


def test_names_are_escaped_and_nothing_is_loaded_or_run() -> None:
    page = made_page()
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;walk&lt;/b&gt;" in page
    assert "style=" not in page.split("</style>")[1]
    sources = re.findall(r'(?:src|href)="([^"]{8})', page)
    assert set(sources) == {"data:ima", "file:///"}
    assert "script-src" in page
    assert "default-src 'none'" in page


def test_a_long_film_lists_its_first_spans() -> None:
    page = made_page(1, 300)
    assert page.count("<li>\n") == 200
    assert "And 100 more spans." in page


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.44, "3.4 s"), (8.0, "8 s"), (61.4, "1:01"), (3723.0, "1:02:03")]
)
def test_times(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(0.4, [0]), (8, [0, 2, 4, 6, 8]), (61, [0, 10, 20, 30, 40, 50, 60]), (7200, list(range(0, 7201, 1800)))],
)
def test_ticks_are_round_and_few(seconds: float, wanted: list[int]) -> None:
    assert [text for text, _ in ticks(seconds)] == list(map(clock, wanted))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from start_browser(tmp_path_factory.mktemp("profile"))


@pytest.mark.parametrize("width", [1200, 500])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser_it_fits_makes_no_requests_and_shows_colours(
    browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    file = tmp_path / "page.html"
    file.write_text(made_page(), encoding="utf-8")
    browser.open(file, width=width, dark=dark)
    assert browser.requests() == [file.as_uri()]
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return [...document.images].every(i => i.naturalWidth > 0)")
    bar = "return (r => [r.left, r.width, getComputedStyle(e).fill])((e = document.querySelectorAll("
    left, wide, fill = browser.run("let e; " + bar + "'svg.timeline rect')[2]).getBoundingClientRect())")
    track = browser.run("return document.querySelector('svg.timeline').getBoundingClientRect().width")
    assert (wide / track, fill) == (pytest.approx(0.1, abs=0.002), "rgb(51, 170, 51)")
    assert left > 0
