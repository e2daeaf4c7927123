r"""The rows of `spans`: one per span, all rows of a film at once.

`tsv` is `path start end label score`, with empty fields for a film without spans, and the code of a problem
as a sixth field. Escapes are those of `predict`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vidlstm.cli.rows.formats.predictions import (
    ColumnType,
    Format,
    RowKind,
    StoredRow,
    csv_line,
    decode,
    tsv_field,
)
from vidlstm.errors import FailureCode, UsageError
from vidlstm.records import SCHEMA, Failure, FilmSpans, Prediction
from vidlstm.report.text import printable

Film = FilmSpans | Failure
AnyRecord = TypeVar("AnyRecord", Prediction | Failure, FilmSpans | Failure)
"""The records of a command; a command always writes the same kind."""

HEADERS: dict[Format, str] = {"csv": "path,start,end,label,score,error\n"}
_SECONDS = re.compile(r"\d+\.\d\d")
_SCORE = re.compile(r"[01]\.\d{4}")


def _cells(film: Film) -> list[tuple[str, str, str, str, str]]:
    """Return start, end, label, score and code of every row."""
    code = "" if film.problem is None else film.problem.code.value
    spans = () if isinstance(film, Failure) else film.spans
    return [(f"{s.start:.2f}", f"{s.end:.2f}", s.label, f"{s.score:.4f}", code) for s in spans] or [
        ("", "", "", "", code)
    ]


def tsv_rows(film: Film) -> str:
    """Return the lines of a film as tsv."""
    lines = []
    for *cells, code in _cells(film):
        fields = [film.path, *cells, *([code] if code else [])]
        lines.append("\t".join(map(tsv_field, fields)) + "\n")
    return "".join(lines)


def csv_rows(film: Film) -> str:
    """Return the lines of a film as CSV."""
    return "".join(csv_line(film.path, *cells) for cells in _cells(film))


def jsonl_rows(film: Film) -> str:
    """Return the lines of a film as JSON objects."""
    if isinstance(film, FilmSpans):
        return "".join(json.dumps(row) + "\n" for row in film.to_json())
    problem = film.problem.to_json()
    empty = dict.fromkeys(("start", "end", "label", "score"))
    return (
        json.dumps({"schema": SCHEMA, "path": film.path, "seconds": None, "error": problem, **empty}) + "\n"
    )


def table_rows(film: Film) -> str:
    """Return the lines of a film as a table."""
    lines = []
    for start, end, label, score, _ in _cells(film):
        note = (
            ""
            if film.problem is None
            else f"  [{film.problem.code.value}: {printable(film.problem.message)}]"
        )
        shown = printable(label) or "-"
        lines.append(f"{start:>9} {end:>9}  {score or '-':>6}  {shown:16}  {printable(film.path)}{note}\n")
    return "".join(lines)


TABLE_HEADER = f"{'start':>9} {'end':>9}  {'score':>6}  {'label':16}  path\n"
WRITERS: dict[Format, Callable[[Film], str]] = {"tsv": tsv_rows, "csv": csv_rows, "jsonl": jsonl_rows}


def read_row(line: bytes, output_format: Format) -> StoredRow:
    """Return a written row, path and label as `cell_of` gives them.

    Raises:
        UsageError: It is not a row of this format.
    """
    text = decode(line)
    try:
        if output_format == "jsonl":
            return _read_json(json.loads(text))
        cells = text.rstrip("\n").split("\t") if output_format == "tsv" else next(csv.reader([text]))
        path, start, end, label, score, *code = cells
        if len(cells) not in {"tsv": (5, 6), "csv": (6,)}[output_format] or not path:
            raise ValueError
        happens = [bool(pattern.fullmatch(cell)) for pattern, cell in _patterns(start, end, score)]
        if happens != [bool(label)] * 3:
            raise ValueError
        if code and code[0]:
            FailureCode(code[0])
        return StoredRow(path, label, float(start) if start else None)
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError, csv.Error):
        raise UsageError(f"{text.strip()[:60]!r} is not a row of {output_format}") from None


def _patterns(start: str, end: str, score: str) -> Sequence[tuple[re.Pattern[str], str]]:
    return (_SECONDS, start), (_SECONDS, end), (_SCORE, score)


def _read_json(row: Any) -> StoredRow:
    path, label = row["path"], row["label"]
    numbers = [row[key] for key in ("start", "end", "score")]
    kind = type(None) if label is None else (int, float)
    fits = isinstance(path, str) and isinstance(label, str | None)
    if not fits or row["schema"] != SCHEMA or not all(isinstance(n, kind) for n in numbers):
        raise ValueError
    return StoredRow(path, label or "", row["start"])


COLUMNS: dict[str, ColumnType] = {
    "schema": "integer",
    "path": "text",
    "start": "number",
    "end": "number",
    "label": "text",
    "score": "number",
    "seconds": "number",
    "error": "error",
}
SPAN_ROWS = RowKind(HEADERS, WRITERS, read_row, COLUMNS, several=True)
