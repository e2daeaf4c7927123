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
Values = NDArray[np.float16] | NDArray[np.uint8]


@dataclass(frozen=True)
class ClipFeatures:
    """All streams of one clip.

    Args:
        sequences: By stream, float16 `(M, V, T, D)`: plain and mirrored, views, steps. Pixels for an
            encoder that learns are uint8 `(M, V, T, S, S, C)`.
        summaries: By stream, float16 `(M, D)`.
    """

    sequences: Mapping[str, Values]
    summaries: Mapping[str, Values]

    @property
    def num_views(self) -> int:
        """V, the same for every stream."""
        return int(next(iter(self.sequences.values())).shape[1])


@dataclass(frozen=True)
class Batch:
    """Clips of one step of training or scoring.

    Args:
        sequences: By stream, float32 `(B, T, D)`, zeros behind a clip's last step. T is the
            stream's own.
        masks: By stream, bool `(B, T)`, True on real steps.
        summaries: By stream, float32 `(B, D)`.
    """

    sequences: dict[str, Floats]
    masks: dict[str, NDArray[np.bool_]]
    summaries: dict[str, Floats]


def view_batch(clips: Sequence[ClipFeatures], view: int | None = None, side: int = 0) -> Batch:
    """Collect one view of every clip, unchanged: the middle one unless told.

    Args:
        clips: At least one.
        view: Its number; a clip with fewer views gives its last.
        side: 1 takes the mirrored clip, of the streams that keep it.
    """
    sequences, summaries = [], []
    for clip in clips:
        number = clip.num_views // 2 if view is None else min(view, clip.num_views - 1)
        sequences.append({name: _side(values, side)[number] for name, values in clip.sequences.items()})
        summaries.append({name: _side(values, side) for name, values in clip.summaries.items()})
    return _collate(sequences, summaries)


def training_batch(
    clips: Sequence[ClipFeatures], rng: np.random.Generator, *, mix_views: bool, mirror: bool
) -> Batch:
    """Collect clips as training sees them: other moments, and perhaps mirrored, each time.

    Args:
        clips: At least one.
        rng: Where the randomness comes from.
        mix_views: Every step takes a view by itself (`uniform` sampling, whose views are places in
            the same segment); otherwise a clip takes one view as a whole.
        mirror: Half of the clips are taken as their mirrored selves.
    """
    sequences, summaries = [], []
    for clip in clips:
        side = int(rng.integers(2)) if mirror else 0
        number = int(rng.integers(clip.num_views))
        chosen = {}
        for name, values in clip.sequences.items():
            steps = np.arange(values.shape[2])
            views = rng.integers(clip.num_views, size=len(steps)) if mix_views else number
            chosen[name] = _side(values, side)[views, steps]
        sequences.append(chosen)
        summaries.append({name: _side(values, side) for name, values in clip.summaries.items()})
    return _collate(sequences, summaries)


def _side(values: Values, side: int) -> Values:
    chosen: Values = values[min(side, len(values) - 1)]
    return chosen


def _collate(
    sequences: Sequence[Mapping[str, Values]],
    summaries: Sequence[Mapping[str, Values]],
) -> Batch:
    padded, masks = {}, {}
    for name in sequences[0]:
        padded[name], masks[name] = _pad([clip[name] for clip in sequences])
    stacked = {name: np.stack([clip[name] for clip in summaries]).astype(np.float32) for name in summaries[0]}
    return Batch(padded, masks, stacked)


def _pad(rows: Sequence[Values]) -> tuple[Floats, NDArray[np.bool_]]:
    """Pad `(T_i, D)` of each clip to `(B, T, D)`, with the mask `(B, T)` of real steps."""
    lengths = np.array([len(row) for row in rows])
    padded = np.zeros((len(rows), int(lengths.max()), *rows[0].shape[1:]), np.float32)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    mask: NDArray[np.bool_] = np.arange(padded.shape[1]) < lengths[:, None]
    return padded, mask
