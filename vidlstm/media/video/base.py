"""The interface of all sources of frames: a cursor that moves forward.

An open `Video` is at its first frame. It moves forward by one frame (`step`), to a chosen frame (`goto`) or
to a time (`reach`), and returns the image of the current frame (`image`). Frames have the order and numbers
of a full decode from the beginning. To go back, open the video again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.sampling import known_fps

if TYPE_CHECKING:
    from typing_extensions import Self

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says, which may be wrong.

    Args:
        width: Width of the picture after rotation, in pixels.
        height: Height of the picture after rotation, in pixels.
        fps: Frames per second.
        num_frames: Number of frames; 0 if the header does not say.
        codec: FFmpeg's name of the codec; empty for a folder.
        seconds: Length; None if the header does not say.
    """

    width: int
    height: int
    fps: float
    num_frames: int
    codec: str
    seconds: float | None


@dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Args:
        index: Its number in a full decode, from 0.
        seconds: Time since the first frame.
        image: uint8 BGR `(H, W, 3)`, rotated as shown.
    """

    index: int
    seconds: float
    image: Image


class DoubtError(Exception):
    """The frames may differ from those of a full decode by one thread; the file must be read again."""


class Video(ABC):
    """An open source of frames.

    Attributes:
        path: The file or folder.
        info: What its header says.
        expected: Best estimate of the number of frames without decoding; 0 if there is none.
        index: Number of the current frame.
        seconds: Time of the current frame since the first.
        count: The true number of frames, once the end has been reached; None before.
        jumped: Whether frames were skipped without being decoded.
        times: Time of every frame since the first, float64 `(N,)`; None if known only for frames that have
            been read.
        met: Times of the frames read so far, in order.
        notes: Remarks on the clip, a sentence each.
        num_missing: Number of frames that the file announces but does not contain.
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self.path = path
        self.info = info
        self.expected = info.num_frames
        self.index = -1
        self.seconds = 0.0
        self.count: int | None = None
        self.jumped = False
        self.times: NDArray[np.float64] | None = None
        self.met: list[float] = []
        self.notes: tuple[str, ...] = ()
        self.num_missing = 0

    def expect(self, indices: Iterable[int]) -> None:  # noqa: B027 (most readers do not need it)
        """Announce that from now on `goto` is only called with these frame numbers."""

    @abstractmethod
    def step(self) -> bool:
        """Move to the next frame; return False at the end.

        Raises:
            DoubtError: The next frame, or one just before it, may differ when the file is read again.
        """

    @abstractmethod
    def image(self) -> Image:
        """Return the current frame, uint8 BGR `(H, W, 3)`.

        Raises:
            InputError: `read_error`: it cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def goto(self, index: int) -> bool:
        """Move forward to frame `index`; return False if the clip ends before it."""
        if index < self.index:
            raise ValueError(f"frame {index} is before frame {self.index}, but frames are read in order")
        while self.index < index:
            if not self.step():
                return False
        return True

    def reach(self, seconds: float) -> bool:
        """Move forward to the first frame at or after a time; return False if the clip ends before it."""
        while self.seconds < seconds:
            if not self.step():
                return False
        return True

    def read(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Yield the frames with these numbers, in ascending order; stop at the end of the clip."""
        for index in indices:
            if not self.goto(int(index)):
                return
            yield Frame(self.index, self.seconds, self.image())

    def read_to_end(self) -> int:
        """Move to the end and return the true number of frames."""
        while self.count is None and self.step():
            pass
        return self.index + 1

    @property
    def end_seconds(self) -> float:
        """End of the last frame read so far; at the end, the length of the clip."""
        return self.seconds + 1 / known_fps(self.info.fps)

    @property
    def num_lost(self) -> int:
        """Number of frames that are missing or damaged, as far as the clip has been read."""
        return self.num_missing

    def _advance(self, seconds: float) -> None:
        """Advance by one frame. A time that does not increase is replaced."""
        self.index += 1
        if self.index == 0:
            self.seconds = 0.0
        elif seconds > self.seconds:
            self.seconds = seconds
        else:
            self.seconds += 1 / known_fps(self.info.fps)
        self.met.append(self.seconds)

    def _reach_end(self) -> bool:
        self.count = self.index + 1
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
