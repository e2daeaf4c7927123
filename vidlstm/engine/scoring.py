"""The scores that a model gives to clips whose features are at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.views import View, views_of
from vidlstm.features.batches import Batch, ClipFeatures, view_batch
from vidlstm.models.checkpoint import Model
from vidlstm.records import Scored

_BATCH = 256


def to_tensors(
    batch: Batch, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Return what a classifier takes: float32 sequences, masks, float32 summaries."""
    return (
        {name: torch.from_numpy(values).to(device).float() for name, values in batch.sequences.items()},
        {name: torch.from_numpy(values).to(device) for name, values in batch.masks.items()},
        {name: torch.from_numpy(values).to(device).float() for name, values in batch.summaries.items()},
    )


@torch.inference_mode()
def log_probabilities(
    network: Callable[..., Tensor], clips: Sequence[ClipFeatures], views: Sequence[View], device: torch.device
) -> Tensor:
    """Return every branch's log-probabilities `(S, N, K)` of clips, averaged over views.

    Args:
        network: Maps sequences, masks and summaries to `(S, B, K)`; in evaluation mode.
        clips: At least one; each clip's scores are its own, whoever is in its batch.
        views: Of each clip.
        device: Of the network.
    """
    batches = []
    for start in range(0, len(clips), _BATCH):
        part = clips[start : start + _BATCH]
        batch_scores = [
            network(*to_tensors(view_batch(part, view.index, mirrored=view.mirrored), device)).log_softmax(-1)
            for view in views
        ]
        batches.append(torch.stack(batch_scores).mean(0).log_softmax(-1))
    return torch.cat(batches, dim=1)


@torch.inference_mode()
def score_clips(model: Model, clips: Sequence[ClipFeatures]) -> NDArray[np.float64]:
    """Return calibrated probabilities `(N, K)` of clips."""
    if not clips:
        return np.zeros((0, len(model.config.classes)))
    classifier = model.classifier.eval()
    branches = log_probabilities(classifier, clips, views_of(model.config), classifier.fusion.device)
    probabilities: NDArray[np.float64] = classifier.fuse(branches).double().softmax(-1).cpu().numpy()
    return probabilities


def score(model: Model, clips: Clips, indices: Sequence[int]) -> list[Scored]:
    """Score samples; those that could not be read are in the list, without scores."""
    usable = clips.usable(indices)
    rows = score_clips(model, clips.encoded(model.encoder, usable))
    return clips.scored(indices, dict(zip(usable.tolist(), rows, strict=True)))
