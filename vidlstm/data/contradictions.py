"""Find identical files that are labelled differently: at most one of the labels is right."""

from __future__ import annotations

from vidlstm.data.groups import equal_files
from vidlstm.data.samples import Dataset, Sample


def find_contradictions(dataset: Dataset) -> tuple[tuple[Sample, ...], ...]:
    """Return the sets of samples with the same content and different labels, in order.

    Only files of equal size are opened. Empty files are not compared, nor are parts of films, which share
    their film's file.
    """
    if dataset.films:
        return ()
    sets = (
        tuple(dataset.samples[i] for i in members)
        for members in equal_files([sample.path for sample in dataset.samples])
    )
    return tuple(members for members in sets if len({sample.label for sample in members}) > 1)
