"""A clip as an array of frames in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.errors import UsageError
from vidlstm.media.sampling import DEFAULT_FPS
from vidlstm.media.video.base import Image, Video, VideoInfo

NAME = Path("frames")
"""Used in place of a path, in messages and in a prediction's `path`."""


@dataclass(frozen=True)
class Frames:
    """Frames of one clip.

    Args:
        images: uint8 RGB `(T, H, W, 3)`.
        times: Time of each frame in seconds, float64 `(T,)`, increasing.

    Raises:
        UsageError: The arrays have another form.
    """

    images: NDArray[np.uint8]
    times: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[-1] != 3:
            raise UsageError(
                f"frames of shape {self.images.shape} and type {self.images.dtype}: "
                "must be uint8 RGB, (T, H, W, 3)"
            )
        if not all(self.images.shape):
            raise UsageError(f"frames of shape {self.images.shape}: must not be empty")
        if self.times.shape != (len(self.images),):
            raise UsageError(
                f"{self.times.size} times for {len(self.images)} frames: give one time per frame"
            )
        if not np.isfinite(self.times).all() or (np.diff(self.times) <= 0).any():
            raise UsageError("times of frames must be finite and increase")

    @staticmethod
    def at(images: NDArray[np.uint8], fps: float) -> Frames:
        """Return frames at a constant rate.

        Raises:
            UsageError: The rate is not positive, or the images have another form.
        """
        if not 0 < fps < np.inf:
            raise UsageError(f"fps={fps}: must be above 0")
        return Frames(images, np.arange(len(images)) / fps)


class FrameArray(Video):
    """Frames in memory as an open video."""

    def __init__(self, frames: Frames) -> None:
        count, height, width = frames.images.shape[:3]
        times = frames.times - frames.times[0]
        fps = (count - 1) / float(times[-1]) if count > 1 else DEFAULT_FPS
        super().__init__(NAME, VideoInfo(width, height, fps, count, "", float(times[-1]) + 1 / fps))
        self.times = times
        self._images = frames.images
        self._times = times
        self.step()

    def step(self) -> bool:
        """Move to the next frame; return False at the end."""
        if self.index + 1 == len(self._images):
            return self._reach_end()
        self.index += 1
        self.seconds = float(self._times[self.index])
        return True

    def image(self) -> Image:
        """Return the current frame, uint8 BGR `(H, W, 3)`."""
        return np.ascontiguousarray(self._images[self.index][..., ::-1])

    def close(self) -> None:
        """Do nothing."""
