"""Open one video: a file, or a folder of numbered pictures.

`probe` reads the header; `open_video` returns a cursor over the frames. Guarantees:

- Frames are those of a full decode in order, whatever the header says.
- A file that cannot be used raises an error with one of a fixed set of codes.
- Everything is released at the end of the `with` block.
- Nothing is written to standard error, and no other file is opened.

A decoder may crash or hang and take its process with it, so untrusted files are read in worker processes.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import av

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.file_types import Limits, inspect, is_folder, looks_like_container
from vidlstm.media.video.base import DoubtError, Frame, Video, VideoInfo
from vidlstm.media.video.frame_folder import FrameFolder
from vidlstm.media.video.pyav.container import NotOpenedError, Source
from vidlstm.media.video.pyav.h264_reader import SelectiveVideo, can_be_selective
from vidlstm.media.video.pyav.reader import NoFrameError, PyAvVideo

__all__ = ["ATTEMPTS", "DoubtError", "Frame", "Limits", "Video", "VideoInfo", "open_video", "probe"]

logger = logging.getLogger(__name__)

ATTEMPTS: tuple[tuple[bool, int | None], ...] = ((True, None), (False, None), (False, 1))
"""Values of `selective` and `num_threads`, tried in order until there is no `DoubtError`.

The last never raises it, so a damaged file gives the same frames every time, and other files are read fast.
"""
_NO_LIMITS = Limits()


def probe(path: Path, limits: Limits = _NO_LIMITS) -> VideoInfo:
    """Read a video's header, and release the file.

    Raises:
        InputError: The file cannot be used, as for `open_video`.
    """
    with open_video(path, limits, num_threads=1) as video:
        return video.info


def open_video(
    path: Path,
    limits: Limits = _NO_LIMITS,
    *,
    seek: bool = True,
    selective: bool = False,
    num_threads: int | None = None,
) -> Video:
    """Open a clip, at its first frame.

    Args:
        path: A video file, or a folder of numbered pictures.
        limits: Limits of the file.
        seek: Allow seeks if they are cheaper and exact.
        selective: Skip frames that are not announced with `Video.expect`, if this provably changes nothing.
        num_threads: Decoding threads; None: the number set with `decode_with`.

    Raises:
        DoubtError: The file must be read with the next of `ATTEMPTS`. Also raised on reading.
        InputError: `not_found`, `permission`, `not_a_file`, `empty_file`, `not_a_video`,
            `no_frames`, `too_large`, `read_error`.
    """
    path = Path(path)
    if is_folder(path):
        return FrameFolder(path, limits)
    head = inspect(path, limits)
    try:
        source = Source(path, limits)
    except NotOpenedError:
        raise _not_opened(path, head) from None
    try:
        if selective and can_be_selective(source):
            try:
                return SelectiveVideo(source)
            except DoubtError:
                source.reopen()
            except (AttributeError, TypeError) as error:
                _log_changed_pyav(f"{type(error).__name__}: {error}")
                source.reopen()
        return PyAvVideo(source, seek=seek, num_threads=num_threads)
    except NoFrameError as error:
        source.close()
        raise _no_frame(path, error) from None
    except BaseException:
        source.close()
        raise


@functools.cache
def _log_changed_pyav(reason: str) -> None:
    logger.warning(
        "PyAV %s has changed (%s); H.264 files are decoded in full, which is slower", av.__version__, reason
    )


def _not_opened(path: Path, head: bytes) -> InputError:
    if looks_like_container(head):
        message = "looks like a video but cannot be opened: damaged, cut short, or without a video stream"
    else:
        message = "cannot be read as a video"
    return InputError(path, FailureCode.NOT_A_VIDEO, message)


def _no_frame(path: Path, error: NoFrameError) -> InputError:
    why = "it is encrypted" if error.is_encrypted else f"codec {error.codec}"
    return InputError(path, FailureCode.NO_FRAMES, f"no frame can be decoded ({why})")
