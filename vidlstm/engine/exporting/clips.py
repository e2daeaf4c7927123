"""Clips for comparing an exported model with the original: clips or windows of the run, or random ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, StreamName
from vidlstm.data.split_table import read_split_rows
from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.engine.extraction.films.extractor import gather
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.engine.spans.windows import WindowGrid
from vidlstm.engine.training.run_folder import SPLIT
from vidlstm.errors import DataError, InputError
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.models.checkpoint import Model

NUM_COMPARED = 3
"""Number of clips for the comparison in float32."""
_STEPS = 16
_PART = re.compile(r"#t=[\d.]+,[\d.]+$")  # of the name of a part of a film


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


def run_files(model: Model, run: Path, *subsets: str) -> RunFiles:
    """Return the clips or films of a run; none if the run does not list them.

    Args:
        model: The model of the run.
        run: The run folder.
        subsets: Only files of these subsets; none: all files.
    """
    data = Path(str(model.training.get("data", "")))
    root = data if data.is_dir() else data.parent  # the names are relative to it
    try:
        rows = read_split_rows(run / SPLIT)
    except DataError:
        return RunFiles((), 0, are_films=False)
    are_films = bool(rows) and all(_PART.search(name) for name in rows)
    names = [name for name, row in rows.items() if not subsets or row.subset in subsets]
    if are_films:
        names = list(dict.fromkeys(_PART.sub("", name) for name in names))
    existing = tuple(root / name for name in names if (root / name).exists())
    return RunFiles(existing, len(names) - len(existing), are_films)


def spread(files: RunFiles, number: int) -> RunFiles:
    """Choose a number of files at equal distances."""
    last, number = len(files.paths) - 1, min(number, len(files.paths))
    chosen = tuple(files.paths[i] for i in np.linspace(0, last, number).astype(int))
    return replace(files, paths=chosen)


def read_clips(model: Model, files: RunFiles) -> Iterator[ClipFeatures | None]:
    """Read clips, or films window by window, as pixels and descriptors.

    Yields:
        None for a clip that cannot be read, or where a film cannot be read on.
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


def random_clips(model: Model) -> list[ClipFeatures]:
    """Make random clips whose descriptors have the mean and spread of the training clips."""
    config, rng = model.config, np.random.default_rng(0)
    sides = 2 if config.mirror else 1

    def values(stream: StreamName, *shape: int) -> Values:
        mean, spread = _statistics(model, stream)
        drawn: Values = (mean + spread * rng.normal(size=(*shape, len(mean)))).astype(np.float16)
        return drawn

    def pixels() -> NDArray[np.uint8]:
        size, channels = config.encoder.size, config.encoder.channels
        cells = rng.integers(0, 256, size=(1, config.views, _STEPS, 8, 8, channels), dtype=np.uint8)
        zoomed = cells.repeat(-(-size // 8), axis=3).repeat(-(-size // 8), axis=4)
        return zoomed[:, :, :, :size, :size]

    clips = []
    for _ in range(NUM_COMPARED):
        sequences: dict[str, Values] = {
            stream: pixels() if stream == "rgb" else values(stream, sides, config.views, _STEPS)
            for stream in SEQUENCE_STREAMS
            if stream in config.streams
        }
        summaries: dict[str, Values] = {s: values(s, 1) for s in SUMMARY_STREAMS if s in config.streams}
        clips.append(ClipFeatures(sequences, summaries))
    return clips


def _statistics(model: Model, stream: StreamName) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and spread `(D,)` of a stream in the first member's training clips."""
    for branch in model.classifier.branches:
        if branch.spec.stream == stream:
            part = branch.standardise
            return part.mean[0].numpy(), (1 / part.scale[0]).numpy()
        if stream in branch.join:
            part = branch.join[stream][0]  # type: ignore[index]
            return part.mean[0].numpy(), (1 / part.scale[0]).numpy()
    raise ValueError(stream)
