"""The run that is used if no model is given, and the run that is suggested if it does not fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import make_model, vidlstm, write_clip
from vidlstm.config import ModelConfig
from vidlstm.models.checkpoint import build_model, rgb_encoder, serialise

OLD = Path("runs/of videos/model.safetensors")
NEW = Path("runs/of pictures/model.safetensors")
SUGGESTION = "An earlier run labels videos; to use it, add: --checkpoint 'runs/of videos'"


def make_picture_model(path: Path) -> None:
    config = ModelConfig.default("picture", ("cat", "dog"), "simple").changed(members=1)
    encoder = rgb_encoder(config, seed=0)
    assert encoder is not None
    with torch.random.fork_rng():
        path.write_bytes(serialise(build_model(config, {"rgb": encoder.width}, encoder)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs: the newest one labels pictures, the earlier one videos."""
    folder = tmp_path_factory.mktemp("two runs")
    for number, name in enumerate((OLD, NEW), 1):
        (folder / name).parent.mkdir(parents=True)
        if name == OLD:
            make_model(folder / name)
        else:
            make_picture_model(folder / name)
        os.utime(folder / name, (number, number))
    write_clip(folder / "clips/a.avi")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("VIDLSTM_CHECKPOINT", raising=False)


def test_of_several_runs_it_says_what_the_newest_one_labels() -> None:
    assert vidlstm("info").err == f"Model: {NEW} (the newest of 2 in runs/; labels pictures: cat, dog)\n"


def test_a_folder_without_files_of_its_kind_ends_with_the_run_that_fits() -> None:
    ended = vidlstm("predict", "clips")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.splitlines()[-2:] == [
        SUGGESTION,
        "vidlstm: clips: no picture files found (--glob PATTERN selects other names)",
    ]


def test_a_file_of_the_other_kind_keeps_its_row() -> None:
    ended = vidlstm("predict", "clips/a.avi", "--workers", "1")
    assert (ended.status, ended.out) == (1, "clips/a.avi\t\t\twrong_kind\n")
    assert SUGGESTION in ended.err.splitlines()


@pytest.mark.parametrize("command", [("spans", "clips"), ("watch", "0")])
def test_commands_only_for_videos_name_the_run_that_fits(command: tuple[str, ...]) -> None:
    ended = vidlstm(*command)
    assert (ended.status, ended.out) == (2, "")
    assert SUGGESTION in ended.err.splitlines()


def test_the_suggested_command_works() -> None:
    ended = vidlstm("predict", "clips", "--checkpoint", "runs/of videos", "--workers", "1")
    assert ended.status == 0
    assert ended.out.startswith("clips/a.avi\t")


def test_a_given_model_is_used_without_a_suggestion() -> None:
    ended = vidlstm("predict", "clips", "-c", NEW)
    assert ended.status == 2
    assert "earlier run" not in ended.err


def test_no_run_is_suggested_if_none_fits_or_it_is_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number, content in enumerate((b"damaged", NEW.read_bytes()), 1):
        (tmp_path / f"runs/{number}").mkdir(parents=True)
        (tmp_path / f"runs/{number}/model.safetensors").write_bytes(content)
        os.utime(tmp_path / f"runs/{number}/model.safetensors", (number, number))
    (tmp_path / "a.avi").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert "earlier run" not in vidlstm("predict", "a.avi", "--workers", "1").err
