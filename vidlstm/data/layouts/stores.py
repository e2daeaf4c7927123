"""Read class folders in an object store, from the names of the files alone."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from vidlstm.config import Kind
from vidlstm.data.layouts.folders import (
    SPAN_TABLES,
    Listing,
    Row,
    Skipped,
    Subset,
    some,
    subset_folders,
)
from vidlstm.errors import DataError
from vidlstm.files import are_frame_names, suffix_kind
from vidlstm.stores import path_in, walk_store


def read_store_folders(root: Path, kind: Kind | None) -> Listing:
    """Read `root/<class>/**/clip`, or the same under train/, val/ and test/.

    Raises:
        DataError: The folder cannot be listed, holds clips but no class folders, or needs what only folders
            of this machine support: folders of numbered frames, or films with spans.
    """
    names = [address.removeprefix(f"{root}").lstrip("/") for address in walk_store(str(root))]
    _require_clips(root, names, kind)
    shown = list(dict.fromkeys(name.partition("/")[0] for name in names))
    folders = dict.fromkeys(name.partition("/")[0] for name in names if "/" in name)
    subsets = {folder.name: subset for folder, subset in subset_folders([Path(f) for f in folders]).items()}
    skipped = Skipped(root)
    rows = list(_rows(root, names, subsets, kind, skipped))
    layout, notes = "class folders", []
    if subsets:
        layout += f" under {', '.join(f'{name}/' for name in subsets)}"
        rows.sort(key=lambda row: list(subsets.values()).index(row.split) if row.split else -1)
        others = [f"{name}/" if name in folders else name for name in shown if name not in subsets]
        if others:
            notes.append(f"skipped beside {layout.partition('under ')[2]}: {some(others)}")
    if not rows:
        skipped.require_none_loose()
    return Listing(root, tuple(rows), f"{layout} in a store", (*notes, *skipped.notes(kind)))


def _rows(
    root: Path, names: list[str], subsets: dict[str, Subset], kind: Kind | None, skipped: Skipped
) -> Iterator[Row]:
    is_web = str(root).startswith("https://")
    for name in names:
        first, _, rest = name.partition("/")
        if subsets and first not in subsets:
            continue
        label, _, below = (rest if subsets else name).partition("/")
        path, found = path_in(root, name), suffix_kind(name)
        if found is None or kind not in (None, found):
            skipped(path, "no media")
        elif not below:
            skipped.loose.append(path)
        else:
            yield Row(path, unquote(label) if is_web else label, found, subsets.get(first))


def _require_clips(root: Path, names: list[str], kind: Kind | None) -> None:
    """Check that a store has nothing that would be misread.

    Raises:
        DataError: It has something.
    """
    siblings: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, base = posixpath.split(name)
        siblings[folder].append(base)
        if base in SPAN_TABLES:
            raise DataError(f"{root}/{name}: films with spans are read from this machine; copy them")
    for folder, bases in siblings.items():
        if kind != "picture" and folder.count("/") >= 1 and are_frame_names(bases):
            raise DataError(
                f"{root}/{folder}: is a folder of numbered frames, which are not read from stores; copy them "
                "to this machine, or read them as pictures with `kind=picture`"
            )
