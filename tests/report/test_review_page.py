"""The review page in a real browser: keys, clicks, undo, and the file that it downloads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.report.browser import Browser, start_browser
from vidlstm.engine.review.answers import read_decisions
from vidlstm.media.jpeg import encode_jpeg
from vidlstm.report.review import ReviewCard, render_review

AWKWARD = '</script><script>window.harmed = 1</script>, "a"\n.mp4'
CLASSES = ("kick", "push", "wave")

ENTER = "\ue007"

_SAVED = """
const done = arguments[arguments.length - 1];
URL.createObjectURL = (blob) => { blob.text().then(done); return "blob:none"; };
document.getElementById("download").click();
"""

_SAVED_BYTES = _SAVED.replace(
    "blob.text().then(done)", "blob.arrayBuffer().then((b) => done([...new Uint8Array(b)]))"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from start_browser(tmp_path_factory.mktemp("profile"))


def card(path: str, label: str = "push", suggested: str = "kick", **more: float) -> ReviewCard:
    frames = [np.full((24, 32, 3), 40 * n, np.uint8) for n in range(3)]
    top = ((suggested, 0.8), (label, 0.1))
    times = (more.get("start"), more.get("end"))
    images = [encode_jpeg(frame, 32, 24) for frame in frames]
    return ReviewCard(path, label, suggested, 0.8, top, *times, "val", False, images)


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    cards = [
        card("a.mp4"),
        card(AWKWARD),
        card("film.mp4", start=1.5, end=2.25),
        card("d.mp4", "wave", "push"),
    ]
    file = tmp_path / "review.html"
    file.write_text(render_review(cards, CLASSES, f"Review {tmp_path}"), encoding="utf-8")
    browser.complaints()  # drop those of the previous page, whose download failed
    browser.open(file)
    return browser


def press(page: Browser, *keys: str) -> None:
    for key in keys:
        page.run(f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: {key!r}, bubbles: true}}))")


def type_into(page: Browser, key: str) -> None:
    """Press a key on the focused element, like a user."""
    page.driver.switch_to.active_element.send_keys(key)


def saved(page: Browser) -> list[list[str]]:
    text = page.driver.execute_async_script(_SAVED)
    return list(csv.reader(io.StringIO(text, newline="")))[1:]


def test_keys_make_decisions_that_are_downloaded(page: Browser) -> None:
    # The target of this event is the document, which has no tag name; for a real user it is the body.
    page.run("document.body.focus()")
    press(page, "3", "Enter", "k")
    assert saved(page) == [
        ["a.mp4", "", "", "push", "wave", "val"],
        [AWKWARD, "", "", "push", "kick", "val"],
        ["film.mp4", "1.5", "2.25", "push", "push", "val"],
    ]
    assert page.run("return document.getElementById('count').textContent") == "3 of 4 decided, 2 changed"


def test_enter_and_space_press_the_focused_button(page: Browser) -> None:
    page.run("document.querySelector('article:nth-of-type(2) button[data-name=wave]').focus()")
    type_into(page, ENTER)
    page.run("document.querySelector('article:nth-of-type(3) button[data-name=push]').focus()")
    type_into(page, " ")
    assert [(row[0], row[4]) for row in saved(page)] == [(AWKWARD, "wave"), ("film.mp4", "push")]


def test_enter_accepts_the_suggestion_after_a_click(page: Browser) -> None:
    page.click("article:nth-of-type(1) button[data-name='wave']")
    type_into(page, ENTER)
    assert [(row[0], row[4]) for row in saved(page)] == [("a.mp4", "wave"), (AWKWARD, "kick")]


def test_names_that_are_not_utf8_keep_their_bytes(browser: Browser, tmp_path: Path) -> None:
    names = [b"caf\xe9\xff.mp4".decode("utf-8", "surrogateescape"), "\U0001f600.mp4"]
    file = tmp_path / "review.html"
    file.write_text(render_review([card(name) for name in names], CLASSES, str(tmp_path)), encoding="utf-8")
    browser.open(file)
    press(browser, "1", "1")
    table = bytes(browser.driver.execute_async_script(_SAVED_BYTES))
    (tmp_path / "decisions.csv").write_bytes(table)
    assert [d.path for d in read_decisions(tmp_path / "decisions.csv")] == names


def test_undo_reverts_one_decision_and_shows_its_clip(page: Browser) -> None:
    press(page, "1", "2", "u")
    assert [row[0] for row in saved(page)] == ["a.mp4"]
    press(page, "3")
    assert [(row[0], row[4]) for row in saved(page)] == [("a.mp4", "kick"), (AWKWARD, "wave")]


def test_clicks_work_like_keys(page: Browser) -> None:
    page.click("article:nth-of-type(1) button[data-name='wave']")
    page.click("#undo")
    page.click("article:nth-of-type(1) button[data-name='push']")
    assert [(row[0], row[4]) for row in saved(page)] == [("a.mp4", "push")]


def test_skipping_decides_nothing(page: Browser) -> None:
    press(page, "s", "s", "1")
    assert [row[0] for row in saved(page)] == ["film.mp4"]


def test_decisions_survive_a_reload(page: Browser, tmp_path: Path) -> None:
    press(page, "1", "1")
    page.open(tmp_path / "review.html")
    assert [row[4] for row in saved(page)] == ["kick", "kick"]


def test_decisions_are_not_restored_in_another_page(page: Browser, tmp_path: Path) -> None:
    press(page, "1", "1")
    cards = [
        card("a.mp4"),
        card("d.mp4", "wave", "push"),
        card(AWKWARD),
        card("film.mp4", start=1.5, end=2.25),
    ]
    file = tmp_path / "review.html"  # the same clips in another order, such as after another cross-validation
    file.write_text(render_review(cards, CLASSES, f"Review {tmp_path}"), encoding="utf-8")
    page.open(file)
    assert saved(page) == []


def test_the_filter_shows_what_was_changed(page: Browser) -> None:
    press(page, "3", "k")
    page.run(
        "const filter = document.getElementById('filter'); filter.value = 'changed';"
        "filter.dispatchEvent(new Event('change'))"
    )
    shown = "return [...document.querySelectorAll('article')].filter(a => !a.hidden).length"
    assert page.run(shown) == 1


def test_space_plays_the_thumbnails_one_at_a_time(page: Browser) -> None:
    press(page, " ")
    visible = "return [...document.querySelectorAll('.playing img')].filter(i => i.offsetParent).length"
    assert page.run(visible) == 1


def test_names_are_shown_as_text_and_no_requests_are_made(page: Browser, tmp_path: Path) -> None:
    assert page.requests() == [(tmp_path / "review.html").as_uri()]
    assert page.complaints() == []
    assert page.run("return window.harmed") is None
    assert "window.harmed" in page.run("return document.querySelectorAll('strong')[1].textContent")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(dark: bool, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "review.html"
    file.write_text(render_review([card("a" * 200 + ".mp4")] * 30, CLASSES, "Review"), encoding="utf-8")
    browser.open(file, width=390, dark=dark)
    assert browser.run("return document.documentElement.scrollWidth") <= 390
