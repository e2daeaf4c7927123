"""Where rows are written: a pipe, a terminal or a file."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlstm.cli.rows.formats.predictions import HEADERS, WRITERS, Format, Record, encode
from vidlstm.cli.rows.rows_file import RowsFile, require_empty
from vidlstm.errors import UsageError
from vidlstm.records import Failure
from vidlstm.report.text import printable

_BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
_RED, _YELLOW = 31, 33


def choose_format(wanted: Format | None, file: Path | None) -> Format:
    """Return the format of the rows: by suffix for a file, a table for a terminal, otherwise tsv.

    Raises:
        UsageError: A file is to hold a table, or a single JSON document.
    """
    if file is not None:
        if wanted == "table":
            raise UsageError(f"--format table: is for terminals; use tsv, csv, jsonl or parquet for {file}")
        if wanted is None and file.suffix.lower() == ".json":
            raise UsageError(
                f"{file}: rows are JSON lines, one object per line; name the file "
                f"{file.with_suffix('.jsonl')}, or add --format jsonl"
            )
        if wanted is None and file.suffix.lower() in (".xlsx", ".xls", ".ods"):
            raise UsageError(f"{file}: spreadsheets open CSV files; name the file {file.with_suffix('.csv')}")
        return wanted or _BY_SUFFIX.get(file.suffix.lower(), "tsv")
    if wanted == "parquet":
        raise UsageError("--format parquet: is for files; name one with --output")
    return wanted or ("table" if sys.stdout.isatty() else "tsv")


@dataclass(frozen=True)
class Output:
    """Where rows go.

    Args:
        write: Writes a record, at once and whole.
        sync: Waits until all rows are on disk, if they go to a file.
    """

    write: Callable[[Any], None]
    sync: Callable[[], None]


def to_file(rows: RowsFile) -> Output:
    """Write rows to a file."""
    rows.begin()
    return Output(rows.write, rows.sync)


def to_stdout(output_format: Format, labels: Sequence[str], *, more: bool) -> Output:
    """Write rows to standard output.

    Args:
        output_format: Format of the rows.
        labels: Classes that may appear in rows; they determine the width of a table's columns.
        more: Show the runners-up in a table.
    """
    is_terminal = sys.stdout.isatty()
    table = Table(labels, more=more, colour=is_terminal and has_colour())
    header = table.header if output_format == "table" else HEADERS.get(output_format, "")

    def show(text: str) -> None:
        if is_terminal and output_format != "table":
            text = "".join(c if c in "\t\n" else printable(c) for c in text)
        sys.stdout.buffer.write(encode(text))
        sys.stdout.buffer.flush()

    def sync() -> None:
        with contextlib.suppress(OSError, ValueError):  # a pipe, or no file at all
            os.fsync(sys.stdout.fileno())

    if header:
        show(header)
    to_text = table.row if output_format == "table" else WRITERS[output_format]
    return Output(lambda record: show(to_text(record)), sync)


def has_colour() -> bool:
    """Tell whether the terminal supports colours and the user wants them (https://no-color.org)."""
    knows = os.name != "nt" or "WT_SESSION" in os.environ
    return knows and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Table:
    """Columns score, label and path, whose widths are known before the first row.

    Args:
        labels: Classes that may appear in rows.
        more: Show the runners-up.
        colour: Show rows without a label in yellow, and failures in red.
    """

    def __init__(self, labels: Sequence[str], *, more: bool, colour: bool = False) -> None:
        self._width = max(len(printable(label)) for label in (*labels, "unknown"))
        self._more = more
        self._colour = colour
        self.header = f"score  {'label':{self._width}}  path\n"

    def row(self, record: Record) -> str:
        """Return one line, without control characters except for colours."""
        label, score, rest = "", "    -", ""
        if not isinstance(record, Failure):
            label = "unknown" if record.unknown else record.label or "-"
            # The score is of the best class: beside `unknown` it would look like confidence in that.
            score = "    -" if record.unknown else f"{record.score:5.3f}"
            if self._more:
                listed = record.top if record.unknown else record.top[1:]
                rest = "  (" + ", ".join(f"{printable(s.label)} {s.score:.3f}" for s in listed) + ")"
        cell = f"{printable(label):{self._width}}"
        if not isinstance(record, Failure) and record.label is None:
            cell = self._paint(cell, _YELLOW)
        if record.problem is not None:
            colour = _RED if isinstance(record, Failure) else _YELLOW
            why = f"[{record.problem.code.value}: {printable(record.problem.message)}]"
            rest += f"  {self._paint(why, colour)}"
        return f"{score}  {cell}  {printable(record.path)}{rest}\n"

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def when_reader_leaves(call: Callable[[], None]) -> None:
    """Call a function when the reader of standard output has gone (`| head -1`), even between rows."""
    try:
        fd = sys.stdout.fileno()
        if not (hasattr(select, "poll") and stat.S_ISFIFO(os.fstat(fd).st_mode)):
            return
    except (OSError, ValueError):
        return
    poll = select.poll()
    poll.register(fd, 0)  # errors are always reported

    def watch() -> None:
        if poll.poll():
            call()

    threading.Thread(target=watch, daemon=True).start()


def choose_target(output: Path | None, resume: Path | None) -> Path | None:
    """Return the file that rows are appended to; None for standard output."""
    if resume is not None and output is not None and output != resume:
        raise UsageError("--resume FILE appends to FILE; leave out --output")
    target = resume or output
    if target is None:
        return None
    if target.is_dir():
        raise UsageError(f"{target}: is a folder; name a file for the rows")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: there is no such folder")
    if resume is None:
        require_empty(target)
    return target
