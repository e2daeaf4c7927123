"""Where rows go: to standard output, to a terminal, or into a file."""

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

from vidlstm.cli.rows.formats import HEADERS, WRITERS, Format, Record, encode
from vidlstm.cli.rows.rows_file import RowsFile, require_empty
from vidlstm.errors import UsageError
from vidlstm.records import Failure
from vidlstm.report.text import printable

_BY_SUFFIX: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_RED, _YELLOW = 31, 33


def choose_format(wanted: Format | None, file: Path | None) -> Format:
    """Return the format to write: for a file by its suffix, for a terminal a table, else tsv.

    Raises:
        UsageError: A table is wanted in a file, or one JSON document.
    """
    if file is not None:
        if wanted == "table":
            raise UsageError(f"--format table: is for terminals; {file} takes tsv, csv or jsonl")
        if wanted is None and file.suffix.lower() == ".json":
            raise UsageError(
                f"{file}: rows are JSON lines, one object each: name it {file.with_suffix('.jsonl')}, "
                "or add --format jsonl"
            )
        return wanted or _BY_SUFFIX.get(file.suffix.lower(), "tsv")
    return wanted or ("table" if sys.stdout.isatty() else "tsv")


@dataclass(frozen=True)
class Output:
    """Where rows go.

    Args:
        write: Writes a record, at once and whole.
        sync: Waits until what was written is on the disk, if it goes there.
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
        labels: Classes that rows may name: they make a table's columns.
        more: Show a table's runners-up.
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
    """Tell whether the user's terminal takes colours, and the user wants them (https://no-color.org)."""
    knows = os.name != "nt" or "WT_SESSION" in os.environ
    return knows and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Table:
    """Columns for people, whose widths are known before the first row: score, label, path.

    Args:
        labels: Classes that rows may name.
        more: Show the runners-up.
        colour: Mark what has no label in yellow, and failures in red.
    """

    def __init__(self, labels: Sequence[str], *, more: bool, colour: bool = False) -> None:
        self._width = max(len(printable(label)) for label in (*labels, "unknown"))
        self._more = more
        self._colour = colour
        self.header = f"score  {'label':{self._width}}  path\n"

    def row(self, record: Record) -> str:
        """Return one line, without control characters but for colours."""
        label, score, rest = "", "    -", ""
        if not isinstance(record, Failure):
            label = "unknown" if record.unknown else record.label or "-"
            score = f"{record.score:5.3f}"
            if self._more:
                rest = "  (" + ", ".join(f"{printable(s.label)} {s.score:.3f}" for s in record.top[1:]) + ")"
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
    """Call when nobody reads standard output any more (`| head -1`), even while no row is written."""
    try:
        fd = sys.stdout.fileno()
        if not (hasattr(select, "poll") and stat.S_ISFIFO(os.fstat(fd).st_mode)):
            return
    except (OSError, ValueError):
        return
    poll = select.poll()
    poll.register(fd, 0)  # an error is told unasked

    def watch() -> None:
        if poll.poll():
            call()

    threading.Thread(target=watch, daemon=True).start()


def choose_target(output: Path | None, resume: Path | None) -> Path | None:
    """Return the file that rows are appended to, None for standard output."""
    if resume is not None and output is not None and output != resume:
        raise UsageError("--resume FILE appends to FILE itself: leave --output out")
    target = resume or output
    if target is None:
        return None
    if target.is_dir():
        raise UsageError(f"{target}: is a folder, a file is needed for the rows")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: there is no such folder")
    if resume is None:
        require_empty(target)
    return target
