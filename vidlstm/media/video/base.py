"""What every source of frames has in common: a cursor that goes forward.

A `Video` stands on one frame (the first one, once it is open), goes forward by one (`step`) or to
a chosen frame (`goto`), and gives the picture of the frame it stands on (`image`). The order and
the numbers are those of a full decode from the beginning. Going back is not possible: open again.
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
    """What a file's header says.

    Args:
        width: Of the picture as shown, after rotation, in pixels.
        height: Of the picture as shown, after rotation, in pixels.
        fps: Frames a second, as claimed.
        num_frames: Frames, as claimed; 0 when the header has no count of them.
        codec: FFmpeg's name of it; empty for a folder.
        seconds: Length, as claimed; None when the header does not tell.
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
        seconds: When it is shown, counted from the first frame.
        image: `(H, W, 3)` uint8, blue-green-red, as shown (rotation applied).
    """

    index: int
    seconds: float
    image: Image


class DoubtError(Exception):
    """It is not certain that the frames are those of a full decode by one thread: read the file again."""


class Video(ABC):
    """An open source of frames, standing on its first frame.

    Attributes:
        path: The file or folder.
        info: What its header says.
        expected: The best number of frames known without decoding; 0 when nothing is known.
        index: Number of the frame it stands on.
        seconds: When that frame is shown, counted from the first frame.
        count: The true number of frames, once the end has been met.
        jumped: Whether frames were passed over without being decoded.
        times: When every frame is shown, `(N,)` float64, in seconds from the first one; None where this
            is only known of frames that have been met.
        met: When the frames that were met are shown, in order.
        notes: What else there is to say of the clip, a sentence each.
        num_missing: Frames that the file announces, but does not hold.
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

    def expect(self, indices: Iterable[int]) -> None:  # noqa: B027 (most readers need not know)
        """Say that from now on `goto` is only called with these frame numbers."""

    @abstractmethod
    def step(self) -> bool:
        """Go to the next frame; return False at the end.

        Raises:
            DoubtError: The next frame, or one of those just before it, may be another when read again.
        """

    @abstractmethod
    def image(self) -> Image:
        """Return the frame it stands on, `(H, W, 3)` uint8 BGR.

        Raises:
            InputError: `read_error`, it cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def goto(self, index: int) -> bool:
        """Go forward to frame `index`; return False when the clip ends before it."""
        if index < self.index:
            raise ValueError(f"frame {index} lies before frame {self.index}: frames are read in order")
        while self.index < index:
            if not self.step():
                return False
        return True

    def read(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Yield the frames with these numbers, which must not decrease; stop where the clip ends."""
        for index in indices:
            if not self.goto(int(index)):
                return
            yield Frame(self.index, self.seconds, self.image())

    def read_to_end(self) -> int:
        """Go to the end and return the true number of frames."""
        while self.count is None and self.step():
            pass
        return self.index + 1

    @property
    def end_seconds(self) -> float:
        """When the last frame met so far ends; the clip's length once the end has been met."""
        return self.seconds + 1 / known_fps(self.info.fps)

    @property
    def num_lost(self) -> int:
        """Frames that are missing or cannot be decoded whole, as far as the clip was read."""
        return self.num_missing

    def _stand_on_next(self, seconds: float) -> None:
        """Count one frame on. A time that does not grow is not believed."""
        self.index += 1
        if self.index == 0:
            self.seconds = 0.0
        elif seconds > self.seconds:
            self.seconds = seconds
        else:
            self.seconds += 1 / known_fps(self.info.fps)
        self.met.append(self.seconds)

    def _meet_end(self) -> bool:
        self.count = self.index + 1
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
