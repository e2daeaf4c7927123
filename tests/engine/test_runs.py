"""The run folder: the files of a training are never partial, and no run overwrites another."""

from __future__ import annotations

import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data.trees import dataset
from tests.engine.toys import QUICK, WIDTHS, make_trainer, model_config, shaped
from vidlstm.config_dict import to_dict
from vidlstm.data.split_table import SplitRow, read_split_rows, write_split
from vidlstm.engine.training.run_folder import RunFolder, RunSettings, claim_run, read_epochs
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.models.checkpoint import build_model, load_model

SETTINGS = RunSettings("clips/ä", {"group_by": None}, model_config(), QUICK)
OTHER = replace(SETTINGS, training=replace(QUICK, epochs=9))
DATA = dataset([("a", f"g{i}", None) for i in range(12)])
ROWS = {"a/1.mp4": SplitRow("a", "g1", "train", "p1"), "b/2.mp4": SplitRow("b", "g2", "val", "p2")}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestCreate:
    def test_makes_the_folder_and_writes_the_settings(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path / "runs" / "new")
        assert not run.path.exists()
        run.create(SETTINGS, ROWS, overwrite=False)
        assert names(run.path) == ["config.json", "split.csv"]
        assert run.settings() == SETTINGS

    @pytest.mark.parametrize(
        ("left", "says"),
        [
            ("model.safetensors", "already holds a model"),
            ("last.pt", "holds an unfinished run; continue it with"),
            ("report.html", "already holds a report"),
        ],
    )
    def test_a_run_is_overwritten_only_on_request(self, tmp_path: Path, left: str, says: str) -> None:
        run = RunFolder(tmp_path / "r")
        run.create(SETTINGS, ROWS, overwrite=False)
        (run.path / left).write_bytes(b"precious")
        with pytest.raises(UsageError, match=rf"{says}.* `out`, or pass `overwrite=True`"):
            RunFolder(run.path).create(OTHER, ROWS, overwrite=False)
        assert run.settings() == SETTINGS
        RunFolder(run.path).create(OTHER, ROWS, overwrite=True)

    def test_an_overwritten_run_stays_until_the_first_epoch_of_the_new_one(self, tmp_path: Path) -> None:
        RunFolder(tmp_path).create(SETTINGS, ROWS, overwrite=False)
        (tmp_path / "model.safetensors").write_bytes(b"precious")
        run = RunFolder(tmp_path)
        run.create(OTHER, ROWS, overwrite=True)
        assert (run.settings(), run.holds_earlier) == (SETTINGS, True)
        assert names(tmp_path) == ["config.json", "model.safetensors", "split.csv"]
        trainer = make_trainer(*shaped(12))
        run.write_epoch(next(trainer.run()), trainer, DATA)
        assert (run.settings(), run.holds_earlier) == (OTHER, False)
        assert names(tmp_path) == ["config.json", "last.pt", "metrics.jsonl", "split.csv"]

    def test_no_file_of_the_overwritten_run_is_left_beside_the_new_clips(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path)
        results = (
            "model.safetensors",
            "last.pt",
            "metrics.jsonl",
            "report.html",
            "predictions.csv",
            "curves.png",
        )
        for name in (*results, "my notes.txt"):
            (tmp_path / name).write_bytes(b"old")
        run.create(SETTINGS, ROWS, overwrite=True)
        run.write_model(build_model(model_config(), WIDTHS, None))
        assert names(tmp_path) == ["config.json", "model.safetensors", "my notes.txt", "split.csv"]
        assert (tmp_path / "model.safetensors").read_bytes() != b"old"

    def test_a_file_of_that_name_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "r").write_bytes(b"")
        with pytest.raises(UsageError, match=r"is a file, but a run needs a folder; choose another `out`"):
            RunFolder(tmp_path / "r")

    def test_runs_are_numbered_and_no_number_is_taken_twice(self, tmp_path: Path) -> None:
        assert claim_run(tmp_path / "runs") == tmp_path / "runs" / "1"
        for name in ("7", "mine"):
            (tmp_path / "runs" / name).mkdir()
        assert claim_run(tmp_path / "runs") == tmp_path / "runs" / "8"

    def test_runs_that_start_together_get_separate_folders(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            folders = list(pool.map(lambda _: claim_run(tmp_path / "runs"), range(40)))
        assert sorted(int(folder.name) for folder in folders) == list(range(1, 41))


def reopen(folder: Path) -> dict[str, Any] | None:
    """Turn a folder with any content into a run folder, and resume the run."""
    (folder / "config.json").write_text(json.dumps(to_dict(SETTINGS)))
    write_split(folder / "split.csv", ROWS)
    return RunFolder(folder).reopen(SETTINGS, ROWS, allow_changes=False)


class TestReopen:
    def test_gives_the_state_after_the_newest_epoch(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path)
        run.create(SETTINGS, ROWS, overwrite=False)
        trainer = make_trainer(*shaped(12))
        for report in trainer.run():
            run.write_epoch(report, trainer, DATA)
        again = RunFolder(tmp_path)
        state = again.reopen(SETTINGS, ROWS, allow_changes=False)
        assert state is not None
        assert again.epochs == run.epochs
        assert state["left_out"] == [{f"{i:05d}.mp4" for i in part.val} for part in trainer.parts]
        assert state["learned"] == {f"{i:05d}.mp4" for i in range(12)}
        other = make_trainer(*shaped(12))
        other.restore(state)
        assert other.epoch == trainer.epoch == QUICK.epochs

    def test_before_the_end_of_the_first_epoch_there_is_none(self, tmp_path: Path) -> None:
        assert reopen(tmp_path) is None

    def test_differences_are_named_and_refused(self, tmp_path: Path) -> None:
        RunFolder(tmp_path).create(SETTINGS, ROWS, overwrite=False)
        says = (
            r"data or settings have changed: training\.epochs 4 is now 9; "
            r"1 clip gone \(b/2\.mp4\)\. .*`allow_changes=True`"
        )
        fewer = {"a/1.mp4": ROWS["a/1.mp4"]}
        with pytest.raises(UsageError, match=says):
            RunFolder(tmp_path).reopen(OTHER, fewer, allow_changes=False)
        assert RunFolder(tmp_path).settings() == SETTINGS

    def test_allowed_changes_are_noted_with_the_next_epoch(self, tmp_path: Path) -> None:
        RunFolder(tmp_path).create(SETTINGS, ROWS, overwrite=False)
        run = RunFolder(tmp_path)
        run.reopen(OTHER, ROWS, allow_changes=True)
        assert run.settings() == SETTINGS  # no epoch has been trained with the others yet
        trainer = make_trainer(*shaped(12))
        run.write_epoch(next(trainer.run()), trainer, DATA)
        assert run.settings() == OTHER

    def test_allowed_changes_of_a_finished_run_are_noted_with_its_model(self, tmp_path: Path) -> None:
        RunFolder(tmp_path).create(SETTINGS, ROWS, overwrite=False)
        run = RunFolder(tmp_path)
        fewer = {"a/1.mp4": ROWS["a/1.mp4"]}
        run.reopen(OTHER, fewer, allow_changes=True)
        assert read_split_rows(tmp_path / "split.csv") == ROWS
        run.write_model(build_model(model_config(), WIDTHS, None))
        assert (run.settings(), read_split_rows(tmp_path / "split.csv")) == (OTHER, fewer)

    def test_a_folder_without_a_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"config\.json: not found, so there is no run to resume"):
            RunFolder(tmp_path).reopen(SETTINGS, ROWS, allow_changes=False)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            '{"data": 1, "sources": {}, "model": {}, "training": {}}',
            json.dumps(to_dict(SETTINGS)).replace(
                f'"learning_rate": {QUICK.learning_rate}', f'"learning_rate": 1{"0" * 400}'
            ),
            "[" * 100_000,
        ],
        ids=lambda text: text[:10],
    )
    def test_damaged_settings_are_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
            RunFolder(tmp_path).settings()

    @pytest.mark.parametrize("value", [5, [["print"]]])
    def test_invalid_fingerprints_are_refused(self, tmp_path: Path, value: object) -> None:
        settings = replace(SETTINGS, sources={"learned_before": value})
        (tmp_path / "config.json").write_text(json.dumps(to_dict(settings)))
        with pytest.raises(CheckpointError, match=r"config\.json: cannot be read as a run's settings"):
            RunFolder(tmp_path).settings()


class TestEpochs:
    def test_damaged_epochs_are_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.jsonl").write_text("[" * 100_000)
        assert read_epochs(tmp_path) == []

    def test_each_adds_a_line_and_the_state_for_resuming(self, tmp_path: Path) -> None:
        trainer = make_trainer(*shaped(12))
        run = RunFolder(tmp_path)
        reports = []
        for report in trainer.run():
            reports.append(report)
            run.write_epoch(report, trainer, DATA)
            lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
            assert [json.loads(line) for line in lines] == [r.to_json() for r in reports]
            assert names(tmp_path) == ["last.pt", "metrics.jsonl"]  # and no partly written file

    @pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 half a zip"])
    def test_a_damaged_state_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "last.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"last\.pt: damaged"):
            reopen(tmp_path)

    @pytest.mark.parametrize("content", [[1], {}, {"trainer": {}, "epochs": []}, {"epochs": [{"loss": 1}]}])
    def test_a_state_of_something_else_is_refused(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "last.pt")
        with pytest.raises(CheckpointError, match=r"last\.pt: damaged"):
            reopen(tmp_path)

    def test_code_in_a_state_does_not_run(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "exploded"),)

        for write in (torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))):
            write({"trainer": Bomb(), "epochs": []}, tmp_path / "last.pt")
            with pytest.raises(CheckpointError, match=r"last\.pt: damaged"):
                reopen(tmp_path)
        assert not (tmp_path / "exploded").exists()


def test_the_model_is_written_whole(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_model(build_model(model_config(), WIDTHS, None))
    assert names(tmp_path) == ["model.safetensors"]
    assert load_model(run.model).config == model_config()
