"""`vidlstm crossval`: every clip is scored once, by a model that has not seen its group."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import vidlstm
from tests.tiny import write_action

QUICK = ("--streams", "motion", "--epochs", "3", "--members", "1", "--workers", "1", "--json")


def test_json_pools_the_held_out_clips_and_reports_every_fold(tiny_data: Path) -> None:
    ended = vidlstm("crossval", tiny_data, *QUICK, "--folds", "3")
    assert ended.status == 0
    assert ended.out.count("\n") == 1
    said = json.loads(ended.out)
    assert said.keys() >= {
        "schema", "num_folds", "num_clips", "top1", "top1_ci95", "mean_class_accuracy", "confusion",
        "per_fold",
    }  # fmt: skip
    assert (said["schema"], said["num_folds"], said["num_clips"]) == (1, 3, 12)
    assert sum(map(sum, said["confusion"])) == 12
    assert [fold.keys() for fold in said["per_fold"]] == [{"held_out", "num_clips", "top1"}] * 3
    assert sum(fold["num_clips"] for fold in said["per_fold"]) == 12
    pooled = sum(fold["num_clips"] * fold["top1"] for fold in said["per_fold"]) / 12
    assert said["top1"] == pytest.approx(pooled)
    assert said["top1_ci95"][0] <= said["top1"] <= said["top1_ci95"][1]
    assert "true accuracy probably" in ended.err
    assert any("of 6 groups" in caution for caution in said["cautions"])
    assert "Caution: " in ended.err
    assert "\nNo files were written; --out FOLDER keeps the predictions and a report.\n" in ended.err


def test_a_fold_of_one_group_is_named_after_it(tiny_data: Path) -> None:
    said = json.loads(vidlstm("crossval", tiny_data, *QUICK, "--folds", "group", "--epochs", "1").out)
    assert [fold["held_out"] for fold in said["per_fold"]] == [f"person{n:02}" for n in range(1, 7)]


def test_parallel_and_sequential_folds_give_the_same_results(tiny_data: Path) -> None:
    """The same seed gives the same figures with one process and with several."""
    options = ("crossval", tiny_data, "--streams", "motion", "--epochs", "2", "--members", "1", "--json")
    alone, together = (json.loads(vidlstm(*options, "--folds", "2", "--workers", n).out) for n in ("1", "2"))
    assert alone.pop("ece") == pytest.approx(together.pop("ece"), abs=1e-6)  # up to rounding of the scores
    assert alone == together


@pytest.mark.parametrize("name", ["predictions.csv", "curves.png"])
def test_the_files_of_others_in_its_folder_are_kept(tiny_data: Path, tmp_path: Path, name: str) -> None:
    other = tmp_path / name
    other.write_text("path,label\n")
    ended = vidlstm("crossval", tiny_data, *QUICK, "--out", tmp_path)
    assert ended.status == 2
    assert f"{other}: already exists, and the report would replace it; move it, or choose another --out" in (
        ended.err
    )
    (tmp_path / "report.html").touch()
    ended = vidlstm("crossval", other, *QUICK, "--out", tmp_path, "--overwrite")
    assert ended.status == 2
    assert f"{other}: is an input, and the report would replace it; choose another --out" in ended.err
    assert other.read_text() == "path,label\n"


def test_unreadable_clips_count_as_mistakes_and_status_1(tmp_path: Path) -> None:
    for action in ("rise", "sink"):
        for performer in range(1, 5):
            clip = write_action(
                tmp_path / f"d/{action}/person{performer:02}_{action}_d1.avi", action, performer
            )
    clip.write_bytes(b"no clip any more")
    ended = vidlstm("crossval", tmp_path / "d", *QUICK, "--folds", "2", "--epochs", "1")
    said = json.loads(ended.out)
    assert (ended.status, said["num_clips"], said["num_failed"]) == (1, 8, 1)
    assert sum(map(sum, said["confusion"])) == 7
    assert f"{clip}: not_a_video" in ended.err


def test_a_clip_in_two_classes_is_named(tiny_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "d"
    shutil.copytree(tiny_data, data)
    shutil.copy(data / "rise/person01_rise_d1.avi", data / "sink/person01_sink_d2.avi")
    ended = vidlstm("crossval", data, *QUICK, "--folds", "2", "--epochs", "1")
    line = "1 clip is in several classes (identical files): rise/person01_rise_d1.avi (rise), sink/person01_"
    assert ended.err.count(line) == 1
    assert ended.status == 0


class TestBaseline:
    def test_is_shown_next_to_the_accuracy(self, tiny_data: Path) -> None:
        ended = vidlstm("crossval", tiny_data, *QUICK, "--folds", "2", "--repeat", "2")
        baselines = json.loads(ended.out)["baselines"]
        assert baselines.keys() == {"majority", "mean"}
        assert f"without frame order {100 * baselines['mean']:.0f} %" in ended.err

    def test_of_an_ablation_is_its_own_row_of_the_first_seed(self, tiny_data: Path) -> None:
        said = json.loads(
            vidlstm("crossval", tiny_data, *QUICK, "--folds", "2", "--ablation", "--repeat", "2").out
        )
        (row,) = [row for row in said["ablation"] if row["head"] == "mean"]
        assert said["baselines"]["mean"] == row["top1_per_seed"]["0"]

    def test_may_be_cross_validated_itself(self, tiny_data: Path) -> None:
        said = json.loads(vidlstm("crossval", tiny_data, *QUICK, "--folds", "2", "--head", "mean").out)
        assert (said["num_clips"], said["baselines"].keys()) == (12, {"majority"})


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ("1", "--folds 1: must be at least 2"),
        ("7", "--folds 7: needs at least 7 groups"),
        ("each", "--folds each: must be a number, group or split"),
    ],
)
def test_invalid_numbers_of_folds_are_refused(folds: str, said: str, tiny_data: Path) -> None:
    ended = vidlstm("crossval", tiny_data, "--folds", folds)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err.splitlines()[-1]


def test_the_baseline_uses_the_fine_tuned_encoder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label, grey in (("dark", 40), ("light", 200)):
        for number in range(6):
            side = tmp_path / "data" / ("train" if number < 4 else "test") / label
            side.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(-30, 30, (32, 32, 3))
            Image.fromarray((grey + noise).astype(np.uint8)).save(side / f"{number}.png")
    options = ("--encoder", "simple", "--epochs", "3", "--folds", "split", "--workers", "1", "--json")
    ended = vidlstm("crossval", tmp_path / "data", *options)
    assert ended.status == 0, ended.err
    assert set(json.loads(ended.out)["baselines"]) == {"majority", "mean"}


def test_divergence_is_reported(tiny_data: Path) -> None:
    options = ("--lr", "1e20", "--batch-size", "2", "--folds", "2")  # to diverge in the first epoch
    ended = vidlstm("crossval", tiny_data, *QUICK, *options)
    assert (ended.status, ended.out) == (2, "")
    assert "training diverged: the loss is not a number in epoch 1; try a --lr below 1e+20" in ended.err
