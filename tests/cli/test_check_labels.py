"""`vidlstm check --labels`: clips whose label is probably wrong."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import vidlstm
from tests.tiny import write_action


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of `rise` and `sink` by eight performers; one clip of `sink` is in the folder of `rise`."""
    root = tmp_path_factory.mktemp("labels")
    for performer in range(8):
        for action in ("rise", "sink"):
            write_action(root / action / f"person{performer:02}_{action}_d1.avi", action, performer)
    shutil.move(root / "sink/person03_sink_d1.avi", root / "rise/person03_again_d1.avi")
    return root


def test_the_wrong_label_comes_first_in_every_format(data: Path) -> None:
    wrong = str(data / "rise/person03_again_d1.avi")
    outcome = vidlstm("check", data, "--labels", "--json", "--workers", "1")
    assert outcome.status == 0, outcome.err
    first = json.loads(outcome.out)["suspicious_labels"][0]
    assert (first["path"], first["label"], first["suggested"]) == (wrong, "rise", "sink")
    assert first["score"] > 0.5

    outcome = vidlstm("check", data, "--labels", "--format", "csv", "--workers", "1")
    [header, row, *_] = csv.reader(outcome.lines)
    assert header == ["path", "label", "suggested", "score"]
    assert row[:3] == [wrong, "rise", "sink"]

    outcome = vidlstm("check", data, "--labels", "--workers", "1")
    assert f"{wrong}: rise, probably sink" in outcome.out
    assert "1 of 16 labels is suspicious." in outcome.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "csv"), "--format csv needs --labels"),
        (("--labels", "--fix-list"), "cannot be combined"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    arguments: tuple[str, ...], said: str, data: Path
) -> None:
    outcome = vidlstm("check", data, *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err


def test_files_without_labels_have_none_to_check(data: Path) -> None:
    outcome = vidlstm("check", data / "rise", "--labels")
    assert outcome.status == 2
    assert "has no labels to check" in outcome.err


def test_results_of_crossval_are_reused_when_they_match(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "folds"
    run.mkdir(parents=True)
    rows = ["path,label,group,fold,predicted,score,score_rise,score_sink,error"]
    for file in sorted(data.rglob("*.avi")):
        label, group = file.parent.name, file.name[:8]
        sink = 0.9 if ("sink" in file.name) or ("again" in file.name) else 0.1
        rows.append(f"{file},{label},{group},1,-,{sink},{1 - sink:.6f},{sink:.6f},")
    (run / "predictions.csv").write_text("\n".join(rows) + "\n")
    outcome = vidlstm("check", data, "--labels", "--json", "--workers", "1")
    assert "Scores: runs/folds/predictions.csv" in outcome.err
    [found] = json.loads(outcome.out)["suspicious_labels"]
    assert (Path(found["path"]).name, found["suggested"]) == ("person03_again_d1.avi", "sink")
