"""Batches of features: padded to the longest clip, with masks, and augmented in training.

Pure numpy on extracted features. All randomness comes from the generator that is passed in, so the same seed
gives the same batches. Values keep their stored type; the caller converts them where that is fast, because
numpy is slow at half precision.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float16] | NDArray[np.uint8]


@dataclass(frozen=True)
class ClipFeatures:
    """All streams of one clip.

    Args:
        sequences: By stream, float16 `(M, V, T, D)`: plain and mirrored, views, steps. Pixels for training an
            encoder are uint8 `(M, V, T, S, S, C)`.
        summaries: By stream, float16 `(M, D)`.
    """

    sequences: Mapping[str, Values]
    summaries: Mapping[str, Values]

    @property
    def num_views(self) -> int:
        """V, the same for every stream."""
        return int(next(iter(self.sequences.values())).shape[1])

    def only(self, streams: Collection[str]) -> ClipFeatures:
        """Return some of the streams."""
        sequences, summaries = (
            {name: values for name, values in part.items() if name in streams}
            for part in (self.sequences, self.summaries)
        )
        return ClipFeatures(sequences, summaries)


@dataclass(frozen=True)
class Batch:
    """Clips of one step of training or scoring.

    Args:
        sequences: By stream, `(B, T, D)` in the stored type, zeros after a clip's last step. T may differ
            between streams.
        masks: By stream, bool `(B, T)`, True on real steps.
        summaries: By stream, `(B, D)` in the stored type.
    """

    sequences: dict[str, Values]
    masks: dict[str, NDArray[np.bool_]]
    summaries: dict[str, Values]


@dataclass(frozen=True)
class Choices:
    """Which version of each of B clips to use.

    Args:
        mirrored: int64 `(B,)`; 1 for the mirrored clip, in the streams that store it.
        views: By stream, int64 `(B, T)`: the view of each step; values after a clip's last step are ignored.
    """

    mirrored: NDArray[np.int64]
    views: Mapping[str, NDArray[np.int64]]

    def __getitem__(self, rows: slice) -> Choices:
        """Return the choices for some of the clips."""
        return Choices(self.mirrored[rows], {name: views[rows] for name, views in self.views.items()})


def choose(
    clips: Sequence[ClipFeatures], rng: np.random.Generator, *, mix_views: bool, mirror: bool
) -> Choices:
    """Draw the version of each clip for a training step: views, and plain or mirrored.

    Args:
        clips: The clips.
        rng: Source of randomness.
        mix_views: Draw a view for every step (for `uniform` sampling, whose views are moments in the same
            segment); otherwise one view for the whole clip.
        mirror: Use the mirrored version of half of the clips.
    """
    steps = {name: max(clip.sequences[name].shape[2] for clip in clips) for name in clips[0].sequences}
    num_views = np.array([clip.num_views for clip in clips])
    limits = np.repeat(num_views[:, None], 2 + sum(steps.values()) * mix_views, axis=1)
    limits[:, 0] = 2 if mirror else 1
    mirrored, one, *others = np.split(
        rng.integers(limits), [1, 2, *(2 + np.cumsum(list(steps.values())))], axis=1
    )
    views = others if mix_views else [np.repeat(one, number, axis=1) for number in steps.values()]
    return Choices(mirrored[:, 0], dict(zip(steps, views, strict=False)))


def training_batch(clips: Sequence[ClipFeatures], choices: Choices) -> Batch:
    """Collect the chosen version of each clip in a padded batch.

    Args:
        clips: At least one.
        choices: Choices for these clips.
    """
    mirrored = choices.mirrored.tolist()
    padded, masks = {}, {}
    for name, first in clips[0].sequences.items():
        lengths = np.array([clip.sequences[name].shape[2] for clip in clips])
        steps = np.arange(lengths.max())
        rows = choices.views[name][:, : len(steps)] * lengths[:, None] + steps
        places: Values = np.zeros((len(clips), len(steps), *first.shape[3:]), first.dtype)
        for clip, flip, length, row, place in zip(
            clips, mirrored, lengths.tolist(), rows, places, strict=True
        ):
            moments = _plain_or_mirrored(clip.sequences[name], flip).reshape(-1, *first.shape[3:])
            place[:length] = moments.take(row[:length], axis=0)
        padded[name], masks[name] = places, steps < lengths[:, None]
    summaries: dict[str, Values] = {
        name: np.array(
            [
                _plain_or_mirrored(clip.summaries[name], flip)
                for clip, flip in zip(clips, mirrored, strict=True)
            ]
        )
        for name in clips[0].summaries
    }
    return Batch(padded, masks, summaries)


def view_batch(clips: Sequence[ClipFeatures], index: int | None = None, *, mirrored: bool = False) -> Batch:
    """Collect one view of every clip in a padded batch.

    Args:
        clips: At least one.
        index: Index of the view, or the last view of a clip with fewer; None: the middle view.
        mirrored: Use the mirrored clip, in the streams that store it.
    """
    num_views = np.array([clip.num_views for clip in clips])
    numbers = num_views // 2 if index is None else np.minimum(index, num_views - 1)
    steps = {name: max(clip.sequences[name].shape[2] for clip in clips) for name in clips[0].sequences}
    views = {name: np.repeat(numbers[:, None], number, axis=1) for name, number in steps.items()}
    return training_batch(clips, Choices(np.full(len(clips), int(mirrored)), views))


def _plain_or_mirrored(values: Values, mirrored: int) -> Values:
    chosen: Values = values[min(mirrored, len(values) - 1)]
    return chosen
