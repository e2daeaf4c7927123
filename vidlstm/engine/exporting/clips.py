"""Random clips for comparing an exported model with the original if the clips of its run are gone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, StreamName
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.models.checkpoint import Model

NUM_COMPARED = 3
"""Number of clips for the comparison in float32."""
_STEPS = 16


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
