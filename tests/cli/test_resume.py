"""A run that is killed and resumed gives the same files as an uninterrupted run, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ROOT, Outcome, vidlstm
from tests.tiny import write_action
from vidlstm.data.fingerprints import fingerprint
from vidlstm.engine.training.run_folder import RunFolder
from vidlstm.models.header import read_header

OPTIONS = ("--streams", "motion", "--epochs", "3", "--members", "1", "--workers", "1", "--hidden", "8")
# Kills the process when it is about to rename the n-th file that it has written.
KILLER = """
import os, pathlib, signal
left = int(os.environ["DIE_AT"])
written = ("split.csv", "config.json", "last.pt", "metrics.jsonl", "model.safetensors")
rename = pathlib.Path.replace
def dying(self, target):
    global left
    if pathlib.Path(target).name in written:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
pathlib.Path.replace = dying
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for action in ("rise", "sink"):
        for performer in range(1, 6):
            write_action(folder / action / f"person{performer:02}_{action}_d1.avi", action, performer)
    return folder


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    run = tmp_path_factory.mktemp("whole")
    assert vidlstm("train", data, *OPTIONS, "-q", "--out", run).status == 0
    return (run / "model.safetensors").read_bytes()


@pytest.fixture
def killed(data: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Return a function that trains, with a kill while the n-th file is written."""

    def run(number: int) -> Path:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(KILLER)
        env = {
            **os.environ,
            "DIE_AT": str(number),
            "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}",
        }
        done = subprocess.run(
            [sys.executable, "-m", "vidlstm", "train", data, *OPTIONS, "-q", "--out", tmp_path / "run"],
            env=env, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL
        return tmp_path / "run"

    return run


# 1: split.csv, 2: config.json, then last.pt and metrics.jsonl of each epoch, 9: model.safetensors
@pytest.mark.parametrize("moment", [3, 5, 9])
def test_killed_while_it_writes_and_resumed(
    killed: Callable[[int], Path], data: Path, whole: bytes, moment: int
) -> None:
    run = killed(moment)
    assert not (run / "model.safetensors").exists()
    ended = vidlstm("train", data, "--resume", run, "--workers", "1")
    assert ended.status == 0
    resumed = "Resumed after epoch" in ended.err or "Training had ended after epoch" in ended.err
    assert resumed == (moment > 3)
    assert (run / "model.safetensors").read_bytes() == whole
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3  # three epochs, none lost or repeated


def test_resuming_a_finished_run_changes_nothing(data: Path, whole: bytes, tmp_path: Path) -> None:
    vidlstm("train", data, *OPTIONS, "-q", "--out", tmp_path / "run")
    assert vidlstm("train", data, "--resume", tmp_path / "run").status == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole


def _fact(run: Path, name: str) -> Any:
    return json.loads(vidlstm("info", run, "--json").out)["training"][name]


class TestChanged:
    @pytest.fixture
    def run(self, data: Path, tmp_path: Path) -> Path:
        vidlstm("train", data, *OPTIONS, "-q", "--out", tmp_path / "run")
        return tmp_path / "run"

    @staticmethod
    def refused(ended: Outcome, says: str) -> bool:
        return ended.status == 2 and says in ended.err and "--allow-changes" in ended.err

    def test_options_are_named_and_ask_for_the_flag(self, run: Path, data: Path) -> None:
        ended = vidlstm("train", data, "--resume", run, "--lr", "0.1", "--workers", "1")
        assert self.refused(ended, "training.learning_rate 0.004 is now 0.1")
        ended = vidlstm("train", data, "--resume", run, "--val-share", "0.5", "--allow-changes")
        assert ended.status == 2
        assert "--val-share 0.5: a resumed run keeps its subsets; leave it out" in ended.err
        ended = vidlstm("train", data, "--resume", run, "--epochs", "4", "--allow-changes", "--workers", "1")
        assert ended.status == 0
        assert "Resumed after epoch 3 of 4" in ended.err
        assert len((run / "metrics.jsonl").read_text().splitlines()) == 4

    def test_held_out_clips_may_be_gone(self, run: Path, data: Path, tmp_path: Path) -> None:
        rows = [line.split(",") for line in (run / "split.csv").read_text().splitlines()]
        held_out = {row[0] for row in rows if "val" in row}
        assert held_out
        for clip in data.glob("*/*.avi"):
            if (name := clip.relative_to(data).as_posix()) not in held_out:
                (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "data" / name).write_bytes(clip.read_bytes())
        again = ("train", tmp_path / "data", "--resume", run, "--workers", "1")
        assert "or train without a score with --val-share 0" in vidlstm(*again, "--allow-changes").err
        assert self.refused(vidlstm(*again, "--val-share", "0"), "2 clips gone (rise/")
        assert vidlstm(*again, "--val-share", "0", "--allow-changes").status == 0

    def test_data_are_named_and_ask_for_the_flag(self, run: Path, data: Path, tmp_path: Path) -> None:
        moved = tmp_path / "data"
        for clip in data.glob("*/*.avi"):
            (moved / clip.parent.name).mkdir(parents=True, exist_ok=True)
            (moved / clip.parent.name / clip.name).write_bytes(clip.read_bytes())
        again = vidlstm("train", moved, "--resume", run, "--workers", "1")
        assert again.status == 0  # the location of the data does not matter
        assert "Training had ended after epoch 3: the model is scored and saved." in again.err
        write_action(moved / "rise" / "person01_rise_d1.avi", "rise", 9)
        assert self.refused(
            vidlstm("train", moved, "--resume", run),
            "1 clip with other content (rise/person01_rise_d1.avi)",
        )

    def test_clips_keep_their_subset_as_the_weights_were_trained_on_them(
        self, run: Path, data: Path, tmp_path: Path
    ) -> None:
        def subset(name: str) -> set[str]:
            lines = (run / "split.csv").read_text().splitlines()
            return {line.split(",")[0] for line in lines if line.split(",")[3] == name}

        trained, held_out = subset("train"), subset("val")
        left_out = read_header(run / "model.safetensors").training["left_out"]
        grown = tmp_path / "grown"
        shutil.copytree(data, grown)
        (grown / min(trained)).unlink()
        for action in ("rise", "sink"):
            write_action(grown / action / f"person07_{action}_d1.avi", action, 7)
        options = ("--resume", run, "--epochs", "4", "--workers", "1")
        ended = vidlstm("train", grown, *options, "--seed", "1", "--allow-changes")
        assert ended.status == 0, ended.err
        assert subset("val") >= held_out
        assert not subset("val") & trained
        assert (
            vidlstm("train", grown, "--resume", run, "--workers", "1").status == 0
        )  # nothing has changed since
        facts = read_header(run / "model.safetensors").training
        assert fingerprint(data / min(trained)) in facts["learned_from"]  # though the clip is gone
        assert set(facts["left_out"]) == set(left_out) - {fingerprint(data / min(trained))}

    def test_a_member_without_held_out_clips_turns_unknown_off(self, data: Path, tmp_path: Path) -> None:
        run, fewer = tmp_path / "run", tmp_path / "fewer"
        assert vidlstm("train", data, *OPTIONS, "--members", "3", "--out", run).status == 0
        assert _fact(run, "reports_unknown")
        state = RunFolder(run).last_state()
        assert state is not None
        *_, gone = state["left_out"]
        shutil.copytree(data, fewer)
        for name in gone:
            (fewer / name).unlink()
        ended = vidlstm("train", fewer, "--resume", run, "--allow-changes", "--epochs", "4", "--workers", "1")
        assert ended.status == 0, ended.err
        assert (
            "1 of 3 ensemble members has no held-out clips left, so no clip is reported as unknown. "
            "A new run, without --resume and --from, divides the clips again.\n"
        ) in ended.err
        assert not _fact(run, "reports_unknown")

    def test_of_clips_that_are_all_new_some_are_held_out(self, run: Path, tmp_path: Path) -> None:
        new = tmp_path / "new"
        for action in ("rise", "sink"):
            for performer in range(11, 17):
                write_action(new / action / f"person{performer}_{action}_d1.avi", action, performer)
        options = ("--resume", run, "--epochs", "4", "--workers", "1", "--allow-changes")
        ended = vidlstm("train", new, *options)
        assert ended.status == 0, ended.err
        assert "not calibrated" not in ended.err
        left_out = read_header(run / "model.safetensors").training["left_out"]
        assert left_out
        again = vidlstm("train", new, "--resume", run, "--epochs", "5", "--workers", "1", "--allow-changes")
        assert again.status == 0, again.err
        assert read_header(run / "model.safetensors").training["left_out"] == left_out

    def test_it_says_why_none_can_be_held_out(self, run: Path, data: Path, tmp_path: Path) -> None:
        left_out = read_header(run / "model.safetensors").training["left_out"]
        shutil.copytree(data, tmp_path / "fewer")
        for clip in (tmp_path / "fewer").glob("*/*.avi"):
            if fingerprint(clip) in left_out:
                clip.unlink()
        options = ("--resume", run, "--epochs", "4", "--workers", "1", "--allow-changes")
        ended = vidlstm("train", tmp_path / "fewer", *options)
        assert ended.status == 0, ended.err
        assert (
            "The earlier run was trained on these clips or on others of their groups: training does not stop "
            "early, scores are not calibrated, and no clip is reported as unknown. Add recordings, or start "
            "a new run without --resume and --from.\n"
        ) in ended.err

    def test_other_network_shapes_are_refused_and_the_run_is_unchanged(self, run: Path, data: Path) -> None:
        settings = (run / "config.json").read_bytes()
        ended = vidlstm("train", data, "--resume", run, "--hidden", "9", "--allow-changes", "--workers", "1")
        assert ended.status == 2
        assert "shapes have changed" in ended.err
        assert (run / "config.json").read_bytes() == settings


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--resume", "nowhere"), "nowhere/config.json: not found, so there is no run to resume"),
        (
            ("--resume", "here", "--overwrite"),
            "--resume continues a run in its own folder: leave out --out and --overwrite",
        ),
        (
            ("--resume", "here", "--out", "there"),
            "--resume continues a run in its own folder: leave out --out and --overwrite",
        ),
        (("--allow-changes",), "--allow-changes needs --resume"),
    ],
)
def test_invalid_options_are_named(data: Path, options: tuple[str, ...], says: str) -> None:
    ended = vidlstm("train", data, *options)
    assert ended.status == 2
    assert says in ended.err
