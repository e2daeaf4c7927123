"""A clip that is a folder of numbered pictures: `img_00001.jpg`, `img_00002.jpg`, ...

Which pictures are the frames `vidlstm.files` knows. A frame that is no picture inside is left out and
counted; one that turns out damaged when it is wanted gives way to the next that can be read, and is
counted too. There is no clock: 25 pictures a second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidlstm.errors import FailureCode, InputError
from vidlstm.files import frame_series
from vidlstm.media.file_types import Limits, as_input_errors, picture_format, read_head
from vidlstm.media.image import PictureLimits, load_picture
from vidlstm.media.sampling import DEFAULT_FPS
from vidlstm.media.video.base import Image, Video, VideoInfo


class FrameFolder(Video):
    """An open folder of numbered pictures.

    Attributes:
        num_pictures: Frames by their names.
        num_unreadable: Those among them that were found to be unreadable.

    Raises:
        InputError: `not_a_file`, it is not of numbered frames; `no_frames`, none can be read.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        with as_input_errors(path):
            series = frame_series(path)
        if series is None:
            raise InputError(
                path, FailureCode.NOT_A_FILE, "is a folder, and not of numbered frames of one clip"
            )
        self._limits = limits
        names = [path / name for name in series.names]
        self._files = [p for p in names if _is_picture(p, limits)]
        self.num_pictures = len(names)
        self.num_unreadable = len(names) - len(self._files)
        self._image: Image | None = None
        super().__init__(path, VideoInfo(0, 0, DEFAULT_FPS, len(self._files), "", None))
        if series.passed_over:
            some = ", ".join(series.passed_over[:3]) + (" ..." if len(series.passed_over) > 3 else "")
            self.notes = (
                f"pictures that are no frames were passed over: {len(series.passed_over)} ({some})",
            )
        if not self.step():
            raise InputError(path, FailureCode.NO_FRAMES, f"none of its {len(names)} pictures can be read")
        height, width = self.image().shape[:2]
        seconds = len(self._files) / DEFAULT_FPS
        self.info = VideoInfo(width, height, DEFAULT_FPS, len(self._files), "", seconds)

    def step(self) -> bool:
        """Go to the next picture; return False at the end."""
        return self.goto(self.index + 1)

    def goto(self, index: int) -> bool:
        """Go forward to picture `index`; return False when the clip ends before it."""
        if index < self.index:
            raise ValueError(f"frame {index} lies before frame {self.index}: frames are read in order")
        while index != self.index and index < len(self._files):
            self._image = _read(self._files[index], self._limits)
            if self._image is not None:
                self.index, self.seconds = index, index / DEFAULT_FPS
                break
            del self._files[index]
            self.num_unreadable += 1
        if index < len(self._files):
            return True
        self.index = len(self._files) - 1
        return self._meet_end()

    def image(self) -> Image:
        """Return the picture it stands on, `(H, W, 3)` uint8 BGR."""
        if self._image is None:
            raise InputError(self.path, FailureCode.READ_ERROR, f"picture {self.index} cannot be decoded")
        return self._image

    def read_to_end(self) -> int:
        """Return the number of pictures, without reading the rest of them."""
        self.count = len(self._files)
        return self.count

    @property
    def end_seconds(self) -> float:
        """When the last picture ends."""
        return len(self._files) / DEFAULT_FPS

    @property
    def num_lost(self) -> int:
        """Pictures that were found to be unreadable."""
        return self.num_unreadable

    def close(self) -> None:
        """Release the picture in memory."""
        self._image = None


def _is_picture(path: Path, limits: Limits) -> bool:
    try:
        return picture_format(read_head(path, limits)) is not None
    except InputError:
        return False


def _read(path: Path, limits: Limits) -> Image | None:
    try:
        # Not OpenCV: its readers write about damaged pictures to standard error.
        picture = load_picture(path, PictureLimits(limits.max_pixels))
    except InputError:
        return None
    return np.ascontiguousarray(picture[..., ::-1])
