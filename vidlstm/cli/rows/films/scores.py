"""The file of `spans --scores`: the score of every class in every cell of a film.

In CSV, a film's scores are written before its spans, and a run can be resumed. Parquet (needs pyarrow) is
written by a single run: to a temporary file, which is renamed at the end.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vidlstm.cli.rows.formats.predictions import Format, RowKind, StoredRow, csv_line, decode
from vidlstm.cli.rows.output import choose_target
from vidlstm.cli.rows.rows_file import open_rows
from vidlstm.errors import UsageError
from vidlstm.files import replacing
from vidlstm.report.text import printable

if TYPE_CHECKING:
    from vidlstm.engine.prediction.films import LabelledFilm

Note = Callable[["LabelledFilm"], None]


def require_scores_file(file: Path, *, resume: bool) -> None:
    """Check early that the file can be written.

    Raises:
        UsageError: The file exists already, is a folder, or its format is not available.
    """
    choose_target(None if resume else file, file if resume else None)
    if _is_parquet(file):
        if resume:
            raise UsageError(f"--scores {file}: --resume cannot append to Parquet; name a .csv")
        if find_spec("pyarrow") is None:
            raise UsageError(f"--scores {file}: Parquet needs pyarrow; pip install pyarrow, or name a .csv")


@contextlib.contextmanager
def open_scores(
    file: Path, classes: Sequence[str], *, resume: bool, is_done: Callable[[str], bool] = lambda _: False
) -> Iterator[Note]:
    """Open a file for the scores of films; yield a function that writes a film's scores.

    Args:
        file: A `.parquet`; any other name is CSV.
        classes: Classes of the scores.
        resume: The file may already hold films; their scores are not written again.
        is_done: Tells whether a film, named as in CSV, has its spans, so that its scores are complete.
    """
    if _is_parquet(file):
        with _open_parquet(file, classes) as note:
            yield note
        return
    kind = RowKind(
        {"csv": csv_line("path", "time", *classes)},
        {"csv": _csv_rows},
        partial(_read, len(classes)),
        several=True,
    )
    with open_rows(file, "csv", [], resume=resume, kind=kind, is_whole=is_done) as rows:
        rows.begin()

        def note_film(film: LabelledFilm) -> None:
            if film.timeline is not None and rows.take(film.record.path) is None:
                rows.write(film)

        yield note_film


def _is_parquet(file: Path) -> bool:
    return file.suffix.lower() == ".parquet"


def _times(film: LabelledFilm) -> list[float]:
    """Return the middle of each cell, in seconds."""
    assert film.timeline is not None
    return [(cell + 0.5) * film.timeline.cell for cell in range(len(film.timeline.scores))]


def _csv_rows(film: LabelledFilm) -> str:
    assert film.timeline is not None
    return "".join(
        csv_line(film.record.path, f"{time:.2f}", *(f"{p:.4f}" for p in row))
        for time, row in zip(_times(film), film.timeline.scores, strict=True)
    )


def _read(num_classes: int, line: bytes, _: Format) -> StoredRow:
    """Return a row; it has no label."""
    text = decode(line)
    try:
        path, *numbers = next(csv.reader([text]))
        if not path or len(numbers) != 1 + num_classes or min(map(float, numbers)) < 0:
            raise ValueError
    except (ValueError, StopIteration, csv.Error):
        raise UsageError(f"{text.strip()[:60]!r} is not a row of scores") from None
    return StoredRow(path, "", float(numbers[0]))


@contextlib.contextmanager
def _open_parquet(file: Path, classes: Sequence[str]) -> Iterator[Note]:
    """Write one row group per film: `path`, `time` in seconds, and a float32 column per class."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = [("path", pa.string()), ("time", pa.float64()), *((name, pa.float32()) for name in classes)]
    schema = pa.schema(columns)
    with replacing(file) as temporary, parquet.ParquetWriter(temporary, schema) as writer:

        def note_film(film: LabelledFilm) -> None:
            if film.timeline is not None:
                times = _times(film)
                arrays = [[printable(film.record.path)] * len(times), times, *film.timeline.scores.T]
                filled = [pa.array(a, type=f.type) for a, f in zip(arrays, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(filled, schema=schema))

        yield note_film
