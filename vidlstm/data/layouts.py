"""Read class folders and tables: from a data set on disk to one row a clip.

Each reader returns a `Listing` in plain values and leaves groups and kinds to `samples`. Class
names are taken literally. Nothing is dropped in silence: what a reader passes over is in the
listing's notes, and a listed file that is missing keeps its row.
"""

from __future__ import annotations

import csv
import io
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidlstm.config import Kind
from vidlstm.data.walking import SkipReason, is_frame_folder, suffix_kind, walk
from vidlstm.errors import DataError

Side = Literal["train", "val", "test"]
SIDES: dict[str, Side] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What the sides of a split are called, in folders, tables and lists."""

TABLE_NAMES = ("labels.csv", "labels.tsv")
"""Tables that, lying in a folder, say all about it."""

WANTED = "wanted are DATA/<class>/clip.mp4, the same under train/ and test/, or a CSV with columns path,label"


@dataclass(frozen=True)
class Row:
    """One clip as a layout gives it. `kind` is None where the name does not tell."""

    path: Path
    label: str
    kind: Kind | None
    split: Side | None = None
    group: str | None = None
    exists: bool = True


@dataclass(frozen=True)
class Listing:
    """All clips of one layout.

    Args:
        root: What relative names of clips start from.
        rows: In the order of the files or folders.
        layout: What was recognised, in plain words.
        notes: What was passed over, a sentence each.
        group_column: The column that `Row.group` comes from.
        official: The split is a published one whose groups hold within a class only.
    """

    root: Path
    rows: tuple[Row, ...]
    layout: str
    notes: tuple[str, ...] = ()
    group_column: str | None = None
    official: bool = False


def locate(root: Path, name: str, label: str, *others: str) -> Row:
    """Return the row of a listed clip: the first of its possible names that exists, else the first."""
    for candidate in (name, *others):
        path = root / candidate
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISDIR(mode):
            return Row(path, label, "video" if is_frame_folder(path) else None)
        return Row(path, label, suffix_kind(path.name))
    path = root / name
    return Row(path, label, suffix_kind(path.name), exists=False)


# ------------------------------------------------------------------------------- class folders


def read_folders(root: Path, kind: Kind | None) -> Listing:
    """Read `root/<class>/**/clip`, or the same under train/, val/ and test/.

    A folder of numbered frames below a class folder is one clip; pictures right in a class folder
    are pictures.

    Raises:
        DataError: The folder cannot be read, or holds clips but no class folders.
    """
    try:
        folders = sorted(p for p in root.iterdir() if not p.name.startswith(".") and p.is_dir())
    except OSError as error:
        raise DataError(f"{root}: cannot be read ({error.strerror})") from None
    sides = _side_folders(folders)
    parts: list[tuple[Path, Side | None]] = [(p, SIDES[p.name.lower()]) for p in sides] or [(root, None)]
    skipped = _Skipped(root)
    rows: list[Row] = []
    for folder, side in parts:
        rows += _read_classes(folder, side, kind, skipped)
    if sides:
        layout = f"class folders under {', '.join(f'{p.name}/' for p in sides)}"
        others = [p.name for p in folders if p not in sides]
        class_folders = [
            c for side in sides for c in side.iterdir() if not c.name.startswith(".") and c.is_dir()
        ]
    else:
        layout, others, class_folders = "class folders", [], folders
    if skipped.loose and not rows:
        raise DataError(
            f"{root}: {_count(len(skipped.loose), 'clip')} found, but not in class folders "
            f"(first: {skipped.loose[0]}); {WANTED}"
        )
    notes = [*skipped.notes(kind)]
    filled = {row.label for row in rows}
    empty = sorted({c.name for c in class_folders} - filled)
    if empty and rows:
        notes.append(f"{_count(len(empty), 'class folder')} without clips passed over: {_some(empty)}")
    if others:
        notes.append(f"beside {layout.split('under ')[-1]} passed over: {_some([f'{o}/' for o in others])}")
    return Listing(root, tuple(rows), layout, tuple(notes))


def _side_folders(folders: Sequence[Path]) -> list[Path]:
    """Return the folders that are sides of a split.

    "train" is also a fine name for a class, so a lone folder of that name among others is none.
    """
    sides = [p for p in folders if p.name.lower() in SIDES]
    kinds = {SIDES[p.name.lower()] for p in sides}
    if sides and (len(sides) == len(folders) or ("train" in kinds and len(kinds) > 1)):
        return sides
    return []


def _read_classes(folder: Path, side: Side | None, kind: Kind | None, skipped: _Skipped) -> Iterator[Row]:
    depth = len(folder.parts)
    for path in walk(folder, kind=kind, on_skip=skipped, clip_depth=2):
        below = path.parts[depth:]
        if len(below) < 2:
            skipped.loose.append(path)
        else:
            yield Row(path, below[0], suffix_kind(path.name) or "video", side)


class _Skipped:
    """Collects what a walk passes over, and says it in a few sentences."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loose: list[Path] = []
        self._paths: dict[SkipReason, list[Path]] = {}

    def __call__(self, path: Path, reason: SkipReason) -> None:
        self._paths.setdefault(reason, []).append(path)

    def notes(self, kind: Kind | None) -> Iterator[str]:
        for reason, paths in self._paths.items():
            if reason == "no media":
                suffixes = Counter(p.suffix.lower() or "no suffix" for p in paths)
                counts = ", ".join(f"{suffix} {n}" for suffix, n in suffixes.most_common(5))
                what = {None: "neither video nor picture", "video": "no video", "picture": "no picture"}[kind]
                yield f"{_count(len(paths), 'file')} passed over ({what}): {counts}"
            else:
                yield f"{_count(len(paths), reason)} passed over: {_some([self._name(p) for p in paths])}"
        if self.loose:
            yield f"{_count(len(self.loose), 'clip')} outside of class folders passed over: " + _some(
                [self._name(p) for p in self.loose]
            )

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


# -------------------------------------------------------------------------------------- tables


def read_table(file: Path, *, root: Path | None = None, group_column: str | None = None) -> Listing:
    """Read a CSV or TSV with a header: `path,label` and optionally `group`, `split`.

    Args:
        file: UTF-8 (or UTF-16 with its mark), values parted by commas, tabs or semicolons.
        root: What paths are relative to; by default the folder of the file.
        group_column: Take the groups from this column rather than from `group`.

    Raises:
        DataError: The file cannot be read, lacks a column or has a bad row, named by its line.
    """
    root = file.parent if root is None else root
    lines = _records(file)
    _, header = next(lines, (0, []))
    columns = {name.strip().lower(): i for i, name in enumerate(header)}
    group_name = group_column or "group"
    for name in ("path", "label", *([group_column] if group_column else [])):
        if name.lower() not in columns:
            raise DataError(
                f'{file}: has no column "{name}"; its header has: {", ".join(header) or "nothing"}'
            )
    path_at, label_at = columns["path"], columns["label"]
    group_at, split_at = columns.get(group_name.lower()), columns.get("split")

    rows: list[Row] = []
    first: dict[Path, tuple[int, str]] = {}
    repeated = 0
    for line, values in lines:
        where = f"{file}, line {line}"
        if len(values) > len(header) and not any(values[len(header) :]):
            values = values[: len(header)]
        if len(values) != len(header):
            raise DataError(f"{where}: has {len(values)} values where the header has {len(header)}")
        label = _text(values[label_at], "label", where)
        group = None if group_at is None else _text(values[group_at], group_name, where)
        if not values[path_at] or "\0" in values[path_at]:
            raise DataError(f"{where}: has no usable path")
        row = locate(root, values[path_at], label)
        split = None if split_at is None else _side(values[split_at], where)
        known_line, known_label = first.setdefault(row.path, (line, label))
        if known_label != label:
            raise DataError(
                f'{where}: {values[path_at]} is "{label}" here and "{known_label}" in line {known_line}'
            )
        if known_line != line:
            repeated += 1
            continue
        rows.append(Row(row.path, label, row.kind, split, group, row.exists))
    notes = [f"{_count(repeated, 'row')} passed over that repeat an earlier one"] if repeated else []
    return Listing(
        root,
        tuple(rows),
        f"table {file.name}",
        tuple(notes),
        None if group_at is None else header[group_at].strip(),
    )


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a table that are not blank, with their numbers."""
    text = read_text(file)
    head = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",\t;", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: is no proper CSV ({error})") from None


def read_text(file: Path) -> str:
    """Read a text file. Bytes that are not UTF-8 survive, so that file names made of them work.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="surrogateescape")


def _text(value: str, column: str, where: str) -> str:
    if not value:
        raise DataError(f"{where}: {column} is empty")
    return value


def _side(value: str, where: str) -> Side:
    side = SIDES.get(value.strip().lower())
    if side is None:
        raise DataError(f'{where}: split is "{value}"; it must be train, val or test')
    return side


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
