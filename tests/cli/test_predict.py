"""`vidlstm predict`: its inputs, how it handles bad files, and where rows and files go."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome, make_model, vidlstm, write_clip
from vidlstm.cli.console import Console
from vidlstm.cli.rows.inputs import Search, expand, parse_size, read_names, take_shard
from vidlstm.cli.rows.shards import parse_shard
from vidlstm.cli.rows.sorting import How, NameTakenError, Sorter, folder_name, sort_file
from vidlstm.errors import UsageError

ODD_NAMES = [
    "with space.avi", "quote'\".avi", "new\nline.avi", "tab\t.avi", "-dash.avi", "=1+1.avi",
    "back\\slash.avi", "%05d.avi", "not utf-8 \udcff.avi", "\x1b[31m.avi", "émile ☃.avi", "a:b.avi",
    "http:x.avi", "#.avi", " .avi",
]  # fmt: skip


Predict = Callable[..., Outcome]


@pytest.fixture
def predict(model: Path) -> Predict:
    return partial(vidlstm, "predict", "-c", model, "--workers", "1")


def rows_of(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Return path, label and code of each row of jsonl."""
    rows = map(json.loads, outcome.lines)
    return [(r["path"], r["label"] or "", r["error"]["code"] if r["error"] else "") for r in rows]


# ------------------------------------------------------------------------------------- inputs


def names_in(folder: Path, **search: object) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    found = list(expand([str(folder)], Search("video", note=notes.append, **search)))  # type: ignore[arg-type]
    return [os.path.relpath(name, folder) for name in found], notes


def plant(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_a_folder_is_searched_for_video_files(tmp_path: Path) -> None:
    plant(tmp_path, "b.MP4", "a/c.avi", "a/d.txt", ".hidden.mp4", "e.jpg")
    names, notes = names_in(tmp_path)
    assert names == ["a/c.avi", "b.MP4"]
    assert notes == [f"{tmp_path}: 2 other files skipped (.txt 1, .jpg 1)"]


def test_glob_selects_other_files(tmp_path: Path) -> None:
    plant(tmp_path, "b.mp4", "a/c.dat", "d.dat")
    assert names_in(tmp_path, glob="*.dat")[0] == ["a/c.dat", "d.dat"]


def test_a_target_folder_is_skipped_only_if_it_is_inside_the_searched_one(tmp_path: Path) -> None:
    plant(tmp_path, "in/a.mp4", "in/out/wave/b.mp4")
    for outside, number in ((tmp_path / "in/out", 1), (tmp_path, 2), (tmp_path / "other", 2)):
        assert len(list(expand([str(tmp_path / "in")], Search("video", outside=(outside,))))) == number


@pytest.mark.skipif(os.name == "nt", reason="makes a link")
def test_a_target_folder_is_skipped_whatever_name_leads_to_it(tmp_path: Path) -> None:
    plant(tmp_path, "in/a.mp4", "in/out/wave/b.mp4")
    (tmp_path / "link").symlink_to("in")
    outside = Sorter(Console(), tmp_path / "link/out", "move").outside
    for given in ("in", "link"):
        assert len(list(expand([str(tmp_path / given)], Search("video", outside=(outside,))))) == 1


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_searched_folder_is_no_target_folder(tmp_path: Path, scheme: str) -> None:
    plant(tmp_path, "in/a.mp4")
    ended = vidlstm("predict", f"{scheme}{tmp_path}/in", "--move-to", f"{tmp_path}/in/")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.endswith("/in: cannot be searched and sorted into; choose another folder\n")


def test_names_are_passed_on_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "sub/-x.mp4")
    monkeypatch.chdir(tmp_path)
    search = Search("video")
    assert list(expand([".", "./sub/", "sub//-x.mp4", "./missing"], search)) == [
        "./sub/-x.mp4", "./sub/-x.mp4", "sub//-x.mp4", "./missing",
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="makes links, pipes and sockets")
def test_link_loops_and_special_files_are_skipped_and_broken_links_get_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "a.mp4", "sub/b.mp4")
    (tmp_path / "sub/loop").symlink_to(tmp_path)
    (tmp_path / "self.mp4").symlink_to("self.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as door:
        monkeypatch.chdir(tmp_path)  # socket paths must be short
        door.bind("socket.mp4")
        names, notes = names_in(tmp_path)
    assert sorted(names) == ["a.mp4", "gone.mp4", "self.mp4", "sub/b.mp4"]
    said = "\n".join(notes)
    for name in (
        "loop: skipped (link loop)",
        "pipe.mp4: skipped (special",
        "socket.mp4: skipped (special",
        "gone.txt: skipped (broken",
    ):
        assert name in said


def test_an_unreadable_folder_gets_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "a.mp4", "closed/b.mp4", "z.mp4")
    scandir = os.scandir

    def guarded(path: str | Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert names_in(tmp_path)[0] == ["a.mp4", "closed", "z.mp4"]


def pipe_of(*blocks: bytes) -> Iterator[str]:
    reader, writer = os.pipe()
    separator = b"\0" if any(b"\0" in block for block in blocks) else b"\n"
    with os.fdopen(reader, "rb") as stream:
        for block in blocks:
            os.write(writer, block)
        os.close(writer)
        yield from read_names(stream, separator)


def test_names_on_standard_input_end_in_a_line_or_in_nul() -> None:
    assert list(pipe_of(b"a\nb c\n\nd\xff\nla", b"st")) == ["a", "b c", "d\udcff", "last"]
    assert list(pipe_of(b"a\nb\0c", b"d\0")) == ["a\nb", "cd"]


def test_names_are_passed_on_before_the_list_ends() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        os.write(writer, b"first\nsec")
        names = read_names(stream, b"\n")
        assert next(names) == "first"
        os.write(writer, b"ond\n")
        assert next(names) == "second"
        os.close(writer)


def test_lists_with_windows_line_ends_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(pipe_of(b"a.mp4\r\nb.mp4\r\n")) == ["a.mp4", "b.mp4"]
    assert list(pipe_of(b"a.mp4\r\0")) == ["a.mp4\r"]
    if os.name != "nt":
        plant(tmp_path, "odd\r")
        assert list(pipe_of(b"odd\r\n")) == ["odd\r"], "a file of that very name is meant"


def test_names_that_end_in_nul_need_their_option(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\0b\0")
    with (tmp_path / "list").open("rb") as stream, pytest.raises(UsageError, match="add -0"):
        list(read_names(stream, b"\n"))


def test_shards_cover_all_inputs() -> None:
    names = [str(number) for number in range(10)]
    shards = [list(take_shard(names, parse_shard(f"{i}/3"))) for i in (1, 2, 3)]
    assert shards[0] == ["0", "3", "6", "9"]
    assert sorted(itertools.chain(*shards)) == names
    assert list(take_shard(names, parse_shard(None))) == names


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5", ""])
def test_a_wrong_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("text", "size"), [("10", 10), ("1K", 1024), ("1.5m", 3 * 2**19), ("64G", 2**36), ("2GiB", 2**31)]
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_size(text) == size
    with pytest.raises(UsageError, match="--max-size"):
        parse_size(f"x{text}")


# ------------------------------------------------------------------------------------ failures


def test_every_input_gets_one_row_in_order_and_failures_say_why(
    predict: Predict, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.avi").write_bytes(b"")
    (tmp_path / "text.avi").write_bytes(b"no video at all, just words\n" * 9)
    content = (clips / "a.avi").read_bytes()
    long = write_clip(tmp_path / "long.avi", num_frames=60).read_bytes()
    (tmp_path / "cut.avi").write_bytes(long[: len(long) * 6 // 10])
    (tmp_path / "head.avi").write_bytes(content[:300])
    (tmp_path / "big.avi").write_bytes(content + bytes(100_000))
    shutil.copy(clips / "a.avi", tmp_path / "good.avi")
    os.mkfifo(tmp_path / "pipe.avi")
    given = ["good", "missing", "empty", "text", "cut", "head", "big", "pipe", "good"]
    outcome = predict(
        "-f", "jsonl", "--max-size", "90K", *(tmp_path / f"{name}.avi" for name in given), tmp_path / "a"
    )
    rows = rows_of(outcome)
    assert [path for path, _, _ in rows] == [str(tmp_path / f"{n}.avi") for n in given] + [
        str(tmp_path / "a")
    ]
    codes = [code for _, _, code in rows]
    assert codes[:5] == ["", "not_found", "empty_file", "not_a_video", "truncated"]
    assert codes[5] in ("not_a_video", "no_frames")
    assert codes[6:] == ["too_large", "not_a_file", "", "not_found"]
    labelled = [bool(label) for _, label, _ in rows]
    assert labelled == [code in ("", "truncated") for code in codes]
    assert rows[0][1] == rows[8][1]
    assert outcome.status == 1
    assert "10 done, 8 of them with an error" in outcome.err
    assert "missing.avi: not_found: no such file" in outcome.err


def test_unusual_names_are_unchanged_in_the_output(predict: Predict, clips: Path, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        shutil.copy(clips / "a.avi", tmp_path / name)
    outcome = predict("-f", "jsonl", tmp_path)
    assert sorted(rows_of(outcome)) == sorted(
        (str(tmp_path / n), rows_of(outcome)[0][1], "") for n in ODD_NAMES
    )
    assert outcome.status == 0
    assert outcome.err == ""


def test_an_empty_folder_is_reported_before_a_model_is_loaded(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    outcome = predict(tmp_path)
    assert outcome.status == 2
    assert "no video files found" in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shard", "5/4"], "--shard 5/4"),
        (["--max-size", "lots"], "--max-size lots"),
        (["--move-to", "x", "--link-to", "y"], "cannot be combined"),
        (["--output", "x.tsv", "--resume", "y.tsv"], "leave out --output"),
        (["--output", "no/such/folder.tsv"], "no such folder"),
        (["--output", "x.tsv", "--format", "table"], "is for terminals"),
    ],
)
def test_invalid_options_are_refused(predict: Predict, clips: Path, arguments: list[str], said: str) -> None:
    outcome = predict(*arguments, clips)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err


def test_a_missing_model_is_an_error_in_one_line(clips: Path) -> None:
    outcome = vidlstm("predict", "-c", "nowhere.safetensors", clips)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "vidlstm train" in outcome.err


# ------------------------------------------------------------------------------------- options


def test_a_low_score_leaves_the_label_empty_and_the_scores_stay(predict: Predict, clips: Path) -> None:
    outcome = predict("-f", "jsonl", "--min-score", "1", "--top-k", "1", clips)
    rows = list(map(json.loads, outcome.lines))
    assert [row["label"] for row in rows] == [None] * 3
    assert all(0.5 <= row["score"] < 1 and len(row["top"]) == 1 and row["error"] is None for row in rows)
    assert outcome.status == 0


def test_rows_go_to_a_file_in_the_format_of_its_suffix(predict: Predict, clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    outcome = predict("--output", file, clips)
    assert (outcome.status, outcome.out) == (0, "")
    assert re.search(r"^3 done: (sit|wave) \d", outcome.err, re.MULTILINE)
    lines = file.read_text().splitlines()
    assert lines[0] == "path,label,score,error"
    assert len(lines) == 4


def test_rows_are_never_appended_to_a_file_by_mistake(predict: Predict, clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    assert predict("--output", file, clips).status == 0
    content = file.read_bytes()
    again = predict("--output", file, clips)
    assert again.status == 2
    assert f"{file}: already exists; append to it with --resume {file}, or remove it first" in again.err
    assert file.read_bytes() == content


@pytest.mark.parametrize("output_format", ["tsv", "csv"])
def test_several_classes_need_a_format_that_holds_them(
    predict: Predict, clips: Path, tmp_path: Path, output_format: str
) -> None:
    for where in ("--format", output_format), ("--output", str(tmp_path / f"rows.{output_format}")):
        refused = predict("--top-k", "2", *where, clips)
        assert refused.status == 2
        assert f"--top-k 2: {output_format} has one class per row; use --format jsonl" in refused.err


def test_a_json_file_is_refused_as_rows_are_json_lines(predict: Predict, clips: Path, tmp_path: Path) -> None:
    refused = predict("-o", tmp_path / "rows.xlsx", clips)
    assert refused.status == 2
    assert f"spreadsheets open CSV files; name the file {tmp_path / 'rows.csv'}" in refused.err
    refused = predict("-o", tmp_path / "rows.json", clips)
    assert refused.status == 2
    assert f"name the file {tmp_path / 'rows.jsonl'}, or add --format jsonl" in refused.err
    assert predict("-o", tmp_path / "rows.json", "-f", "jsonl", clips).status == 0
    rows = (tmp_path / "rows.json").read_text().splitlines()
    assert [json.loads(row)["schema"] for row in rows] == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("rtsp://camera/1", "vidlstm watch rtsp://camera/1"),
        ("rtsp://user:secret@camera/1", "vidlstm watch rtsp://user:***@camera/1"),
        ("http://example.org/a.mp4", "download it"),
        ("0", "vidlstm watch 0"),
        ("/dev/video0", "vidlstm watch /dev/video0"),
    ],
)
def test_cameras_and_streams_point_to_watch(predict: Predict, name: str, way: str) -> None:
    outcome = predict(name)
    assert (outcome.status, outcome.out) == (2, "")
    assert way in outcome.err


def test_a_file_named_like_a_camera_number_is_a_file(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "a.avi").rename(tmp_path / "0")
    assert predict("0").status == 0


def test_numbered_pictures_are_one_clip_with_a_note(predict: Predict, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(1, 5):
        Image.new("RGB", (32, 24), (60 * number, 0, 0)).save(tmp_path / f"IMG_{number}.png")
    outcome = predict(tmp_path)
    assert len(outcome.lines) == 1
    assert f"{tmp_path}: read as one clip" in outcome.err


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_resume_skips_files_with_a_row_and_removes_a_partial_row(
    predict: Predict, clips: Path, tmp_path: Path, suffix: str
) -> None:
    whole, file = tmp_path / f"whole.{suffix}", tmp_path / f"rows.{suffix}"
    assert predict("--output", whole, clips, clips / "missing.avi").status == 1
    lines = whole.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-3]) + lines[-3][:9])
    outcome = predict("--resume", file, clips, clips / "missing.avi")
    assert outcome.status == 1
    assert "1 row found" in outcome.err
    assert f"removed an incomplete row at its end: {lines[-3][:9].decode()!r}" in outcome.err
    assert file.read_bytes() == whole.read_bytes()
    assert predict("--resume", file, clips, clips / "missing.avi").status == 0
    assert file.read_bytes() == whole.read_bytes()


# ------------------------------------------------------------------------------------- sorting


def test_files_are_moved_into_class_folders_and_failures_stay(
    predict: Predict, clips: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    shutil.copytree(clips, source)
    (source / "bad.avi").write_bytes(b"")
    rows = rows_of(predict("-f", "jsonl", "--move-to", source / "sorted", source))
    assert len(rows) == 4
    for path, label, code in rows:
        assert Path(path).exists() == bool(code)
        if label:
            assert (source / "sorted" / label / Path(path).name).exists()
    again = predict("-f", "jsonl", "--move-to", source / "sorted", source / "bad.avi", source)
    assert [code for _, _, code in rows_of(again)] == ["empty_file", "empty_file"], (
        "what is sorted is no input"
    )


def test_a_killed_sorting_run_is_completed(predict: Predict, clips: Path, tmp_path: Path) -> None:
    source, file = tmp_path / "in", tmp_path / "rows.tsv"
    shutil.copytree(clips, source)
    predict("--output", file, source)
    left = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(left[:2]))
    predict("--resume", file, "--link-to", tmp_path / "sorted", source)
    assert file.read_bytes() == b"".join(left)
    assert len(list((tmp_path / "sorted").glob("*/*.avi"))) == 3


def test_a_new_file_with_the_name_of_a_moved_one_is_labelled(
    predict: Predict, clips: Path, tmp_path: Path
) -> None:
    film, file = tmp_path / "in/rec.avi", tmp_path / "rows.tsv"
    film.parent.mkdir()
    for number, clip in enumerate(("a.avi", "b.avi"), 1):
        shutil.copy(clips / clip, film)
        assert predict("--resume", file, "--move-to", tmp_path / "sorted", film.parent).status == 0
        assert len(file.read_text().splitlines()) == number
        assert not film.exists()
    known = predict(clips / "a.avi", clips / "b.avi").lines
    assert [row.split("\t")[1:] for row in file.read_text().splitlines()] == [
        row.split("\t")[1:] for row in known
    ]
    assert len(list((tmp_path / "sorted").glob("*/*.avi"))) == 2


def test_it_is_labelled_though_other_rows_were_written_after_it_came(
    predict: Predict, clips: Path, tmp_path: Path
) -> None:
    inbox, file, film = tmp_path / "in", tmp_path / "rows.tsv", tmp_path / "in/rec.avi"
    inbox.mkdir()
    shutil.copy(clips / "a.avi", film)
    asked = ("--resume", file, "--move-to", tmp_path / "sorted")
    assert predict(*asked, inbox).status == 0
    shutil.copy(clips / "b.avi", film)  # comes while the next run labels another clip
    other = shutil.copy(clips / "b.avi", inbox / "other.avi")
    assert predict(*asked, other).status == 0
    assert predict(*asked, inbox).status == 0
    known = predict(clips / "b.avi").lines[-1].split("\t")[1:]
    last = file.read_text().splitlines()[-1].split("\t")
    assert (last[0], last[1:]) == (str(film), known)
    assert not film.exists()


@pytest.mark.parametrize("file", ["rows.tsv", "rows.parquet"])
def test_files_of_one_name_that_were_labelled_before_are_sorted_without_a_second_row(
    predict: Predict, clips: Path, tmp_path: Path, file: str
) -> None:
    if file.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    for folder, clip in (("one", "a.avi"), ("two", "b.avi")):
        (tmp_path / folder).mkdir()
        shutil.copy(clips / clip, tmp_path / folder / "x.avi")
    folders = tmp_path / "one", tmp_path / "two"
    assert predict("--resume", tmp_path / file, *folders).status == 0
    rows = (tmp_path / file).read_bytes()
    assert predict("--resume", tmp_path / file, "--move-to", tmp_path / "sorted", *folders).status == 0
    assert (tmp_path / file).read_bytes() == rows
    assert len(list((tmp_path / "sorted").glob("*/x*.avi"))) == 2
    assert not any((folder / "x.avi").exists() for folder in folders)


def test_truncated_clips_are_sorted_in_the_first_run_as_in_a_resumed_one(
    predict: Predict, tmp_path: Path
) -> None:
    clip, file = write_clip(tmp_path / "in/a.avi", 60), tmp_path / "rows.tsv"
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    assert predict("--output", file, "--move-to", tmp_path / "sorted", clip).status == 1
    assert file.read_text().endswith("\ttruncated\n")
    (moved,) = (tmp_path / "sorted").glob("*/a.avi")
    moved.rename(clip)
    assert predict("--resume", file, "--move-to", tmp_path / "sorted", clip).status == 0
    assert moved.exists()


@pytest.mark.parametrize("how", ["move", "link"])
def test_file_addresses_are_sorted_and_other_addresses_are_not(clips: Path, tmp_path: Path, how: How) -> None:
    source = shutil.copy(clips / "a.avi", tmp_path)
    sorter = Sorter(Console(), tmp_path / "out", how)
    assert sorter.put(f"file://{source}", "wave")
    assert (tmp_path / "out/wave/a.avi").read_bytes() == (clips / "a.avi").read_bytes()
    assert sorter.failed == 0
    sorter.put("s3://bucket/b.avi", "wave")
    assert sorter.failed == 1
    assert len(list((tmp_path / "out").rglob("*.avi"))) == 1


@pytest.mark.parametrize("how", ["move", "link"])
def test_sorting_never_overwrites_a_file(tmp_path: Path, how: str) -> None:
    plant(tmp_path, "one/a.avi", "two/a.avi")
    (tmp_path / "out/wave").mkdir(parents=True)
    (tmp_path / "out/wave/a.avi").write_text("mine")
    targets = [sort_file(tmp_path / n / "a.avi", "wave", tmp_path / "out", how) for n in ("one", "two")]  # type: ignore[arg-type]
    assert [t.name for t in targets] == ["a_2.avi", "a_3.avi"]
    assert (tmp_path / "out/wave/a.avi").read_text() == "mine"
    assert all(t.read_bytes() == b"x" for t in targets)
    assert all((tmp_path / n / "a.avi").exists() == (how == "link") for n in ("one", "two"))


def test_rows_are_on_disk_before_a_file_is_moved(
    predict: Predict, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, file = tmp_path / "in", tmp_path / "rows.tsv"
    shutil.copytree(clips, source)
    rows_on_disk = 0
    fsync, link = os.fsync, os.link

    def flushed(handle: int) -> None:
        nonlocal rows_on_disk
        fsync(handle)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            rows_on_disk = file.read_bytes().count(b"\n")

    moved: list[str] = []

    def linked(old: Path, new: Path, **options: bool) -> None:
        moved.append(str(old))
        rows = [line.split("\t")[0] for line in file.read_text().splitlines()[:rows_on_disk]]
        assert str(old) in rows
        link(old, new, **options)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "link", linked)
    assert predict("-o", file, "--move-to", tmp_path / "sorted", source).status == 0
    assert len(moved) == 3


def test_a_run_that_has_moved_everything_can_be_resumed(
    predict: Predict, clips: Path, tmp_path: Path
) -> None:
    """A kill after the last file leaves an empty folder, which is not an error."""
    source, file = tmp_path / "in", tmp_path / "rows.tsv"
    shutil.copytree(clips, source)
    asked = ("--resume", file, "--move-to", tmp_path / "sorted", source)
    assert predict(*asked).status == 0
    rows = file.read_bytes()
    assert predict(*asked).status == 0
    assert file.read_bytes() == rows
    assert predict("--move-to", tmp_path / "sorted", source).status == 2  # nothing to label


class TestKilledWhileSorting:
    """What a kill leaves at each step of moving a file, and how the next run completes it."""

    def finish(self, source: Path, root: Path) -> Path:
        target = sort_file(source, "wave", root, "move", again=True)
        assert not os.path.lexists(source)
        assert target.name == source.name
        assert [path.name for path in target.parent.iterdir()] == [source.name]
        return target

    def test_a_file_that_still_has_both_names(self, tmp_path: Path) -> None:
        plant(tmp_path, "a.avi", "out/wave/b.avi").joinpath("out/wave/b.avi").unlink()
        os.link(tmp_path / "a.avi", tmp_path / "out/wave/a.avi")
        assert self.finish(tmp_path / "a.avi", tmp_path / "out").read_bytes() == b"x"

    def test_a_complete_copy_on_another_device(self, tmp_path: Path) -> None:
        plant(tmp_path, "a.avi", "out/wave/a.avi", "frames/1.png", "frames/2.png")
        self.finish(tmp_path / "a.avi", tmp_path / "out")
        shutil.copytree(tmp_path / "frames", tmp_path / "out2/wave/frames")
        (tmp_path / "frames/1.png").unlink()  # removal had started
        target = self.finish(tmp_path / "frames", tmp_path / "out2")
        assert sorted(path.name for path in target.iterdir()) == ["1.png", "2.png"]

    def test_a_partial_copy_on_another_device(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plant(tmp_path, "a.avi")
        self.be_on_two_devices(monkeypatch, tmp_path / "a.avi")
        with monkeypatch.context() as patch:
            patch.setattr("vidlstm.cli.rows.sorting._remove", lambda _: None)
            patch.setattr("vidlstm.cli.rows.sorting.sync_folder", _die)
            patch.setattr("vidlstm.cli.rows.sorting._flush", _die)
            with pytest.raises(SystemExit):
                sort_file(tmp_path / "a.avi", "wave", tmp_path / "out", "move")
        (left,) = (tmp_path / "out/wave").iterdir()
        assert left.name.startswith(".vidlstm-")
        left.write_bytes(b"half")
        assert self.finish(tmp_path / "a.avi", tmp_path / "out").read_bytes() == b"x"

    def test_a_file_with_the_same_name_and_other_content_is_not_a_copy(self, tmp_path: Path) -> None:
        plant(tmp_path, "a.avi")
        (tmp_path / "out/wave").mkdir(parents=True)
        (tmp_path / "out/wave/a.avi").write_bytes(b"other")
        with pytest.raises(NameTakenError):
            sort_file(tmp_path / "a.avi", "wave", tmp_path / "out", "move", again=True)
        assert (tmp_path / "a.avi").read_bytes() == b"x"

    @pytest.mark.parametrize("name", ["a.avi", "frames"])
    def test_two_real_devices(self, tmp_path: Path, name: str) -> None:
        memory = Path("/dev/shm")
        if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no second device")
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            source = plant(Path(folder), "a.avi", "frames/1.png", "frames/2.png") / name
            (Path(folder) / "a.avi").chmod(0o444)
            os.utime(source, (1_000_000, 1_000_000))
            target = self.finish(source, tmp_path / "out")
        assert target.is_dir() == (name == "frames")
        assert target.stat().st_mtime == 1_000_000
        assert [path.read_bytes() for path in sorted(target.rglob("*"))] == [b"x"] * 2 * target.is_dir()

    def be_on_two_devices(self, monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
        link, rename = os.link, os.rename

        def cross(call: Callable[..., None], old: Path, new: Path, **options: bool) -> None:
            if Path(old) == source:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            call(old, new, **options)

        monkeypatch.setattr(os, "link", partial(cross, link))
        monkeypatch.setattr(os, "rename", partial(cross, rename))

    @pytest.mark.parametrize("name", ["a.avi", "frames"])
    def test_another_device_works_without_a_kill(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        plant(tmp_path, "a.avi", "frames/1.png", "frames/2.png")
        self.be_on_two_devices(monkeypatch, tmp_path / name)
        target = sort_file(tmp_path / name, "wave", tmp_path / "out", "move")
        assert [path.name for path in (tmp_path / "out/wave").iterdir()] == [name]
        assert not (tmp_path / name).exists()
        assert target.exists()


def _die(*_: object) -> None:
    raise SystemExit


def test_a_file_system_without_hard_links_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    plant(tmp_path, "one/a.avi", "two/a.avi")
    names = [sort_file(tmp_path / n / "a.avi", "wave", tmp_path / "out", "move").name for n in ("one", "two")]
    assert names == ["a.avi", "a_2.avi"]


def test_a_number_does_not_make_a_name_too_long(tmp_path: Path) -> None:
    for stem in ("n" * 251, "é" * 125):
        plant(tmp_path, f"one/{stem}.avi", f"two/{stem}.avi")
        targets = [
            sort_file(tmp_path / n / f"{stem}.avi", "wave", tmp_path / "out", "move") for n in ("one", "two")
        ]
        assert [len(os.fsencode(t.name)) for t in targets] >= [250, 250]
        assert targets[1].name.endswith("_2.avi")


def test_a_path_that_is_too_long_is_a_row(predict: Predict, clips: Path, tmp_path: Path) -> None:
    deep = "/".join([str(tmp_path), *["d" * 250] * 17, "a.avi"])
    rows = rows_of(predict("-f", "jsonl", deep, tmp_path / ("n" * 300), clips / "a.avi"))
    assert [code for _, _, code in rows] == ["not_found", "not_found", ""]


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_a_resumed_run_sorts_into_the_same_folders_for_any_class_name(
    clips: Path, tmp_path: Path, suffix: str
) -> None:
    labels = ("back\\slash", "=eq")
    model = make_model(tmp_path / "model.safetensors", labels)
    source, file = tmp_path / "in", tmp_path / f"rows.{suffix}"
    shutil.copytree(clips, source)
    assert vidlstm("predict", "-c", model, "--workers", "1", "-o", file, source).status == 0
    moved = vidlstm("predict", "-c", model, "--resume", file, "--move-to", tmp_path / "out", source)
    assert moved.status == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {folder_name(name) for name in labels}
    assert len(list((tmp_path / "out").glob("*/*.avi"))) == 3


def test_sorting_again_changes_nothing(tmp_path: Path) -> None:
    plant(tmp_path, "a.avi", "b.avi")
    for _ in range(2):
        assert sort_file(tmp_path / "a.avi", "wave", tmp_path / "out", "link") == tmp_path / "out/wave/a.avi"
    moved = sort_file(tmp_path / "b.avi", "wave", tmp_path / "out", "move")
    assert sort_file(moved, "wave", tmp_path / "out", "move") == moved


def test_a_clip_that_is_a_folder_or_a_link_is_sorted_whole(tmp_path: Path) -> None:
    plant(tmp_path, "frames/1.png", "frames/2.png", "real.avi")
    (tmp_path / "link.avi").symlink_to("real.avi")
    frames = sort_file(tmp_path / "frames", "wave", tmp_path / "out", "move")
    assert sorted(p.name for p in frames.iterdir()) == ["1.png", "2.png"]
    link = sort_file(tmp_path / "link.avi", "wave", tmp_path / "out", "move")
    assert link.read_bytes() == b"x"
    assert (tmp_path / "real.avi").exists()


@pytest.mark.parametrize(
    "label", ["../../up", "/etc", "..", ".", "a/b", "a\\b", "\x1b[2J", "", "con:1", "wave"]
)
def test_a_class_name_never_escapes_the_folder(tmp_path: Path, label: str) -> None:
    name = folder_name(label)
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert name.isprintable()
    assert name


def test_a_picture_and_a_folder_of_frames_get_their_rows(predict: Predict, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "frames").mkdir()
    for number in range(4):
        Image.new("RGB", (32, 24), (60 * number, 0, 0)).save(tmp_path / f"frames/{number}.png")
    Image.new("RGB", (32, 24)).save(tmp_path / "alone.png")
    write_clip(tmp_path / "a.avi")
    rows = rows_of(predict("-f", "jsonl", tmp_path, tmp_path / "alone.png"))
    assert [(Path(path).name, code) for path, _, code in rows] == [
        ("a.avi", ""), ("frames", ""), ("alone.png", "wrong_kind"),
    ]  # fmt: skip
