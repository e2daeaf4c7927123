r"""Write and read the rows of `predict`, one line each in every format.

Paths are written as they were given. `tsv` escapes backslash, tab, newline and carriage return as \\, \t,
\n and \r (as PostgreSQL's COPY does), and the bytes of any other control character as \xNN; `printf %b`
undoes all of it. Bytes that are not UTF-8 stay the same bytes. `jsonl` is ASCII. `csv` is for spreadsheets:
control characters are escaped, and no cell is a formula.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vidlstm.errors import FailureCode, UsageError
from vidlstm.records import SCHEMA, Failure, Prediction

Format = Literal["table", "tsv", "csv", "jsonl", "parquet"]
ColumnType = Literal["text", "texts", "integer", "number", "flag", "scores", "error"]
"""Type of a column of a Parquet file."""
Record = Prediction | Failure

# Control characters, and others that some programs treat as the end of a line.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_SCORE = re.compile(r"[01]\.\d{4}")
_FORMULA = ("=", "+", "-", "@")
_ERRORS = "surrogatepass" if os.name == "nt" else "surrogateescape"  # as in os.fsdecode


def tsv_row(record: Record) -> str:
    """Return `path<TAB>label<TAB>score`, with the code of a failure as a fourth field."""
    label, score, code = _cells(record)
    fields = (record.path, label, score) + ((code,) if code else ())
    return "\t".join(map(tsv_field, fields)) + "\n"


def tsv_field(text: str) -> str:
    """Escape one field."""
    return _show_controls(text.replace("\\", "\\\\"))


def csv_row(record: Record) -> str:
    """Return `path,label,score,error`, without cells that a spreadsheet would treat as formulas."""
    return csv_line(record.path, *_cells(record))


def csv_line(*cells: str) -> str:
    """Return one CSV line; a cell that starts like a formula is prefixed with an apostrophe (OWASP)."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(map(_csv_cell, cells))
    return buffer.getvalue()


def jsonl_row(record: Record) -> str:
    """Return one JSON object on one line, in ASCII."""
    return json.dumps(record.to_json()) + "\n"


def encode(row: str) -> bytes:
    """Encode a row as UTF-8; bytes of a file name that are not UTF-8 are restored."""
    return row.encode("utf-8", _ERRORS)


def decode(row: bytes) -> str:
    """Undo `encode`."""
    return row.decode("utf-8", _ERRORS)


@dataclass(frozen=True)
class StoredRow:
    """A row of a file.

    Args:
        path: The input.
        label: Its label; empty if it has none.
        time: Time in a film, in seconds; None for a record with one row.
    """

    path: str
    label: str
    time: float | None = None

    def continues(self, last: StoredRow | None) -> bool:
        """Tell whether the row belongs to the same record as the row before it, as times increase in one."""
        if last is None or self.path != last.path or self.time is None or last.time is None:
            return False
        return self.time > last.time


def read_row(line: bytes, output_format: Format) -> StoredRow:
    """Return a written row, path and label as `cell_of` gives them.

    Raises:
        UsageError: It is not a row of this format.
    """
    text = decode(line)
    try:
        if output_format == "jsonl":
            return _read_json(text)
        cells = text.rstrip("\n").split("\t") if output_format == "tsv" else next(csv.reader([text]))
        path, label, score, *code = cells
        if len(cells) not in {"tsv": (3, 4), "csv": (4,)}[output_format] or not path:
            raise ValueError
        if score and not _SCORE.fullmatch(score):
            raise ValueError
        if code and code[0]:
            FailureCode(code[0])
        return StoredRow(path, label)
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError, csv.Error):
        raise UsageError(f"{text.strip()[:60]!r} is not a row of {output_format}") from None


def _read_json(text: str) -> StoredRow:
    row = json.loads(text)
    path, label, score = row["path"], row["label"], row["score"]
    fits = isinstance(path, str) and isinstance(label, str | None) and isinstance(score, int | float | None)
    if not fits or row["schema"] != SCHEMA:
        raise ValueError
    return StoredRow(path, label or "")


def cell_of(text: str, output_format: Format) -> str:
    """Return a text as it appears in a row of this format."""
    if output_format == "jsonl":
        return text
    return tsv_field(text) if output_format == "tsv" else _csv_cell(text)


def as_csv(cell: str, output_format: Format) -> str:
    """Return what `cell_of` gives for CSV, from what it gave for another format."""
    if output_format == "csv":
        return cell
    return _csv_cell(cell.replace("\\\\", "\\") if output_format == "tsv" else cell)


def _csv_cell(text: str) -> str:
    shown = _show_controls(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _show_controls(text: str) -> str:
    return _CONTROLS.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    return _SHORT.get(character) or "".join(f"\\x{byte:02x}" for byte in character.encode())


def _cells(record: Record) -> tuple[str, str, str]:
    if isinstance(record, Failure):
        return "", "", record.problem.code.value
    code = record.problem.code.value if record.problem else ""
    return record.label or "", f"{record.score:.4f}", code


WRITERS: dict[Format, Callable[[Record], str]] = {"tsv": tsv_row, "csv": csv_row, "jsonl": jsonl_row}
HEADERS: dict[Format, str] = {"csv": "path,label,score,error\n"}


@dataclass(frozen=True)
class RowKind:
    """How the rows of a command are written to a file and read again.

    Args:
        headers: The header line of each format that has one.
        writers: Functions that return the lines of a record, by format.
        read: Returns the row of a line, path and label as `cell_of` gives them; raises UsageError.
        columns: Columns of a Parquet file, which are the keys of a JSON line.
        several: A record may have several rows, which are written in one call and count as one.
    """

    headers: Mapping[Format, str]
    writers: Mapping[Format, Callable[[Any], str]]
    read: Callable[[bytes, Format], StoredRow]
    columns: Mapping[str, ColumnType] = field(default_factory=dict)
    several: bool = False


COLUMNS: dict[str, ColumnType] = {
    "schema": "integer",
    "path": "text",
    "label": "text",
    "unknown": "flag",
    "score": "number",
    "novelty": "number",
    "top": "scores",
    "frames": "integer",
    "seconds": "number",
    "error": "error",
    "notes": "texts",
}
CLIP_ROWS = RowKind(HEADERS, WRITERS, read_row, COLUMNS)
"""The rows of `predict`."""
