"""Identical files with different labels are found."""

from __future__ import annotations

from pathlib import Path

from vidlstm.data.contradictions import find_contradictions
from vidlstm.data.samples import find_samples


def plant(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def found(root: Path) -> list[list[str]]:
    return [[sample.name(root) for sample in members] for members in find_contradictions(find_samples(root))]


def test_only_identical_files_of_several_classes_are_found(tmp_path: Path) -> None:
    files = {
        "a/1.mp4": b"one", "b/copy.mp4": b"one", "c/copy.mp4": b"one",  # in three classes
        "a/2.mp4": b"two", "a/2 again.mp4": b"two",  # twice in one class
        "b/3.mp4": b"six",  # of the same size
    }  # fmt: skip
    assert found(plant(tmp_path, files)) == [["a/1.mp4", "b/copy.mp4", "c/copy.mp4"]]


def test_groups_from_a_table_do_not_hide_contradictions(tmp_path: Path) -> None:
    plant(tmp_path, {"1.mp4": b"one", "2.mp4": b"one"})
    (tmp_path / "labels.csv").write_text("path,label,group\n1.mp4,a,x\n2.mp4,b,y\n")
    assert found(tmp_path) == [["1.mp4", "2.mp4"]]


def test_folders_of_frames_are_compared(tmp_path: Path) -> None:
    frames = {f"{clip}/{n:03}.png": b"frame %d" % n for clip in ("a/x", "b/y") for n in range(3)}
    assert found(plant(tmp_path, frames)) == [["a/x", "b/y"]]


def test_empty_files_are_not_identical(tmp_path: Path) -> None:
    assert found(plant(tmp_path, {"a/1.mp4": b"", "b/2.mp4": b""})) == []
