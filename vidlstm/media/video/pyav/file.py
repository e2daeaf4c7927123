"""The base class of all PyAV readers: the open file, and the images of its frames.

All files are read with PyAV, because OpenCV does not report frames that it cannot convert. OpenCV 5.0
returns success and the old content of its buffer for interlaced frames and unusual colour spaces; before
4.13 it treats every colour space as BT.601; before 4.11 it ends an AVI file where the header says. Checking
one frame of each file against PyAV would cost more than PyAV alone. CPU milliseconds per file for 16
frames, with PyAV, OpenCV unchecked, OpenCV checked: UT-Interaction 14.1, 12.8, 14.8; 10 s of H.264 50, 48,
56; 2 s of 64x64 1.6, 1.2, 2.4. The images are bit-identical to those of OpenCV 4.13 and later.

Interlaced frames are not deinterlaced; resizing them later averages the two fields. FFmpeg's bwdif would take
1.5 CPU milliseconds per wanted frame of 720x576 (a third more for 17 of 150 frames of H.264; yadif 2.6). It
needs the frames before and after each one, which seeks and the selective H.264 reader skip, and many files
marked as interlaced are not.
"""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.file_types import check_pixels
from vidlstm.media.video.base import Image, Video, VideoInfo
from vidlstm.media.video.pyav.container import FFmpegError, Source, frame_rate, header_info


class PyAvFile(Video):
    """A video file opened with PyAV."""

    _frame: VideoFrame | None = None

    def __init__(self, source: Source) -> None:
        super().__init__(source.path, VideoInfo(0, 0, frame_rate(source.stream), 0, "", None))
        self.notes = source.notes
        self._source = source
        self._reformatter = VideoReformatter()

    def image(self) -> Image:
        """Return the current frame, uint8 BGR `(H, W, 3)`.

        Raises:
            InputError: `read_error`: FFmpeg cannot convert its pixel format.
        """
        frame = self._frame
        assert frame is not None
        check_pixels(self.path, frame.width, frame.height, self._source.limits)
        try:
            return to_bgr(frame, self._reformatter)
        except (FFmpegError, ValueError) as error:
            what = f"{frame.format.name}, colour matrix {frame.colorspace} of ITU-T H.273"
            message = f"frame {self.index} cannot be converted to RGB ({what}); convert the file with ffmpeg"
            raise InputError(self.path, FailureCode.READ_ERROR, message) from error

    def close(self) -> None:
        """Release the file."""
        self._frame = None
        self._source.close()

    def _set_info(self, num_frames: int) -> None:
        """Set `info` from the size of the current frame and the number of frames in the header."""
        height, width = self.image().shape[:2]
        source = self._source
        self.info = header_info(source.container, source.stream, width, height, num_frames)


def to_bgr(frame: VideoFrame, reformatter: VideoReformatter) -> Image:
    """Return a decoded frame, rotated as shown, uint8 BGR `(H, W, 3)`.

    Raises:
        FFmpegError, ValueError: FFmpeg cannot convert its pixel format.
    """
    # The same parameters of swscale as OpenCV uses.
    picture = reformatter.reformat(frame, format="bgr24", interpolation="BICUBIC", threads=1)
    plane = picture.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(picture.height, plane.line_size)
    image = rows[:, : 3 * picture.width].reshape(picture.height, picture.width, 3)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
