"""The run folder: what training leaves behind, never half a file, never one run over another."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from tests.engine.toys import WIDTHS, make_trainer, model_config, shaped
from vidlstm.engine.runs import RunFolder, next_run
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.models.checkpoint import build_model, load_model


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestCreate:
    def test_makes_the_folder_and_notes_how_the_run_was_asked_for(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path / "runs" / "new")
        assert not run.path.exists()
        run.create({"data": "clips/ä"}, overwrite=False)
        assert json.loads((run.path / "config.json").read_text("utf-8")) == {"data": "clips/ä"}

    def test_a_finished_run_is_not_written_over_unless_told(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path / "r")
        run.create({}, overwrite=False)
        run.model.write_bytes(b"precious")
        with pytest.raises(UsageError, match=r"holds a model already; .* --out, or pass --overwrite"):
            RunFolder(run.path).create({"new": 1}, overwrite=False)
        assert (run.path / "config.json").read_text() == "{}\n"
        RunFolder(run.path).create({}, overwrite=True)

    def test_a_file_of_that_name_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "r").write_bytes(b"")
        with pytest.raises(UsageError, match=r"is a file, but a run needs a folder; name another with --out"):
            RunFolder(tmp_path / "r")

    def test_runs_are_numbered_and_no_number_is_taken_twice(self, tmp_path: Path) -> None:
        assert next_run(tmp_path / "runs") == tmp_path / "runs" / "1"
        for name in ("1", "7", "mine"):
            (tmp_path / "runs" / name).mkdir(parents=True)
        assert next_run(tmp_path / "runs") == tmp_path / "runs" / "8"


class TestEpochs:
    def test_each_adds_a_line_and_what_is_needed_to_go_on(self, tmp_path: Path) -> None:
        trainer = make_trainer(*shaped(12))
        run = RunFolder(tmp_path)
        reports = []
        for report in trainer.run():
            reports.append(report)
            run.write_epoch(report, trainer)
            lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
            assert [json.loads(line) for line in lines] == [r.to_json() for r in reports]
            assert names(tmp_path) == ["last.pt", "metrics.jsonl"]  # nothing half-written beside
        again = RunFolder(tmp_path)
        state = again.read_last()
        assert again.epochs == reports
        other = make_trainer(*shaped(12))
        other.restore(state["trainer"])
        assert other.epoch == trainer.epoch

    def test_a_missing_state_says_that_there_is_nothing_to_resume(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"last\.pt: there is nothing to resume"):
            RunFolder(tmp_path).read_last()

    @pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 half a zip"])
    def test_a_damaged_state_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "last.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"last\.pt: damaged"):
            RunFolder(tmp_path).read_last()

    @pytest.mark.parametrize("content", [[1], {}, {"trainer": {}, "epochs": []}, {"epochs": [{"loss": 1}]}])
    def test_a_state_of_something_else_is_refused(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "last.pt")
        with pytest.raises(CheckpointError, match=r"last\.pt: damaged"):
            RunFolder(tmp_path).read_last()

    def test_code_in_a_state_does_not_run(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "exploded"),)

        for write in (torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))):
            write({"trainer": Bomb(), "epochs": []}, tmp_path / "last.pt")
            with pytest.raises(CheckpointError, match=r"last\.pt: damaged"):
                RunFolder(tmp_path).read_last()
        assert not (tmp_path / "exploded").exists()


def test_the_model_is_written_whole(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_model(build_model(model_config(), WIDTHS, None))
    assert names(tmp_path) == ["model.safetensors"]
    assert load_model(run.model).config == model_config()
