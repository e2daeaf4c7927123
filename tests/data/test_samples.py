import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.data.test_walking import lock
from tests.data.trees import plant
from vidlstm.data.samples import Dataset, find_samples
from vidlstm.errors import DataError, UsageError

Rows = list[tuple[str, str, str | None]]


def rows(data: Dataset) -> Rows:
    """Return name, label and split of each sample."""
    return [(s.path.relative_to(data.root).as_posix(), s.label, s.split) for s in data.samples]


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def said(data: Dataset, *words: str) -> bool:
    """Tell whether one of the notes contains all of these words."""
    return any(all(word in note for word in words) for note in data.notes + data.lost)


class TestClassFolders:
    def test_every_folder_is_a_class_and_clips_may_be_in_subfolders(self, tmp_path: Path) -> None:
        data = find_samples(plant(tmp_path, ["run/a.mp4", "run/day 2/b.AVI", "hug/c.webm"]))
        assert rows(data) == [
            ("hug/c.webm", "hug", None),
            ("run/a.mp4", "run", None),
            ("run/day 2/b.AVI", "run", None),
        ]
        assert (data.kind, data.classes, data.layout) == ("video", ("hug", "run"), "class folders")
        assert data.class_counts == {"hug": 1, "run": 2}

    def test_class_names_are_taken_literally(self, tmp_path: Path) -> None:
        names = ("Überholen ", 'a, "b"', "走る", "=cmd")
        assert set(find_samples(plant(tmp_path, [f"{n}/x.mp4" for n in names])).classes) == set(names)

    def test_pictures_directly_in_class_folders_are_pictures(self, tmp_path: Path) -> None:
        data = find_samples(plant(tmp_path, ["cat/001.jpg", "cat/002.jpg", "dog/001.png", "dog/002.png"]))
        assert (data.kind, len(data.samples)) == ("picture", 4)

    def test_folders_of_numbered_frames_below_a_class_are_clips(self, tmp_path: Path) -> None:
        frames = [f"{c}/{clip}/{n:04}.jpg" for c in ("hug", "run") for clip in ("a", "b") for n in range(3)]
        data = find_samples(plant(tmp_path, [*frames, "run/c.mp4"]))
        assert data.kind == "video"
        assert [name for name, _, _ in rows(data)] == ["hug/a", "hug/b", "run/a", "run/b", "run/c.mp4"]

    def test_frames_are_pictures_if_pictures_are_asked_for(self, tmp_path: Path) -> None:
        plant(tmp_path, [f"{c}/a/{n}.jpg" for c in ("x", "y") for n in range(3)])
        data = find_samples(tmp_path, kind="picture")
        assert (data.kind, len(data.samples)) == ("picture", 6)

    def test_a_mixture_is_refused_with_counts_unless_a_kind_is_chosen(self, tmp_path: Path) -> None:
        plant(tmp_path, ["a/1.mp4", "b/2.mp4", "a/x.jpg", "b/y.jpg", "b/z.jpg"])
        with pytest.raises(DataError, match=r"2 videos and 3 pictures.*`kind=video`"):
            find_samples(tmp_path)
        assert len(find_samples(tmp_path, kind="video").samples) == 2
        data = find_samples(tmp_path, kind="picture")
        assert len(data.samples) == 3
        assert said(data, "2 files skipped", "no picture", ".mp4 2")

    def test_skipped_files_are_reported(self, tmp_path: Path) -> None:
        plant(tmp_path, ["a/1.mp4", "b/2.mp4", "a/notes.txt", "b/x.json", "a/.DS_Store", "loose.mp4"])
        (tmp_path / "empty").mkdir()
        (tmp_path / "a/loop").symlink_to(tmp_path)
        (tmp_path / "again").symlink_to(tmp_path)
        data = find_samples(tmp_path)
        assert data.classes == ("a", "b")
        assert said(data, "2 files skipped", ".json 1", ".txt 1")
        assert said(data, "1 hidden file", "a/.DS_Store")
        assert said(data, "2 link loops", "a/loop", "again")
        assert said(data, "1 class folder without clips", "empty")
        assert said(data, "1 clip outside of class folders", "loose.mp4")

    def test_a_folder_of_films_is_not_a_class(self, tmp_path: Path) -> None:
        plant(tmp_path, ["wave/a.avi", "sit/b.avi", "films/day.mp4", "films/spans.csv"])
        data = find_samples(tmp_path)
        assert data.classes == ("sit", "wave")
        assert said(data, "1 folder of films with spans skipped: films")

    def test_an_unreadable_folder_is_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plant(tmp_path, ["a/1.mp4", "b/2.mp4", "b/locked/3.mp4"])
        lock(monkeypatch, "locked")
        data = find_samples(tmp_path)
        assert len(data.samples) == 2
        assert said(data, "1 unreadable folder", "b/locked")

    def test_unusual_file_names_are_kept(self, tmp_path: Path) -> None:
        plant(tmp_path, ["a/new\nline.mp4", "a/tab\t.mp4", "b/-dash.mp4"])
        with open(os.path.join(os.fsencode(tmp_path), b"b", b"caf\xe9.mp4"), "wb"):  # noqa: PTH118, PTH123
            pass
        data = find_samples(tmp_path)
        assert {os.fsencode(s.path.name) for s in data.samples} == {
            *(b"new\nline.mp4", b"tab\t.mp4", b"-dash.mp4", b"caf\xe9.mp4")
        }

    def test_a_class_name_must_be_text(self, tmp_path: Path) -> None:
        plant(tmp_path, ["a/1.mp4", "b/2.mp4"])
        (tmp_path / "b").rename(tmp_path / os.fsdecode(b"caf\xe9"))
        with pytest.raises(DataError, match="not UTF-8"):
            find_samples(tmp_path)


class TestSubsetFolders:
    @pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
    def test_class_folders_may_be_in_subset_folders(self, tmp_path: Path, val: str) -> None:
        plant(tmp_path, [f"{side}/{c}/{side}.mp4" for side in ("train", val, "test") for c in ("hug", "run")])
        data = find_samples(tmp_path)
        assert [(label, split) for _, label, split in rows(data)] == [
            *(
                ("hug", "train"),
                ("run", "train"),
                ("hug", "val"),
                ("run", "val"),
                ("hug", "test"),
                ("run", "test"),
            )
        ]
        assert "train/" in data.layout

    def test_train_may_be_a_class(self, tmp_path: Path) -> None:
        data = find_samples(plant(tmp_path, ["train/1.mp4", "bus/2.mp4", "tram/3.mp4"]))
        assert data.classes == ("bus", "train", "tram")

    def test_other_entries_beside_subset_folders_are_reported(self, tmp_path: Path) -> None:
        plant(
            tmp_path,
            ["train/a/1.mp4", "train/b/2.mp4", "test/a/3.mp4", "papers/x.mp4", "stray.mp4", "test/b/x.txt"],
        )
        data = find_samples(tmp_path)
        assert len(data.samples) == 3
        assert said(data, "papers/", "stray.mp4")
        assert said(data, "1 class folder without clips", "test/b")

    def test_subset_folders_without_class_folders_are_refused(self, tmp_path: Path) -> None:
        plant(tmp_path, ["train/1.mp4", "test/2.mp4"])
        with pytest.raises(DataError, match="2 clips found, but not in class folders"):
            find_samples(tmp_path)

    def test_pictures_in_subset_folders(self, tmp_path: Path) -> None:
        plant(tmp_path, [f"{s}/{c}/{n:04}.jpg" for s in ("train", "test") for c in "ab" for n in range(3)])
        data = find_samples(tmp_path)
        assert (data.kind, len(data.samples)) == ("picture", 12)


class TestTable:
    @pytest.fixture(autouse=True)
    def clips(self, tmp_path: Path) -> None:
        plant(tmp_path, ["v/a.mp4", "v/b.mp4", "v/c;d, e.mp4"])

    @pytest.mark.parametrize(
        ("text", "encoding"),
        [
            ("path,label\nv/a.mp4,hug\nv/b.mp4,run\n", "utf-8"),
            ("path,label\r\nv/a.mp4,hug\r\n\r\nv/b.mp4,run", "utf-8-sig"),
            ("Label ; Path\nhug;v/a.mp4\nrun;v/b.mp4\n", "utf-8"),
            ("path\tlabel\nv/a.mp4\thug\nv/b.mp4\trun\n", "utf-16"),
            ('"path","label","seconds"\n"v/a.mp4","hug","1,5"\n"v/b.mp4","run",,\n', "utf-8"),
        ],
    )
    def test_any_common_table_is_read(self, tmp_path: Path, text: str, encoding: str) -> None:
        data = find_samples(table(tmp_path / "list.csv", text, encoding))
        assert rows(data) == [("v/a.mp4", "hug", None), ("v/b.mp4", "run", None)]
        assert data.layout == "table list.csv"

    def test_paths_are_relative_to_the_table_or_absolute(self, tmp_path: Path) -> None:
        text = f"path,label\n../v/a.mp4,hug\n{tmp_path}/v/b.mp4,run\n"
        data = find_samples(table(tmp_path / "lists/all.csv", text))
        assert all(sample.path.is_file() for sample in data.samples)

    def test_quotes_may_contain_separators_and_line_breaks(self, tmp_path: Path) -> None:
        text = 'path,label\n"v/c;d, e.mp4","shake\nhands"\nv/b.mp4,run\n'
        assert find_samples(table(tmp_path / "l.csv", text)).classes == ("run", "shake\nhands")

    def test_group_and_split_columns(self, tmp_path: Path) -> None:
        text = "path,label,group,scene,split\nv/a.mp4,hug,g1,s1,train\nv/b.mp4,run,g2,s1,Validation\n"
        file = table(tmp_path / "l.csv", text)
        data = find_samples(file)
        assert [(s.group, s.split) for s in data.samples] == [("g1", "train"), ("g2", "val")]
        assert '"group"' in data.group_rule
        by_scene = find_samples(file, group_column="Scene")
        assert [s.group for s in by_scene.samples] == ["s1", "s1"]
        assert '"scene"' in by_scene.group_rule
        assert by_scene.num_groups == 1

    def test_spaces_around_labels_groups_and_subsets_mean_nothing(self, tmp_path: Path) -> None:
        text = "path, label, group, split\nv/a.mp4, hug,p1 , train\nv/b.mp4,run\t, p1,train \n"
        data = find_samples(table(tmp_path / "l.csv", text))
        assert [(s.label, s.group, s.split) for s in data.samples] == [
            ("hug", "p1", "train"),
            ("run", "p1", "train"),
        ]

    def test_labels_csv_takes_precedence_over_class_folders(self, tmp_path: Path) -> None:
        table(tmp_path / "labels.csv", "path,label\nv/a.mp4,hug\nv/b.mp4,run\n")
        assert find_samples(tmp_path).classes == ("hug", "run")

    def test_a_missing_file_keeps_its_row_and_is_reported(self, tmp_path: Path) -> None:
        data = find_samples(table(tmp_path / "l.csv", "path,label\nv/a.mp4,hug\nv/gone.mp4,run\n"))
        assert len(data.samples) == 2
        assert said(data, "1 of 2 listed files missing", "v/gone.mp4")

    def test_no_existing_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="none of the 2 listed files exists"):
            find_samples(table(tmp_path / "l.csv", "path,label\nx.mp4,hug\ny.mp4,run\n"))

    def test_a_repeated_row_counts_once(self, tmp_path: Path) -> None:
        data = find_samples(table(tmp_path / "l.csv", "path,label\nv/a.mp4,hug\nv/b.mp4,run\nv/a.mp4,hug\n"))
        assert len(data.samples) == 2
        assert said(data, "1 row", "repeat")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,class\nv/a.mp4,hug\n", r'no column "path"; its first line has: file, class'),
            ("", "first line has: nothing"),
            ("path,label, Label\nv/a.mp4,hug,run\n", 'l.csv: has 2 columns "label"; rename all but the one'),
            ("path,split,label,split\nv/a.mp4,train,hug,test\n", 'l.csv: has 2 columns "split"'),
            ("path,label\nv/a.mp4\n", "line 2: has 1 values where the header has 2"),
            ("path,label\nv/a.mp4,hug,x\n", "line 2: has 3 values"),
            ("path,label\n\nv/a.mp4,\n", "line 3: label is empty"),
            ("path,label\n,hug\n", "line 2: has no usable path"),
            ("path,label,group\nv/a.mp4,hug,\n", "line 2: group is empty"),
            ("path,label,group\nv/a.mp4,hug, \n", "line 2: group is empty"),
            ("path,label,split\nv/a.mp4,hug,dev\n", 'line 2: split is "dev"'),
            ("path,label\nv/a.mp4,hug\nv/a.mp4,run\n", 'line 3: .* is "run" here and "hug" in line 2'),
            ('path,label\n"v/a.mp4,hug\n', "line 2: not valid CSV"),
            ("path,label\n", "has a header and no row below it"),
        ],
    )
    def test_a_bad_row_is_named_by_its_line(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            find_samples(table(tmp_path / "l.csv", text))

    def test_a_label_in_another_encoding_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="not UTF-8"):
            find_samples(table(tmp_path / "l.csv", "path,label\nv/a.mp4,café\nv/b.mp4,run\n", "latin-1"))


UCF101 = {
    "trainlist01.txt": ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1", "YoYo/v_YoYo_g08_c01.avi 2"],
    "testlist01.txt": ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "YoYo/v_YoYo_g01_c01.avi"],
    "trainlist02.txt": ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 1", "YoYo/v_YoYo_g01_c01.avi 2"],
    "testlist02.txt": ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "YoYo/v_YoYo_g08_c01.avi"],
    "classInd.txt": ["1 ApplyEyeMakeup", "2 YoYo"],
}
HMDB51 = {
    "wave_test_split1.txt": [
        "A_wave_u_cm_np1_ri_bad_1.avi 1 ",
        "B_wave_u_cm_np1_ri_bad_1.avi 2 ",
        "C_wave_u_cm_np1_ri_bad_0.avi 0 ",
    ],
    "shake_hands_test_split1.txt": [
        "B_shake_hands_u_cm_np2_le_med_0.avi 1 ",
        "D_shake_hands_u_cm_np2_le_med_0.avi 2 ",
    ],
    "wave_test_split2.txt": ["A_wave_u_cm_np1_ri_bad_1.avi 2 "],
    "shake_hands_test_split2.txt": ["B_shake_hands_u_cm_np2_le_med_0.avi 1 "],
}


def write_lists(folder: Path, lists: dict[str, list[str]], newline: str = "\r\n") -> Path:
    for name, lines in lists.items():
        table(folder / name, newline.join([*lines, ""]))
    return folder


class TestUcf101:
    @pytest.fixture(autouse=True)
    def tree(self, tmp_path: Path) -> None:
        write_lists(tmp_path / "ucfTrainTestlist", UCF101)
        plant(tmp_path / "UCF-101", UCF101["testlist01.txt"] + UCF101["testlist02.txt"])

    @pytest.mark.parametrize("given", ["trainlist01.txt", "testlist01.txt", "1", "01", "*list01.txt"])
    def test_any_file_of_a_split_selects_the_whole_split(self, tmp_path: Path, given: str) -> None:
        data = find_samples(tmp_path / "UCF-101", split_file=tmp_path / "ucfTrainTestlist" / given)
        assert [(s.group, s.label, s.split) for s in data.samples] == [
            ("ApplyEyeMakeup_g08", "ApplyEyeMakeup", "train"),
            ("YoYo_g08", "YoYo", "train"),
            ("ApplyEyeMakeup_g01", "ApplyEyeMakeup", "test"),
            ("YoYo_g01", "YoYo", "test"),
        ]
        assert data.notes == ()
        assert "UCF101" in data.group_rule

    def test_a_folder_of_several_splits_needs_a_number(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="choose one of the splits 1, 2"):
            find_samples(tmp_path / "UCF-101", split_file=tmp_path / "ucfTrainTestlist")
        with pytest.raises(DataError, match="choose one of the splits 1, 2"):
            find_samples(tmp_path / "UCF-101", split_file=tmp_path / "ucfTrainTestlist/3")

    def test_clips_may_be_in_one_folder(self, tmp_path: Path) -> None:
        flat = plant(
            tmp_path / "flat", [Path(n).name for n in UCF101["testlist01.txt"] + UCF101["testlist02.txt"]]
        )
        data = find_samples(flat, split_file=tmp_path / "ucfTrainTestlist/1")
        assert data.classes == ("ApplyEyeMakeup", "YoYo")
        assert all(sample.path.is_file() for sample in data.samples)

    def test_the_wrong_folder_of_clips_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="none of the 4 listed files exists"):
            find_samples(tmp_path, split_file=tmp_path / "ucfTrainTestlist/1")

    @pytest.mark.parametrize("name", ["trainlist01.txt", "classInd.txt"])
    def test_an_endless_index_is_named(self, tmp_path: Path, name: str) -> None:
        digits = "7" * 5000
        text = f"{digits} YoYo\n" if name == "classInd.txt" else f"YoYo/v_YoYo_g08_c01.avi {digits}\n"
        table(tmp_path / "ucfTrainTestlist" / name, text)
        file = tmp_path / "ucfTrainTestlist/trainlist01.txt"
        with pytest.raises(DataError, match=rf"{name}.*: 777777777777777777\.\.\. has 5000 digits, too many"):
            find_samples(tmp_path / "UCF-101", split_file=file)

    def test_an_index_beyond_the_class_list_is_named(self, tmp_path: Path) -> None:
        file = table(tmp_path / "ucfTrainTestlist/trainlist01.txt", "YoYo/v_YoYo_g08_c01.avi 7\n")
        with pytest.raises(DataError, match=r"trainlist01\.txt, line 1: class 7 is not in the class list"):
            find_samples(tmp_path / "UCF-101", split_file=file)


class TestHmdb51:
    @pytest.fixture(autouse=True)
    def tree(self, tmp_path: Path) -> None:
        write_lists(tmp_path / "splits", HMDB51, newline="\n")
        for name, lines in HMDB51.items():
            plant(
                tmp_path / "hmdb51" / name.partition("_test_")[0],
                [line.rpartition(".avi")[0] + ".avi" for line in lines],
            )

    @pytest.mark.parametrize("given", ["wave_test_split1.txt", "1", "*_test_split1.txt"])
    def test_any_file_of_a_split_selects_all_classes(self, tmp_path: Path, given: str) -> None:
        data = find_samples(tmp_path / "hmdb51", split_file=tmp_path / "splits" / given)
        assert [(s.label, s.group, s.split) for s in data.samples] == [
            ("shake_hands", "shake_hands/B", "train"),
            ("shake_hands", "shake_hands/D", "test"),
            ("wave", "wave/A", "train"),
            ("wave", "wave/B", "test"),
        ]
        assert data.layout == "HMDB51 split 1"
        assert said(data, "1 clip skipped", "does not use them")

    def test_without_official_splits_a_film_is_one_group(self, tmp_path: Path) -> None:
        groups = {s.path.name: s.group for s in find_samples(tmp_path / "hmdb51").samples}
        assert groups["B_wave_u_cm_np1_ri_bad_1.avi"] == groups["B_shake_hands_u_cm_np2_le_med_0.avi"] == "B"

    def test_a_bad_line_is_named(self, tmp_path: Path) -> None:
        file = table(tmp_path / "splits/wave_test_split1.txt", "\na.avi 3\n")
        with pytest.raises(DataError, match=r"wave_test_split1\.txt, line 2"):
            find_samples(tmp_path / "hmdb51", split_file=file)


class TestLists:
    @pytest.fixture(autouse=True)
    def clips(self, tmp_path: Path) -> None:
        plant(tmp_path, ["my clips/a.mp4", "my clips/b.mp4", "c.mp4"])

    @pytest.mark.parametrize(
        ("classes", "lines"),
        [
            ("0 hug\n1 run\n", "my clips/a.mp4 0\nmy clips/b.mp4 1\n"),
            ("7 hug\n9 run\n", "my clips/a.mp4 7\nmy clips/b.mp4 9\n"),
            ("hug\nrun\n", "my clips/a.mp4 0\nmy clips/b.mp4 1\n"),
            ("hug\nrun\n", "my clips/a.mp4 1\nmy clips/b.mp4 2\n"),
            ("hug\nrun\n", "my clips/a.mp4\t120\t0\r\nmy clips/b.mp4 96 1\r\n"),
        ],
    )
    def test_indices_are_named_by_a_class_list(self, tmp_path: Path, classes: str, lines: str) -> None:
        names, file = table(tmp_path / "names.txt", classes), table(tmp_path / "list.txt", lines)
        data = find_samples(file, class_list=names)
        assert rows(data) == [("my clips/a.mp4", "hug", None), ("my clips/b.mp4", "run", None)]
        assert find_samples(tmp_path, split_file=file, class_list=names).samples == data.samples

    def test_lists_of_other_subsets_are_found_by_name(self, tmp_path: Path) -> None:
        names = table(tmp_path / "names.txt", "hug\nrun\n")
        table(tmp_path / "set_val_1.txt", "c.mp4 0\n")
        file = table(tmp_path / "set_train_1.txt", "my clips/a.mp4 0\nmy clips/b.mp4 1\n")
        data = find_samples(file, class_list=names)
        assert [s.split for s in data.samples] == ["train", "train", "val"]

    def test_without_class_names_there_is_no_label(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"line 1: c\.mp4 has no class folder.*`class_list`.*path,label"):
            find_samples(table(tmp_path / "list.txt", "c.mp4 0\n"))

    def test_a_list_of_paths_and_class_names_gets_a_hint(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"first: .*a\.mp4 hug.*make it a CSV that begins path,label"):
            find_samples(table(tmp_path / "list.txt", "my clips/a.mp4 hug\nmy clips/b.mp4 run\n"))

    def test_a_clip_of_two_classes_is_named(self, tmp_path: Path) -> None:
        names = table(tmp_path / "names.txt", "hug\nrun\n")
        file = table(tmp_path / "list.txt", "c.mp4 0\nmy clips/b.mp4 1\nc.mp4 1\n")
        with pytest.raises(DataError, match=r'c\.mp4 is listed as "hug" and as "run"'):
            find_samples(file, class_list=names)


class TestRefusals:
    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ([], "no video or picture found.*empty.*DATA/<class>/clip.mp4"),
            (["a/x.txt", "b/y.txt", "b/z.pdf"], r"no video or picture found \(3 files skipped.*\.txt 2"),
            (["a.mp4", "b.mp4"], "2 clips found, but not in class folders"),
            (["only/a.mp4", "only/b.mp4"], r'only one class \("only"\)'),
        ],
    )
    def test_a_folder_that_is_not_a_data_set(
        self, tmp_path: Path, files: Iterable[str], message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            find_samples(plant(tmp_path, files))

    def test_a_path_that_is_missing_or_a_single_clip(self, tmp_path: Path) -> None:
        plant(tmp_path, ["a.mp4"])
        with pytest.raises(DataError, match="no such file"):
            find_samples(tmp_path / "b")
        with pytest.raises(DataError, match="is one video, not a data set"):
            find_samples(tmp_path / "a.mp4")
        with pytest.raises(DataError, match="no such split file"):
            find_samples(tmp_path, split_file=tmp_path / "s.txt")

    def test_invalid_options(self, tmp_path: Path) -> None:
        plant(tmp_path, ["a/1.mp4", "b/2.mp4"])
        with pytest.raises(UsageError, match="cannot be combined"):
            find_samples(tmp_path, group_column="g", group_by="x")
        with pytest.raises(UsageError, match="needs a table"):
            find_samples(tmp_path, group_column="g")


def test_group_by_takes_precedence_over_the_group_column(tmp_path: Path) -> None:
    plant(tmp_path, ["v/anna_1.mp4", "v/ben_1.mp4"])
    file = table(tmp_path / "l.csv", "path,label,group\nv/anna_1.mp4,hug,g\nv/ben_1.mp4,run,g\n")
    assert [s.group for s in find_samples(file, group_by=r"v/(\w+)_").samples] == ["anna", "ben"]


@pytest.mark.real_data
def test_real_data_has_the_samples_that_its_readme_states() -> None:
    folder = os.environ.get("VIDLSTM_REAL_DATA")
    if not folder:
        pytest.skip("VIDLSTM_REAL_DATA is not set")
    interaction = find_samples(Path(folder) / "ut_interaction")
    assert (len(interaction.samples), len(interaction.classes), interaction.num_groups) == (120, 6, 20)
    assert interaction.notes == ()
    pictures = find_samples(Path(folder) / "cifar10_small")
    assert (pictures.kind, len(pictures.samples), len(pictures.classes)) == ("picture", 2000, 10)


class TestTablesFromElsewhere:
    def read(self, folder: Path, text: str) -> Dataset:
        plant(folder, ["a.mp4", "b.mp4", "caf\u00e9.mp4"])
        (folder / "labels.csv").write_text(text, encoding="utf-8")
        return find_samples(folder)

    def test_a_line_that_names_the_separator_is_not_the_header(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, "sep=;\npath;label\na.mp4;x\nb.mp4;y\n")
        assert [sample.label for sample in found.samples] == ["x", "y"]

    def test_a_table_with_only_a_header_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"labels\.csv: has a header and no row"):
            self.read(tmp_path, "path,label\n")

    def test_without_a_header_the_message_shows_one(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="first line must name the columns, such as path,label"):
            self.read(tmp_path, "a.mp4,x\nb.mp4,y\n")

    def test_one_clip_under_two_spellings_has_one_label(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r'line 3: \./a\.mp4 is "y" here and "x" in line 2'):
            self.read(tmp_path, "path,label\na.mp4,x\n./a.mp4,y\n")

    def test_one_clip_under_two_forms_of_an_accent_has_one_label(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r'line 3: .* is "y" here and "x" in line 2'):
            self.read(tmp_path, "path,label\ncaf\u00e9.mp4,x\ncafe\u0301.mp4,y\n")

    @pytest.mark.parametrize("other", ["Run", "ru\uff4e", "r\u00fan"])
    def test_similar_class_names_are_reported(self, tmp_path: Path, other: str) -> None:
        found = self.read(tmp_path, f"path,label\na.mp4,run\nb.mp4,{other}\n")
        assert len(found.classes) == 2
        assert said(found, "look alike", '"run"') is (other != "r\u00fan")

    def test_class_folders_that_differ_in_spaces_are_reported(self, tmp_path: Path) -> None:
        found = find_samples(plant(tmp_path, ["sit down/a.mp4", "sit  down /b.mp4"]))
        assert said(found, "look alike", '"sit  down "')

    def test_an_accent_may_be_a_separate_character(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, "path,label\na.mp4,x\ncafe\u0301.mp4,y\n")
        assert all(sample.path.exists() for sample in found.samples)
        assert not any("missing" in note for note in found.notes)
