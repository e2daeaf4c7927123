r"""The rows that `predict` writes, in every format.

A path comes out as it went in: `tsv` escapes tab, newline, carriage return and backslash as \t, \n, \r
and \\ (as PostgreSQL's COPY does), and bytes that are not UTF-8 come out as the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Literal

from vidlstm.records import Failure, Prediction

Format = Literal["table", "tsv", "csv", "jsonl"]
Record = Prediction | Failure

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def tsv_row(record: Record) -> str:
    """Return `path<TAB>label<TAB>score`; a failure has no label and no score, and its code last."""
    label, score, code = _cells(record)
    return (
        "\t".join(cell.translate(_ESCAPES) for cell in (record.path, label, score, code)).rstrip("\t") + "\n"
    )


def csv_row(record: Record) -> str:
    """Return `path,label,score,error`, with nothing that a spreadsheet would take for a formula."""
    return csv_line(record.path, *_cells(record))


def csv_line(*cells: str) -> str:
    """Return one CSV line; a cell that begins like a formula gets an apostrophe before it (OWASP)."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(
        [f"'{c}" if c.startswith(_FORMULA) else c for c in cells]
    )
    return buffer.getvalue()


def jsonl_row(record: Record) -> str:
    """Return one JSON object on one line, in ASCII."""
    return json.dumps(record.to_json()) + "\n"


def _cells(record: Record) -> tuple[str, str, str]:
    if isinstance(record, Failure):
        return "", "", record.problem.code.value
    code = record.problem.code.value if record.problem else ""
    return record.label or "", f"{record.score:.4f}", code


WRITERS: dict[Format, Callable[[Record], str]] = {"tsv": tsv_row, "csv": csv_row, "jsonl": jsonl_row}
HEADERS: dict[Format, str] = {"csv": "path,label,score,error\n"}
