"""Rows in a Parquet file (needs pyarrow), safe against a kill at any moment.

A Parquet file cannot be appended to. So rows go to a hidden journal of JSON lines beside it, one write each.
When the run ends, the Parquet file is rewritten with them and renamed. The journal's name holds the number of
rows in the Parquet file when it was started; if the file has more, the journal has already been merged.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vidlstm.cli.rows.formats.predictions import CLIP_ROWS, ColumnType, Format, RowKind, StoredRow
from vidlstm.cli.rows.rows_file import RowsFile, open_rows, require_empty
from vidlstm.errors import UsageError
from vidlstm.files import replacing
from vidlstm.report.text import printable

_AT_ONCE = 10_000  # rows in memory
_BYTES = "path_bytes"  # column: the bytes of a name that is not UTF-8, otherwise null


def open_target(
    file: Path, output_format: Format, labels: Sequence[str], *, resume: bool, kind: RowKind = CLIP_ROWS
) -> contextlib.AbstractContextManager[RowsFile]:
    """Open a file for rows in any format; arguments and errors as for `open_rows`."""
    if output_format == "parquet":
        return _open_parquet(file, labels, resume=resume, kind=kind)
    return open_rows(file, output_format, labels, resume=resume, kind=kind)


def require_pyarrow(file: Path) -> None:
    """Check early that Parquet can be written.

    Raises:
        UsageError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UsageError(f"{file}: Parquet needs pyarrow; pip install 'vidlstm[parquet]', or name a .jsonl")


@contextlib.contextmanager
def _open_parquet(file: Path, labels: Sequence[str], *, resume: bool, kind: RowKind) -> Iterator[RowsFile]:
    if not resume:
        require_empty(file)
    schema = _schema(kind)
    done = list(_read_rows(file, schema)) if file.is_file() and file.stat().st_size else []
    journal = file.with_name(f".{file.name}.{len(done)}.jsonl")
    for left in _journals(file):
        if left != journal:
            left.unlink()  # its rows are in the file
        elif not resume and left.stat().st_size:
            raise UsageError(
                f"{file}: rows of an interrupted run are not in it yet; continue that run with --resume"
            )
    with open_rows(journal, "jsonl", labels, resume=True, kind=kind) as rows:
        rows.file = file  # for messages
        rows.remember(done)
        if done and not journal.stat().st_size:
            rows.written = file.stat().st_mtime
        yield rows
        if journal.stat().st_size or not file.exists():
            _merge(file, journal, schema)
        journal.unlink()


def _journals(file: Path) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(file.name)}\.\d+\.jsonl")
    return [path for path in file.absolute().parent.iterdir() if pattern.fullmatch(path.name)]


def _read_rows(file: Path, schema: Any) -> Iterator[StoredRow]:
    """Yield every row of a Parquet file.

    Raises:
        UsageError: The file holds something else.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as rows:
            if not rows.schema_arrow.equals(schema):
                raise UsageError(f"{file}: has other columns, so it is not changed; name another file")
            columns = [name for name in ("path", _BYTES, "label", "start") if name in schema.names]
            for batch in rows.iter_batches(_AT_ONCE, columns=columns):
                for row in batch.to_pylist():
                    name = row["path"] if row[_BYTES] is None else os.fsdecode(row[_BYTES])
                    yield StoredRow(name, row["label"] or "", row.get("start"))
    except pa.ArrowInvalid:
        raise UsageError(f"{file}: is not a Parquet file, so it is not changed; name another one") from None


def _merge(file: Path, journal: Path, schema: Any) -> None:
    """Replace the Parquet file by one with the rows of both files."""
    import pyarrow as pa
    from pyarrow import parquet

    with replacing(file) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        if file.exists() and file.stat().st_size:
            with parquet.ParquetFile(file) as earlier:
                for batch in earlier.iter_batches(_AT_ONCE):
                    writer.write_batch(batch)
        with journal.open(encoding="ascii") as lines:
            while chunk := [_row(line) for line in itertools.islice(lines, _AT_ONCE)]:
                writer.write_table(pa.Table.from_pylist(chunk, schema=schema))


def _row(line: str) -> dict[str, Any]:
    """Return a JSON line as a row. Text that is not UTF-8 is made printable; `path_bytes` is exact."""
    row: dict[str, Any] = json.loads(line)
    if (shown := _as_utf8(row["path"])) != row["path"]:
        row[_BYTES] = os.fsencode(row["path"])
        row["path"] = shown
    if row["error"] is not None:
        row["error"]["message"] = _as_utf8(row["error"]["message"])
    if "notes" in row:
        row["notes"] = [_as_utf8(note) for note in row["notes"]]
    return row


def _as_utf8(text: str) -> str:
    """Return a text unchanged if it is UTF-8, otherwise printable."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return printable(text)
    return text


def _schema(kind: RowKind) -> Any:
    import pyarrow as pa

    score = pa.struct([("label", pa.string()), ("score", pa.float64())])
    problem = pa.struct([("code", pa.string()), ("message", pa.string())])
    types: Mapping[ColumnType, Any] = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "scores": pa.list_(score),
        "error": problem,
    }
    columns = [(name, types[column]) for name, column in kind.columns.items()]
    return pa.schema([*columns, (_BYTES, pa.binary())])
