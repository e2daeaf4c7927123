"""`train --unfreeze`: the result is an ordinary model, and invalid options are reported."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.conftest import vidlstm
from tests.tiny import write_action
from vidlstm.data.fingerprints import fingerprint
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.models.checkpoint import load_model
from vidlstm.models.header import read_header

SMALL = ("--streams", "rgb", "--size", "32", "--hidden", "8", "--workers", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for action in ("rise", "sink"):
        for performer in range(1, 7):
            write_action(folder / action / f"person{performer:02}_{action}_d1.avi", action, performer)
    return folder


@pytest.fixture(scope="module")
def start(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("start")
    assert vidlstm("train", data, *SMALL, "--epochs", "2", "--members", "2", "-q", "--out", run).status == 0
    return run


def test_the_encoder_is_in_the_checkpoint_and_is_used_for_scoring(
    data: Path, start: Path, tmp_path: Path
) -> None:
    run = tmp_path / "fine"
    options = ("--unfreeze", "2", "--epochs", "2", "--lr", "0.001", "--encoder-lr", "0.001", "--workers", "1")
    ended = vidlstm("train", data, *options, "--from", start, "--out", run)
    assert ended.status == 0, ended.err
    before, after = load_model(start / "model.safetensors"), load_model(run / "model.safetensors")
    assert before.encoder is not None
    assert after.encoder is not None
    old, new = before.encoder.state_dict(), after.encoder.state_dict()
    other = {name.split(".")[1] for name in new if not torch.equal(old[name], new[name])}
    assert other == {"stage7", "head"}
    assert after.config.members == 1
    assert f"The run it started from, {start}, had a top-1 of " in ended.err

    (said,) = [line for line in ended.err.splitlines() if "held-out clips right" in line]
    scored = vidlstm("eval", data, "--checkpoint", run, "--workers", "1")
    assert said.split(" (")[0] in scored.err  # the same features, so the same figure
    rows = vidlstm("predict", data, "-c", run, "--workers", "1")
    assert (rows.status, len(rows.lines)) == (0, 12)


def test_without_improvement_the_starting_model_is_kept_unchanged(
    data: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "_validate", lambda self: (1.0 + self.epoch, 0.5))
    options = ("--unfreeze", "all", "--epochs", "1", "--workers", "1", "--encoder-lr", "0.1")
    ended = vidlstm("train", data, *options, "--from", start, "--out", tmp_path / "fine")
    assert ended.status == 0, ended.err
    assert f"Fine-tuning did not improve the model. The model of {start} is kept." in ended.err
    before, after = (load_file(r / "model.safetensors") for r in (start, tmp_path / "fine"))
    assert before.keys() == after.keys()  # including its two members and its baseline
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_no_clip_that_the_starting_run_was_trained_on_is_held_out(
    data: Path, start: Path, tmp_path: Path
) -> None:
    grown = tmp_path / "grown"
    shutil.copytree(data, grown)
    (gone,) = random.Random(0).sample(sorted(held_in(start, "train")), 1)
    (grown / gone).unlink()
    for action in ("rise", "sink"):
        for performer in (7, 8):
            write_action(grown / action / f"person{performer:02}_{action}_d1.avi", action, performer)
    options = ("--unfreeze", "1", "--epochs", "1", "--seed", "1", "--workers", "1")
    ended = vidlstm("train", grown, *options, "--from", start, "--out", tmp_path / "fine")
    assert ended.status == 0, ended.err
    assert held_in(tmp_path / "fine", "val") >= held_in(start, "val")
    assert not held_in(tmp_path / "fine", "val") & held_in(start, "train")
    before, after = (read_header(run / "model.safetensors").training for run in (start, tmp_path / "fine"))
    assert set(after["left_out"]) == set(before["left_out"]) - {fingerprint(data / gone)}
    scored = vidlstm("eval", data, "-c", tmp_path / "fine", "--split", "all", "--workers", "1")
    assert f"trained on {len(held_in(start, 'train'))} of " in scored.err  # including the clip that is gone


def test_on_new_clips_only_some_are_held_out_as_in_a_new_training(start: Path, tmp_path: Path) -> None:
    for action in ("rise", "sink"):
        for performer in range(11, 17):
            write_action(tmp_path / "new" / action / f"person{performer}_{action}_d1.avi", action, performer)
    options = ("--unfreeze", "1", "--epochs", "1", "--workers", "1", "--from", start)
    ended = vidlstm("train", tmp_path / "new", *options, "--out", tmp_path / "fine")
    assert ended.status == 0, ended.err
    assert "not calibrated" not in ended.err
    assert held_in(tmp_path / "fine", "val")
    learned = set(read_header(start / "model.safetensors").training["learned_from"])
    clips = (tmp_path / "new").glob("*/*.avi")
    assert not {fingerprint(clip) for clip in clips} & learned
    assert (tmp_path / "fine" / "metrics.jsonl").read_text().count('"val_loss": null') == 0


def held_in(run: Path, subset: str) -> set[str]:
    """Return the clips of a subset."""
    rows = (run / "split.csv").read_text().splitlines()
    return {row.split(",")[0] for row in rows if row.split(",")[3] == subset}


def test_without_a_starting_run_the_head_is_trained_from_scratch(data: Path, tmp_path: Path) -> None:
    ended = vidlstm("train", data, *SMALL, "--unfreeze", "1", "--epochs", "1", "--out", tmp_path / "r")
    assert ended.status == 0
    assert (tmp_path / "r" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--unfreeze", "some"), "--unfreeze some: must be a number of stages or all"),
        (
            ("--unfreeze", "1", "--streams", "motion"),
            "this model's streams use no encoder; add rgb to --streams",
        ),
        (
            ("--unfreeze", "1", "--encoder", "simple", "--streams", "rgb"),
            "--encoder simple is always trained whole; leave out --unfreeze",
        ),
        (("--unfreeze", "1", "--members", "2"), "--members 2: must be 1 to train the encoder"),
        (("--from", "nowhere", "--unfreeze", "1"), "--from nowhere: not a run folder"),
        (("--from", "here"), "give the number of stages with --unfreeze"),
        (("--unfreeze", "1", "--accumulate", "0"), "--accumulate 0: must be at least 1"),
        (("--unfreeze", "1", "--encoder-lr", "0"), "must be more than 0"),
    ],
)
def test_invalid_options_are_refused_before_any_work(
    data: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    ended = vidlstm("train", data, *options, "--out", tmp_path / "run")
    assert ended.status == 2
    assert says in ended.err
    assert not (tmp_path / "run").exists()


def test_a_gpu_out_of_memory_names_options_that_need_less(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Trainer) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(Trainer, "_train_epoch", fails)
    ended = vidlstm("train", data, *SMALL, "--unfreeze", "1", "--batch-size", "7", "--out", tmp_path / "r")
    assert ended.status == 2
    says = "not enough memory for steps of 7 clips; add --checkpointing, or try a larger --accumulate"
    assert says in ended.err


def test_the_starting_run_is_not_overwritten(data: Path, start: Path) -> None:
    before = (start / "model.safetensors").read_bytes()
    ended = vidlstm("train", data, "--unfreeze", "1", "--from", start, "--out", start, "--overwrite")
    assert ended.status == 2
    assert f"--out {start}: is the run to start from; choose another --out" in ended.err
    assert (start / "model.safetensors").read_bytes() == before


def test_another_head_does_not_fit_the_run(data: Path, start: Path, tmp_path: Path) -> None:
    ended = vidlstm(
        "train", data, "--unfreeze", "1", "--from", start, "--hidden", "9", "--out", tmp_path / "r"
    )
    assert ended.status == 2
    assert "--from: the head of that run is different" in ended.err
    assert not (tmp_path / "r").exists()
