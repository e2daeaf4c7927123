"""Test-time augmentation: the views of a clip whose scores a model averages. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import ModelConfig
from vidlstm.features.batches import ClipFeatures, view_batch


@dataclass(frozen=True)
class View:
    """One temporal sample of a clip, optionally mirrored left to right.

    Args:
        index: Index of the temporal sample; None: the middle one of the stored samples.
        mirrored: Use the mirrored clip.
    """

    index: int | None = None
    mirrored: bool = False


def views_of(config: ModelConfig, clips: Sequence[ClipFeatures] = ()) -> list[View]:
    """Return the views whose scores a model averages; with `mirror`, also each view mirrored.

    Args:
        config: The model.
        clips: The clips that are read. If all of them have fewer views, no view is used twice.
    """
    number = min(config.views, max((clip.num_views for clip in clips), default=config.views))
    indices: list[int | None] = [None] if number == 1 else list(range(number))
    return [View(i, mirrored) for i in indices for mirrored in ((False, True) if config.mirror else (False,))]


def stack_views(config: ModelConfig, clips: Sequence[ClipFeatures]) -> dict[str, NDArray[Any]]:
    """Return all views of clips as input of a `vidlstm.models.backends.protocol.Head`.

    Args:
        config: The model.
        clips: B clips, at least one; padded to the longest.
    """
    batches = [view_batch(clips, view.index, mirrored=view.mirrored) for view in views_of(config, clips)]
    stacked: dict[str, NDArray[Any]] = {f"{name}_mask": mask for name, mask in batches[0].masks.items()}
    for given in ([b.sequences for b in batches], [b.summaries for b in batches]):
        for name in given[0]:
            stacked[name] = np.stack([values[name] for values in given], axis=1).astype(np.float32)
    return stacked
