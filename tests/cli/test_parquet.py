"""`--output rows.parquet`: the same rows as jsonl, none lost or repeated, whenever a run ends."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import vidlstm
from vidlstm.cli.rows.parquet import open_target
from vidlstm.errors import FailureCode
from vidlstm.records import Failure, Prediction, Problem

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'vidlstm[parquet]'")
parquet = pytest.importorskip("pyarrow.parquet")


def read(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    return rows


def plain(*arguments: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in vidlstm(*arguments, "-f", "jsonl").lines]


@pytest.fixture
def command(model: Path) -> tuple[str | Path, ...]:
    return ("predict", "-c", model, "--workers", "1")


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_rows_are_those_of_jsonl(command: tuple[str, ...], clips: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(clips / "a.avi", tmp_path / "in")
    (tmp_path / "in/empty.avi").touch()
    file = tmp_path / "rows.parquet"
    ended = vidlstm(*command, tmp_path / "in", "-o", file)
    assert ended.status == 1
    assert [{k: v for k, v in row.items() if k != "path_bytes"} for row in read(file)] == plain(
        *command, tmp_path / "in"
    )
    assert hidden(tmp_path) == []


def test_a_run_is_resumed_after_its_end(command: tuple[str, ...], clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    assert vidlstm(*command, clips / "a.avi", "-o", file).status == 0
    ended = vidlstm(*command, clips, "--resume", file)
    assert f"{file}: 1 row found" in ended.err
    assert [row["path"] for row in read(file)] == [str(clips / n) for n in ("a.avi", "b.avi", "sub/c.avi")]
    ended = vidlstm(*command, clips / "a.avi", "-o", file)
    assert ended.status == 2
    assert "already exists" in ended.err


def test_rows_of_a_killed_run_are_kept(command: tuple[str, ...], clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    lines = vidlstm(*command, clips, "-f", "jsonl").lines
    (tmp_path / ".rows.parquet.0.jsonl").write_text(f"{lines[0]}\n{lines[1]}\n{lines[2][:20]}")
    ended = vidlstm(*command, clips, "-o", file)
    assert ended.status == 2
    assert "continue that run with --resume" in ended.err
    ended = vidlstm(*command, clips, "--resume", file)
    assert ended.status == 0, ended.err
    assert "2 rows found" in ended.err
    assert len(read(file)) == 3
    assert hidden(tmp_path) == []


def test_a_kill_before_the_journal_is_removed_repeats_no_row(
    command: tuple[str, ...], clips: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.parquet"
    vidlstm(*command, clips, "-o", file)
    lines = vidlstm(*command, clips, "-f", "jsonl").lines
    (tmp_path / ".rows.parquet.0.jsonl").write_text("".join(f"{line}\n" for line in lines))
    assert vidlstm(*command, clips, "--resume", file).status == 0
    assert len(read(file)) == 3
    assert hidden(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_not_utf8_is_kept_beside_its_printable_form(
    command: tuple[str, ...], clips: Path, tmp_path: Path
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff.avi"
    try:
        shutil.copy(clips / "a.avi", os.fsdecode(odd))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    file = tmp_path / "rows.parquet"
    assert vidlstm(*command, os.fsdecode(odd), "-o", file).status == 0
    (row,) = read(file)
    assert row["path_bytes"] == odd
    vidlstm(*command, os.fsdecode(odd), "--resume", file)
    assert len(read(file)) == 1


def test_notes_and_messages_with_names_that_are_not_utf8_are_printable(tmp_path: Path) -> None:
    file, name = tmp_path / "rows.parquet", "x\udcff.jpg"
    problem = Problem(FailureCode.READ_ERROR, f"{name}: no")
    labelled = Prediction("a", "sit", 0.9, (), 3, 1.0, problem, notes=(f"{name} skipped", "line\nbreak"))
    with open_target(file, "parquet", ["sit"], resume=True) as rows:
        rows.write(labelled)
        rows.write(Failure("b", problem))
    first, second = read(file)
    assert first["notes"] == ["x\\xff.jpg skipped", "line\nbreak"]
    assert first["error"]["message"] == second["error"]["message"] == "x\\xff.jpg: no"
    assert hidden(tmp_path) == []


def test_other_files_are_not_changed(command: tuple[str, ...], clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"a": [1]}), file)
    ended = vidlstm(*command, clips, "--resume", file)
    assert (ended.status, "has other columns" in ended.err) == (2, True)
    file.write_bytes(b"text")
    ended = vidlstm(*command, clips, "--resume", file)
    assert (ended.status, "is not a Parquet file" in ended.err) == (2, True)
    assert file.read_bytes() == b"text"


def test_spans_in_parquet(film_run: Path, films: Path, tmp_path: Path) -> None:
    file = tmp_path / "spans.parquet"
    film = next(films.parent.glob("*.avi"))
    command = ("spans", film, "-c", film_run, "--workers", "1")
    assert vidlstm(*command, "-o", file).status == 0
    rows = read(file)
    assert [{k: v for k, v in row.items() if k != "path_bytes"} for row in rows] == plain(*command)
    ended = vidlstm(*command, "--resume", file)
    assert ended.status == 0
    assert read(file) == rows
    for _ in range(2):  # the same film twice has two records
        assert vidlstm(*command, film, "--resume", file).status == 0
        assert read(file) == rows * 2


def test_it_needs_a_file_and_pyarrow(
    command: tuple[str, ...], clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = vidlstm(*command, clips, "--format", "parquet")
    assert (ended.status, ended.err) == (
        2,
        "vidlstm: --format parquet: is for files; name one with --output\n",
    )
    monkeypatch.setattr("vidlstm.cli.rows.parquet.find_spec", lambda _: None)
    ended = vidlstm(*command, clips, "-o", tmp_path / "rows.parquet")
    assert ended.status == 2
    assert "pip install 'vidlstm[parquet]'" in ended.err
