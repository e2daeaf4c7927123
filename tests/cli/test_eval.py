"""`vidlstm eval`: the scored subset, how failures count, and the JSON that scripts read."""

from __future__ import annotations

import csv
import html
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import vidlstm
from tests.cli.shell import TrainedRun
from tests.tiny import write_action
from vidlstm.cli.reports import require_page
from vidlstm.errors import UsageError


def evaluate(*arguments: str | Path) -> tuple[dict[str, Any], int, str]:
    ended = vidlstm("eval", *arguments, "--json", "--workers", "1")
    assert ended.out.count("\n") == 1, ended.err
    return json.loads(ended.out), ended.status, ended.err


def held_out(run: TrainedRun) -> set[str]:
    with (run.run / "split.csv").open(newline="") as file:
        return {row["path"] for row in csv.DictReader(file) if row["split"] == "val"}


class TestJson:
    def test_contains_every_figure(self, trained_run: TrainedRun) -> None:
        said, status, _ = evaluate(trained_run.data, "-c", trained_run.model)
        assert status == 0
        assert said.keys() >= {
            "schema", "num_clips", "num_failed", "top1", "top1_ci95", "top5", "mean_class_accuracy",
            "macro_f1", "ece", "ece_uncalibrated", "per_class", "confusion", "failed",
        }  # fmt: skip
        assert (said["schema"], said["num_clips"], said["num_failed"], said["failed"]) == (1, 2, 0, [])
        assert isinstance(said["top1_ci95"], list)
        low, high = said["top1_ci95"]
        assert isinstance(said["top1"], float)
        assert low <= said["top1"] <= high
        assert isinstance(said["per_class"], list)
        assert [row.keys() for row in said["per_class"]] == [
            {"label", "precision", "recall", "f1", "support"}
        ] * 2
        assert [row["label"] for row in said["per_class"]] == ["rise", "sink"]

    def test_reports_the_calibration_error_with_and_without_the_temperature(
        self, trained_run: TrainedRun
    ) -> None:
        said, _, err = evaluate(trained_run.data, "-c", trained_run.model, "--split", "all", "--verbose")
        assert f"(ECE) {said['ece']:.3f}; before calibration {said['ece_uncalibrated']:.3f}" in err
        assert said["temperature"] != 1
        assert said["ece"] != said["ece_uncalibrated"]

    def test_reports_cautions(self, trained_run: TrainedRun) -> None:
        said, _, err = evaluate(trained_run.data, "-c", trained_run.model, "--verbose")
        assert any("2 clips" in caution for caution in said["cautions"])
        assert all(caution in err for caution in said["cautions"])
        assert trained_run.said["cautions"] == said["cautions"]
        page = html.unescape((trained_run.run / "report.html").read_text(encoding="utf-8"))
        assert all(caution in page for caution in said["cautions"])

    def test_names_scored_clips_that_were_trained_on(self, trained_run: TrainedRun) -> None:
        said, _, _ = evaluate(trained_run.data, "-c", trained_run.model, "--split", "train")
        assert "the model was trained on 10 of these 10 clips" in said["cautions"][0]

    def test_agrees_with_the_score_of_train(self, trained_run: TrainedRun) -> None:
        said, _, _ = evaluate(trained_run.data, "-c", trained_run.model)
        assert {key: said[key] for key in trained_run.said["val"]} == trained_run.said["val"]


def test_a_report_replaces_only_pages(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n")
    before = model.read_bytes()
    for data, page in ((tmp_path, table), (tmp_path, model), (tmp_path, tmp_path / "no_suffix")):
        outcome = vidlstm("eval", data, "-c", model, "--report", page)
        assert outcome.status == 2
        example = page.with_name("report.html")
        assert f"--report {page}: is not the name of an HTML file; name one, such as {example}" in outcome.err
    outcome = vidlstm("eval", table, "-c", model, "--report", table)
    assert f"--report {table}: is an input; name another file" in outcome.err
    assert table.read_text() == "path,label\n"
    assert model.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["labels.csv"]


@pytest.mark.parametrize(("name", "is_page"), [("a.HTML", True), ("a.b.htm", True), (".html", False)])
def test_the_name_of_a_page_ends_in_html(name: str, is_page: bool) -> None:
    with nullcontext() if is_page else pytest.raises(UsageError):
        require_page(Path(name), [])


@pytest.mark.parametrize("name", ["out.predictions.csv", "out.curves.png", "out.confusion.png"])
def test_the_files_beside_a_report_replace_no_others(model: Path, tmp_path: Path, name: str) -> None:
    table, page, beside = tmp_path / "test.csv", tmp_path / "out.html", tmp_path / name
    table.write_text("path,label\n")
    beside.write_text("kept")
    outcome = vidlstm("eval", table, "-c", model, "--report", page)
    assert outcome.status == 2
    assert (
        f"{beside}: already exists, and the report would replace it; move it, or choose another --report"
        in outcome.err
    )
    page.touch()  # of an earlier report, whose table is given
    outcome = vidlstm("eval", beside, "-c", model, "--report", page)
    assert outcome.status == 2
    assert f"{beside}: is an input, and the report would replace it; choose another --report" in outcome.err
    assert beside.read_text() == "kept"


def test_the_folders_of_a_report_are_created(trained_run: TrainedRun, tmp_path: Path) -> None:
    page = tmp_path / "new" / "dir" / "out.html"
    assert vidlstm("eval", trained_run.data, "-c", trained_run.model, "--report", page).status == 0
    assert page.is_file()
    assert page.with_name("out.predictions.csv").is_file()
    assert vidlstm("eval", trained_run.data, "-c", trained_run.model, "--report", page).status == 0  # again


class TestSubset:
    def test_is_the_held_out_set_by_default(self, trained_run: TrainedRun) -> None:
        said, _, err = evaluate(trained_run.data, "-c", trained_run.run)  # a run folder works, too
        assert said["num_clips"] == len(held_out(trained_run)) == 2
        assert "val subset" in err
        assert "was trained on" not in err

    def test_may_be_chosen_with_a_warning_about_training_clips(self, trained_run: TrainedRun) -> None:
        for side, num_clips, known in (("all", 12, 10), ("train", 10, 10)):
            said, _, err = evaluate(trained_run.data, "-c", trained_run.model, "--split", side)
            assert said["num_clips"] == num_clips
            assert f"the model was trained on {known} of these {num_clips} clips" in err

    def test_training_clips_are_recognised_after_a_rename_or_move(
        self, trained_run: TrainedRun, tmp_path: Path
    ) -> None:
        known = next(
            clip for clip in sorted(trained_run.data.glob("rise/*"))
            if clip.relative_to(trained_run.data).as_posix() not in held_out(trained_run)
        )  # fmt: skip
        write_action(tmp_path / "d/sink/new.avi", "sink", 99)
        (tmp_path / "d/rise").mkdir()
        shutil.copy(known, tmp_path / "d/rise/renamed.avi")
        said, _, err = evaluate(tmp_path / "d", "-c", trained_run.model)
        assert said["num_clips"] == 2
        assert "the model was trained on 1 of these 2 clips" in err
        assert "renamed.avi" in err

    def test_is_refused_if_missing(self, trained_run: TrainedRun) -> None:
        ended = vidlstm("eval", trained_run.data, "-c", trained_run.model, "--split", "test")
        assert (ended.status, ended.out) == (2, "")
        assert "--split test" in ended.err.splitlines()[-1]
        assert "--split all" in ended.err.splitlines()[-1]


class TestFailedClips:
    def test_are_mistakes_with_a_reason_and_status_1(self, trained_run: TrainedRun, tmp_path: Path) -> None:
        """Faults 8, 11 and 12 of the peers: failed clips are silently left out of the score; status 0."""
        good = write_action(tmp_path / "new.avi", "sink", 77)
        (tmp_path / "bad.avi").write_bytes(b"no clip")
        table = tmp_path / "t.csv"
        table.write_text(
            f"path,label\n{good},sink\n{tmp_path / 'bad.avi'},rise\n{tmp_path / 'gone.avi'},rise\n"
        )
        said, status, err = evaluate(table, "-c", trained_run.model)
        assert status == 1
        assert (said["num_clips"], said["num_failed"]) == (3, 2)
        assert isinstance(said["failed"], list)
        assert [(row["path"], row["error"]["code"]) for row in said["failed"]] == [
            (str(tmp_path / "bad.avi"), "not_a_video"), (str(tmp_path / "gone.avi"), "not_found"),
        ]  # fmt: skip
        assert "2 of them could not be read; each counts as a mistake" in err
        assert isinstance(said["top1"], float)
        assert said["top1"] <= 1 / 3 + 1e-9


class TestRefused:
    def test_a_class_unknown_to_the_model(self, trained_run: TrainedRun, tmp_path: Path) -> None:
        for name in ("rise", "fly"):
            write_action(tmp_path / "d" / name / "a.avi", "rise", 5)
        ended = vidlstm("eval", tmp_path / "d", "-c", trained_run.model)
        assert (ended.status, ended.out) == (2, "")
        assert "'fly'" in ended.err.splitlines()[-1]
        assert "rise, sink" in ended.err.splitlines()[-1]

    @pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
    def test_a_file_that_is_not_a_checkpoint(self, tiny_data: Path, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "m.safetensors").write_bytes(content)
        ended = vidlstm("eval", tiny_data, "-c", tmp_path / "m.safetensors")
        assert (ended.status, ended.out) == (2, "")
        assert f"{tmp_path / 'm.safetensors'}: not a complete vidlstm checkpoint" in ended.err
