"""Compare a model of lower precision with the original on held-out clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.engine.extraction.processes.pool import num_cores
from vidlstm.engine.precision.clips import RunFiles, read_clips
from vidlstm.engine.scoring import scores_and_novelty
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.models.backends.protocol import ClipScores, FrameEncoder
from vidlstm.models.backends.torch import TorchEncoder
from vidlstm.models.checkpoint import Model
from vidlstm.records import is_unknown

_MIN_SAME = 0.995
_MAX_MEAN = 0.02


@dataclass(frozen=True)
class Agreement:
    """Agreement of a model of lower precision with the original on held-out clips.

    Args:
        clips: Number of held-out clips, or windows of films, that were compared.
        unread: Number of held-out files that are missing or cannot be read.
        same_labels: Number of clips with the same label; "unknown" counts as a label.
        mean: Largest difference in probability of a clip, averaged over clips.
        largest: Largest difference in probability.
        films: Number of films whose windows were compared; None: clips were.
    """

    clips: int
    unread: int
    same_labels: int
    mean: float
    largest: float
    films: int | None = None

    @property
    def passed(self) -> bool:
        """Whether there are clips, 99.5 % of their labels agree, and scores are within 0.02 on average."""
        return self.clips > 0 and self.same_labels >= _MIN_SAME * self.clips and self.mean <= _MAX_MEAN

    def to_json(self) -> dict[str, Any]:
        """Return the facts that are stored in a checkpoint."""
        films = {} if self.films is None else {"films": self.films}
        return {
            "clips": self.clips,
            **films,
            "same_labels": self.same_labels,
            "mean_difference": round(self.mean, 4),
            "largest_difference": round(self.largest, 4),
        }


def agree(
    model: Model,
    encoder: FrameEncoder | None,
    score: Callable[[ClipFeatures], ClipScores],
    files: RunFiles,
    number: int | None = None,
) -> Agreement:
    """Label clips with the original model and in lower precision, one by one.

    Args:
        model: The original model, on the CPU.
        encoder: The encoder of lower precision; None without the `rgb` stream.
        score: Returns the probabilities `(1, K)` and the novelty `(1,)` of a clip with its features.
        files: The held-out clips or films.
        number: Maximum number of clips or windows; None: all.
    """
    plain = None if model.encoder is None else TorchEncoder(model.encoder, num_cores())
    differences, same, unread = [], 0, files.num_missing
    compared: set[Path] = set()
    for path, clip in read_clips(model, files, number):
        if clip is None:
            unread += 1
            continue
        compared.add(path)
        scores, novelty = scores_and_novelty(model, [encoded(clip, plain)])
        other_scores, other_novelty = score(encoded(clip, encoder))
        differences.append(float(abs(scores - other_scores).max()))
        same += _label(model, scores, novelty) == _label(model, other_scores, other_novelty)
    mean, largest = (float(np.mean(differences)), max(differences)) if differences else (0.0, 0.0)
    films = len(compared) if files.are_films else None
    return Agreement(len(differences), unread, same, mean, largest, films)


def _label(model: Model, scores: NDArray[np.float64], novelty: NDArray[np.float64]) -> str | None:
    """Return the label of a clip, as `predict` gives it; None: unknown."""
    label = model.config.classes[scores[0].argmax()]
    return None if is_unknown(label, float(novelty[0])) else label


def encoded(clip: ClipFeatures, encode: Callable[[NDArray[np.uint8]], Values] | None) -> ClipFeatures:
    """Replace pixels by features."""
    if encode is None:
        return clip
    pixels = clip.sequences["rgb"].astype(np.uint8, copy=False)  # (M, V, T, S, S, C)
    features = encode(pixels.reshape(-1, *pixels.shape[3:]))
    steps = features.reshape(*pixels.shape[:2], -1, features.shape[-1])
    return ClipFeatures({**clip.sequences, "rgb": steps}, clip.summaries)
