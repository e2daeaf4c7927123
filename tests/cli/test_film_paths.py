"""The names of files that are written for films: never the same for two films, never an input."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidlstm.cli.rows.films.index import FILE, DocumentIndex
from vidlstm.cli.rows.films.paths import FilmPaths


def paths_of(*names: str) -> list[str]:
    paths = FilmPaths(names)
    return [paths.in_tree(name).as_posix() for name in paths.add(names)]


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (("f/day.mp4", "f/day.mov", "../f/day.mp4"), ["f/day", "f/day_2", "f/day_3"]),
        (("f/day.mp4", "f/day_2.mp4", "f/day.mov"), ["f/day", "f/day_2", "f/day_3"]),
        (("f/day.mp4", "./f/day.mp4", "f/day.mp4"), ["f/day", "f/day", "f/day"]),
        (("clip.001", "clip.002"), ["clip", "clip_2"]),
        (("Day.mp4", "day.mp4"), ["Day", "day_2"]),
        (("f/a.b.mp4", "/f/a.b.mov"), ["f/a.b", "f/a.b_2"]),
        (("f/day.mp4", "g/day.mp4"), ["f/day", "g/day"]),
        (("s3://b/a//x.mp4", "s3://b/a/x.mp4"), ["s3:/b/a/x", "s3:/b/a/x_2"]),
        (("file:///f/day.mp4", "/f/day.mp4"), ["f/day", "f/day"]),
    ],
)
def test_no_two_films_have_the_same_path(names: tuple[str, ...], paths: list[str]) -> None:
    assert paths_of(*names) == paths


def test_the_working_folder_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "frames").mkdir()
    monkeypatch.chdir(tmp_path / "frames")
    assert paths_of(".") == ["frames"]


def test_films_of_several_folders_have_different_stems() -> None:
    notes: list[str] = []
    names = ("d1/cam.mp4", "d2/cam.mp4")
    paths = FilmPaths(names, notes.append)
    assert [paths.stem(name) for name in paths.add(names)] == ["cam", "cam_2"]
    assert notes == ["d2/cam.mp4: another film has the name cam, so the files of this one are named cam_2"]


def test_only_names_of_files_that_are_written_are_noted() -> None:
    notes: list[str] = []
    names = ("d1/cam.mp4", "d2/cam.mp4", "d2/cam.avi")
    list(FilmPaths(names, notes.append, uses_stems=False).add(names))
    assert notes == [
        "d2/cam.avi: another film has the name d2/cam, so the files of this one are named d2/cam_2"
    ]
    notes.clear()
    list(FilmPaths(names, notes.append, uses_trees=False).add(names))
    assert [note.rpartition(" ")[2] for note in notes] == ["cam_2", "cam_3"]


def test_existing_files_that_may_be_inputs_are_known(tmp_path: Path) -> None:
    (tmp_path / "films/old").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4", "films/c.mp4", "films/old/d.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    paths = FilmPaths([str(tmp_path / "films"), str(tmp_path / "link.mp4"), "-"])
    inputs = {name: paths.is_input(tmp_path / name) for name in (
        "a.mp4", "b.mp4", "link.mp4", "films/c.mp4", "films/old/d.mp4", "films/new.mp4")}  # fmt: skip
    assert inputs == {
        "a.mp4": True, "b.mp4": False, "link.mp4": True, "films/c.mp4": True, "films/old/d.mp4": True,
        "films/new.mp4": False}  # fmt: skip
    list(paths.add([str(tmp_path / "b.mp4")]))
    assert paths.is_input(tmp_path / "b.mp4")


def test_files_of_a_folder_that_no_search_enters_are_inputs_only_if_they_are_named(tmp_path: Path) -> None:
    made = tmp_path / "films/clips"
    (made / "rise").mkdir(parents=True)
    (made / "fall").mkdir()
    files = [
        tmp_path / "films/a.mp4",
        made / "b.mp4",
        made / "c.mp4",
        made / "rise/d.mp4",
        made / "fall/e.mp4",
    ]
    for file in files:
        file.touch()
    given = [str(path) for path in (tmp_path / "films", made / "c.mp4", made / "rise")]
    paths = FilmPaths(given, outside=(made,))
    assert [paths.is_input(file) for file in files] == [True, False, True, True, False]


def test_a_folder_knows_the_films_of_its_documents(tmp_path: Path) -> None:
    def in_tree(*names: str) -> list[str]:
        paths = FilmPaths(names, known=DocumentIndex.read(tmp_path).paths)
        return [paths.in_tree(name).as_posix() for name in paths.add(names)]

    def write(name: str, document: str) -> None:
        (tmp_path / document).parent.mkdir(exist_ok=True)
        (tmp_path / document).touch()
        DocumentIndex.read(tmp_path).add(name, Path(document).with_suffix(""))

    assert in_tree("f/a.avi", "f/a.mkv") == ["f/a", "f/a_2"]
    write("f/a.mkv", "f/a.srt")
    write("f/\udce9.mkv", "f/\udce9_3.vtt")
    for _ in range(2):
        assert in_tree("f/a.avi", "./f/a.mkv", "f/A.mov") == ["f/a_2", "f/a", "f/A_3"]
        with (tmp_path / FILE).open("ab") as file:
            file.write(b'\n{"film": "f/a.avi", "num')  # a run was killed
    assert in_tree("f/\udce9.avi", "f/\udce9.mkv") == ["f/\udce9", "f/\udce9_3"]
    write("f/a.avi", "f/a_2.srt")
    assert in_tree("f/A.mov", "f/a.avi", "f/a.mkv") == ["f/A_3", "f/a_2", "f/a"]
    (tmp_path / "f/a.srt").unlink()
    assert in_tree("f/a.avi", "f/b.mkv", "f/a.mkv") == ["f/a_2", "f/b", "f/a"]
    assert in_tree("f/A.mov", "f/a.mkv") == ["f/A", "f/a_3"]
    write("f/A.mov", "f/A.srt")  # the name was free again
    assert in_tree("f/a.mkv", "f/A.mov") == ["f/a_3", "f/A"]


@pytest.mark.parametrize(
    "line",
    [
        '{"film": "a.mkv"}',
        '{"film": 3, "number": 1}',
        '["a.mkv", 1]',
        '{"film": "a.mkv", "number": "x"}',
        "3",
    ],
)
def test_an_index_that_makes_no_sense_is_not_used(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.srt").touch()
    (tmp_path / FILE).write_text(line)
    assert DocumentIndex.read(tmp_path).paths == {}


def test_an_index_names_only_documents_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.srt").touch()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / FILE).write_text('{"film": "../a.mkv", "number": 1}')
    assert DocumentIndex.read(tmp_path / "docs").paths == {}
