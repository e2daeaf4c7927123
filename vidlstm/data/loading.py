"""Features become batches: padded to the longest, with masks, augmented while training.

Pure numpy on features that are already there; the randomness comes from the generator handed in,
so that the same seed gives the same batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ClipFeatures:
    """All streams of one clip.

    Args:
        sequences: By stream, float16 `(M, V, T, D)`: plain and mirrored, views, steps.
        summaries: By stream, float16 `(M, D)`.
    """

    sequences: Mapping[str, NDArray[np.float16]]
    summaries: Mapping[str, NDArray[np.float16]]

    @property
    def num_steps(self) -> int:
        """T, the same for every stream."""
        return next(iter(self.sequences.values())).shape[2]

    @property
    def num_views(self) -> int:
        """V, the same for every stream."""
        return next(iter(self.sequences.values())).shape[1]


@dataclass(frozen=True)
class Batch:
    """Clips of one step of training or scoring.

    Args:
        sequences: By stream, float32 `(B, T, D)`, zeros behind a clip's last step.
        summaries: By stream, float32 `(B, D)`.
        mask: bool `(B, T)`, True on real steps.
    """

    sequences: dict[str, Floats]
    summaries: dict[str, Floats]
    mask: NDArray[np.bool_]


def view_batch(clips: Sequence[ClipFeatures], view: int | None = None) -> Batch:
    """Collect one view of every clip, unchanged: the middle one unless told.

    Args:
        clips: At least one.
        view: Its number; a clip with fewer views gives its last.
    """
    chosen = [
        {
            name: values[0, values.shape[1] // 2 if view is None else min(view, values.shape[1] - 1)]
            for name, values in clip.sequences.items()
        }
        for clip in clips
    ]
    return _pad(chosen, [{name: values[0] for name, values in clip.summaries.items()} for clip in clips])


def training_batch(
    clips: Sequence[ClipFeatures], rng: np.random.Generator, *, mix_views: bool, mirror: bool
) -> Batch:
    """Collect clips as training sees them: other moments, and perhaps mirrored, each time.

    Args:
        clips: At least one.
        rng: Where the randomness comes from.
        mix_views: Every step takes a view by itself (`uniform` sampling, whose views are places in
            the same segment); otherwise a clip takes one view as a whole.
        mirror: Half of the clips are taken as their mirrored selves, all streams alike.
    """
    sequences, summaries = [], []
    for clip in clips:
        steps = np.arange(clip.num_steps)
        views = rng.integers(clip.num_views, size=len(steps) if mix_views else 1)
        side = int(rng.integers(2)) if mirror else 0
        sequences.append(
            {name: values[min(side, len(values) - 1), views, steps] for name, values in clip.sequences.items()}
        )
        summaries.append({name: values[min(side, len(values) - 1)] for name, values in clip.summaries.items()})
    return _pad(sequences, summaries)


def _pad(
    sequences: Sequence[Mapping[str, NDArray[np.float16]]], summaries: Sequence[Mapping[str, NDArray[np.float16]]]
) -> Batch:
    lengths = np.array([len(next(iter(clip.values()))) for clip in sequences])
    longest = int(lengths.max())
    mask = np.arange(longest) < lengths[:, None]
    padded = {}
    for name, first in sequences[0].items():
        padded[name] = np.zeros((len(sequences), longest, first.shape[-1]), np.float32)
        for row, clip in zip(padded[name], sequences, strict=True):
            row[: len(clip[name])] = clip[name]
    return Batch(
        padded,
        {name: np.stack([clip[name] for clip in summaries]).astype(np.float32) for name in summaries[0]},
        mask,
    )
