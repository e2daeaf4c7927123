"""The one place that loads OpenCV, quiet and single-threaded.

Every media module takes `cv2` from here, so that the settings below are made before the first
capture is opened, and a machine without libGL gets one plain sentence.
"""

from __future__ import annotations

import os

from vidlstm.errors import VidlstmError

# FFmpeg and OpenCV write to the process's standard error by themselves. Both read these once.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# A playlist that calls itself a video must not make the reader open addresses on the network.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")

try:
    import cv2
except ImportError as error:
    raise VidlstmError(
        f"OpenCV cannot be loaded ({error}): on a machine without a screen, "
        "`pip uninstall opencv-python` and `pip install opencv-python-headless`"
    ) from error

# Its pool and torch's would fight over the same cores; workers are the parallelism.
cv2.setNumThreads(1)

__all__ = ["cv2", "decode_with", "decoding_threads", "opencv_version"]

_decoding_threads = 0


def opencv_version() -> tuple[int, int]:
    """Return OpenCV's major and minor version."""
    major, minor, *_ = cv2.__version__.split(".")
    return int(major), int(minor)


def decode_with(num_threads: int) -> None:
    """Let FFmpeg decode each file with so many threads from now on; its default is one a core.

    One thread takes a quarter less work for small frames, so where several processes read files, each of
    them does best with its share of the cores.
    """
    global _decoding_threads
    _decoding_threads = num_threads


def decoding_threads() -> int:
    """Return the number that `decode_with` was told; 0 when FFmpeg may choose."""
    return _decoding_threads
