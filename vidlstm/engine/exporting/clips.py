"""Clips for comparing an exported model with the original: clips of the run, or random ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, StreamName
from vidlstm.data.split_table import read_split_rows
from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.engine.training.run_folder import SPLIT
from vidlstm.errors import DataError
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.models.checkpoint import Model

NUM_COMPARED = 3
"""Number of clips for the comparison in float32."""
_STEPS = 16


def run_paths(model: Model, run: Path, *subsets: str) -> list[Path]:
    """Return the clips of a run; none if the run does not list them.

    Args:
        model: The model of the run.
        run: The run folder.
        subsets: Only clips of these subsets; none: all clips.
    """
    data = Path(str(model.training.get("data", "")))
    root = data if data.is_dir() else data.parent  # the names are relative to it
    try:
        rows = read_split_rows(run / SPLIT)
    except DataError:
        return []
    return [root / name for name, row in rows.items() if not subsets or row.subset in subsets]


def spread(paths: Sequence[Path], number: int) -> list[Path]:
    """Choose a number of existing paths at equal distances."""
    existing = [path for path in paths if path.exists()]
    return [existing[i] for i in np.linspace(0, len(existing) - 1, min(number, len(existing))).astype(int)]


def read_clips(model: Model, paths: Sequence[Path]) -> Iterator[ClipFeatures]:
    """Read clips, as pixels and descriptors; those that cannot be read are left out."""
    request = ReadRequest.of(model.config, views=model.config.views, pose_networks=write_networks(model.pose))
    with DecodePool(1) as pool:
        for extracted in Extractor(request, LocalSource(request, None, pool), None).extract(paths):
            if extracted.features is not None:
                yield extracted.features


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
