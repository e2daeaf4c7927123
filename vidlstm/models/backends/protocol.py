"""Protocols of encoders and heads, independent of the library that runs them. Imports no such library."""

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
"""Pictures per batch and thread; with more, a layer's output no longer fits in the CPU's cache."""


class FrameEncoder(Protocol):
    """Maps pictures to features."""

    digest: str
    """Digest of everything that features depend on, except the pictures."""

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` if a picture is read as R rows."""


class Head(Protocol):
    """Maps features to calibrated probabilities and novelty."""

    def __call__(self, streams: Mapping[str, NDArray[Any]]) -> ClipScores:
        """Classify B clips with V views each.

        Args:
            streams: By name: for a sequence, float32 `(B, V, T, D)` and bool `NAME_mask` `(B, T)`, True on
                real steps; for a summary, float32 `(B, V, D)`.

        Returns:
            Probabilities, `(B, K)`, and novelty, `(B,)`.
        """


class EncoderWithFallback:
    """A fast encoder chosen by default, and the plain encoder to use if it fails.

    Args:
        fast: Raises a `BackendError` if it fails.
        make_plain: Returns the plain encoder, which gives the same features up to rounding.
    """

    def __init__(self, fast: FrameEncoder, make_plain: Callable[[], FrameEncoder]) -> None:
        self.digest = fast.digest
        self._encoder = fast
        self._make_plain: Callable[[], FrameEncoder] | None = make_plain

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` if a picture is read as R rows."""
        try:
            return self._encoder(pictures)
        except BackendError as error:
            if self._make_plain is None:
                raise
            logger.warning("%s", error)
            self._encoder, self._make_plain = self._make_plain(), None
            return self._encoder(pictures)


def supported_precision(precision: Precision, has_bfloat16: Callable[[], bool]) -> Precision:
    """Return the precision to use: float32, with a warning, if the processor does not support `precision`."""
    if precision == "float32" or has_bfloat16():
        return precision
    logger.warning("This processor has no bfloat16, so float32 is used")
    return "float32"
