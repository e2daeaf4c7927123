"""The films that annotations name: found by as much of the name as agrees, and none taken for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidlstm.data.annotations.locations import locate_films
from vidlstm.data.annotations.spans import Annotations


def located(root: Path, films: str, *names: str) -> tuple[dict[str, str], dict[str, str]]:
    """Find names among films; return the relative paths, and the reasons against the other names."""
    for film in films.split(", "):
        (root / film).parent.mkdir(parents=True, exist_ok=True)
        (root / film).touch()
    paths, reasons = locate_films(Annotations(names, (), (), "BORIS table"), root, trusted=False)
    return {name: path.relative_to(root).as_posix() for name, path in paths.items()}, reasons


@pytest.mark.parametrize(
    ("films", "found"),
    [
        (
            "mon/cam1.mp4, tue/cam1.mp4",
            {"/u/mon/cam1.mp4": "mon/cam1.mp4", "/u/tue/cam1.mp4": "tue/cam1.mp4"},
        ),
        ("mon/cam1.mp4, tue/cam1.mp4", {"C:\\u\\tue\\cam1.mp4": "tue/cam1.mp4"}),
        ("mon/cam1.mp4, tue/cam1.mp4", {"../tue/cam1.mp4": "tue/cam1.mp4"}),
        ("a/mon/cam1.mp4, b/mon/cam1.mp4", {"/u/b/mon/cam1.mp4": "b/mon/cam1.mp4"}),
        ("cam1.mp4, mon/cam1.mp4", {"cam1.mp4": "cam1.mp4", "/u/mon/cam1.mp4": "mon/cam1.mp4"}),
        ("mon/cam1.mp4", {"/u/mon/cam1.mp4": "mon/cam1.mp4", "cam1.mp4": "mon/cam1.mp4"}),  # the same film
        ("cam1.mp4, sub/cam1.mp4", {"./cam1.mp4": "cam1.mp4"}),
        ("my films/cam1.mp4, cam2/cam1.mp4", {"/u/my%20films/cam1.mp4": "my films/cam1.mp4"}),
        ("sub/v_abc.mp4", {"abc": "sub/v_abc.mp4"}),
        ("abc.mp4", {"v_abc": "abc.mp4"}),
        ("cam1.mp4, .trash/cam1.mp4, ._cam1.mp4", {"/u/cam1.mp4": "cam1.mp4"}),
        ("a.mp4", {"/data/upload/3/1a2b3c4d-a.mp4": "a.mp4"}),
        ("1a2b3c4d-a.mp4, a.mp4", {"/data/upload/3/1a2b3c4d-a.mp4": "1a2b3c4d-a.mp4"}),
    ],
)
def test_films_are_found_by_the_end_of_their_path(tmp_path: Path, films: str, found: dict[str, str]) -> None:
    assert located(tmp_path, films, *found) == (found, {})


def test_a_name_that_fits_several_films_is_not_used(tmp_path: Path) -> None:
    paths, reasons = located(tmp_path, "mon/cam1.mp4, tue/cam1.mp4", "/u/cam1.mp4", "/u/tue/cam1.mp4")
    assert paths == {"/u/tue/cam1.mp4": "tue/cam1.mp4"}
    assert reasons == {
        "/u/cam1.mp4": "fits several films, mon/cam1.mp4, tue/cam1.mp4; give each film its own file name"
    }


def test_a_film_is_used_for_the_name_that_fits_best(tmp_path: Path) -> None:
    paths, reasons = located(tmp_path, "mon/cam1.mp4", "/u/tue/cam1.mp4", "/u/mon/cam1.mp4")
    assert paths == {"/u/mon/cam1.mp4": "mon/cam1.mp4"}
    assert reasons == {
        "/u/tue/cam1.mp4": "fits cam1.mp4, but so does /u/mon/cam1.mp4; give each film its own file name"
    }


@pytest.mark.parametrize(
    "names",
    [
        ("/u/mon/cam1.mp4", "/u/tue/cam1.mp4"),
        ("/data/upload/1/1a2b3c4d-cam1.mp4", "/data/upload/1/9f8e7d6c-cam1.mp4"),
    ],
)
def test_a_film_that_fits_several_names_equally_is_not_used(tmp_path: Path, names: tuple[str, ...]) -> None:
    paths, reasons = located(tmp_path, "cam1.mp4", *names)
    assert paths == {}
    assert reasons == {
        name: f"fits cam1.mp4, but so does {other}; give each film its own file name"
        for name, other in zip(names, reversed(names), strict=True)
    }


def test_a_name_that_no_file_can_have_is_missing(tmp_path: Path) -> None:
    names = ("x" * 5000, "x/" * 3000 + "a.mp4", "a\0.mp4", "\ud800.mp4", "", "..", "/")
    assert located(tmp_path, "b.mp4", *names) == ({}, {})
