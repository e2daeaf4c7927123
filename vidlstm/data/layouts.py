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
from typing import Literal, NamedTuple

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


class Row(NamedTuple):
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


def locate(
    root: Path, names: Sequence[str], label: str, split: Side | None = None, group: str | None = None
) -> Row:
    """Return the row of a listed clip: of the first of its possible names that exists, else the first."""
    for name in names:
        path = root / name
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISDIR(mode):
            return Row(path, label, "video" if is_frame_folder(path) else None, split, group)
        return Row(path, label, suffix_kind(name), split, group)
    return Row(root / names[0], label, suffix_kind(names[0]), split, group, exists=False)


# ------------------------------------------------------------------------------- class folders


def read_folders(root: Path, kind: Kind | None) -> Listing:
    """Read `root/<class>/**/clip`, or the same under train/, val/ and test/.

    A folder of numbered frames below a class folder is one clip; pictures right in a class folder
    are pictures.

    Raises:
        DataError: The folder cannot be read, or holds clips but no class folders.
    """
    try:
        shown = _shown(root)
    except OSError as error:
        raise DataError(f"{root}: cannot be read ({error.strerror})") from None
    sides = _side_folders([p for p in shown if p.is_dir()])
    skipped = _Skipped(root)
    rows: list[Row] = []
    for folder, side in sides.items() or [(root, None)]:
        rows += _read_classes(folder, side, kind, skipped)
    notes: list[str] = []
    layout = "class folders"
    if sides:
        layout += f" under {', '.join(f'{p.name}/' for p in sides)}"
        others = [f"{p.name}/" if p.is_dir() else p.name for p in shown if p not in sides]
        if others:
            notes.append(f"passed over beside {layout.partition('under ')[2]}: {some(others)}")
    if skipped.loose and not rows:
        raise DataError(
            f"{root}: {count(len(skipped.loose), 'clip')} found, but not in class folders "
            f"(first: {skipped.loose[0]}); {WANTED}"
        )
    depth = len(root.parts) + (2 if sides else 1)
    filled = {row.path.parts[:depth] for row in rows}
    classes = [c for folder in sides or [root] for c in skipped.entered_folders(folder)]
    empty = [c.relative_to(root).as_posix() for c in classes if c.parts not in filled]
    if empty and rows:
        notes.append(f"{count(len(empty), 'class folder')} without clips passed over: {some(empty)}")
    notes += skipped.notes(kind)
    return Listing(root, tuple(rows), layout, tuple(notes))


def _shown(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _side_folders(folders: Sequence[Path]) -> dict[Path, Side]:
    """Return the folders that are sides of a split, training first.

    "train" is also a fine name for a class, so a lone folder of that name among others is none.
    """
    sides = {p: SIDES[p.name.lower()] for p in folders if p.name.lower() in SIDES}
    found = set(sides.values())
    if len(sides) < len(folders) and not ("train" in found and len(found) > 1):
        return {}
    order = list(SIDES.values())
    return dict(sorted(sides.items(), key=lambda item: order.index(item[1])))


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
                yield f"{count(len(paths), 'file')} passed over ({what}): {counts}"
            else:
                yield f"{count(len(paths), reason)} passed over: {some([self._name(p) for p in paths])}"
        if self.loose:
            yield f"{count(len(self.loose), 'clip')} outside of class folders passed over: " + some(
                [self._name(p) for p in self.loose]
            )

    def entered_folders(self, folder: Path) -> list[Path]:
        """Return the folders in one, without those that are passed over for a reason of their own."""
        passed_over = {path for paths in self._paths.values() for path in paths}
        if folder in passed_over:
            return []
        return [path for path in _shown(folder) if path.is_dir() and path not in passed_over]

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
    column_at = {name.strip().lower(): i for i, name in enumerate(header)}
    for column in ("path", "label", group_column or "path"):
        if column.lower() not in column_at:
            present = ", ".join(header) or "nothing"
            raise DataError(f'{file}: has no column "{column}"; its header has: {present}')
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
        known_line, known_label = first.setdefault(values[path_at], (line, label))
        if known_label != label:
            raise DataError(
                f'{where}: {values[path_at]} is "{label}" here and "{known_label}" in line {known_line}'
            )
        if known_line != line:
            num_repeated += 1
            continue
        split = None if split_at is None else _side(values[split_at], where)
        rows.append(locate(root, (values[path_at],), label, split, group))
    notes = [f"{count(num_repeated, 'row')} passed over that repeat an earlier one"] if num_repeated else []
    source = None if group_at is None else header[group_at].strip()
    return Listing(root, tuple(rows), f"table {file.name}", tuple(notes), source)


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


# -------------------------------------------------------------------------------------- words


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if need be."""
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
