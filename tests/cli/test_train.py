"""`vidlstm train`: its output, its files, and that the same seed gives the same result."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.conftest import vidlstm
from tests.cli.shell import TrainedRun
from tests.tiny import write_action
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.models.checkpoint import load_model, read_header

QUICK = ("--streams", "motion", "--epochs", "2", "--members", "1", "--workers", "1")
DIVERGES = ("--lr", "1e20", "--batch-size", "2")  # in the first epoch


def table(path: Path, rows: list[tuple[Path, str, str, str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group", "split"), *rows])
    return path


def rows_of(data: Path) -> list[tuple[Path, str, str, str]]:
    """List the tiny clips: four performers for training, two for validation."""
    return [
        (clip, clip.parent.name, clip.name[:8], "train" if int(clip.name[6:8]) <= 4 else "val")
        for clip in sorted(data.glob("*/*.avi"))
    ]


class TestOutput:
    def test_findings_come_first(self, trained_run: TrainedRun) -> None:
        said = trained_run.ended.err.splitlines()
        assert said[0] == f"{trained_run.data}: 12 clips of 2 classes, 6 each (class folders)."
        assert said[1].startswith("Groups: 6. ")
        assert "person" in said[1]
        assert said[2] == "Split: 10 for training, 2 held out for the score."
        assert said[3] == "Lengths: 1.0 s. Sizes: 64x48"

    def test_accuracy_is_shown_with_its_interval(self, trained_run: TrainedRun) -> None:
        err, said = trained_run.ended.err, trained_run.said["held_out"]
        right = round(2 * said["top1"])
        assert f"\n{right} of 2 held-out clips right: {50 * right} % (true accuracy probably " in err
        mean = 100 * said["baselines"]["mean"]
        assert (
            "on the same clips: always the most frequent class 50 %; "
            f"the same model without frame order {mean:.0f} %.\n" in err
        )

    def test_cautions_are_one_line_that_points_to_the_report(self, trained_run: TrainedRun) -> None:
        err = trained_run.ended.err
        (line,) = [line for line in err.splitlines() if line.startswith("Caution: ")]
        assert line.startswith("Caution: scored on only 2 clips; scored on only 1 group; ")
        assert line.endswith(f"(details in {Path('runs', '1', 'report.html')}).")
        assert (
            "Fewer than two held-out clips, so little is known about: rise, sink.\n" in trained_run.ended.err
        )
        assert "What would help most: more clips: the model is not clearly better than always " in err

    def test_a_model_without_frame_order_has_no_other_baseline(self, tiny_data: Path, tmp_path: Path) -> None:
        ended = vidlstm("train", tiny_data, *QUICK, "--head", "mean", "--out", tmp_path / "r", "--json")
        assert json.loads(ended.out)["val"]["baselines"].keys() == {"majority"}
        assert "without frame order" not in ended.err

    def test_the_next_command_is_named(self, trained_run: TrainedRun) -> None:
        assert "Next: vidlstm predict" in trained_run.ended.err
        assert os.fspath(Path("runs", "1")) in trained_run.ended.err

    def test_few_held_out_clips_suggest_a_cross_validation_with_the_same_options(
        self, trained_run: TrainedRun
    ) -> None:
        command = f"vidlstm crossval {trained_run.data} --streams motion --members 2 --epochs 8"
        assert f"not only the held-out ones: {command}\n" in trained_run.ended.err

    def test_data_that_cannot_be_cross_validated_do_not(self, tiny_data: Path, tmp_path: Path) -> None:
        rows = [
            row
            for row in rows_of(tiny_data)
            if row[1] == "sink" or row[2] == rows_of(tiny_data)[0][2]  # a class with one group
        ]
        data = table(tmp_path / "t.csv", rows)
        ended = vidlstm("train", data, *QUICK, "--out", tmp_path / "r")
        assert ended.status == 0
        assert "crossval" not in ended.err

    def test_no_progress_bar_goes_to_a_file(self, trained_run: TrainedRun) -> None:
        assert "\r" not in trained_run.ended.err
        assert "\x1b" not in trained_run.ended.err

    def test_standard_output_is_one_json_object(self, trained_run: TrainedRun) -> None:
        """Fault 12 of the peers: notes are written to standard output."""
        assert trained_run.ended.out.count("\n") == 1
        said = trained_run.said
        assert said.keys() >= {
            "schema", "run", "checkpoint", "classes", "num_clips", "best_epoch", "val", "seconds",
        }  # fmt: skip
        assert (said["schema"], said["classes"]) == (1, ["rise", "sink"])
        assert said["num_clips"] == {"train": 10, "held_out": 2, "val": 2, "unreadable": 0}
        assert said["val"].keys() >= {"top1", "top5", "mean_class_accuracy", "macro_f1", "ece", "baselines"}
        assert said["seconds"].keys() == {"extract", "train"}
        assert 1 <= said["best_epoch"] <= 8
        assert (trained_run.folder / said["checkpoint"]).samefile(trained_run.model)
        assert (trained_run.folder / said["run"]).samefile(trained_run.run)

    @pytest.mark.skipif(os.name == "nt", reason="makes links")
    def test_quiet_shows_failures_but_not_skipped_files(self, tiny_data: Path, tmp_path: Path) -> None:
        data = tmp_path / "data"
        shutil.copytree(tiny_data, data)
        (data / "rise" / "make.py").write_text("")
        (data / "rise" / "gone.avi").symlink_to(tmp_path / "nowhere")
        ended = vidlstm("train", data, *QUICK, "--quiet", "--out", tmp_path / "r")
        assert (ended.status, ended.out) == (0, "")
        assert ended.err.splitlines() == ["1 broken link skipped: rise/gone.avi"]
        assert ".py 1" in vidlstm("train", data, *QUICK, "--out", tmp_path / "s").err

    def test_quiet_prints_nothing(self, tiny_data: Path, tmp_path: Path) -> None:
        ended = vidlstm("train", tiny_data, *QUICK, "--quiet", "--out", tmp_path / "r")
        assert (ended.status, ended.out, ended.err) == (0, "", "")


class TestRunFolder:
    def test_has_the_model_the_state_the_split_the_settings_and_the_plots(
        self, trained_run: TrainedRun
    ) -> None:
        names = {path.name for path in trained_run.run.iterdir()}
        assert names >= {
            "model.safetensors", "last.pt", "metrics.jsonl", "split.csv", "config.json", "curves.png",
            "confusion.png", "predictions.csv",
        }  # fmt: skip
        assert not [name for name in names if name.startswith(".")]

    def test_split_csv_puts_every_clip_in_one_subset_and_no_performer_in_two(
        self, trained_run: TrainedRun
    ) -> None:
        """Fault 10 of the peers: a random split puts clips of one recording in both subsets."""
        with (trained_run.run / "split.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert sorted(row["path"] for row in rows) == sorted(
            clip.relative_to(trained_run.data).as_posix() for clip in trained_run.data.glob("*/*.avi")
        )
        sides = {(row["group"], row["split"]) for row in rows}
        assert len(sides) == len({group for group, _ in sides}) == 6

    def test_metrics_have_a_line_per_epoch(self, trained_run: TrainedRun) -> None:
        lines = [json.loads(line) for line in (trained_run.run / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == list(range(1, 9))
        assert all(line["train_loss"] > 0 and 0 <= line["validation_top1"] <= 1 for line in lines)
        assert all(line["val_top1"] == line["validation_top1"] for line in lines)  # the name in schema 1
        best = [line["epoch"] for line in lines if line["is_best"]][-1]
        assert best == trained_run.said["best_epoch"]

    def test_predictions_contain_every_held_out_clip(self, trained_run: TrainedRun) -> None:
        with (trained_run.run / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = [
            "path",
            "label",
            "group",
            "split",
            "predicted",
            "score",
            "score_rise",
            "score_sink",
            "error",
        ]
        assert [*rows[0]] == columns
        assert len(rows) == 2
        assert all(row["predicted"] in ("rise", "sink") and row["error"] == "" for row in rows)
        assert all(float(row["score"]) == float(row[f"score_{row['predicted']}"]) for row in rows)
        right = sum(row["predicted"] == row["label"] for row in rows) / 2
        assert right == trained_run.said["held_out"]["top1"]

    def test_config_contains_the_settings(self, trained_run: TrainedRun) -> None:
        config = json.loads((trained_run.run / "config.json").read_text())
        assert config["model"]["streams"] == ["motion"]
        assert config["training"]["epochs"] == 8

    def test_the_next_run_gets_the_next_number(
        self, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs" / "3").mkdir(parents=True)
        ended = vidlstm("train", tiny_data, *QUICK, "--json")
        assert Path(json.loads(ended.out)["run"]) == Path("runs", "4")
        again = vidlstm("train", tiny_data, *QUICK, "--out", Path("runs", "4"))
        assert again.status == 2
        assert "--overwrite" in again.err

    def test_the_checkpoint_alone_is_enough_and_records_how_it_was_made(
        self, trained_run: TrainedRun
    ) -> None:
        header = read_header(trained_run.model)
        assert header.config.classes == ("rise", "sink")
        assert header.config.streams == ("motion",)
        assert header.training["num_clips"]["train"] == 10
        assert len(header.training["learned_from"]) == 10
        assert load_model(trained_run.model).widths.keys() == {"motion"}


class TestPredictAfterwards:
    def test_needs_no_option_in_the_same_folder(
        self, trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(trained_run.folder)
        clip = next(trained_run.data.glob("sink/*.avi"))
        ended = vidlstm("predict", clip, "--workers", "1")
        assert ended.status == 0
        path, label, score = ended.lines[0].split("\t")
        assert path == os.fspath(clip)
        assert label in ("rise", "sink")
        assert 0.5 <= float(score) <= 1
        assert os.fspath(Path("runs", "1", "model.safetensors")) in ended.err  # the model that was used

    def test_takes_the_newest_run(
        self, trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for number in ("1", "2", "10"):
            (tmp_path / "runs" / number).mkdir(parents=True)
            shutil.copy(trained_run.model, tmp_path / "runs" / number)
        for newest, when in (("2", 10**18), ("1", 2 * 10**18)):
            for number in ("1", "2", "10"):
                os.utime(tmp_path / "runs" / number / "model.safetensors", ns=(0, when * (number == newest)))
            ended = vidlstm("info")
            assert f"Model: {Path('runs', newest, 'model.safetensors')}" in ended.err

    def test_the_environment_may_name_another_model(
        self, trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("VIDLSTM_CHECKPOINT", str(trained_run.model))
        ended = vidlstm("info")
        assert ended.status == 0
        assert "$VIDLSTM_CHECKPOINT" in ended.err


class TestSeed:
    def test_the_same_seed_gives_the_same_split_weights_and_figures(
        self, trained_run: TrainedRun, tmp_path: Path
    ) -> None:
        options = ("--streams", "motion", "--epochs", "8", "--members", "2", "--json", "--workers", "1")
        ended = vidlstm("train", trained_run.data, *options, "--out", tmp_path / "again")
        said = json.loads(ended.out)
        assert {key: said[key] for key in ("best_epoch", "val", "num_clips")} == {
            key: trained_run.said[key] for key in ("best_epoch", "val", "num_clips")
        }
        assert (tmp_path / "again/split.csv").read_bytes() == (trained_run.run / "split.csv").read_bytes()
        ours, theirs = load_file(trained_run.model), load_file(tmp_path / "again/model.safetensors")
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    def test_another_seed_gives_other_weights(self, trained_run: TrainedRun, tmp_path: Path) -> None:
        vidlstm("train", trained_run.data, *QUICK, "--out", tmp_path / "a", "--seed", "1")
        vidlstm("train", trained_run.data, *QUICK, "--out", tmp_path / "b", "--seed", "2")
        ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
        assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


class TestEncoders:
    def test_the_article_s_network_is_trained_from_pixels(self, tiny_data: Path, tmp_path: Path) -> None:
        ended = vidlstm(
            "train", tiny_data, "--encoder", "simple", "--size", "32", "--streams", "rgb", "--epochs", "2",
            "--members", "1", "--frames", "4", "--workers", "1", "--out", tmp_path / "r",
        )  # fmt: skip
        assert ended.status == 0
        clip = next(tiny_data.glob("rise/*.avi"))
        labelled = vidlstm("predict", clip, "-c", tmp_path / "r", "--workers", "1")
        assert (labelled.status, len(labelled.lines)) == (0, 1)


class TestUnreadableClips:
    def test_in_the_training_set_are_named_and_left_out(self, tiny_data: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.avi").write_bytes(b"no clip")
        rows = [*rows_of(tiny_data), (tmp_path / "bad.avi", "rise", "x", "train")]
        ended = vidlstm("train", table(tmp_path / "t.csv", rows), *QUICK, "--json", "--out", tmp_path / "r")
        said = json.loads(ended.out)
        assert said["num_clips"] == {"train": 8, "held_out": 4, "val": 4, "unreadable": 1}
        assert ended.status == 1
        assert "1 clip unreadable:" in ended.err
        assert f"{tmp_path / 'bad.avi'}: not_a_video: " in ended.err

    def test_in_the_held_out_set_count_as_mistakes(self, tiny_data: Path, tmp_path: Path) -> None:
        """Fault 8 of the peers: an unreadable validation clip is replaced by another clip."""
        rows = rows_of(tiny_data)
        for number in range(12):
            (tmp_path / f"bad{number}.avi").write_bytes(b"no clip")
            rows.append((tmp_path / f"bad{number}.avi", "rise", "x", "val"))
        ended = vidlstm("train", table(tmp_path / "t.csv", rows), *QUICK, "--json", "--out", tmp_path / "r")
        said = json.loads(ended.out)
        assert said["num_clips"] == {"train": 8, "held_out": 16, "val": 16, "unreadable": 12}
        assert said["val"]["top1"] <= 4 / 16
        assert "12 of them could not be read; each counts as a mistake" in ended.err
        assert ended.status == 1

    def test_if_all_are_unreadable_the_reason_is_given(self, tmp_path: Path) -> None:
        for name in ("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"):
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).write_bytes(name.encode())
        ended = vidlstm("train", tmp_path / "data", *QUICK, "--out", tmp_path / "r")
        assert ended.status == 2
        assert "none of the 4 clips can be read" in ended.err.splitlines()[-1]


class TestCopies:
    def test_a_clip_in_two_classes_is_named_once_and_training_continues(
        self, tiny_data: Path, tmp_path: Path
    ) -> None:
        data = tmp_path / "my data"
        shutil.copytree(tiny_data, data)
        name = "person01_rise_d1.avi"
        shutil.copy(data / "rise" / name, data / "sink" / name)
        ended = vidlstm("train", data, *QUICK, "--quiet", "--out", tmp_path / "r")
        assert ended.err.splitlines() == [
            f"1 clip is in several classes (identical files): rise/{name} (rise), sink/{name} (sink). "
            f"Keep each clip in one class; `vidlstm check '{data}'` lists such files."
        ]
        assert ended.status == 0

    def test_the_first_of_several_is_named(self, tiny_data: Path, tmp_path: Path) -> None:
        data = tmp_path / "data"
        shutil.copytree(tiny_data, data)
        for name in ("person01_rise_d1.avi", "person02_rise_d1.avi"):
            shutil.copy(data / "rise" / name, data / "sink" / f"copy of {name}")
        ended = vidlstm("train", data, *QUICK, "--quiet", "--out", tmp_path / "r")
        assert ended.err.startswith(
            "2 clips are in several classes (identical files), such as rise/person01_rise_d1.avi (rise), "
            "sink/copy of person01_rise_d1.avi (sink). "
        )
        assert ended.err.count("\n") == 1

    def test_a_clip_in_two_groups_is_named(self, tiny_data: Path, tmp_path: Path) -> None:
        """The groups come from the names, so its copy could be held out."""
        data = tmp_path / "data"
        shutil.copytree(tiny_data, data)
        shutil.copy(data / "rise" / "person01_rise_d1.avi", data / "rise" / "person09_rise_d1.avi")
        ended = vidlstm("train", data, *QUICK, "--quiet", "--out", tmp_path / "r")
        assert ended.err.splitlines() == [
            "1 clip is in several groups (identical files): rise/person01_rise_d1.avi (person01), "
            "rise/person09_rise_d1.avi (person09). Scores may be too high, as a copy of a training clip may "
            "be held out. Remove the copies, or put them into one group; "
            f"`vidlstm check {data}` lists such files."
        ]
        assert ended.status == 0

    def test_a_path_that_a_table_lists_with_two_classes_is_refused(
        self, tiny_data: Path, tmp_path: Path
    ) -> None:
        rows = rows_of(tiny_data)
        rows.append((rows[0][0], "sink", *rows[0][2:]))
        ended = vidlstm("train", table(tmp_path / "t.csv", rows), *QUICK, "--out", tmp_path / "r")
        assert ended.status == 2
        assert ended.err.endswith(f't.csv, line 14: {rows[0][0]} is "sink" here and "rise" in line 2\n')


def test_one_clip_per_class_cannot_be_calibrated(tiny_data: Path, tmp_path: Path) -> None:
    for label in ("rise", "sink"):
        clip = sorted((tiny_data / label).iterdir())[0]
        (tmp_path / "data" / label).mkdir(parents=True)
        shutil.copy(clip, tmp_path / "data" / label)
    options = (*QUICK, "--val-share", "0", "--quiet", "--out", tmp_path / "r")
    ended = vidlstm("train", tmp_path / "data", *options)
    assert ended.status == 0, ended.err
    assert ended.err == (
        "Too few training clips to hold any out: training does not stop early, scores are not "
        "calibrated, and no clip is reported as unknown. Add clips.\n"
    )


class TestSharedGroups:
    @staticmethod
    def leaky(tiny_data: Path, tmp_path: Path) -> Path:
        rows = [(path, label, "same person" if i in (0, 11) else group, side)
                for i, (path, label, group, side) in enumerate(rows_of(tiny_data))]  # fmt: skip
        return table(tmp_path / "leaky.csv", rows)

    def test_are_refused_by_name(self, tiny_data: Path, tmp_path: Path) -> None:
        """Fault 10 of the peers: clips of one recording are in two subsets."""
        ended = vidlstm("train", self.leaky(tiny_data, tmp_path), *QUICK, "--out", tmp_path / "r")
        assert ended.status == 2
        assert "same person" in ended.err.splitlines()[-1]
        assert "--allow-shared-groups" in ended.err.splitlines()[-1]
        assert not (tmp_path / "r").exists()

    def test_are_accepted_with_the_flag(self, tiny_data: Path, tmp_path: Path) -> None:
        data = self.leaky(tiny_data, tmp_path)
        ended = vidlstm("train", data, *QUICK, "--allow-shared-groups", "--out", tmp_path / "r")
        assert ended.status == 0
        assert "too high" in ended.err


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Start processes that Ctrl-C ends, although a shell disables it if the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class TestCtrlC:
    @pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
    def test_keeps_the_best_so_far(self, tiny_data: Path, tmp_path: Path) -> None:
        with _listening():
            running = subprocess.Popen(
                [
                    sys.executable, "-m", "vidlstm", "train", tiny_data, "--streams", "motion",
                    "--members", "1", "--epochs", "100000", "--patience", "0", "--workers", "1", "--out", "r",
                ],
                cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        metrics = tmp_path / "r" / "metrics.jsonl"
        deadline = time.monotonic() + 60
        while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        noted = len(torch.load(tmp_path / "r" / "last.pt", weights_only=True)["epochs"])
        assert f"Interrupted after epoch {noted}. " in err  # not the interrupted epoch
        assert "Traceback" not in err
        assert out == ""
        assert running.returncode == 130
        model = load_model(tmp_path / "r" / "model.safetensors")
        epochs = [json.loads(line) for line in metrics.read_text().splitlines()]
        best = [epoch["epoch"] for epoch in epochs if epoch["is_best"]][-1]
        # The epoch that has just ended may not have been written yet.
        assert model.training["best_epoch"] in (best, len(epochs) + 1)
        assert not [path for path in (tmp_path / "r").iterdir() if path.name.startswith(".")]

    @pytest.mark.parametrize("moment", ["start_model", "fit_spans"])
    def test_before_the_first_epoch_or_after_the_last_it_says_how_to_continue(
        self, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as context:
            context.setattr(f"vidlstm.engine.training.session.{moment}", interrupted)
            ended = vidlstm("train", tiny_data, *QUICK, "--out", tmp_path / "my run")
        assert ended.status == 130
        assert f"To continue: vidlstm train {tiny_data} --resume '{tmp_path / 'my run'}'" in ended.err
        again = vidlstm("train", tiny_data, "--resume", tmp_path / "my run", "--workers", "1")
        assert again.status == 0
        assert (tmp_path / "my run" / "model.safetensors").exists()

    @pytest.mark.parametrize(("moment", "options"), [("start_model", ()), ("EpochEnded", DIVERGES)])
    def test_before_the_end_of_a_usable_epoch_leaves_the_run_that_was_to_be_replaced(
        self,
        trained_run: TrainedRun,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        moment: str,
        options: tuple[str, ...],
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        shutil.copytree(trained_run.run, tmp_path / "r")
        monkeypatch.setattr(f"vidlstm.engine.training.session.{moment}", interrupted)
        ended = vidlstm("train", trained_run.data, *QUICK, *options, "--out", tmp_path / "r", "--overwrite")
        assert ended.status == 130
        assert f"before the end of the first epoch: {tmp_path / 'r'} still holds the earlier run" in ended.err
        assert "To continue" not in ended.err
        load_model(tmp_path / "r" / "model.safetensors")

    def test_while_an_epoch_is_written_keeps_that_epoch(
        self, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save, number = torch.save, 0

        def interrupted(*arguments: Any) -> None:
            nonlocal number
            number += 1
            if number == 2:
                raise KeyboardInterrupt
            save(*arguments)

        with monkeypatch.context() as context:
            context.setattr("vidlstm.engine.training.run_folder.torch.save", interrupted)
            ended = vidlstm("train", tiny_data, *QUICK, "--epochs", "3", "--out", tmp_path / "r")
        assert ended.status == 130
        assert "Interrupted after epoch 2." in ended.err
        assert len((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()) == 2
        assert load_model(tmp_path / "r" / "model.safetensors").training["epochs"] == 2

    @pytest.mark.parametrize("moment", ["_train_epoch", "_keep_if_best"])
    def test_in_an_epoch_leaves_no_trace_of_that_epoch(
        self, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        work = getattr(Trainer, moment)

        def interrupted(trainer: Trainer, *arguments: Any) -> Any:
            done = work(trainer, *arguments)
            if trainer.epoch == 2:
                raise KeyboardInterrupt
            return done

        with monkeypatch.context() as context:
            context.setattr(Trainer, moment, interrupted)
            ended = vidlstm("train", tiny_data, *QUICK, "--epochs", "3", "--out", tmp_path / "r")
        assert ended.status == 130
        assert "Interrupted after epoch 1. The best epoch so far, 1, is kept." in ended.err
        assert len((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()) == 1
        facts = load_model(tmp_path / "r" / "model.safetensors").training
        assert (facts["epochs"], facts["best_epoch"]) == (1, 1)

    def test_during_the_baseline_skips_the_baseline(
        self, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **__: object) -> Trainer:
            raise KeyboardInterrupt

        monkeypatch.setattr("vidlstm.engine.training.baseline.make_trainer", interrupted)
        ended = vidlstm("train", tiny_data, *QUICK, "--out", tmp_path / "r", "--json")
        assert ended.status == 130
        assert "Interrupted: the model is saved without the baseline." in ended.err
        assert json.loads(ended.out)["val"]["baselines"].keys() == {"majority"}
        assert load_model(tmp_path / "r" / "model.safetensors", baseline=True).baseline is None


class TestRepeated:
    def test_an_interrupted_run_may_be_continued(
        self, trained_run: TrainedRun, interrupted_run: Path
    ) -> None:
        again = vidlstm("train", trained_run.data, "--out", interrupted_run)
        assert again.status == 2
        assert (
            f"holds an unfinished run; continue it with --resume {interrupted_run} in place of --out, "
            "choose another --out, or pass --overwrite" in again.err
        )

    def test_one_whose_model_is_older_than_its_last_epoch_too(
        self, trained_run: TrainedRun, tmp_path: Path
    ) -> None:
        shutil.copytree(trained_run.run, tmp_path / "r")
        metrics = tmp_path / "r" / "metrics.jsonl"
        last = json.loads(metrics.read_text().splitlines()[-1])
        with metrics.open("a") as file:
            file.write(json.dumps({**last, "epoch": 9}) + "\n")
        assert "--resume" in vidlstm("train", trained_run.data, "--out", tmp_path / "r").err

    def test_a_finished_run_may_not(self, trained_run: TrainedRun) -> None:
        again = vidlstm("train", trained_run.data, "--out", trained_run.run)
        assert again.status == 2
        assert "already holds a model; choose another --out, or pass --overwrite" in again.err
        assert "--resume" not in again.err

    def test_a_run_that_stopped_early_may_not(self, trained_run: TrainedRun, interrupted_run: Path) -> None:
        metrics = interrupted_run / "metrics.jsonl"
        epochs = [json.loads(line) for line in metrics.read_text().splitlines()]
        config = json.loads((interrupted_run / "config.json").read_text())
        config["training"]["patience"] = 3
        (interrupted_run / "config.json").write_text(json.dumps(config))
        lines = [json.dumps({**e, "is_best": e["epoch"] == 5}) for e in epochs]
        metrics.write_text("\n".join(lines) + "\n")
        assert "--resume" not in vidlstm("train", trained_run.data, "--out", interrupted_run).err


class TestKept:
    def test_only_a_touched_clip_is_read_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VIDLSTM_CACHE_DIR", str(tmp_path / "store"))
        for action in ("rise", "sink"):
            for performer in range(1, 4):
                write_action(
                    tmp_path / "d" / action / f"person{performer:02}_{action}_d1.avi", action, performer
                )
        entries = []
        for _ in range(3):
            ended = vidlstm("train", tmp_path / "d", *QUICK, "--out", tmp_path / "r", "--overwrite")
            assert ended.status == 0
            entries.append(json.loads(vidlstm("cache", "--json").out)["entries"])
            if len(entries) == 2:
                os.utime(tmp_path / "d" / "rise" / "person02_rise_d1.avi", ns=(0, 10**18))
        assert entries == [6, 6, 7]

    def test_no_cache_stores_nothing(
        self, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VIDLSTM_CACHE_DIR", str(tmp_path / "store"))
        vidlstm("train", tiny_data, *QUICK, "--no-cache", "--out", tmp_path / "r")
        assert not (tmp_path / "store").exists()


def test_divergence_is_reported_and_leaves_no_model(tiny_data: Path, tmp_path: Path) -> None:
    ended = vidlstm("train", tiny_data, *QUICK, *DIVERGES, "--out", tmp_path / "r")
    assert ended.status == 2
    assert "training diverged: the loss is not a number in epoch 1; try a --lr below 1e+20" in ended.err
    assert not (tmp_path / "r" / "model.safetensors").exists()
    assert not (tmp_path / "r" / "metrics.jsonl").exists()


def test_a_training_that_fails_at_once_leaves_the_run_that_it_was_to_replace(
    trained_run: TrainedRun, tmp_path: Path
) -> None:
    shutil.copytree(trained_run.run, tmp_path / "r")
    before = {file.name: file.read_bytes() for file in (tmp_path / "r").iterdir()}
    ended = vidlstm("train", trained_run.data, *QUICK, *DIVERGES, "--out", tmp_path / "r", "--overwrite")
    assert ended.status == 2
    assert {file.name: file.read_bytes() for file in (tmp_path / "r").iterdir()} == before
