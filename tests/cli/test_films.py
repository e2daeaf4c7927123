"""Training and evaluation on films: real runs of the commands on tiny films."""

from __future__ import annotations

import csv
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import QUICK, vidlstm
from vidlstm.models.header import read_header


def test_training_keeps_windows_background_and_a_fitted_cost(film_run: Path) -> None:
    config = read_header(film_run / "model.safetensors").config
    assert config.classes == ("background", "rise", "sink")
    assert config.spans is not None
    assert config.spans.windows == pytest.approx((2.2, 4.4))  # 0.75 and 1.5 of 3 s
    assert config.spans.background == "background"


def test_the_windows_have_the_length_of_the_actions_in_the_training_films(
    films: Path, tmp_path: Path
) -> None:
    rows = list(csv.DictReader((films.parent / "spans.csv").read_text().splitlines()))
    lines = ["path,start,end,label"]
    for row in rows:  # another length in each film
        seconds = 1 + 0.4 * int(row["path"].removeprefix("film")[0])
        start = float(row["start"])
        lines.append(f"{films.parent / row['path']},{start},{start + seconds},{row['label']}")
    table = tmp_path / "spans.csv"
    table.write_text("\n".join(lines))
    run = tmp_path / "run"
    short = (
        "--streams",
        "motion",
        "--epochs",
        "1",
        "--members",
        "1",
        "--workers",
        "1",
        "--background",
        "none",
    )
    assert vidlstm("train", table, "--out", run, *short).status == 0
    lengths: dict[str, list[float]] = {"train": [], "val": []}
    for row in csv.DictReader((run / "split.csv").read_text().splitlines()):
        start, end = map(float, row["path"].split("#t=")[1].split(","))
        lengths[row["split"]].append(end - start)
    spans = read_header(run / "model.safetensors").config.spans
    assert spans is not None
    assert lengths["val"]
    assert statistics.median(lengths["train"]) != statistics.median(lengths["train"] + lengths["val"])
    assert spans.windows[0] == round(0.75 * statistics.median(lengths["train"]), 1)


def test_the_split_names_parts_of_films_and_no_film_is_in_two_subsets(film_run: Path) -> None:
    rows = list(csv.DictReader((film_run / "split.csv").read_text().splitlines()))
    subsets: dict[str, set[str]] = {}
    for row in rows:
        subsets.setdefault(row["path"].split("#t=")[0], set()).add(row["split"])
    assert len(subsets) == 5
    assert all(len(found) == 1 for found in subsets.values())
    assert rows[0]["path"] == "film0.avi#t=0.00,2.50"


def test_predictions_and_report_name_the_times_of_each_part(film_run: Path) -> None:
    rows = list(csv.DictReader((film_run / "predictions.csv").read_text().splitlines()))
    names = [row["path"] for row in rows]
    assert len(set(names)) == len(names) > 4
    assert names[0].endswith(".avi#t=0.00,2.50")
    page = (film_run / "report.html").read_text(encoding="utf-8")
    shown = re.findall(r'<img src="(.*?)" alt="frame 1 of (.*?)">', page)
    assert all(re.fullmatch(r".*film\d\.avi, \d+\.\d to \d+\.\d s", name) for _, name in shown)
    assert len({image for image, _ in shown}) > 1  # not always the beginning of the film


def test_eval_scores_the_films_that_were_held_out(films: Path, film_run: Path) -> None:
    outcome = vidlstm("eval", films, "--checkpoint", film_run, "--json", "--workers", "1")
    assert outcome.status == 0, outcome.err
    told = json.loads(outcome.out)["spans"]
    assert told["num_films"] == 1
    assert told["num_spans"] == 4
    assert set(told["f1"]) == {"10", "25", "50"}
    assert set(told["map"]) == {"0.3", "0.4", "0.5", "0.6", "0.7"}
    assert set(told["baselines"]) == {"majority", "threshold"}
    assert told["frame_accuracy"] > told["baselines"]["majority"]["frame_accuracy"]
    assert "Spans: 4 in 1 film of 1 group\n" in outcome.err


def test_eval_leaves_out_times_in_which_nobody_knows_what_happens(
    films: Path, film_run: Path, tmp_path: Path
) -> None:
    rows = [f"{films.parent}/{line}" for line in films.read_text().splitlines()[1:]]
    rows = [row for row in rows if row.partition(",")[0].endswith(("film0.avi", "film1.avi"))]
    spans = [row for row in rows if "film0" in row]
    path, start, end, _ = spans[1].split(",")
    table, page = tmp_path / "spans.csv", tmp_path / "report.html"

    def scored(*lines: str) -> tuple[dict[str, Any], str]:
        table.write_text("\n".join(["path,start,end,label", *lines]))
        options = ("--split", "all", "--json", "--report", page, "--workers", "1")
        outcome = vidlstm("eval", table, "-c", film_run, *options)
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)["spans"], outcome.err

    unlabelled = [row.replace(row.rpartition(",")[2], "") if row == spans[1] else row for row in rows]
    other = [row for row in unlabelled if row != f"{path},{start},{end},"]
    (lacking, _), (left_out, err) = scored(*other), scored(*unlabelled)
    assert (lacking["num_spans"], left_out["num_spans"]) == (7, 7)
    assert lacking["frame_accuracy"] < left_out["frame_accuracy"]  # the model finds the span
    assert left_out["unclear_seconds"] == pytest.approx(float(end) - float(start))
    assert "  3.0 s are not counted, as annotations there cannot be used.\n" in err
    assert page.read_text(encoding="utf-8").count('<rect class="unclear"') == 1

    anywhere, err = scored(*rows, f"{path},?,?,rise")
    assert (anywhere["num_films"], anywhere["not_scored"]) == (1, [path])
    assert f"1 film not scored, as an annotation that is not used may be anywhere: {path}; " in err
    assert "Not scored, as an annotation that is not used may be anywhere" in page.read_text(encoding="utf-8")


def test_train_gives_the_figures_that_eval_gives(films: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = vidlstm("train", films, "--out", run, "--json", "--background", "none", *QUICK)
    assert trained.status == 0, trained.err
    scored = vidlstm("eval", films, "-c", run, "--json", "--background", "none", "--workers", "1")
    spans, told = json.loads(trained.out)["spans"], json.loads(scored.out)
    assert spans["num_spans"] == 4
    assert spans == told["spans"]
    assert {row["label"] for row in told["per_class"]} == {"rise", "sink"}  # of the clips, beside the spans
    assert "Spans: 4 in 1 film of 1 group\n" in trained.err


def test_the_reports_of_all_commands_show_the_films(films: Path, film_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "eval.html"
    assert vidlstm("eval", films, "-c", film_run, "--report", page, "--workers", "1").status == 0
    folds = tmp_path / "folds"
    assert vidlstm("crossval", films, "--folds", "2", "--out", folds, *QUICK[:3], "2", *QUICK[4:]).status == 0
    for file, number in ((film_run / "report.html", 1), (page, 1), (folds / "report.html", 5)):
        text = file.read_text(encoding="utf-8")
        assert text.count('aria-label="Annotated spans"') == number
        assert text.count('aria-label="Spans found by the model"') == number
        assert text.count("<title>rise") >= 2 * number


def test_crossval_on_films(films: Path) -> None:
    outcome = vidlstm("crossval", films, "--folds", "group", "--json", *QUICK)
    assert outcome.status == 0, outcome.err
    told = json.loads(outcome.out)
    spans = told["spans"]
    assert (spans["num_films"], spans["num_spans"], told["num_folds"]) == (5, 20, 5)
    assert spans["f1"]["50"] >= 0.8
    assert told["spans_per_seed"]["0"]["edit"] == spans["edit"]


def test_bad_annotations_are_reported_and_the_rest_is_used(films: Path, tmp_path: Path) -> None:
    table = tmp_path / "spans.csv"
    rows = [line.replace("film", f"{films.parent}/film", 1) for line in films.read_text().splitlines()[1:]]
    table.write_text(
        "\n".join(["path,start,end,label", *rows, f"{films.parent}/film0.avi,9,8,rise", "x,1,2,rise"])
    )
    outcome = vidlstm("train", table, "--out", tmp_path / "run", *QUICK[:3], "2", *QUICK[4:])
    assert outcome.status == 0, outcome.err
    assert "2 annotations not used, such as" in outcome.err
    assert (
        "Films: 5 with 20 spans; whole films are held out. Spans longer than 10 s are cut into several "
        'clips, and unlabelled time is cut into clips of "background".\n'
    ) in outcome.err


@pytest.mark.parametrize("option", [("--encoder", "simple"), ("--unfreeze", "1"), ("--unfreeze", "all")])
def test_an_encoder_is_not_trained_on_films(films: Path, tmp_path: Path, option: tuple[str, str]) -> None:
    outcome = vidlstm("train", films, "--out", tmp_path / "run", *option)
    assert outcome.status == 2
    assert (
        "the encoder can be trained on clips, not on films; leave out --unfreeze and --encoder simple"
        in outcome.err
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stream", ["colour", "texture"])
def test_streams_of_whole_clips_are_refused_before_a_film_is_read(
    films: Path, tmp_path: Path, stream: str
) -> None:
    for command in (("train", films, "--out", tmp_path / "run"), ("crossval", films)):
        outcome = vidlstm(*command, "--streams", f"motion+{stream}")
        assert (outcome.status, outcome.out) == (2, "")
        assert f"--streams: {stream} describes a whole clip and cannot be used for films" in outcome.err
    assert not (tmp_path / "run").exists()


def test_without_background_only_the_actions_are_classes(films: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = vidlstm("train", films, "--out", run, "--background", "none", *QUICK[:3], "2", *QUICK[4:])
    assert outcome.status == 0, outcome.err
    config = read_header(run / "model.safetensors").config
    assert config.classes == ("rise", "sink")
    assert config.spans is not None
    assert config.spans.background is None
    assert (
        f"Next: vidlstm spans --checkpoint {(run / 'model.safetensors').as_posix()} FILM_OR_FOLDER"
        in outcome.err
    )


def test_without_held_out_films_there_is_nothing_to_score(films: Path, tmp_path: Path) -> None:
    short = (*QUICK[:3], "1", *QUICK[4:], "--val-share", "0")
    outcome = vidlstm("train", films, "--out", tmp_path / "run", *short)
    assert outcome.status == 0, outcome.err
    assert "Spans:" not in outcome.err
