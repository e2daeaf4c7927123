"""Import OpenCV, quiet and single-threaded.

Every media module imports `cv2` from here, so that these settings are made before its first use, and a
machine without libGL gets a clear message.
"""

from __future__ import annotations

import os

from vidlstm.errors import VidlstmError

# Otherwise FFmpeg and OpenCV write to standard error. Both read these variables once.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# A playlist named like a video must not open addresses on the network.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")

try:
    import cv2
except ImportError as error:
    raise VidlstmError(
        f"OpenCV cannot be loaded ({error}); on a machine without a screen, "
        "`pip uninstall opencv-python` and `pip install opencv-python-headless`"
    ) from error

# Its thread pool would compete with torch's for the same cores; worker processes run in parallel.
cv2.setNumThreads(1)

__all__ = ["cv2", "decode_with", "decoding_threads", "opencv_version"]

_decoding_threads = 0


def opencv_version() -> tuple[int, int]:
    """Return OpenCV's major and minor version."""
    major, minor, *_ = cv2.__version__.split(".")
    return int(major), int(minor)


def decode_with(num_threads: int) -> None:
    """Set the number of threads that FFmpeg decodes each file with; its default is one per core.

    For small frames one thread takes a quarter less CPU time, so if several processes read files, each should
    use its share of the cores.
    """
    global _decoding_threads
    _decoding_threads = num_threads


def decoding_threads() -> int:
    """Return the number set with `decode_with`; 0: FFmpeg chooses."""
    return _decoding_threads
