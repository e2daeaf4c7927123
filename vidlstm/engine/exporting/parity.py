"""Compare the scores of an exported model with those of the original.

In float32 only rounding may differ, for any number of clips and steps. With a lower precision the scores do
differ, and the labels of the held-out clips must agree: see `vidlstm.engine.precision.agreement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidlstm.config import SUMMARY_STREAMS
from vidlstm.engine.precision.agreement import encoded
from vidlstm.engine.scoring import scores_and_novelty
from vidlstm.engine.views import stack_views
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.backends.protocol import FrameEncoder, Head
from vidlstm.models.backends.torch import TorchEncoder
from vidlstm.models.checkpoint import Model

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
    expected, found = ([encoded(clip, encode) for clip in clips] for encode in (plain, encoder))
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


def _of_length(clip: ClipFeatures, steps: int) -> ClipFeatures:
    """Repeat or cut a clip to a number of steps."""
    chosen = {name: v[:, :, np.arange(steps) % v.shape[2]] for name, v in clip.sequences.items()}
    assert not set(chosen) & set(SUMMARY_STREAMS)
    return ClipFeatures(chosen, clip.summaries)
