"""The table of a run's clips: the subset and the fingerprint of each.

Training writes it as `split.csv`. `eval` finds the held-out subset in it, and a resumed run checks whether
its data have changed. It can also be used as a table of samples.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from vidlstm.data.fingerprints import fingerprints
from vidlstm.data.layouts.folders import Subset, count, some
from vidlstm.data.samples import Dataset
from vidlstm.data.splits import SUBSETS, Split
from vidlstm.errors import DataError
from vidlstm.files import write_atomically

SPLIT = "split.csv"
"""Name of the table in a run folder."""

_COLUMNS = ("path", "label", "group", "split", "fingerprint")


@dataclass(frozen=True)
class SplitRow:
    """The row of one clip, without its name."""

    label: str
    group: str
    subset: str
    fingerprint: str


def split_rows(dataset: Dataset, split: Split, prints: Sequence[str]) -> dict[str, SplitRow]:
    """Return the row of every sample that is in a subset, by its name relative to the root of the data.

    Args:
        dataset: The samples.
        split: Their subsets.
        prints: Fingerprint of every sample's content; empty if it cannot be read.
    """
    subsets = {index: subset for subset in SUBSETS for index in split.subset(subset)}
    return {
        sample.name(dataset.root): SplitRow(sample.label, sample.group, subsets[index], prints[index])
        for index, sample in enumerate(dataset.samples)
        if index in subsets
    }


def write_split(path: Path, rows: Mapping[str, SplitRow]) -> None:
    """Write `path,label,group,split,fingerprint` of every row, atomically.

    Paths are relative to the root of the data, so the file does not depend on where the data is. It can be
    used as a split file.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_COLUMNS)
    lines.writerows((name, *astuple(row)) for name, row in rows.items())
    write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))


def read_split_rows(path: Path) -> dict[str, SplitRow]:
    """Read every row that `write_split` wrote.

    Raises:
        DataError: The file cannot be read, or has another format.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = list(csv.reader(file))
        if tuple(lines[0]) != _COLUMNS:
            raise ValueError
        return {name: SplitRow(*row) for name, *row in lines[1:]}
    except (OSError, ValueError, TypeError, IndexError, csv.Error):
        raise DataError(f"{path}: cannot be read as a list of the run's clips") from None


def describe_changes(before: Mapping[str, SplitRow], now: Mapping[str, SplitRow]) -> list[str]:
    """Describe, in a few words each, which clips are new, gone or changed."""
    both = sorted(set(before) & set(now))
    content = [name for name in both if before[name].fingerprint != now[name].fingerprint]
    other = [
        name for name in both if replace(before[name], fingerprint="") != replace(now[name], fingerprint="")
    ]
    found = {
        "new": sorted(set(now) - set(before)),
        "gone": sorted(set(before) - set(now)),
        "with other content": content,
        "with another label, group or subset": other,
    }
    return [f"{count(len(names), 'clip')} {what} ({some(names)})" for what, names in found.items() if names]


def read_split(path: Path, dataset: Dataset) -> Split:
    """Read a file of `write_split` for the same data, which may have moved, grown or shrunk.

    Samples that are not in the file, or have another content now, are in no subset. The notes count them, and
    the clips in the file that are no longer in the data.

    Raises:
        DataError: The file cannot be read, or has nothing in common with the data.
    """
    listed = read_split_rows(path)
    named = [i for i, sample in enumerate(dataset.samples) if sample.name(dataset.root) in listed]
    subsets: dict[Subset, list[int]] = {subset: [] for subset in SUBSETS}
    num_found = 0
    for index, content in zip(named, fingerprints(dataset.samples[i].path for i in named), strict=True):
        row = listed[dataset.samples[index].name(dataset.root)]
        subset = next((name for name in SUBSETS if name == row.subset), None)
        if subset is None:
            raise DataError(f"{path}: {row.subset!r} is no subset; expected {', '.join(SUBSETS)}")
        if content == row.fingerprint:  # other data may have the same names
            subsets[subset].append(index)
            num_found += 1
    if not num_found:
        raise DataError(f"{path}: names no clip of {dataset.root}; it belongs to other data")
    notes = []
    if num_found < len(dataset.samples):
        notes.append(f"{count(len(dataset.samples) - num_found, 'clip')} not in {path.name}, so in no subset")
    if num_found < len(listed):
        notes.append(f"{count(len(listed) - num_found, 'clip')} of {path.name} no longer in the data")
    return Split(tuple(subsets["train"]), tuple(subsets["val"]), tuple(subsets["test"]), tuple(notes))
