"""Score clips from their features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.views import View, views_of
from vidlstm.evaluations import Scored
from vidlstm.features.batches import Batch, ClipFeatures, view_batch
from vidlstm.models.checkpoint import Model
from vidlstm.models.classifier import Classifier

_BATCH = 256


def to_tensors(
    batch: Batch, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Return the inputs of a classifier: float32 sequences, masks, float32 summaries."""
    return (
        {name: torch.from_numpy(values).to(device).float() for name, values in batch.sequences.items()},
        {name: torch.from_numpy(values).to(device) for name, values in batch.masks.items()},
        {name: torch.from_numpy(values).to(device).float() for name, values in batch.summaries.items()},
    )


@torch.inference_mode()
def read_clips(
    classifier: Classifier, clips: Sequence[ClipFeatures], views: Sequence[View], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the branches' log-probabilities for clips, averaged over views, and the clips' novelty.

    Args:
        classifier: In evaluation mode.
        clips: At least one. A clip's scores do not depend on the other clips in its batch.
        views: Views to average.
        device: The classifier's device.

    Returns:
        `(S, N, K)` and `(N,)`.
    """
    scores, novelty = [], []
    for start in range(0, len(clips), _BATCH):
        part = clips[start : start + _BATCH]
        read = [
            classifier.read(*to_tensors(view_batch(part, view.index, mirrored=view.mirrored), device))
            for view in views
        ]
        scores.append(torch.stack([log_scores for log_scores, _ in read]).mean(0).log_softmax(-1))
        vectors = zip(*(vectors for _, vectors in read), strict=True)
        novelty.append(classifier.novelty([torch.stack(branch).mean(0) for branch in vectors]))
    return torch.cat(scores, dim=1), torch.cat(novelty)


def log_probabilities(
    classifier: Classifier, clips: Sequence[ClipFeatures], views: Sequence[View], device: torch.device
) -> Tensor:
    """Return the log-probabilities of `read_clips`, `(S, N, K)`."""
    return read_clips(classifier, clips, views, device)[0]


def score_clips(model: Model, clips: Sequence[ClipFeatures]) -> NDArray[np.float64]:
    """Return calibrated probabilities `(N, K)` of clips."""
    return scores_and_novelty(model, clips)[0]


@torch.inference_mode()
def scores_and_novelty(
    model: Model, clips: Sequence[ClipFeatures]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return calibrated probabilities `(N, K)` of clips, and their novelty `(N,)`."""
    if not clips:
        return np.zeros((0, len(model.config.classes))), np.zeros(0)
    classifier = model.classifier.eval()
    device = classifier.fusion.device
    branches, novelty = read_clips(classifier, clips, views_of(model.config, clips), device)
    probabilities = classifier.fuse(branches).double().softmax(-1).cpu().numpy()
    return probabilities, novelty.double().cpu().numpy()


def score(model: Model, clips: Clips, indices: Sequence[int]) -> list[Scored]:
    """Score samples; unreadable ones are included, without scores."""
    usable = clips.usable(indices)
    rows, novelty = scores_and_novelty(model, clips.encoded(model.encoder, usable))
    keys = usable.tolist()
    return clips.scored(
        indices, dict(zip(keys, rows, strict=True)), dict(zip(keys, novelty.tolist(), strict=True))
    )
