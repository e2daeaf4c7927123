"""Recognise the format of annotation files, and read them.

The suffix and the first lines or keys determine the format.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidlstm.data.annotations.activitynet import is_activitynet, read_activitynet
from vidlstm.data.annotations.boris import is_boris, read_boris
from vidlstm.data.annotations.elan import read_elan
from vidlstm.data.annotations.label_studio import is_label_studio, read_label_studio
from vidlstm.data.annotations.spans import Annotations
from vidlstm.data.annotations.table import is_span_table, read_span_table
from vidlstm.data.annotations.values import read_json, require_bearable
from vidlstm.data.layouts.folders import SPAN_TABLES
from vidlstm.data.layouts.tables import TABLE_NAMES, read_records
from vidlstm.errors import DataError

_TABLES = (".csv", ".tsv")


def annotation_files(data: Path) -> tuple[Path, ...]:
    """Return the annotation files of a data set; none if it has another layout.

    Raises:
        DataError: A table or JSON file cannot be read.
    """
    if data.is_dir():
        table = next((data / name for name in SPAN_TABLES if (data / name).is_file()), None)
        if table is not None:
            return (table,)
        tables = (annotation_files(data / name) for name in TABLE_NAMES)  # a labels.csv may hold clips
        return next(filter(None, tables), _elan_files(data))
    suffix = data.suffix.lower()
    if suffix in (".eaf", ".json"):
        return (data,)
    if suffix in _TABLES and data.is_file():
        require_bearable(data)
        _, header = next(read_records(data), (0, []))
        if is_span_table(header) or is_boris(header):
            return (data,)
    return ()


def _elan_files(folder: Path) -> tuple[Path, ...]:
    # macOS writes a `._day.eaf`, which is not XML, beside a `day.eaf` on other systems' disks.
    return tuple(sorted(file for file in folder.glob("*.eaf") if not file.name.startswith(".")))


def read_annotations(files: Sequence[Path], group_column: str | None = None) -> Annotations:
    """Read annotation files, of the same or different formats.

    Raises:
        DataError: A file cannot be read, or has none of the formats.
    """
    read = [_read(file, group_column) for file in files]
    films = tuple(dict.fromkeys(name for a in read for name in a.films))
    layout = read[0].layout if len(read) == 1 else f"{len(read)} annotation files"
    spans, problems = (s for a in read for s in a.spans), (p for a in read for p in a.problems)
    memberships = (m for a in read for m in a.memberships)
    return Annotations(films, tuple(spans), tuple(problems), layout, tuple(memberships))


def _read(file: Path, group_column: str | None) -> Annotations:
    suffix = file.suffix.lower()
    if suffix == ".eaf":
        return read_elan(file)
    if suffix == ".json":
        plain = read_json(file)
        if is_activitynet(plain):
            return read_activitynet(file, plain)
        if is_label_studio(plain):
            return read_label_studio(file, plain)
        raise DataError(f"{file}: neither Label Studio JSON (a list of tasks) nor ActivityNet JSON")
    lines = read_records(file)
    _, header = next(lines, (0, []))
    if is_boris(header):
        return read_boris(file, header, lines)
    return read_span_table(file, header, lines, group_column)
