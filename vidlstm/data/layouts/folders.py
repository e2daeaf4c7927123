"""The common result of all layouts, one row per clip, and the reader of class folders.

Each reader returns a `Listing` of plain values; `samples` determines groups and kinds. Class names are used
literally. Nothing is dropped silently: skipped files are in the listing's notes, and a listed file that is
missing keeps its row.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple
from unicodedata import normalize

from vidlstm.config import Kind
from vidlstm.data.walking import SkipReason, walk
from vidlstm.errors import DataError
from vidlstm.files import is_frame_folder, suffix_kind
from vidlstm.stores import address_of, path_in

Subset = Literal["train", "val", "test"]
SUBSETS: dict[str, Subset] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Names of the subsets of a split, in folders, tables and lists."""

SPAN_TABLES = ("spans.csv", "spans.tsv")
"""Tables of spans. A folder with one holds films: it is a separate data set, not a class."""

WANTED = "use DATA/<class>/clip.mp4, the same under train/ and test/, or a CSV with columns path,label"


class Row(NamedTuple):
    """One clip of a layout. `kind` is None if the name does not tell."""

    path: Path
    label: str
    kind: Kind | None
    split: Subset | None = None
    group: str | None = None
    exists: bool = True


@dataclass(frozen=True)
class Listing:
    """All clips of one layout.

    Args:
        root: Folder that the clips' names are relative to.
        rows: In the order of the files or folders.
        layout: Description of the recognised layout.
        notes: Notes on files that were skipped, one sentence each.
        lost: Notes on places that may hold clips but cannot be read, one sentence each.
        group_column: The column that `Row.group` comes from.
        official: The split is a published one that separates groups only within each class.
    """

    root: Path
    rows: tuple[Row, ...]
    layout: str
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    group_column: str | None = None
    official: bool = False


def locate(
    root: Path, names: Sequence[str], label: str, split: Subset | None = None, group: str | None = None
) -> Row:
    """Return the row of a listed clip: its first possible name that exists, otherwise the first name.

    Raises:
        UsageError: The name is an address with a password.
    """
    # Some systems store accents as separate characters, so also try the other Unicode normal forms.
    spelt = [normalize(form, name) for form in ("NFC", "NFD") for name in names if not name.isascii()]
    first = path_in(root, names[0])
    if address_of(first) is not None:  # a missing file is noticed when it is read
        return Row(first, label, suffix_kind(names[0]), split, group)
    for name in (*names, *spelt):
        path = root / name
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISDIR(mode):
            return Row(path, label, "video" if is_frame_folder(path) else None, split, group)
        return Row(path, label, suffix_kind(name), split, group)
    return Row(first, label, suffix_kind(names[0]), split, group, exists=False)


# ------------------------------------------------------------------------------- class folders


def read_folders(root: Path, kind: Kind | None) -> Listing:
    """Read `root/<class>/**/clip`, or the same under train/, val/ and test/.

    A folder of numbered frames below a class folder is one clip; pictures directly in a class folder are
    pictures.

    Raises:
        DataError: The folder cannot be read, or holds clips but no class folders.
    """
    try:
        shown = _shown(root)
    except OSError as error:
        raise DataError(f"{root}: cannot be read ({error.strerror})") from None
    subsets = subset_folders([p for p in shown if p.is_dir()])
    skipped = Skipped(root)
    rows: list[Row] = []
    for folder, subset in subsets.items() or [(root, None)]:
        rows += _read_classes(folder, subset, kind, skipped)
    notes: list[str] = []
    layout = "class folders"
    if subsets:
        layout += f" under {', '.join(f'{p.name}/' for p in subsets)}"
        others = [f"{p.name}/" if p.is_dir() else p.name for p in shown if p not in subsets]
        if others:
            notes.append(f"skipped beside {layout.partition('under ')[2]}: {some(others)}")
    if not rows:
        skipped.require_none_loose()
    depth = len(root.parts) + (2 if subsets else 1)
    filled = {row.path.parts[:depth] for row in rows}
    classes = [c for folder in subsets or [root] for c in skipped.entered_folders(folder)]
    films = [c for c in classes if _holds_films(c)]
    if films:
        names = some([f.relative_to(root).as_posix() for f in films])
        notes.append(f"{count(len(films), 'folder')} of films with spans skipped: {names}")
    empty = [c.relative_to(root).as_posix() for c in classes if c.parts not in filled and c not in films]
    if empty and rows:
        notes.append(f"{count(len(empty), 'class folder')} without clips skipped: {some(empty)}")
    notes += skipped.notes(kind)
    return Listing(root, tuple(rows), layout, tuple(notes), tuple(skipped.lost()))


def _shown(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def subset_folders(folders: Sequence[Path]) -> dict[Path, Subset]:
    """Return the folders that are subsets of a split, training first.

    "train" may also be a class, so a single folder of that name among other folders is not a subset.
    """
    subsets = {p: SUBSETS[p.name.lower()] for p in folders if p.name.lower() in SUBSETS}
    found = set(subsets.values())
    if len(subsets) < len(folders) and not ("train" in found and len(found) > 1):
        return {}
    order = list(SUBSETS.values())
    return dict(sorted(subsets.items(), key=lambda item: order.index(item[1])))


def _read_classes(folder: Path, subset: Subset | None, kind: Kind | None, skipped: Skipped) -> Iterator[Row]:
    depth = len(folder.parts)
    holds_films = cache(_holds_films)  # once per class, not once per clip
    for path in walk(folder, kind=kind, on_skip=skipped, clip_depth=2):
        below = path.parts[depth:]
        if len(below) < 2:
            skipped.loose.append(path)
        elif not holds_films(folder / below[0]):
            yield Row(path, below[0], suffix_kind(path.name) or "video", subset)


@cache
def _holds_films(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for name in SPAN_TABLES)  # noqa: PTH113 - False if unreadable


_LOST: tuple[SkipReason, ...] = ("unreadable folder", "broken link")


class Skipped:
    """Collects the paths that a walk skips, and describes them in a few sentences."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loose: list[Path] = []
        self._paths: dict[SkipReason, list[Path]] = {}

    def require_none_loose(self) -> None:
        """Check that no clip lies outside the class folders.

        Raises:
            DataError: At least one does.
        """
        if self.loose:
            raise DataError(
                f"{self.root}: {count(len(self.loose), 'clip')} found, but not in class folders "
                f"(first: {self.loose[0]}); {WANTED}"
            )

    def __call__(self, path: Path, reason: SkipReason) -> None:
        self._paths.setdefault(reason, []).append(path)

    def lost(self) -> Iterator[str]:
        return (self._sentence(reason) for reason in _LOST if reason in self._paths)

    def notes(self, kind: Kind | None) -> Iterator[str]:
        for reason, paths in self._paths.items():
            if reason == "no media":
                suffixes = Counter(p.suffix.lower() or "no suffix" for p in paths)
                counts = ", ".join(f"{suffix} {n}" for suffix, n in suffixes.most_common(5))
                what = {None: "neither video nor picture", "video": "no video", "picture": "no picture"}[kind]
                yield f"{count(len(paths), 'file')} skipped ({what}): {counts}"
            elif reason not in _LOST:
                yield self._sentence(reason)
        if self.loose:
            yield f"{count(len(self.loose), 'clip')} outside of class folders skipped: " + some(
                [self._name(p) for p in self.loose]
            )

    def _sentence(self, reason: SkipReason) -> str:
        paths = self._paths[reason]
        return f"{count(len(paths), reason)} skipped: {some([self._name(p) for p in paths])}"

    def entered_folders(self, folder: Path) -> list[Path]:
        """Return the subfolders of a folder, without skipped ones."""
        passed_over = {path for paths in self._paths.values() for path in paths}
        if folder in passed_over:
            return []
        return [path for path in _shown(folder) if path.is_dir() and path not in passed_over]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


# -------------------------------------------------------------------------------------- words


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if necessary."""
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first few names and the number of further names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def from_to(low: str, high: str) -> str:
    """Return a range; one value if both ends are equal."""
    return low if low == high else f"{low} to {high}"


def lengths(seconds: Sequence[float]) -> str:
    """Return the range and the median of sorted lengths; one value if all are equal."""
    ends = from_to(f"{seconds[0]:.1f}", f"{seconds[-1]:.1f}")
    middle = f", median {seconds[len(seconds) // 2]:.1f} s" if " " in ends else ""
    return f"{ends} s{middle}"
