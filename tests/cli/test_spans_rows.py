"""The file of rows of `spans`: all rows of a film or none; other files are never appended to."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import vidlstm
from vidlstm.cli.rows.films.scores import open_scores
from vidlstm.cli.rows.formats.predictions import Format, cell_of, encode
from vidlstm.cli.rows.formats.spans import HEADERS, SPAN_ROWS, WRITERS
from vidlstm.cli.rows.rows_file import RowsFile, open_rows
from vidlstm.engine.prediction.films import LabelledFilm
from vidlstm.engine.spans.smoothing import Timeline
from vidlstm.errors import FailureCode, UsageError
from vidlstm.records import Failure, FilmSpans, Problem, Span

FORMATS: tuple[Format, ...] = ("tsv", "csv", "jsonl")
NAMES = ("day.mp4", "=1+1.mp4", "two\nlines.mp4", "tab\there.mp4", "latin \udce9.mp4")


def film(name: str, *labels: str) -> FilmSpans:
    spans = tuple(Span(number, number + 0.5, label, 0.5) for number, label in enumerate(labels))
    return FilmSpans(name, spans, 60.0, 25.0)


def found_in(file: Path, output_format: Format) -> RowsFile:
    with open_rows(file, output_format, ["walk", "sit"], resume=True, kind=SPAN_ROWS) as rows:
        return rows


def text_of(output_format: Format, *films: FilmSpans | Failure) -> bytes:
    rows = "".join(WRITERS[output_format](film) for film in films)
    return encode(HEADERS.get(output_format, "") + rows)


@pytest.mark.parametrize("output_format", FORMATS)
def test_films_with_rows_are_read_back(tmp_path: Path, output_format: Format) -> None:
    file = tmp_path / "rows"
    failed = Failure("bad.mp4", Problem(FailureCode.NOT_A_VIDEO, "is no video"))
    films = [film(name, "walk", "sit", "walk") for name in NAMES]
    file.write_bytes(text_of(output_format, *films, film("idle.mp4"), failed))
    before = file.read_bytes()
    rows = found_in(file, output_format)
    assert rows.num_rows == len(NAMES) + 2
    for name in (*NAMES, "idle.mp4", "bad.mp4"):
        assert rows.take(name) is not None
        assert rows.take(name) is None, "a film stands for one input"
    assert rows.take("other.mp4") is None
    assert file.read_bytes() == before


@pytest.mark.parametrize("output_format", FORMATS)
def test_after_a_kill_the_last_film_has_all_rows_or_none(tmp_path: Path, output_format: Format) -> None:
    file = tmp_path / "rows"
    first, second = film("a.mp4", "walk", "sit"), film("b.mp4", "walk", "sit", "walk")
    kept, whole = text_of(output_format, first), text_of(output_format, first, second)
    line_ends = {n + 1 for n, byte in enumerate(whole) if byte == ord("\n")}  # a kill cuts within a row
    for cut in sorted(set(range(len(kept) + 1, len(whole))) - line_ends):
        file.write_bytes(whole[:cut])
        rows = found_in(file, output_format)
        assert rows.take("b.mp4") is None
        # A partial row may belong to the film before it; then that film's rows are removed and written again.
        assert (rows.take("a.mp4") is None) is (file.read_bytes() == text_of(output_format))


def test_rows_that_end_with_a_block_are_not_taken_as_complete(tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    first = "a\t1.00\t2.00\tx\t0.5000\n"
    row = "b\t{:03}.00\t999.00\t{}\t0.5000\n"
    length = len(row.format(0, "y"))
    number = (4096 - len(first)) // length
    labels = ["y"] * (number - 1) + ["z" * (4096 - len(first) - number * length + 1)]
    file.write_text(first + "".join(row.format(start, label) for start, label in enumerate(labels)))
    assert file.stat().st_size == 4096
    rows = found_in(file, "tsv")
    assert rows.take("a") == "x"
    assert rows.take("b") is None
    assert file.read_text() == first


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "content",
    [
        b"dear diary\n", b"a.mp4\twalk\t0.5000\n", b"a.mp4\t1\t2\twalk\t0.5\n", b"no end of line",
        b"a\tb\tc\td\te\n", b"path,start,end,label\na.mp4,1,2,walk\n", b"path,label,score,error\n",
        b'{"path": "a", "label": "b", "score": 1, "schema": 1}\n', b"[]\n", b"\n", b"\0" * 5000,
        b"a.mp4\t1.00\t2.00\t\t0.5000\n", b"a.mp4\t1.00\t2.00\twalk\t0.5000\nbut then\nsomething else",
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


def test_one_run_at_a_time_writes_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    with open_rows(file, "tsv", ["walk"], resume=False, kind=SPAN_ROWS) as rows:
        rows.write(film("a.mp4", "walk"))
        with pytest.raises(UsageError, match="is writing rows to it"):
            found_in(file, "tsv")
    assert found_in(file, "tsv").take("a.mp4") == "walk"


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("labels", [("walk", "sit"), ()])
def test_a_film_that_is_named_twice_has_two_records(
    tmp_path: Path, output_format: Format, labels: tuple[str, ...]
) -> None:
    file = tmp_path / "rows"
    file.write_bytes(text_of(output_format, *[film("a.mp4", *labels)] * 2))
    rows = found_in(file, output_format)
    assert rows.num_rows == 2
    assert [rows.take("a.mp4") is None for _ in range(3)] == [False, False, True]


def test_films_without_spans_and_failures_are_records_of_their_own(tmp_path: Path) -> None:
    failed = Failure("a.mp4", Problem(FailureCode.NOT_A_VIDEO, "is no video"))
    (tmp_path / "rows").write_bytes(text_of("tsv", failed, failed, film("a.mp4"), film("a.mp4", "walk")))
    assert found_in(tmp_path / "rows", "tsv").num_rows == 4


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("ending", ["", "half a row"])
@pytest.mark.parametrize("name", [*NAMES, "back\\slash.mp4"])
def test_scores_of_a_film_that_has_rows_are_kept(
    tmp_path: Path, output_format: Format, ending: str, name: str
) -> None:
    file, rows_file = tmp_path / "scores.csv", tmp_path / "rows"
    header = "path,time," + "c" * 1000
    row = f"{cell_of(name, 'csv')},0.25,0.1000\n"
    header += "c" * (4096 - len(encode(f"{header}\n{row}")))  # the file ends with a block
    classes = (header.split(",")[2],)
    film_scores = LabelledFilm(film(name), Timeline(np.full((1, 1), 0.1), 0.5, 0.5), classes)
    with open_scores(file, classes, resume=False) as note:
        note(film_scores)
    whole = file.read_bytes()
    assert len(whole) == 4096
    rows_file.write_bytes(text_of(output_format, film(name)))
    file.write_bytes(whole + ending.encode())
    is_done = found_in(rows_file, output_format).inputs().__contains__
    for _ in range(2):
        with open_scores(file, classes, resume=True, is_done=is_done):
            pass
        assert file.read_bytes() == whole
    with open_scores(file, classes, resume=True):  # its rows are missing
        pass
    assert file.read_bytes() == f"{header}\n".encode()


@pytest.mark.parametrize(
    ("name", "document"), [("day.srt", "srt"), ("day.VTT", "vtt"), ("my day.eaf", "eaf")]
)
def test_rows_are_not_written_into_a_file_named_as_a_document(
    tmp_path: Path, name: str, document: str
) -> None:
    film_file, file = tmp_path / "day.mp4", tmp_path / name
    film_file.touch()
    outcome = vidlstm("spans", film_file, "--output", file)
    assert outcome.status == 2
    assert f"--format {document} --output-dir FOLDER writes one document per film" in outcome.err
    assert f"for a single film, --format {document} > {shlex.quote(str(file))}" in outcome.err
    assert not file.exists()
