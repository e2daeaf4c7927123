r"""The rows that `spans` writes: one a span, all of a film at once; and which films have theirs already.

`tsv` is `path start end label score`, with empty fields where nothing happens in a film, and the code of
what went wrong as a sixth. Escapes are those of `predict`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from vidlstm.cli.rows.formats import Format, cell_of, csv_line, encode, tsv_field
from vidlstm.errors import UsageError
from vidlstm.records import Failure, FilmSpans, Prediction
from vidlstm.report.text import printable

Film = FilmSpans | Failure
AnyRecord = TypeVar("AnyRecord", Prediction | Failure, FilmSpans | Failure)
"""What the loop of a command writes: of one command, always the same."""

HEADERS: dict[Format, str] = {"csv": "path,start,end,label,score,error\n"}
_BLOCK = 4096  # bytes; a write that a kill cuts short ends at a multiple


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
    return json.dumps({"schema": 1, "path": film.path, "seconds": None, "error": problem, **empty}) + "\n"


def table_rows(film: Film) -> str:
    """Return the lines of a film for eyes."""
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


class DoneFilms:
    """The films that an earlier run has left rows of in a file."""

    def __init__(self, output_format: Format) -> None:
        self._format = output_format
        self._left: dict[str, int] = {}

    @property
    def num_films(self) -> int:
        """Films with rows."""
        return len(self._left)

    @staticmethod
    def read(file: Path, output_format: Format) -> DoneFilms:
        """Read a file's rows, and cut off those of a film that a kill may have cut short at its end.

        All rows of a film are one write, so rows are missing only where that write was cut: then the file
        ends in half a row, or at the end of a block.

        Raises:
            UsageError: The file holds something else.
            OSError: It cannot be read.
        """
        done = DoneFilms(output_format)
        if not file.exists():
            return done
        last, begin, end, whole = "", 0, 0, True
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                whole = line.endswith(b"\n")
                if not whole:
                    break
                name = _path_of(line, output_format, f"{file}, line {number}")
                if name != last:
                    last, begin = name, end
                if name:
                    done._left[name] = 1
                end += len(line)
        if not whole or (end and end % _BLOCK == 0):
            done._left.pop(last, None)
            os.truncate(file, begin)
        return done

    def has(self, name: str) -> bool:
        """Tell whether a film has its rows."""
        return cell_of(name, self._format) in self._left


def _path_of(line: bytes, output_format: Format, where: str) -> str:
    """Return the path of a row as `cell_of` gives it; that of a header is empty."""
    text = line.decode("utf-8", "surrogateescape")
    try:
        if output_format == "jsonl":
            row = json.loads(text)
            row["start"]
            return str(row["path"])
        if text == HEADERS.get(output_format):
            return ""
        cells = text.rstrip("\n").split("\t") if output_format == "tsv" else next(csv.reader([text]))
        return cells[0] if len(cells) in (5, 6) else _refuse()
    except (ValueError, KeyError, TypeError, StopIteration, csv.Error):
        raise UsageError(
            f"{where}: {text.strip()[:60]!r} is no row of {output_format}; name another --resume file"
        ) from None


def _refuse() -> str:
    raise ValueError


@contextlib.contextmanager
def append_to(file: Path) -> Iterator[Callable[[bytes], None]]:
    """Return what appends bytes to a file, in one write."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)

    def put(data: bytes) -> None:
        while data:
            data = data[os.write(fd, data) :]

    try:
        yield put
    finally:
        os.close(fd)


def encoded(film: Film, output_format: Format) -> bytes:
    """Return the bytes of a film's rows in a row format."""
    return encode(WRITERS[output_format](film))
