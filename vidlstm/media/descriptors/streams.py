"""The streams that are described without a network, as two tables.

To add one: write its module, put its name into `config` and a row in here. (`rgb`, the stream that
needs the CNN, is made by the engine from a clip's frames.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import StreamName
from vidlstm.media.clips import Clip
from vidlstm.media.descriptors import colour, motion, pose, texture

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SequenceDescriptor:
    """A stream with one vector a moment.

    Args:
        version: Part of the feature store's key; goes up when the definition changes.
        describe: Gives `(U, D)` for a clip of U moments.
        mirror: Turns `(..., D)` into what the clip flipped left to right would give.
        is_there: Tells of `(..., D)` at which moments there is something to read, `(...,)`; None where
            there always is.
    """

    version: int
    describe: Callable[[Clip], Floats]
    mirror: Callable[[Floats], Floats]
    is_there: Callable[[Floats], NDArray[np.bool_]] | None = None


@dataclass(frozen=True)
class SummaryDescriptor:
    """A stream with one vector a clip. It must not change when the clip is flipped left to right.

    Args:
        width: D.
        version: Part of the feature store's key; goes up when the definition changes.
        describe: Gives `(D,)` for RGB frames uint8 `(T, H, W, 3)`.
    """

    width: int
    version: int
    describe: Callable[[NDArray[np.uint8]], Floats]


def _motion(clip: Clip) -> Floats:
    if clip.pairs is None or clip.pair_seconds is None:
        raise ValueError("the clip was read without pairs")
    return motion.describe(clip.pairs, clip.pair_seconds)


def _pose(clip: Clip) -> Floats:
    if clip.people is None:
        raise ValueError("nobody has looked for people in the clip")
    return pose.describe(clip.people, clip.times)


SEQUENCE_DESCRIPTORS: dict[StreamName, SequenceDescriptor] = {
    "motion": SequenceDescriptor(2, _motion, motion.mirror),
    "pose": SequenceDescriptor(1, _pose, pose.mirror, pose.is_seen),
}
SUMMARY_DESCRIPTORS: dict[StreamName, SummaryDescriptor] = {
    "colour": SummaryDescriptor(colour.WIDTH, 1, colour.describe),
    "texture": SummaryDescriptor(texture.WIDTH, 1, texture.describe),
}
