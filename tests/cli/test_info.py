"""`vidlstm info`: the facts in a checkpoint."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import vidlstm
from tests.cli.shell import TrainedRun
from vidlstm.cli.commands.info import _training_rows
from vidlstm.config import ModelConfig
from vidlstm.config_dict import from_dict
from vidlstm.models.checkpoint import read_header


def test_json_contains_the_whole_config_and_the_facts(trained_run: TrainedRun) -> None:
    ended = vidlstm("info", trained_run.model, "--json")
    assert (ended.status, ended.err) == (0, "")
    said = json.loads(ended.out)
    assert said.keys() == {"schema", "checkpoint", "num_parameters", "model", "training"}
    header = read_header(trained_run.model)
    assert from_dict(ModelConfig, said["model"]) == header.config
    assert said["num_parameters"] == header.num_parameters > 1000
    assert said["training"]["num_clips"] == {"train": 10, "val": 2, "test": 0}
    assert said["training"]["num_groups"] == 6
    assert said["training"]["settings"]["seed"] == 0
    assert (
        not {"learned_from", "left_out"} & said["training"].keys()
    )  # hashes of all clips are not for people


def test_the_table_shows_classes_streams_and_metrics(trained_run: TrainedRun) -> None:
    said = vidlstm("info", trained_run.run).out
    for words in ("rise, sink", "motion", "uniform", "lstm"):
        assert words in said


def test_the_table_shows_the_training_in_words(trained_run: TrainedRun) -> None:
    rows = {line[:20].strip(): line for line in vidlstm("info", trained_run.run).lines}
    said = "\n".join(rows.values())
    assert re.search(
        r"(?m)^ accuracy +\d+ % of the held-out clips right \(95 % interval: \d+ % to \d+ %\)$", said
    )
    assert re.search(r"(?m)^ clips +10 for training, 2 held out for the score$", said)
    assert re.search(r"(?m)^ groups +6\. \S", said)
    assert re.search(r"(?m)^ epochs +8; the weights are those of epoch \d$", said)
    for name in ("num_clips", "num_groups", "group_rule", "top1_ci95", "best_epoch", "fusion", "floor"):
        assert not re.search(rf"(?m)^ {name} ", said)


def test_rows_in_a_pipe_do_not_end_in_spaces(trained_run: TrainedRun) -> None:
    for path in (trained_run.run, trained_run.run.parent):
        lines = vidlstm("info", path).lines
        assert lines == [line.rstrip() for line in lines]


def test_the_windows_of_a_model_of_films_are_shown(film_run: Path) -> None:
    header = read_header(film_run / "model.safetensors")
    assert header.config.spans is not None
    shown = ", ".join(f"{seconds:.4g}" for seconds in header.config.spans.windows)
    assert re.search(rf"(?m)^ *windows +{re.escape(shown)} s of a film$", vidlstm("info", film_run).out)


def test_says_what_each_stream_costs_on_a_clip(trained_run: TrainedRun) -> None:
    clip = trained_run.data / "rise" / "person01_rise_d1.avi"
    ended = vidlstm("info", trained_run.run, "--cost", clip)
    assert (ended.status, ended.err) == (0, "")
    (row,) = [line for line in ended.lines if line.split()[0] == "cost"]
    assert re.search(rf"motion \d+\.\d\d CPU s, decoding included, for {re.escape(str(clip))} on this", row)
    cost = json.loads(vidlstm("info", trained_run.run, "--cost", clip, "--json").out)["cost"]
    assert cost["clip"] == str(clip)
    seconds = cost["cpu_seconds"]
    assert seconds["streams"].keys() == {"motion"}
    assert seconds["streams"]["motion"] > 0
    assert seconds["together"] > 0


def test_costs_need_a_clip_that_can_be_read_and_one_model(trained_run: TrainedRun, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    ended = vidlstm("info", trained_run.run, "--cost", tmp_path / "empty.mp4")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"vidlstm: {tmp_path / 'empty.mp4'}: ")
    ended = vidlstm("info", trained_run.folder / "runs", "--cost", tmp_path / "empty.mp4")
    assert (ended.status, ended.out) == (2, "")
    assert "--cost needs one model, but" in ended.err


def test_names_from_a_file_cannot_control_the_terminal(tmp_path: Path) -> None:
    from tests.cli.conftest import make_model

    make_model(tmp_path / "m.safetensors", classes=("\x1b[31mred", "[bold]b[/bold]", "new\nline"))
    said = vidlstm("info", tmp_path / "m.safetensors").out
    assert "\x1b" not in said
    assert "[bold]b[/bold]" in said


@pytest.mark.parametrize("name", ["gone.safetensors", "folder"])
def test_a_file_that_is_not_a_checkpoint_is_refused_with_a_hint(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    ended = vidlstm("info", tmp_path / name)
    assert (ended.status, ended.out) == (2, "")
    assert name in ended.err
    assert "vidlstm train DATA" in ended.err


def test_a_folder_of_runs_is_listed(trained_run: TrainedRun) -> None:
    ended = vidlstm("info", trained_run.folder / "runs")
    assert ended.status == 0
    (row,) = ended.lines[1:]
    assert row.split()[:2] == [str(trained_run.run), f"{trained_run.said['held_out']['top1']:.3f}"]
    (run,) = json.loads(vidlstm("info", trained_run.folder / "runs", "--json").out)["runs"]
    assert (run["run"], run["top1"]) == (str(trained_run.run), trained_run.said["held_out"]["top1"])


def test_the_environment_may_name_a_run_folder(
    trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDLSTM_CHECKPOINT", str(trained_run.run))
    assert vidlstm("info").status == 0


def test_an_unfinished_run_says_so_and_how_to_continue(
    trained_run: TrainedRun, interrupted_run: Path
) -> None:
    how = (
        f"8 of 12 epochs are done. To continue: vidlstm train {trained_run.data} --resume '{interrupted_run}'"
    )
    ended = vidlstm("info", interrupted_run / "model.safetensors")
    assert ended.status == 0
    assert ended.err.strip() == f"This run is unfinished: {how}"
    said = json.loads(vidlstm("info", interrupted_run, "--json").out)
    assert said["unfinished"] == {"epochs": 8, "planned": 12}


def test_a_run_without_a_model_says_how_to_continue(trained_run: TrainedRun, interrupted_run: Path) -> None:
    (interrupted_run / "model.safetensors").unlink()
    ended = vidlstm("info", interrupted_run)
    assert (ended.status, ended.out) == (2, "")
    assert f"{interrupted_run}: no model yet. This run is unfinished: 8 of 12 epochs are done." in ended.err


def test_a_finished_run_is_not_called_unfinished(trained_run: TrainedRun) -> None:
    assert vidlstm("info", trained_run.run).err == ""


def test_facts_that_are_only_printed_may_have_any_value() -> None:
    facts = {"top1": "high", "top1_ci95": [[]], "num_clips": {}, "num_groups": {"a": None}, "epochs": [1]}
    assert dict(_training_rows(facts))["accuracy"].startswith("high of the held-out clips right")
    assert "clips" not in dict(_training_rows(facts | {"num_clips": [10, 2]}))
