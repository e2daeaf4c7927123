"""A clip that is a folder of numbered pictures: `img_00001.jpg`, `img_00002.jpg`, ...

`vidlstm.files` decides which pictures are frames. A file that is not a picture is left out. A picture that
turns out to be damaged when it is read is replaced by the next readable one. Both are counted. As there are
no times, 25 pictures per second are assumed.
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
        num_pictures: Number of frames according to file names.
        num_unreadable: Number of those found to be unreadable so far.

    Raises:
        InputError: `not_a_file`: the folder does not hold numbered frames; `no_frames`: none can be read.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        with as_input_errors(path):
            series = frame_series(path)
        if series is None:
            raise InputError(
                path,
                FailureCode.NOT_A_FILE,
                "is a folder that does not hold the numbered frames of one clip; only folders given as "
                "arguments are searched, so on standard input list files (find -type f)",
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
            number = len(series.passed_over)
            what = (
                "1 picture that is not a frame was"
                if number == 1
                else f"{number} pictures that are not frames were"
            )
            self.notes = (f"{what} skipped ({some})",)
        if not self.step():
            raise InputError(path, FailureCode.NO_FRAMES, f"none of its {len(names)} pictures can be read")
        height, width = self.image().shape[:2]
        seconds = len(self._files) / DEFAULT_FPS
        self.info = VideoInfo(width, height, DEFAULT_FPS, len(self._files), "", seconds)

    def step(self) -> bool:
        """Move to the next picture; return False at the end."""
        return self.goto(self.index + 1)

    def goto(self, index: int) -> bool:
        """Move forward to picture `index`; return False if the clip ends before it."""
        if index < self.index:
            raise ValueError(f"frame {index} is before frame {self.index}, but frames are read in order")
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
        return self._reach_end()

    def image(self) -> Image:
        """Return the current picture, uint8 BGR `(H, W, 3)`."""
        if self._image is None:
            raise InputError(self.path, FailureCode.READ_ERROR, f"picture {self.index} cannot be decoded")
        return self._image

    def read_to_end(self) -> int:
        """Return the number of pictures, without reading the rest of them."""
        self.count = len(self._files)
        return self.count

    @property
    def end_seconds(self) -> float:
        """End of the last picture."""
        return len(self._files) / DEFAULT_FPS

    @property
    def num_lost(self) -> int:
        """Number of pictures found to be unreadable so far."""
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
        # Not with OpenCV, whose readers write errors about damaged pictures to standard error.
        picture = load_picture(path, PictureLimits(limits.max_pixels))
    except InputError:
        return None
    return np.ascontiguousarray(picture[..., ::-1])
