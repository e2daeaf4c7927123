"""Two tables of the streams that need no CNN.

To add one, write its module, and add its name to `config` and a row here. (The engine computes `rgb`, the
stream of the CNN, from a clip's frames.)
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
    """A stream with one vector per moment.

    Args:
        version: Part of the feature store's key; incremented when the definition changes.
        describe: Maps a clip of U moments to `(U, D)`.
        mirror: Maps `(..., D)` to the vectors of the left-right mirrored clip.
        is_there: Maps `(..., D)` to whether each moment has content, `(...,)`; None if every moment has.
    """

    version: int
    describe: Callable[[Clip], Floats]
    mirror: Callable[[Floats], Floats]
    is_there: Callable[[Floats], NDArray[np.bool_]] | None = None


@dataclass(frozen=True)
class SummaryDescriptor:
    """A stream with one vector per clip, which must be the same for the left-right mirrored clip.

    Args:
        width: D.
        version: Part of the feature store's key; incremented when the definition changes.
        describe: Maps RGB frames, uint8 `(T, H, W, 3)`, to `(D,)`.
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
    "motion": SequenceDescriptor(3, _motion, motion.mirror),
    "pose": SequenceDescriptor(1, _pose, pose.mirror, pose.is_seen),
}
SUMMARY_DESCRIPTORS: dict[StreamName, SummaryDescriptor] = {
    "colour": SummaryDescriptor(colour.WIDTH, 1, colour.describe),
    "texture": SummaryDescriptor(texture.WIDTH, 1, texture.describe),
}
