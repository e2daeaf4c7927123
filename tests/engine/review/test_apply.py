"""Applying decisions: nothing is overwritten, and everything can be undone."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import pytest

from vidlstm.engine.review.answers import read_decisions
from vidlstm.engine.review.apply import apply_decisions
from vidlstm.engine.review.decisions import Decision
from vidlstm.errors import DataError

HEADER = "path,start,end,label,decision,subset\n"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("data/walk/1.mp4", "data/walk/2.mp4", "data/wave/1.mp4", "data/train/walk/odd, name.mp4"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path / "data"


def tree(root: Path) -> dict[str, str]:
    return {p.relative_to(root).as_posix(): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()}


class TestFolders:
    def test_a_clip_moves_to_its_class(self, folders: Path, tmp_path: Path) -> None:
        path = str(folders / "walk/2.mp4")
        applied = apply_decisions(
            [Decision(path, "walk", "wave", subset="val")], folders, tmp_path / "undo.csv"
        )
        assert (applied.changed, applied.kept, applied.held_out, applied.problems) == (1, 0, 1, ())
        assert "wave/2.mp4" in tree(folders)
        assert "walk/2.mp4" not in tree(folders)

    def test_never_replaces_a_file(self, folders: Path, tmp_path: Path) -> None:
        before = tree(folders)
        path = str(folders / "walk/1.mp4")
        applied = apply_decisions([Decision(path, "walk", "wave")], folders, tmp_path / "undo.csv")
        assert tree(folders) == before
        assert (applied.changed, applied.written) == (0, None)
        assert "already exists" in applied.problems[0]
        assert not (tmp_path / "undo.csv").exists()

    def test_a_clip_that_cannot_leave_its_class_is_in_no_second_one(
        self, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, source, unlink = tree(folders), folders / "walk/2.mp4", Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path == source:
                raise PermissionError(errno.EACCES, "Permission denied")
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        applied = apply_decisions([Decision(str(source), "walk", "wave")], folders, tmp_path / "undo.csv")
        assert tree(folders) == before
        assert (applied.changed, applied.written) == (0, None)
        assert applied.problems == (f"{source}: stays where it is (Permission denied)",)

    def test_a_clip_may_be_named_by_its_address(self, folders: Path, tmp_path: Path) -> None:
        decision = Decision(f"file://{folders}/walk/2.mp4", "", "wave")
        applied = apply_decisions([decision], folders, tmp_path / "undo.csv")
        assert (applied.changed, applied.added, applied.problems) == (1, 0, ())
        assert (folders / "wave/2.mp4").exists()

    def test_the_undo_list_restores_it(self, folders: Path, tmp_path: Path) -> None:
        before = tree(folders)
        decisions = [
            Decision(str(folders / "walk/2.mp4"), "walk", "a new class"),
            Decision("train/walk/odd, name.mp4", "walk", "wave"),
            Decision(str(folders / "wave/1.mp4"), "wave", "wave"),
        ]
        applied = apply_decisions(decisions, folders, tmp_path / "undo.csv")
        assert (applied.changed, applied.kept, applied.problems) == (2, 1, ())
        assert {"a new class/2.mp4", "train/wave/odd, name.mp4"} <= set(tree(folders))
        back = apply_decisions(read_decisions(tmp_path / "undo.csv"), folders, tmp_path / "redo.csv")
        assert (back.changed, back.problems) == (2, ())
        assert tree(folders) == before

    def test_a_folder_of_frames_is_moved_as_one(self, folders: Path, tmp_path: Path) -> None:
        frames = folders / "walk" / "clip"
        frames.mkdir()
        for number in "12":
            (frames / f"img_{number}.jpg").write_text(number)
        apply_decisions([Decision(str(frames), "walk", "wave")], folders, tmp_path / "undo.csv")
        assert tree(folders)["wave/clip/img_1.jpg"] == "1"

    @pytest.mark.parametrize("decided", ["sit", "walk"])
    @pytest.mark.parametrize("label", ["walk", ""])
    @pytest.mark.parametrize(("start", "end"), [("1.0", "2.0"), ("0", ""), ("", "2")])
    def test_a_decision_about_a_span_moves_no_file(
        self, start: str, end: str, label: str, decided: str, folders: Path, tmp_path: Path
    ) -> None:
        before = tree(folders)
        decision = Decision(str(folders / "walk/2.mp4"), label, decided, start, end)
        applied = apply_decisions([decision], folders, tmp_path / "undo.csv")
        assert tree(folders) == before
        assert (applied.changed, applied.kept, applied.added, applied.written) == (0, 0, 0, None)
        assert applied.problems == (
            f"{decision.name}: decision about a span, but {folders} holds class folders",
        )

    def test_a_class_may_be_named_like_its_subset(self, tmp_path: Path) -> None:
        names = [f"data/{subset}/{label}/1.mp4" for subset in ("train", "test") for label in ("train", "bus")]
        for name in (*names, "data/train/train/a.mp4"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        root, before = tmp_path / "data", tree(tmp_path)
        decision = Decision(str(root / "train/train/a.mp4"), "train", "bus", subset="train")
        applied = apply_decisions([decision], root, tmp_path / "undo.csv")
        assert (applied.changed, applied.problems) == (1, ())
        assert (root / "train/bus/a.mp4").exists()
        apply_decisions(read_decisions(tmp_path / "undo.csv"), root, tmp_path / "redo.csv")
        assert tree(root) == {name.removeprefix("data/"): text for name, text in before.items()}

    @pytest.mark.parametrize("name", ["..", "../outside", "a/b", "a\\b", ".", "C:a", ".hidden"])
    def test_a_class_name_stays_in_the_folder_and_visible(
        self, name: str, folders: Path, tmp_path: Path
    ) -> None:
        new = tmp_path / "new.mp4"
        new.touch()
        before = tree(tmp_path)
        decisions = [Decision(str(folders / "walk/2.mp4"), "walk", name), Decision(str(new), "", name)]
        applied = apply_decisions(decisions, folders, tmp_path / "undo.csv")
        assert (applied.changed, applied.added) == (0, 0)
        said = f': "{name}" cannot be the name of a class folder'
        assert applied.problems == tuple(d.path + said for d in decisions)
        assert tree(tmp_path) == before

    def test_files_outside_it_are_not_moved(self, folders: Path, tmp_path: Path) -> None:
        stranger = tmp_path / "walk" / "stranger.mp4"
        stranger.parent.mkdir()
        stranger.write_text("x")
        applied = apply_decisions([Decision(str(stranger), "walk", "wave")], folders, tmp_path / "undo.csv")
        assert "class folder" in applied.problems[0]
        assert stranger.exists()

    @pytest.mark.parametrize("is_table", [False, True])
    def test_only_clips_are_added(self, is_table: bool, folders: Path, tmp_path: Path) -> None:
        for name in ("keys/id_rsa", "keys/1.mp4/notes.txt", "data/walk/notes.txt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label\nf.mp4,1,2,sit\n")
        before = tree(folders)
        times = ("1", "2") if is_table else ("", "")
        names = ("keys/id_rsa", "keys", "keys/1.mp4", "data/walk", "data/walk/notes.txt")
        decisions = [Decision(str(tmp_path / name), "", "wave", *times) for name in names]
        applied = apply_decisions(decisions, table if is_table else folders, tmp_path / "new.csv")
        assert (applied.changed, applied.added, applied.written) == (0, 0, None)
        assert applied.problems == tuple(f"{d.path}: is neither a video nor a picture" for d in decisions)
        assert tree(folders) == before

    def test_a_new_clip_is_copied_into_its_class(self, folders: Path, tmp_path: Path) -> None:
        new = tmp_path / "new" / "3.mp4"
        new.parent.mkdir()
        new.write_text("new")
        decisions = [Decision(str(new), "", "wave"), Decision(str(new.with_name("gone.mp4")), "", "wave")]
        applied = apply_decisions(decisions, folders, tmp_path / "undo.csv")
        assert (applied.changed, applied.added, applied.written) == (0, 1, None)
        assert applied.problems == (f"{new.with_name('gone.mp4')}: no such file",)
        assert (folders / "wave/3.mp4").read_text() == new.read_text() == "new"
        again = apply_decisions(decisions[:1], folders, tmp_path / "undo.csv")
        assert (again.added, again.problems) == (0, (f"{new}: {folders / 'wave/3.mp4'} already exists",))
        assert sorted(file.name for file in (folders / "wave").iterdir()) == ["1.mp4", "3.mp4"]

    def test_a_new_folder_of_frames_goes_to_the_training_set(self, tmp_path: Path) -> None:
        frames = ("new/frames/img_1.jpg", "new/frames/img_2.jpg")
        for name in ("data/train/walk/1.mp4", "data/test/walk/2.mp4", *frames):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        decision = Decision(str(tmp_path / "new/frames"), "", "walk")
        applied = apply_decisions([decision], tmp_path / "data", tmp_path / "undo.csv")
        assert applied.added == 1
        assert [tree(tmp_path)[f"data/train/walk/frames/{name}"] for name in ("img_1.jpg", "img_2.jpg")] == [
            *frames
        ]

    def test_held_out_clips_are_recognised_by_their_folder(self, tmp_path: Path) -> None:
        for name in ("train/walk/1.mp4", "train/sit/3.mp4", "test/walk/2.mp4"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        decision = Decision(str(tmp_path / "test/walk/2.mp4"), "walk", "sit")
        assert apply_decisions([decision], tmp_path, tmp_path / "undo.csv").held_out == 1


class TestTables:
    def test_paths_are_relative_to_the_new_table(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "a.mp4").touch()  # not the clip in the table
        monkeypatch.chdir(tmp_path / "here")
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "labels.csv").write_text(
            f"path,label,split\na.mp4,walk,test\n{tmp_path}/b.mp4,sit,train\n"
        )
        decision = Decision(str(tmp_path / "data/a.mp4"), "", "sit")
        applied = apply_decisions([decision], tmp_path / "data", tmp_path / "new.csv")
        assert (applied.changed, applied.held_out) == (1, 1)
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            "data/a.mp4,sit,test", f"{tmp_path}/b.mp4,sit,train",
        ]  # fmt: skip

    def test_addresses_in_a_store_stay_as_they_are(self, tmp_path: Path) -> None:
        names = ("s3://bucket/dir/a.mp4", "s3://bucket/b//c.mp4", "https://host/d.mp4?v=1")
        table = tmp_path / "data" / "labels.csv"
        table.parent.mkdir()
        table.write_text("path,label\n" + "".join(f"{name},walk\n" for name in names))
        applied = apply_decisions([Decision(names[1], "walk", "sit")], table, tmp_path / "new.csv")
        assert (applied.changed, applied.problems) == (1, ())
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            f"{names[0]},walk", f"{names[1]},sit", f"{names[2]},walk",
        ]  # fmt: skip

    def test_a_new_clip_becomes_a_row(self, tmp_path: Path) -> None:
        for name in ("a.mp4", "new/b.mp4"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        (tmp_path / "labels.csv").write_text("path,label,group,split,note\na.mp4,walk,1,train,x\n")
        decision = Decision(str(tmp_path / "new/b.mp4"), "", "sit")
        applied = apply_decisions([decision], tmp_path, tmp_path / "new.csv")
        assert (applied.changed, applied.added, applied.problems) == (0, 1, ())
        row = f"{tmp_path}/new/b.mp4,sit,{tmp_path}/new/b.mp4,train,"
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == ["a.mp4,walk,1,train,x", row]

    def test_a_clip_in_two_rows_changes_in_both(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("path,label\na.mp4,walk\n./a.mp4,walk\n")
        applied = apply_decisions([Decision("a.mp4", "walk", "sit")], tmp_path, tmp_path / "new.csv")
        assert (applied.kept, applied.problems) == (0, ())
        assert (tmp_path / "new.csv").read_text().count("sit") == 2

    def test_a_row_that_is_too_short_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("path,group,label\na.mp4,1\n")
        with pytest.raises(DataError, match=r"labels\.csv, line 2: has 2 values where the header has 3"):
            apply_decisions([Decision("a.mp4", "walk", "sit")], tmp_path, tmp_path / "new.csv")

    def test_cells_at_the_end_of_a_row_of_spans_may_be_missing(self, tmp_path: Path) -> None:
        (tmp_path / "spans.csv").write_text(
            "path,start,end,label,split\na.mp4,1,2,walk\nb.mp4\nc.mp4,1,2,sit,test\n"
        )
        applied = apply_decisions(
            [Decision("a.mp4", "walk", "sit", "1", "2")], tmp_path, tmp_path / "new.csv"
        )
        assert (applied.changed, applied.problems) == (1, ())
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            "a.mp4,1,2,sit,", "b.mp4,,,,", "c.mp4,1,2,sit,test",
        ]  # fmt: skip

    def test_a_new_table_is_written_and_the_old_one_stays(self, tmp_path: Path) -> None:
        table = tmp_path / "labels.csv"
        table.write_text('path,label,group,note\na.mp4,walk,1,"x, y"\nb.mp4,walk,2,\nc.mp4,wave,3,\n')
        before = table.read_text()
        decisions = [Decision("a.mp4", "walk", "wave"), Decision("c.mp4", "wave", "wave")]
        applied = apply_decisions(decisions, tmp_path, tmp_path / "new.csv")
        assert (applied.changed, applied.kept, applied.problems) == (1, 1, ())
        assert table.read_text() == before
        with (tmp_path / "new.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(r["path"], r["label"], r["note"]) for r in rows] == [
            ("a.mp4", "wave", "x, y"), ("b.mp4", "walk", ""), ("c.mp4", "wave", ""),
        ]  # fmt: skip

    def test_spans_are_distinguished_by_their_times(self, tmp_path: Path) -> None:
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label\nf.mp4,0.0,1.5,walk\nf.mp4,2,3,walk\n")
        applied = apply_decisions(
            [Decision("f.mp4", "walk", "sit", "2.0", "3.000")], table, tmp_path / "new.csv"
        )
        assert applied.changed == 1
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == ["f.mp4,0.0,1.5,walk", "f.mp4,2,3,sit"]

    def test_times_may_be_clock_times(self, tmp_path: Path) -> None:
        table = tmp_path / "spans.csv"
        table.write_text('path,start,end,label\nf.mp4,1:05.5,1:09,sit\nf.mp4,"90,5",1:40,run\n')
        decisions = [Decision("f.mp4", "", "wave", "65.5", "69"), Decision("f.mp4", "", "run", "90.5", "100")]
        applied = apply_decisions(decisions, table, tmp_path / "new.csv")
        assert (applied.changed, applied.kept, applied.problems) == (1, 1, ())
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            "f.mp4,1:05.5,1:09,wave", 'f.mp4,"90,5",1:40,run',
        ]  # fmt: skip

    @pytest.mark.parametrize("times", ["1:05.5,1:09", "65.5,69", "soon,later", ","])
    def test_a_decision_about_a_whole_clip_changes_no_span(self, times: str, tmp_path: Path) -> None:
        table = tmp_path / "spans.csv"
        table.write_text(f"path,start,end,label\nf.mp4,{times},sit\n")
        applied = apply_decisions([Decision("f.mp4", "", "wave")], table, tmp_path / "new.csv")
        assert (applied.changed, applied.kept, applied.added, applied.written) == (0, 0, 0, None)
        assert applied.problems == (f"f.mp4: decision about the whole clip, but {table} holds spans",)

    def test_a_whole_clip_is_not_added_to_spans(self, tmp_path: Path) -> None:
        (tmp_path / "new.mp4").touch()
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label\nf.mp4,1,2,sit\n")
        decision = Decision(str(tmp_path / "new.mp4"), "", "wave")
        applied = apply_decisions([decision], table, tmp_path / "new.csv")
        assert (applied.added, applied.written, len(applied.problems)) == (0, None, 1)

    @pytest.mark.parametrize("label", ["", "walk", "background"])
    def test_a_span_changes_no_whole_clip(self, label: str, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").touch()
        (tmp_path / "labels.csv").write_text("path,label\na.mp4,walk\n")
        decision = Decision(str(tmp_path / "a.mp4"), label, "sit", "1", "2")
        applied = apply_decisions([decision], tmp_path, tmp_path / "new.csv")
        assert (applied.changed, applied.added, len(applied.problems)) == (0, 0, 1)

    def test_times_may_be_rounded_to_hundredths(self, tmp_path: Path) -> None:
        table = tmp_path / "spans.csv"
        table.write_text(
            "path,start,end,label\nf.mp4,3.456,4.125,walk\nf.mp4,3.46,4.13,run\nf.mp4,5.005,6.994,walk\n"
        )
        decisions = [
            Decision("f.mp4", "", "sit", "3.46", "4.13"), Decision("f.mp4", "", "wave", "5.00", "6.99"),
            Decision("f.mp4", "", "wave", "5.02", "6.99"),
        ]  # fmt: skip
        applied = apply_decisions(decisions, table, tmp_path / "new.csv")
        assert (applied.changed, applied.problems) == (2, (f"f.mp4#t=5.02,6.99: not in {table}",))
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            "f.mp4,3.456,4.125,walk", "f.mp4,3.46,4.13,sit", "f.mp4,5.005,6.994,wave",
        ]  # fmt: skip

    def test_two_decisions_about_one_row_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("path,label\na.mp4,walk\n")
        decisions = [Decision("a.mp4", "", "sit"), Decision("./a.mp4", "", "run")]
        with pytest.raises(DataError, match=r"\./a\.mp4: has two decisions about the same row of"):
            apply_decisions(decisions, tmp_path, tmp_path / "new.csv")

    @pytest.mark.parametrize(("start", "end"), [("soon", "2"), ("1", ""), ("", "2")])
    def test_a_span_without_usable_times_is_not_added(self, start: str, end: str, tmp_path: Path) -> None:
        (tmp_path / "f.mp4").touch()
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label\nf.mp4,1,2,sit\n")
        decision = Decision(str(tmp_path / "f.mp4"), "", "wave", start, end)
        applied = apply_decisions([decision], table, tmp_path / "new.csv")
        assert (applied.changed, applied.added) == (0, 0)
        assert applied.problems == (f"{decision.path}#t={start},{end}: not in {table}",)

    @pytest.mark.parametrize("path", ["", "a\0b.mp4"])
    def test_a_row_without_a_usable_path_is_named(self, path: str, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text(f"path,label\n{path},walk\n")
        with pytest.raises(DataError, match=r"labels\.csv, line 2: (has no usable path|.*NUL)"):
            apply_decisions([Decision("a.mp4", "walk", "sit")], tmp_path, tmp_path / "new.csv")

    def test_a_new_span_has_the_group_and_subset_of_its_film(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data/day.mp4").touch()
        table = tmp_path / "data/spans.csv"
        table.write_text("path,start,end,label,group,split\nday.mp4,1,2,walk,p1,test\n")
        decision = Decision(str(tmp_path / "data/day.mp4"), "", "wave", "3.5", "4.5")
        applied = apply_decisions([decision], table, tmp_path / "new.csv")
        assert (applied.added, applied.problems) == (1, ())
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            "data/day.mp4,1,2,walk,p1,test", "data/day.mp4,3.5,4.5,wave,p1,test",
        ]  # fmt: skip

    @pytest.mark.parametrize("film", ["day.mp4", "new.mp4"])
    def test_the_film_of_a_new_span_may_be_named_by_its_address(self, film: str, tmp_path: Path) -> None:
        (tmp_path / film).touch()
        (tmp_path / "spans.csv").write_text("path,start,end,label\nday.mp4,1,2,walk\n")
        name = f"file://{tmp_path}/{film}"
        applied = apply_decisions([Decision(name, "", "wave", "3.5", "4.5")], tmp_path, tmp_path / "new.csv")
        assert (applied.added, applied.problems) == (1, ())
        path = film if film == "day.mp4" else name
        assert (tmp_path / "new.csv").read_text().splitlines()[2:] == [f"{path},3.5,4.5,wave"]

    @pytest.mark.parametrize(
        ("pieces", "expected"),
        [
            (["0.00,8.33"], ["0,8.33,sit", "8.33,0:25,walk"]),
            (["8.33,16.67"], ["0,8.33,walk", "8.33,16.67,sit", "16.67,0:25,walk"]),
            (["16.67,25.00"], ["0,16.67,walk", "16.67,0:25,sit"]),
            (["16.67,25.00", "0.00,8.33"], ["0,8.33,sit", "8.33,16.67,walk", "16.67,0:25,sit"]),
            (["0.00,8.33", "8.33,16.67", "16.67,25.00"], ["0,8.33,sit", "8.33,16.67,sit", "16.67,0:25,sit"]),
        ],
    )
    def test_a_piece_is_cut_out_of_its_span(
        self, pieces: list[str], expected: list[str], tmp_path: Path
    ) -> None:
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label,group\nf.mp4,0,0:25,walk,p1\nf.mp4,26,28,walk,p1\n")
        times = [piece.split(",") for piece in pieces]
        decisions = [Decision("f.mp4", "walk", "sit", start, end, "val") for start, end in times]
        applied = apply_decisions(decisions, tmp_path, tmp_path / "new.csv")
        assert (applied.changed, applied.held_out, applied.problems) == (len(pieces), len(pieces), ())
        rows = [f"f.mp4,{row},p1" for row in (*expected, "26,28,walk")]
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == rows

    def test_a_piece_that_keeps_its_label_is_confirmed(self, tmp_path: Path) -> None:
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label\nf.mp4,0,20,walk\n")
        decisions = [
            Decision("f.mp4", "walk", "walk", "0.00", "10.00"),
            Decision("f.mp4", "background", "background", "20.50", "25.00"),
        ]
        applied = apply_decisions(decisions, table, tmp_path / "new.csv")
        assert (applied.kept, applied.written, applied.problems) == (2, None, ())

    def test_background_with_a_label_becomes_a_span(self, tmp_path: Path) -> None:
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label,split\nf.mp4,0,20,walk,val\n")
        decision = Decision("f.mp4", "background", "sit", "20.50", "25.00", "val")
        applied = apply_decisions([decision], table, tmp_path / "new.csv")
        assert (applied.added, applied.held_out, applied.problems) == (1, 1, ())
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            "f.mp4,0,20,walk,val", "f.mp4,20.50,25.00,sit,val",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("label", "times"),
        [
            ("sit", ("0", "10")),  # of another label
            ("walk", ("15", "25")),  # only partly in the span
            ("background", ("15", "25")),  # not background any more
            ("background", ("soon", "25")),
            ("walk", ("10", "5")),
        ],
    )
    def test_a_piece_that_fits_no_span_is_named(
        self, label: str, times: tuple[str, str], tmp_path: Path
    ) -> None:
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label\nf.mp4,0,20,walk\n")
        applied = apply_decisions([Decision("f.mp4", label, "run", *times)], table, tmp_path / "new.csv")
        assert applied.written is None
        assert applied.problems == (f"f.mp4#t={times[0]},{times[1]}: not in {table}",)

    def test_a_new_span_inside_an_annotated_one_is_cut_out_of_it(self, tmp_path: Path) -> None:
        (tmp_path / "f.mp4").touch()
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label\nf.mp4,0,20,walk\n")
        name = str(tmp_path / "f.mp4")
        decisions = [Decision(name, "", "walk", "1", "2"), Decision(name, "", "sit", "5", "7")]
        applied = apply_decisions(decisions, table, tmp_path / "new.csv")
        assert (applied.changed, applied.kept, applied.added, applied.problems) == (1, 1, 0, ())
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            "f.mp4,0,5,walk", "f.mp4,5,7,sit", "f.mp4,7,20,walk",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("rows", "decided", "expected"),
        [
            # "sit" is where "walk" counts, or what is left of "run" would count where "walk" did
            ("0,40,run 5,30,walk", "run,0.00,10.00", ""),
            ("0,40,run 5,30,walk", "run,10.00,20.00", ""),
            ("0,40,run 10,30,walk", "run,0.00,10.00", ""),
            ("0,40,run 10,30,walk", "run,30.00,40.00", "0,30.00,run 30.00,40,sit 10,30,walk"),
            ("0,40,run 15,30,walk", "run,0.00,10.00", "0,10.00,sit 10.00,40,run 15,30,walk"),
            ("0,40,run 10,30,walk", "walk,10.00,20.00", "0,40,run 10,20.00,sit 20.00,30,walk"),
            ("0,40,run 40,50,walk", "run,30.00,40.00", "0,30.00,run 30.00,40,sit 40,50,walk"),
        ],
    )
    def test_no_span_is_cut_where_another_would_count_elsewhere(
        self, rows: str, decided: str, expected: str, tmp_path: Path
    ) -> None:
        table, new = tmp_path / "spans.csv", tmp_path / "new.csv"
        table.write_text("\n".join(["path,start,end,label", *(f"f.mp4,{row}" for row in rows.split())]))
        label, start, end = decided.split(",")
        applied = apply_decisions([Decision("f.mp4", label, "sit", start, end)], table, new)
        if not expected:
            said = f"f.mp4#t={start},{end}: overlaps another span in {table}; correct the times there first"
            assert (applied.changed, applied.written, applied.problems) == (0, None, (said,))
            return
        assert (applied.changed, applied.problems) == (1, ())
        assert new.read_text().splitlines()[1:] == [f"f.mp4,{row}" for row in expected.split()]

        def label_at(second: int, lines: str) -> str:
            spans = [line.split(",") for line in lines.split()]
            found = [(float(a), label) for a, b, label in spans if float(a) <= second < float(b)]
            return max(found, default=(0, ""))[1]  # the one that starts last

        for second in range(50):
            is_decided = float(start) <= second < float(end)
            assert label_at(second, expected) == ("sit" if is_decided else label_at(second, rows))

    @pytest.mark.parametrize("is_known", [True, False])
    def test_no_new_span_overlaps_another(self, is_known: bool, tmp_path: Path) -> None:
        for name in ("f.mp4", "new.mp4"):
            (tmp_path / name).touch()
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label\nf.mp4,0,20,walk\nf.mp4,30,40,sit\nf.mp4,30,35,run\n")
        film = str(tmp_path / ("f.mp4" if is_known else "new.mp4"))
        times = [("40", "45"), ("42", "48"), *([("15", "25"), ("31", "32")] if is_known else [])]
        decisions = [Decision(film, "", "wave", start, end) for start, end in times]
        applied = apply_decisions(decisions, table, tmp_path / "new.csv")
        assert (applied.changed, applied.added) == (0, 1)
        said = f"overlaps another span in {table}"
        assert applied.problems == tuple(f"{d.name}: {said}" for d in decisions[1:])

    def test_clips_missing_in_the_table_are_named(self, tmp_path: Path) -> None:
        table = tmp_path / "labels.csv"
        table.write_text("path,label\na.mp4,walk\n")
        applied = apply_decisions([Decision("z.mp4", "", "walk")], table, tmp_path / "new.csv")
        assert (applied.changed, applied.written) == (0, None)
        assert "z.mp4" in applied.problems[0]
        assert not (tmp_path / "new.csv").exists()

    def test_no_file_is_overwritten(self, tmp_path: Path) -> None:
        table = tmp_path / "labels.csv"
        table.write_text("path,label\na.mp4,walk\n")
        with pytest.raises(DataError, match="already exists"):
            apply_decisions([Decision("a.mp4", "walk", "wave")], table, table)


class TestDecisions:
    @pytest.mark.parametrize("is_table", [False, True])
    def test_a_path_that_is_too_long_is_no_file(self, is_table: bool, folders: Path, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("path,label\na.mp4,walk\n")
        decision = Decision("a" * 5000 + ".mp4", "", "wave")
        data = tmp_path / "labels.csv" if is_table else folders
        applied = apply_decisions([decision], data, tmp_path / "new.csv")
        assert applied.problems[0].startswith(f"{decision.path}: no")

    @pytest.mark.parametrize("escape", ["ud800", "u0000"])
    @pytest.mark.parametrize("field", ["path", "label", "decision"])
    def test_names_that_no_file_can_have_are_refused(self, field: str, escape: str, tmp_path: Path) -> None:
        task = {"path": "a.mp4", "label": "walk", "decision": "wave"} | {field: f"a-{escape}"}
        (tmp_path / "export.json").write_text(json.dumps([task]).replace("-", "\\"))
        with pytest.raises(DataError, match=r"export\.json: the decision about 'a.* holds characters"):
            read_decisions(tmp_path / "export.json")

    def test_are_read_with_unusual_names(self, tmp_path: Path) -> None:
        file = tmp_path / "decisions.csv"
        file.write_text(HEADER + '"a, ""b""\nc.mp4",,,walk,wave,val\n')
        assert read_decisions(file) == [Decision('a, "b"\nc.mp4', "walk", "wave", subset="val")]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            HEADER,
            "a,b\n1,2\n",
            HEADER + "a.mp4,,,walk,,\n",
            HEADER + "a.mp4,,,walk,wave,,,\n",
            HEADER + "a.mp4,,,x,y,\na.mp4,,,x,z,\n",
        ],
    )
    def test_a_file_without_decisions_is_named(self, text: str, tmp_path: Path) -> None:
        file = tmp_path / "decisions.csv"
        file.write_text(text)
        with pytest.raises(DataError, match=r"decisions\.csv"):
            read_decisions(file)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_is_moved_and_its_target_stays(folders: Path, tmp_path: Path) -> None:
    link = folders / "walk/link.mp4"
    link.symlink_to(folders / "wave/1.mp4")
    apply_decisions([Decision(str(link), "walk", "sit")], folders, tmp_path / "undo.csv")
    assert (folders / "sit/link.mp4").is_symlink()
    assert (folders / "wave/1.mp4").is_file()
    assert not link.is_symlink()


def test_the_undo_list_contains_only_moved_files(folders: Path, tmp_path: Path) -> None:
    decisions = [Decision(str(folders / f"walk/{n}.mp4"), "walk", "wave") for n in (1, 2)]
    applied = apply_decisions(decisions, folders, tmp_path / "undo.csv")
    assert (applied.changed, len(applied.problems)) == (1, 1)
    assert [Path(d.path).name for d in read_decisions(tmp_path / "undo.csv")] == ["2.mp4"]
