"""Features become batches: padded to the longest, with masks, augmented while training.

Pure numpy on features that are already there; the randomness comes from the generator handed in,
so that the same seed gives the same batches. Values stay as narrow as they are stored: whoever
computes with them widens them where that is fast, which numpy is not at half precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        sequences: By stream, `(B, T, D)` as stored, zeros behind a clip's last step. T is the
            stream's own.
        masks: By stream, bool `(B, T)`, True on real steps.
        summaries: By stream, `(B, D)` as stored.
    """

    sequences: dict[str, Values]
    masks: dict[str, NDArray[np.bool_]]
    summaries: dict[str, Values]


def view_batch(clips: Sequence[ClipFeatures], view: int | None = None, side: int = 0) -> Batch:
    """Collect one view of every clip, unchanged: the middle one unless told.

    Args:
        clips: At least one.
        view: Its number; a clip with fewer views gives its last.
        side: 1 takes the mirrored clip, of the streams that keep it.
    """
    rows = []
    for clip in clips:
        number = clip.num_views // 2 if view is None else min(view, clip.num_views - 1)
        rows.append({name: _side(values, side)[number] for name, values in clip.sequences.items()})
    return _collate(clips, rows, [side] * len(clips))


@dataclass(frozen=True)
class Choice:
    """What training takes of one clip: other moments, and perhaps the mirrored clip, each time.

    Args:
        side: 1 takes the mirrored clip, of the streams that keep it.
        views: By stream, int64 `(T,)`: the view that each step is taken from.
    """

    side: int
    views: Mapping[str, NDArray[np.int64]]


def choose(
    clips: Sequence[ClipFeatures], rng: np.random.Generator, *, mix_views: bool, mirror: bool
) -> list[Choice]:
    """Draw what is taken of each clip.

    Args:
        clips: Tell how many views and steps there are.
        rng: Where the randomness comes from.
        mix_views: Every step takes a view by itself (`uniform` sampling, whose views are places in
            the same segment); otherwise a clip takes one view as a whole.
        mirror: Half of the clips are taken as their mirrored selves.
    """
    limits: list[int] = []  # of everything that is random about the batch: drawn at once, which is fast
    for clip in clips:
        num_steps = sum(values.shape[2] for values in clip.sequences.values()) if mix_views else 0
        limits += [2 if mirror else 1, *[clip.num_views] * (1 + num_steps)]
    drawn = rng.integers(limits)
    choices, start = [], 0
    for clip in clips:
        side, one = int(drawn[start]), drawn[start + 1]
        start += 2
        views = {}
        for name, values in clip.sequences.items():
            length = values.shape[2]
            views[name] = drawn[start : start + length] if mix_views else np.full(length, one)
            start += length if mix_views else 0
        choices.append(Choice(side, views))
    return choices


def training_batch(clips: Sequence[ClipFeatures], choices: Sequence[Choice]) -> Batch:
    """Collect what was chosen of each clip.

    Args:
        clips: At least one.
        choices: One a clip.
    """
    rows = []
    for clip, choice in zip(clips, choices, strict=True):
        chosen = {}
        for name, values in clip.sequences.items():
            views = choice.views[name]
            chosen[name] = _side(values, choice.side)[views, np.arange(len(views))]
        rows.append(chosen)
    return _collate(clips, rows, [choice.side for choice in choices])


def _side(values: Values, side: int) -> Values:
    chosen: Values = values[min(side, len(values) - 1)]
    return chosen


def _collate(
    clips: Sequence[ClipFeatures], rows: Sequence[Mapping[str, Values]], sides: Sequence[int]
) -> Batch:
    padded, masks = {}, {}
    for name in rows[0]:
        padded[name], masks[name] = _pad([chosen[name] for chosen in rows])
    summaries: dict[str, Values] = {
        name: np.array([_side(clip.summaries[name], side) for clip, side in zip(clips, sides, strict=True)])
        for name in clips[0].summaries
    }
    return Batch(padded, masks, summaries)


def _pad(rows: Sequence[Values]) -> tuple[Values, NDArray[np.bool_]]:
    """Pad `(T_i, D)` of each clip to `(B, T, D)`, with the mask `(B, T)` of real steps."""
    lengths = np.array([len(row) for row in rows])
    padded: Values = np.zeros((len(rows), int(lengths.max()), *rows[0].shape[1:]), rows[0].dtype)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    mask: NDArray[np.bool_] = np.arange(padded.shape[1]) < lengths[:, None]
    return padded, mask
