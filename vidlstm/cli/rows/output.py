"""Where rows go: to standard output, to a terminal, or whole into a file that may hold some already."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vidlstm.cli.rows.formats import HEADERS, WRITERS, Format, Record, encode, key_of, read_row
from vidlstm.errors import UsageError
from vidlstm.records import Failure
from vidlstm.report.text import printable

Write = Callable[[Record], None]

_BY_SUFFIX: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv"}
_BLOCK = 1 << 16


def choose_format(wanted: Format | None, file: Path | None) -> Format:
    """Return the format to write: for a file by its suffix, for a terminal a table, else tsv.

    Raises:
        UsageError: A table is wanted in a file.
    """
    if file is not None:
        if wanted == "table":
            raise UsageError(f"--format table: is for terminals; {file} takes tsv, csv or jsonl")
        return wanted or _BY_SUFFIX.get(file.suffix.lower(), "tsv")
    return wanted or ("table" if sys.stdout.isatty() else "tsv")


@contextlib.contextmanager
def open_output(
    file: Path | None, output_format: Format, labels: Sequence[str], *, more: bool
) -> Iterator[Write]:
    """Return what writes a record, at once and whole.

    Args:
        file: Rows are appended to it; None for standard output.
        output_format: Of the rows.
        labels: That may come, for a table's columns.
        more: Show a table's runners-up.

    Raises:
        OSError: The file cannot be written.
    """
    if file is not None:
        with _append(file) as put:
            if file.stat().st_size == 0:
                put(encode(HEADERS.get(output_format, "")))
            yield lambda record: put(encode(WRITERS[output_format](record)))
        return
    table = Table(labels, more=more)
    to_text = table.row if output_format == "table" else WRITERS[output_format]
    header = table.header if output_format == "table" else HEADERS.get(output_format, "")
    is_terminal = sys.stdout.isatty()

    def show(text: str) -> None:
        if is_terminal:
            text = "".join(c if c in "\t\n" else printable(c) for c in text)
        sys.stdout.buffer.write(encode(text))
        sys.stdout.buffer.flush()

    if header:
        show(header)
    yield lambda record: show(to_text(record))


@contextlib.contextmanager
def _append(file: Path) -> Iterator[Callable[[bytes], None]]:
    # One write a row: neither a kill nor another run that writes to the same file can come between.
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)

    def put(data: bytes) -> None:
        while data:
            data = data[os.write(fd, data) :]

    try:
        yield put
    finally:
        os.close(fd)


class Table:
    """Columns for eyes, whose widths are known before the first row: score, label, path."""

    def __init__(self, labels: Sequence[str], *, more: bool) -> None:
        self._width = max(len(printable(label)) for label in (*labels, "unknown"))
        self._more = more
        self.header = f"score  {'label':{self._width}}  path\n"

    def row(self, record: Record) -> str:
        """Return one line."""
        label, score, rest = "", "    -", ""
        if not isinstance(record, Failure):
            label = "unknown" if record.unknown else record.label or "-"
            score = f"{record.score:5.3f}"
            if self._more:
                rest = "  (" + ", ".join(f"{printable(s.label)} {s.score:.3f}" for s in record.top[1:]) + ")"
        if record.problem is not None:
            rest += f"  [{record.problem.code.value}: {printable(record.problem.message)}]"
        return f"{score}  {printable(label):{self._width}}  {printable(record.path)}{rest}\n"


class Done:
    """The rows that an earlier run has left in a file."""

    def __init__(self, output_format: Format) -> None:
        self._format = output_format
        self._rows: dict[str, list[str]] = {}
        self.num_rows = 0

    @staticmethod
    def read(file: Path, output_format: Format) -> Done:
        """Read a file's rows, and cut off the half row that a kill may have left at its end.

        Raises:
            UsageError: The file holds something else.
            OSError: It cannot be read.
        """
        done = Done(output_format)
        if not file.exists():
            return done
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    os.truncate(file, lines.tell() - len(line))
                    break
                try:
                    path, label = read_row(line, output_format)
                except UsageError as error:
                    raise UsageError(f"{file}, line {number}: {error}; name another --resume file") from None
                if path:
                    done._rows.setdefault(path, []).append(label)
                    done.num_rows += 1
        return done

    def take(self, name: str) -> str | None:
        """Return the label of an input's row, each row once; None when it has no row yet."""
        labels = self._rows.get(key_of(name, self._format))
        return labels.pop() if labels else None


def ends_whole(file: Path) -> bool:
    """Tell whether a file is missing, empty, or ends with the end of a line."""
    if not file.exists() or not file.stat().st_size:
        return True
    with file.open("rb") as content:
        content.seek(-1, os.SEEK_END)
        return content.read() == b"\n"


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
