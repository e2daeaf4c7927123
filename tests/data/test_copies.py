"""Identical files in several classes or groups are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vidlstm.data.copies import Copies, Sets, find_copies
from vidlstm.data.films import FilmTruth
from vidlstm.data.samples import Sample, find_samples


def plant(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def found(root: Path) -> Copies:
    return find_copies(find_samples(root))


def names(root: Path, sets: Sets) -> list[list[str]]:
    return [[sample.name(root) for sample in members] for members in sets]


def test_files_of_equal_content_share_a_group_but_may_not_share_a_class(tmp_path: Path) -> None:
    files = {
        "a/1.mp4": b"one", "b/copy.mp4": b"one", "c/copy.mp4": b"one",  # in three classes
        "a/2.mp4": b"two", "a/2 again.mp4": b"two",  # twice in one class
        "b/3.mp4": b"six",  # of the same size
    }  # fmt: skip
    copies = found(plant(tmp_path, files))
    assert names(tmp_path, copies.in_classes) == [["a/1.mp4", "b/copy.mp4", "c/copy.mp4"]]
    assert copies.in_groups == ()


def test_groups_from_a_table_can_be_wrong(tmp_path: Path) -> None:
    plant(tmp_path, {"1.mp4": b"one", "2.mp4": b"one", "3.mp4": b"two", "4.mp4": b"two", "5.mp4": b"two"})
    rows = ["1.mp4,a,x", "2.mp4,b,y", "3.mp4,a,x", "4.mp4,a,y", "5.mp4,a,y"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,group", *rows, ""]))
    copies = found(tmp_path)
    assert names(tmp_path, copies.in_classes) == [["1.mp4", "2.mp4"]]
    assert names(tmp_path, copies.in_groups) == [["3.mp4", "4.mp4", "5.mp4"]]


def test_copies_in_one_class_and_one_group_are_allowed(tmp_path: Path) -> None:
    plant(tmp_path, {"1.mp4": b"one", "2.mp4": b"one", "3.mp4": b"two"})
    (tmp_path / "labels.csv").write_text("path,label,group\n1.mp4,a,x\n2.mp4,a,x\n3.mp4,b,y\n")
    assert found(tmp_path) == Copies()


def test_copies_of_a_film_in_several_groups_are_found(tmp_path: Path) -> None:
    clips = find_samples(plant(tmp_path / "clips", {"a/1.mp4": b"1", "b/2.mp4": b"2"}))
    plant(tmp_path, {"x.mp4": b"one", "y.mp4": b"one", "z.mp4": b"two"})
    groups = {"x": "p", "y": "q", "z": "q"}
    films = tuple(FilmTruth(tmp_path / f"{name}.mp4", 10.0, (), group) for name, group in groups.items())
    samples = tuple(
        Sample(film.path, label, film.group or "", None, start, start + 1)
        for film in films
        for label, start in (("a", 0.0), ("b", 5.0))
    )
    copies = find_copies(replace(clips, root=tmp_path, samples=samples, films=films))
    assert copies.in_classes == ()
    assert names(tmp_path, copies.in_groups) == [["x.mp4#t=0.00,1.00", "y.mp4#t=0.00,1.00"]]


def test_folders_of_frames_are_compared(tmp_path: Path) -> None:
    frames = {f"{clip}/{n:03}.png": b"frame %d" % n for clip in ("a/x", "b/y") for n in range(3)}
    assert names(tmp_path, found(plant(tmp_path, frames)).in_classes) == [["a/x", "b/y"]]


def test_empty_files_are_not_identical(tmp_path: Path) -> None:
    assert found(plant(tmp_path, {"a/1.mp4": b"", "b/2.mp4": b""})) == Copies()
