"""Find identical files that are in several classes or groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidlstm.data.groups import equal_files
from vidlstm.data.samples import Dataset, Sample

Sets = tuple[tuple[Sample, ...], ...]


@dataclass(frozen=True)
class Copies:
    """Sets of samples with the same content, in order.

    Args:
        in_classes: Sets with several labels, of which at most one is right.
        in_groups: Sets with one label and several groups: a copy of a training clip may be held out, which
            makes scores too high.
    """

    in_classes: Sets = ()
    in_groups: Sets = ()


def find_copies(dataset: Dataset) -> Copies:
    """Return the copies of a data set.

    Only files of equal size are opened. Empty files are not compared. Copies of a film may have spans of
    several classes, but not several groups.
    """
    if dataset.films:
        first: dict[Path, Sample] = {}
        for sample in dataset.samples:
            first.setdefault(sample.path, sample)
        samples = list(first.values())
        sets = [tuple(samples[i] for i in indices) for indices in equal_files([s.path for s in samples])]
        return Copies((), tuple(films for films in sets if len({film.group for film in films}) > 1))
    in_classes: list[tuple[Sample, ...]] = []
    in_groups: list[tuple[Sample, ...]] = []
    for indices in equal_files([sample.path for sample in dataset.samples]):
        copies = tuple(dataset.samples[i] for i in indices)
        if len({sample.label for sample in copies}) > 1:
            in_classes.append(copies)
        elif len({sample.group for sample in copies}) > 1:
            in_groups.append(copies)
    return Copies(tuple(in_classes), tuple(in_groups))
