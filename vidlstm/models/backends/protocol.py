"""What encodes pictures and what classifies features, whatever library computes it. Imports none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Precision
from vidlstm.errors import BackendError

logger = logging.getLogger(__name__)

ClipScores: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Calibrated probabilities `(N, K)` of clips, and their novelty `(N,)`."""

CPU_BATCH = 4
"""Pictures that one thread computes at once; with more, what a layer leaves falls out of the caches."""


class FrameEncoder(Protocol):
    """Pictures to features."""

    digest: str
    """Of everything that features depend on beside the pictures."""

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` where a picture is read as R rows."""


class Head(Protocol):
    """Features to calibrated probabilities and novelty."""

    def __call__(self, streams: Mapping[str, NDArray[Any]]) -> ClipScores:
        """Classify B clips by V views of each.

        Args:
            streams: By name: float32 `(B, V, T, D)` of a sequence, and beside it bool `NAME_mask` `(B, T)`,
                True on real steps; float32 `(B, V, D)` of a summary.

        Returns:
            Probabilities, `(B, K)`, and novelty, `(B,)`.
        """


class EncoderWithFallback:
    """An encoder that nobody asked for, and the plain one that takes over when it fails.

    Args:
        fast: Raises a `BackendError` where it cannot be had.
        make_plain: Makes the other one, with the same features to rounding.
    """

    def __init__(self, fast: FrameEncoder, make_plain: Callable[[], FrameEncoder]) -> None:
        self.digest = fast.digest
        self._encoder = fast
        self._make_plain: Callable[[], FrameEncoder] | None = make_plain

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` where a picture is read as R rows."""
        try:
            return self._encoder(pictures)
        except BackendError as error:
            if self._make_plain is None:
                raise
            logger.warning("%s", error)
            self._encoder, self._make_plain = self._make_plain(), None
            return self._encoder(pictures)


def supported_precision(precision: Precision, has_bfloat16: Callable[[], bool]) -> Precision:
    """Return the precision to compute with: float32, and a warning, where the processor has no other."""
    if precision == "float32" or has_bfloat16():
        return precision
    logger.warning("This processor has no bfloat16, so float32 is used")
    return "float32"
