"""Read tables: a CSV or TSV with a header and one row per clip.

A bad row is an error that names its line. A listed file that is missing keeps its row.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vidlstm.data.layouts.folders import SUBSETS, Listing, Row, Subset, count, locate
from vidlstm.errors import DataError, InputError
from vidlstm.stores import address_of, opened, path_in

TABLE_NAMES = ("labels.csv", "labels.tsv")
"""Tables that describe the folder they are in."""


def read_table(file: Path, *, root: Path | None = None, group_column: str | None = None) -> Listing:
    """Read a CSV or TSV with a header: `path,label` and optionally `group`, `split`.

    A path may be an address in an object store; relative paths of a table in a store are in the store.

    Args:
        file: UTF-8 (or UTF-16 with a byte order mark), separated by commas, tabs or semicolons.
        root: Folder that paths are relative to; by default the folder of the file.
        group_column: Column that holds the groups, instead of `group`.

    Raises:
        DataError: The file cannot be read, lacks a column or has a bad row, named by its line.
    """
    root = file.parent if root is None else root
    lines = read_records(file)
    _, header = next(lines, (0, []))
    column_at = columns_of(file, header, ("path", "label", "split", (group_column or "group").lower()))
    for column in ("path", "label", group_column or "path"):
        if column.lower() not in column_at:
            present = ", ".join(header) or "nothing"
            raise DataError(
                f'{file}: has no column "{column}"; its first line has: {present}. '
                "The first line must name the columns, such as path,label"
            )
    path_at, label_at, split_at = column_at["path"], column_at["label"], column_at.get("split")
    group_at = column_at.get((group_column or "group").lower())

    rows: list[Row] = []
    first: dict[str, tuple[int, str]] = {}
    num_repeated, file_name = 0, str(file)
    for line, values in lines:
        where = f"{file_name}, line {line}"
        if len(values) > len(header) and not any(values[len(header) :]):
            values = values[: len(header)]
        if len(values) != len(header):
            raise DataError(f"{where}: has {len(values)} values where the header has {len(header)}")
        label = _text(values[label_at], "label", where)
        group = None if group_at is None else _text(values[group_at], header[group_at], where)
        if not values[path_at] or "\0" in values[path_at]:
            raise DataError(f"{where}: has no usable path")
        place = unicodedata.normalize("NFC", os.path.normpath(path_in(root, values[path_at])))
        known_line, known_label = first.setdefault(place, (line, label))
        if known_label != label:
            raise DataError(
                f'{where}: {values[path_at]} is "{label}" here and "{known_label}" in line {known_line}'
            )
        if known_line != line:
            num_repeated += 1
            continue
        split = None if split_at is None else subset_of(values[split_at], where)
        rows.append(locate(root, (values[path_at],), label, split, group))
    if not rows:
        raise DataError(f"{file}: has a header and no row below it")
    notes = [f"{count(num_repeated, 'row')} skipped as repeated"] if num_repeated else []
    source = None if group_at is None else header[group_at].strip()
    return Listing(root, tuple(rows), f"table {file.name}", tuple(notes), group_column=source)


def columns_of(file: Path, header: Sequence[str], read: Iterable[str]) -> dict[str, int]:
    """Return the places of a header's columns, by name in lower case.

    Raises:
        DataError: Two columns have one of the names that are read.
    """
    names = [name.strip().lower() for name in header]
    if repeated := next((name for name in read if names.count(name) > 1), None):
        raise DataError(
            f'{file}: has {names.count(repeated)} columns "{repeated}"; rename all but the one to use'
        )
    return {name: place for place, name in enumerate(names)}


def read_records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the non-blank lines of a table, with their numbers."""
    text = read_text(file)
    head = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",\t;", key=head.count)
    if named := re.fullmatch(r"sep=(.)\s*", head):  # a line for Excel, before the header
        delimiter = named[1]
        text = text.replace(head, "", 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: not valid CSV ({error})") from None


def read_text(file: Path) -> str:
    """Read a text file. Bytes that are not UTF-8 are preserved, so that file names with them work.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        if (address := address_of(file)) is not None:
            with opened(address) as source:
                data = bytes(source.read())
        else:
            data = file.read_bytes()
    except InputError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="surrogateescape")


def _text(value: str, column: str, where: str) -> str:
    text = value.strip()  # spaces are invisible, and "p1 " would be another group than "p1"
    if not text:
        raise DataError(f"{where}: {column} is empty")
    return text


def subset_of(value: str, where: str) -> Subset:
    subset = SUBSETS.get(value.strip().lower())
    if subset is None:
        raise DataError(f'{where}: split is "{value}"; it must be train, val or test')
    return subset
