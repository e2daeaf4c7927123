"""Clips of a run, or windows of its films, for measuring and comparing networks of lower precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidlstm.data.samples import root_of
from vidlstm.data.split_table import SPLIT, read_split_rows
from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.engine.extraction.films.extractor import gather
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.engine.spans.windows import WindowGrid
from vidlstm.errors import DataError, InputError
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.checkpoint import Model
from vidlstm.records import read_part_name
from vidlstm.stores import address_of, path_in, to_path


@dataclass(frozen=True)
class RunFiles:
    """Files of a run that still exist.

    Args:
        paths: Clips, or films.
        num_missing: Number of files that no longer exist.
        are_films: Whether the run was trained on spans of films.
    """

    paths: tuple[Path, ...]
    num_missing: int
    are_films: bool


def run_files(model: Model, run: Path, *subsets: str, in_stores: bool = False) -> RunFiles:
    """Return the clips or films of a run; none if the run does not list them.

    Args:
        model: The model of the run.
        run: The run folder.
        subsets: Only files of these subsets; none: all files.
        in_stores: Whether files in object stores count as existing. False for a run from somebody else,
            which must not reach the network.
    """
    root = root_of(to_path(str(model.training.get("data", ""))))
    try:
        rows = read_split_rows(run / SPLIT)
    except DataError:
        return RunFiles((), 0, are_films=False)
    are_films = bool(rows) and all(read_part_name(name)[1] for name in rows)
    names = [name for name, row in rows.items() if not subsets or row.subset in subsets]
    if are_films:
        names = list(dict.fromkeys(read_part_name(name)[0] for name in names))
    paths = [path_in(root, name) for name in names]
    existing = tuple(path for path in paths if path.exists() or (in_stores and address_of(path) is not None))
    return RunFiles(existing, len(names) - len(existing), are_films)


def spread(files: RunFiles, number: int) -> RunFiles:
    """Choose a number of files at equal distances."""
    last, number = len(files.paths) - 1, min(number, len(files.paths))
    chosen = tuple(files.paths[i] for i in np.linspace(0, last, number).astype(int))
    return replace(files, paths=chosen)


def read_clips(model: Model, files: RunFiles) -> Iterator[ClipFeatures | None]:
    """Read clips, or films window by window, as pixels and descriptors.

    Yields:
        None for a clip that cannot be read, or at the point beyond which a film cannot be read.
    """
    request = ReadRequest.of(model.config, views=model.config.views, pose_networks=write_networks(model.pose))
    with DecodePool(1) as pool:
        source = LocalSource(request, None, pool)
        if files.are_films:
            yield from _windows(model, request, source, files)
            return
        for extracted in Extractor(request, source, None).extract(files.paths):
            yield extracted.features


def _windows(
    model: Model, request: ReadRequest, source: LocalSource, files: RunFiles
) -> Iterator[ClipFeatures | None]:
    """Yield windows of the shortest length, one after the other."""
    grid = WindowGrid.of(model.config)
    length = grid.lengths[0]
    for parts in source.films(files.paths, grid.rate):
        try:
            for part in parts:
                film = ClipFeatures({str(s): v[:, None] for s, v in part.sequences.items()}, {})
                for first in range(0, part.num_moments - length + 1, length):
                    yield gather(film, first, first + length, grid.rate, request)
        except InputError:
            yield None
