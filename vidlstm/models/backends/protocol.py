"""What encodes pictures, whatever library computes it. Imports none."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

CPU_BATCH = 4
"""Pictures that one thread computes at once; with more, what a layer leaves falls out of the caches."""


class FrameEncoder(Protocol):
    """Pictures to features."""

    digest: str
    """Of everything that features depend on beside the pictures."""

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` where a picture is read as R rows."""
