"""What the readers by PyAV share: the open file, and pictures of its frames.

PyAV reads every file, and OpenCV none, because only here is a picture that could not be made an
error. OpenCV 5.0 returns success, and whatever its buffer held, for interlaced frames and for unusual
colours; before 4.13 it takes every colour for one of BT.601, before 4.11 it ends an AVI file where the
header says. To ask PyAV first, and compare one picture of each file, would cost more than PyAV itself
(CPU milliseconds a file, 16 frames of it: UT-Interaction 14.1 by PyAV, 12.8 by OpenCV unchecked, 14.8
checked; H.264 of 10 s 50, 48, 56; 2 s of 64x64 1.6, 1.2, 2.4). The pictures have the bits of OpenCV
4.13 and later.

Interlaced frames are decoded as they are. Frames are reduced afterwards, which averages their two
fields. FFmpeg's bwdif would take 1.5 CPU milliseconds a wanted frame of 720x576 (a third more for 17 of 150
frames of H.264; yadif 2.6), but needs the frames before and after each, which seeks and the selective H.264
reader leave out; and much that is marked as interlaced is not.
"""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.file_types import check_pixels
from vidlstm.media.video.base import Image, Video, VideoInfo
from vidlstm.media.video.container import FFmpegError, Source, frame_rate, header_info


class PyAvFile(Video):
    """A video file that PyAV has opened."""

    _frame: VideoFrame | None = None

    def __init__(self, source: Source) -> None:
        super().__init__(source.path, VideoInfo(0, 0, frame_rate(source.stream), 0, "", None))
        self.notes = source.notes
        self._source = source
        self._reformatter = VideoReformatter()

    def image(self) -> Image:
        """Return the frame it stands on, `(H, W, 3)` uint8 BGR.

        Raises:
            InputError: `read_error`, FFmpeg does not know how to convert its pixels.
        """
        frame = self._frame
        assert frame is not None
        check_pixels(self.path, frame.width, frame.height, self._source.limits)
        try:
            return to_bgr(frame, self._reformatter)
        except (FFmpegError, ValueError) as error:
            what = f"{frame.format.name}, colour matrix {frame.colorspace} of ITU-T H.273"
            message = f"frame {self.index} cannot be converted to RGB ({what}): convert the file with ffmpeg"
            raise InputError(self.path, FailureCode.READ_ERROR, message) from error

    def close(self) -> None:
        """Release the file."""
        self._frame = None
        self._source.close()

    def _set_info(self, num_frames: int) -> None:
        """Take the size of the frame it stands on, and the number of frames that the header claims."""
        height, width = self.image().shape[:2]
        source = self._source
        self.info = header_info(source.container, source.stream, width, height, num_frames)


def to_bgr(frame: VideoFrame, reformatter: VideoReformatter) -> Image:
    """Return a decoded frame as it is shown, `(H, W, 3)` uint8 BGR.

    Raises:
        FFmpegError, ValueError: FFmpeg does not know how to convert its pixels.
    """
    # What OpenCV asks of the same swscale.
    picture = reformatter.reformat(frame, format="bgr24", interpolation="BICUBIC", threads=1)
    plane = picture.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(picture.height, plane.line_size)
    image = rows[:, : 3 * picture.width].reshape(picture.height, picture.width, 3)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
