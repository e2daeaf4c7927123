"""Rows in every format: one line each, names unchanged, nothing that a terminal or spreadsheet executes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vidlstm.cli.rows.formats.predictions import (
    HEADERS,
    WRITERS,
    Format,
    Record,
    cell_of,
    csv_row,
    encode,
    jsonl_row,
    tsv_row,
)
from vidlstm.cli.rows.output import Table, has_colour
from vidlstm.cli.rows.rows_file import RowsFile, open_rows
from vidlstm.errors import FailureCode, UsageError
from vidlstm.records import Failure, Prediction, Problem, Score

NAMES = [
    "plain.mp4", "with space.mp4", "quote'\".mp4", "new\nline.mp4", "tab\there.mp4", "car\rriage.mp4",
    "back\\slash\\n.mp4", "-dash.mp4", "=1+1.mp4", "@cmd.mp4", "+plus.mp4", "'apostrophe.mp4",
    "not utf-8 \udcff\udc9b.mp4", "bell\x07.mp4", "\x1b[31mred\x1b[0m.mp4", "\x9b31m.mp4", "comma,.mp4",
    "émile ☃ 日本.mp4", "line\u2028sep\u2029.mp4", " lead", "trail ", "#hash", "%41 %s", "./dot", "a//b",
]  # fmt: skip
TRUNCATED = Problem(FailureCode.TRUNCATED, "decoding stopped at frame 28 of 50")


def prediction(path: str, label: str | None = "wave", problem: Problem | None = None) -> Prediction:
    top = (Score("wave", 0.93), Score("sit", 0.07))
    return Prediction(path, label, 0.93, top, 16, 6.2, problem)


def failure(path: str) -> Failure:
    return Failure(path, Problem(FailureCode.NOT_FOUND, "no such file"))


def test_a_tsv_row_has_path_label_and_score() -> None:
    assert tsv_row(prediction("a.mp4")) == "a.mp4\twave\t0.9300\n"
    assert tsv_row(prediction("a.mp4", label=None)) == "a.mp4\t\t0.9300\n"
    assert tsv_row(prediction("a.mp4", problem=TRUNCATED)) == "a.mp4\twave\t0.9300\ttruncated\n"
    assert tsv_row(failure("a.mp4")) == "a.mp4\t\t\tnot_found\n"


def test_a_csv_row_has_four_cells() -> None:
    assert csv_row(prediction("a.mp4")) == "a.mp4,wave,0.9300,\n"
    assert csv_row(failure("a b.mp4")) == "a b.mp4,,,not_found\n"


def test_a_jsonl_row_has_the_same_keys_for_success_and_failure() -> None:
    good, bad = json.loads(jsonl_row(prediction("a.mp4"))), json.loads(jsonl_row(failure("a.mp4")))
    assert list(good) == list(bad)
    assert good["top"] == [{"label": "wave", "score": 0.93}, {"label": "sit", "score": 0.07}]
    assert (good["error"], bad["label"], bad["score"], bad["top"]) == (None, None, None, [])
    assert bad["error"] == {"code": "not_found", "message": "no such file"}


@pytest.mark.parametrize("output_format", ["tsv", "csv", "jsonl"])
@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_one_line_without_control_characters(name: str, output_format: Format) -> None:
    record: Record
    for record in (prediction(name, label=name), failure(name)):
        line = encode(WRITERS[output_format](record))
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        controls = [c for c in line[:-1].decode("utf-8", "replace") if ord(c) < 32 or 127 <= ord(c) < 160]
        assert controls == (["\t"] * 2 if output_format == "tsv" and record.problem is None else
                            ["\t"] * 3 if output_format == "tsv" else [])  # fmt: skip
        assert len(line.decode("utf-8", "surrogateescape").splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_names_survive_jsonl(name: str) -> None:
    assert json.loads(jsonl_row(prediction(name)))["path"] == name


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_names_survive_tsv_and_printf() -> None:
    rows = b"".join(encode(tsv_row(prediction(name))) for name in NAMES)
    script = r"""cut -f1 | while IFS= read -r path; do printf '%b\0' "$path"; done"""
    done = subprocess.run(["bash", "-c", script], input=rows, capture_output=True, check=True)
    assert done.stdout.split(b"\0")[:-1] == [encode(name) for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_no_csv_cell_starts_like_a_formula(name: str) -> None:
    (cells,) = csv.reader(io.StringIO(csv_row(prediction(name, label=name)), newline=""))
    assert len(cells) == 4
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)


def found_in(file: Path, output_format: Format, labels: Sequence[str] = ("wave",)) -> RowsFile:
    with open_rows(file, output_format, labels, resume=True) as rows:
        return rows


@pytest.mark.parametrize("output_format", ["tsv", "csv", "jsonl"])
def test_written_rows_are_read_back(tmp_path: Path, output_format: Format) -> None:
    file = tmp_path / "rows"
    content = HEADERS.get(output_format, "").encode()
    for name in NAMES:
        content += encode(WRITERS[output_format](prediction(name)))
    content += encode(WRITERS[output_format](failure("bad.mp4")))
    file.write_bytes(content + b"half a row")
    rows = found_in(file, output_format)
    assert file.read_bytes() == content
    assert rows.cut == "half a row"
    assert rows.num_rows == len(NAMES) + 1
    assert [rows.take(name) for name in NAMES] == ["wave"] * len(NAMES)
    assert rows.take(NAMES[0]) is None, "a row stands for one input"
    assert rows.take("bad.mp4") == ""
    assert rows.take("other.mp4") is None


@pytest.mark.parametrize("output_format", ["tsv", "csv", "jsonl"])
def test_escaped_labels_are_read_back(tmp_path: Path, output_format: Format) -> None:
    file = tmp_path / "rows"
    content = HEADERS.get(output_format, "") + "".join(
        WRITERS[output_format](prediction(f"{number}.mp4", label)) for number, label in enumerate(NAMES)
    )
    file.write_bytes(encode(content))
    rows = found_in(file, output_format, NAMES)
    assert [rows.take(f"{number}.mp4") for number in range(len(NAMES))] == NAMES


@pytest.mark.parametrize("output_format", ["tsv", "csv", "jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        b"dear diary\n", b"no end of line", b"a\tb\tc\n", b"a.mp4\twave\t0.5\n", b"a.mp4,wave,0.5000,\n",
        b'{"a": 1}', b'{"a": 1}\n', b'{"path": "a", "label": "b", "score": 1}\n', b"[" * 99_999 + b"\n",
        b"\x89PNG\r\n\x1a\n\0\0", b"\0" * 5000, b"a.mp4\twave\t0.9300\nbut then\nsomething else",
        b"path,label,score,error\nbut then\nsomething else", b"1\n2\n3", b"\n", b"\t\t\n",
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_left_as_it_is(
    tmp_path: Path, output_format: Format, content: bytes
) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"notes\.txt, line \d.* not changed"):
        found_in(file, output_format)
    assert file.read_bytes() == content


@pytest.mark.parametrize(("output_format", "half"), [("csv", b"path,la"), ("jsonl", b'{"schema": 1, "pa')])
def test_a_kill_in_the_first_row_can_be_resumed(tmp_path: Path, output_format: Format, half: bytes) -> None:
    file = tmp_path / "rows"
    file.write_bytes(half)
    assert found_in(file, output_format).cut == half.decode()
    assert file.read_bytes() == b""


def test_a_second_run_on_one_file_is_refused_and_names_the_first(tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    with open_rows(file, "tsv", ["wave"], resume=True) as rows:
        rows.write(prediction("a.mp4"))
        content = file.read_bytes()
        who = f"process {os.getpid()}" if sys.platform == "linux" else "another run"
        for resume in (True, False):
            with pytest.raises(UsageError, match=rf"rows\.tsv: {who} is writing rows to it"):  # noqa: SIM117
                with open_rows(file, "tsv", ["wave"], resume=resume):
                    pass
        assert file.read_bytes() == content
    with open_rows(file, "tsv", ["wave"], resume=True) as rows:
        assert rows.take("a.mp4") == "wave"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_names_the_file() -> None:
    with (
        open_rows(Path("/dev/full"), "tsv", ["wave"], resume=False) as rows,
        pytest.raises(OSError, match="/dev/full"),
    ):
        rows.write(prediction("a.mp4"))


def test_keys_distinguish_names() -> None:
    formats: tuple[Format, ...] = ("tsv", "jsonl")
    for output_format in formats:
        assert len({cell_of(name, output_format) for name in NAMES}) == len(NAMES)


def test_the_table_needs_no_later_row_to_align() -> None:
    table = Table(["wave", "jumping_jack"], more=True)
    rows = [
        table.header,
        table.row(prediction("a.mp4")),
        table.row(prediction("b\x1b.mp4", label=None)),
        table.row(replace(prediction("b.mp4", label=None), unknown=True)),
        table.row(failure("c.mp4")),
    ]
    assert rows == [
        "score  label         path\n",
        "0.930  wave          a.mp4  (sit 0.070)\n",
        "0.930  -             b\\x1b.mp4  (sit 0.070)\n",
        "    -  unknown       b.mp4  (wave 0.930, sit 0.070)\n",
        "    -                c.mp4  [not_found: no such file]\n",
    ]


def test_rows_without_a_label_are_coloured_and_still_escaped() -> None:
    table = Table(["wave"], more=False, colour=True)
    rows = [
        table.row(prediction("a.mp4")),
        table.row(replace(prediction("b\x1b.mp4", label=None), unknown=True)),
        table.row(failure("c.mp4")),
    ]
    assert rows == [
        "0.930  wave     a.mp4\n",
        "    -  \x1b[33munknown\x1b[0m  b\\x1b.mp4\n",
        "    -           c.mp4  \x1b[31m[not_found: no such file]\x1b[0m\n",
    ]


@pytest.mark.parametrize(
    ("env", "wanted"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_no_colour_if_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], wanted: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WT_SESSION", "1")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert has_colour() is wanted
