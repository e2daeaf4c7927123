"""Compare the scores of an exported model with those of the original.

In float32 only rounding may differ, for any number of clips and steps (`compare`). With a lower precision the
scores do differ, and the labels of the held-out clips must agree (`agree`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import SUMMARY_STREAMS
from vidlstm.engine.scoring import scores_and_novelty
from vidlstm.engine.views import stack_views
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.models.backends.protocol import FrameEncoder, Head
from vidlstm.models.backends.torch import TorchEncoder
from vidlstm.models.checkpoint import Model
from vidlstm.records import is_unknown

MOST = 1e-4
"""Maximum difference in probability that counts as rounding."""
BATCHES = (1, 3)
STEPS = (1, 7, 16)


@dataclass(frozen=True)
class Parity:
    """Differences between exported and original model for one batch of clips.

    Args:
        clips: Number of clips in the batch, padded to the longest.
        steps: Steps of the longest clip.
        difference: Largest difference in probability.
        novelty: Largest difference in novelty.
        same_labels: Whether all labels agree.
    """

    clips: int
    steps: int
    difference: float
    novelty: float
    same_labels: bool

    @property
    def passed(self) -> bool:
        """Whether the differences are only rounding."""
        return self.same_labels and self.difference <= MOST


@dataclass(frozen=True)
class Agreement:
    """How far an exported model of lower precision agrees with the original on held-out clips.

    Args:
        clips: Number of held-out clips, or windows of films, that were compared.
        unread: Number of held-out files that are missing or cannot be read.
        same_labels: Number of clips with the same label; "unknown" counts as a label.
        mean: Largest difference in probability of a clip, averaged over clips.
        largest: Largest difference in probability.
    """

    clips: int
    unread: int
    same_labels: int
    mean: float
    largest: float

    @property
    def passed(self) -> bool:
        """Whether there are clips, and all labels agree."""
        return 0 < self.clips == self.same_labels


def compare(
    model: Model, encoder: FrameEncoder | None, head: Head, clips: Sequence[ClipFeatures]
) -> tuple[Parity, ...]:
    """Score clips with torch and with an exported model.

    Args:
        model: The original model, on the CPU.
        encoder: The exported encoder; None without the `rgb` stream.
        head: The exported head.
        clips: At least one; with pixels instead of features for the `rgb` stream.

    Returns:
        One result per number of clips and steps; the last clip of a batch is shorter and masked.
    """
    plain = None if model.encoder is None else TorchEncoder(model.encoder, 1)
    expected, found = ([_encoded(clip, encode) for clip in clips] for encode in (plain, encoder))
    results = []
    for number in BATCHES:
        for steps in STEPS:
            lengths = [max(1, steps - 3 * place) for place in range(number)]
            batches = (
                [_of_length(given[i % len(given)], n) for i, n in enumerate(lengths)]
                for given in (expected, found)
            )
            (wanted, old), (scores, new) = (
                scores_and_novelty(model, next(batches)),
                head(stack_views(model.config, next(batches))),
            )
            same = bool((wanted.argmax(-1) == scores.argmax(-1)).all())
            difference, novelty = float(abs(wanted - scores).max()), float(abs(old - new).max())
            results.append(Parity(number, steps, difference, novelty, same))
    return tuple(results)


def agree(
    model: Model,
    encoder: FrameEncoder | None,
    head: Head,
    clips: Iterable[ClipFeatures | None],
    num_missing: int = 0,
) -> Agreement:
    """Label clips with torch and with an exported model, one by one.

    Args:
        model: The original model, on the CPU.
        encoder: The exported encoder; None without the `rgb` stream.
        head: The exported head.
        clips: With pixels instead of features for the `rgb` stream; None: could not be read.
        num_missing: Number of clips that no longer exist.
    """
    plain = None if model.encoder is None else TorchEncoder(model.encoder, 1)
    differences, same, unread = [], 0, num_missing
    for clip in clips:
        if clip is None:
            unread += 1
            continue
        scores, novelty = scores_and_novelty(model, [_encoded(clip, plain)])
        other_scores, other_novelty = head(stack_views(model.config, [_encoded(clip, encoder)]))
        differences.append(float(abs(scores - other_scores).max()))
        same += _label(model, scores, novelty) == _label(model, other_scores, other_novelty)
    mean, largest = (float(np.mean(differences)), max(differences)) if differences else (0.0, 0.0)
    return Agreement(len(differences), unread, same, mean, largest)


def _label(model: Model, scores: NDArray[np.float64], novelty: NDArray[np.float64]) -> str | None:
    """Return the label of a clip, as `predict` gives it; None: unknown."""
    label = model.config.classes[scores[0].argmax()]
    return None if is_unknown(label, float(novelty[0])) else label


def _encoded(clip: ClipFeatures, encode: Callable[[NDArray[np.uint8]], Values] | None) -> ClipFeatures:
    """Replace pixels by features."""
    if encode is None:
        return clip
    pixels = clip.sequences["rgb"].astype(np.uint8, copy=False)  # (M, V, T, S, S, C)
    features = encode(pixels.reshape(-1, *pixels.shape[3:]))
    steps = features.reshape(*pixels.shape[:2], -1, features.shape[-1])
    return ClipFeatures({**clip.sequences, "rgb": steps}, clip.summaries)


def _of_length(clip: ClipFeatures, steps: int) -> ClipFeatures:
    """Repeat or cut a clip to a number of steps."""
    chosen = {name: v[:, :, np.arange(steps) % v.shape[2]] for name, v in clip.sequences.items()}
    assert not set(chosen) & set(SUMMARY_STREAMS)
    return ClipFeatures(chosen, clip.summaries)
