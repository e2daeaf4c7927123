"""`vidlstm review`: make a page from rows, and apply decisions."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.shell import TrainedRun, shell

HEADER = "path,start,end,label,decision,subset\n"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from PIL import Image

    for name in ("data/cat/1.png", "data/cat/2.png", "data/dog/1.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (200, 100, 50)).save(file)
    return tmp_path / "data"


def test_a_page_from_suspicious_labels(pictures: Path, tmp_path: Path) -> None:
    found = [{"path": "data/cat/1.png", "label": "cat", "suggested": "dog", "score": 0.9}]
    (tmp_path / "labels.json").write_text(json.dumps({"schema": 1, "suspicious_labels": found}))
    ended = shell("review", "labels.json", cwd=tmp_path)
    assert (ended.status, ended.out) == (0, "")
    assert "1 clip to review: open review.html in a browser." in ended.err
    page = (tmp_path / "review.html").read_text()
    assert "data/cat/1.png" in page
    assert "/9j/" in page  # the first bytes of a JPEG


def test_paths_may_be_relative_to_the_input(pictures: Path, tmp_path: Path) -> None:
    (pictures / "rows.jsonl").write_text('{"path": "cat/1.png", "label": "cat", "score": 0.9, "top": []}\n')
    assert shell("review", str(pictures / "rows.jsonl"), cwd=tmp_path).status == 0


def test_missing_clips_are_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"path": "gone.png", "label": "cat", "score": 0.9, "top": []}\n')
    ended = shell("review", "rows.jsonl", cwd=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert "gone.png" in ended.err
    assert "--root" in ended.err
    assert not (tmp_path / "review.html").exists()


def test_decisions_move_files_and_can_be_undone(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "decisions.csv").write_text(f"{HEADER}data/cat/2.png,,,cat,dog,test\n")
    ended = shell("review", "--apply", "decisions.csv", "data", cwd=tmp_path)
    assert (ended.status, ended.out) == (0, "")
    assert "1 label changed, 0 confirmed." in ended.err
    assert "1 held-out clip relabelled" in ended.err
    assert (pictures / "dog/2.png").exists()
    ended = shell("review", "--apply", "decisions.undo.csv", "data", cwd=tmp_path)
    assert (ended.status, (pictures / "cat/2.png").exists()) == (0, True)


def test_failures_are_reported_and_the_status_is_1(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "decisions.csv").write_text(f"{HEADER}data/cat/1.png,,,cat,dog,\n")
    ended = shell("review", "--apply", "decisions.csv", "data", cwd=tmp_path)
    assert ended.status == 1
    assert "data/cat/1.png" in ended.err
    assert "already exists" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["--apply", "nowhere.csv", "data"], "nowhere.csv: cannot be read"),
        (["--apply", "d.csv", "data", "--budget", "3"], "--apply can be combined only with DATA"),
        (["rows.jsonl", "-o", "new/page.html"], "new/page.html"),
    ],
)
def test_invalid_options_are_named(arguments: list[str], said: str, tmp_path: Path) -> None:
    ended = shell("review", *arguments, cwd=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "arguments", "file"),
    [
        ("review.json", ["-f", "label-studio"], "review.json"),
        ("tasks.xml", ["-f", "label-studio", "-o", "tasks.json"], "tasks.xml"),
        ("labels.json", ["-o", "./labels.json"], "labels.json"),
        ("run", ["-o", "run/predictions.csv"], "run/predictions.csv"),
    ],
)
def test_the_input_is_never_overwritten(
    source: str, arguments: list[str], file: str, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    text = "path,label,predicted,score\ndata/cat/1.png,cat,dog,0.9\n"
    (tmp_path / file).write_text(text)
    ended = shell("review", source, *arguments, cwd=tmp_path)
    said = f"vidlstm: {file}: would be overwritten, but is INPUT; name another file with --output\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)
    assert (tmp_path / file).read_text() == text


def test_tasks_and_interface_are_two_files(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("path,label,predicted,score\ndata/cat/1.png,cat,dog,0.9\n")
    ended = shell("review", "rows.csv", "-f", "label-studio", "-o", "tasks.xml", cwd=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert "tasks.xml: would hold the labelling interface as well" in ended.err
    assert not (tmp_path / "tasks.xml").exists()


def test_the_command_that_applies_decisions_names_the_data_of_a_run(
    trained_run: TrainedRun, tmp_path: Path
) -> None:
    ended = shell("review", trained_run.run, "-o", "review.html", cwd=tmp_path)
    assert f"Then: vidlstm review --apply decisions.csv {shlex.quote(str(trained_run.data))}\n" in ended.err
