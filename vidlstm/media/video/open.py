"""Open one video: a file, or a folder of numbered pictures.

`probe` reads a header, `open_video` gives a cursor over the frames. Promises: the frames asked
for are those of a full decode in order, whatever the header claims; what cannot be used says why
with a code of the closed set; everything is released when the `with` block ends; nothing is
written to standard error, and nothing but the local file is opened. A decoder that crashes or
hangs takes its process with it: who reads strangers' files does so in a worker.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import av

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.file_types import Limits, inspect, is_folder, looks_like_container
from vidlstm.media.video.base import DoubtError, Frame, Video, VideoInfo
from vidlstm.media.video.container import NotOpenedError, Source
from vidlstm.media.video.frame_folder import FrameFolder
from vidlstm.media.video.h264_reader import SelectiveVideo, can_be_selective
from vidlstm.media.video.pyav_reader import NoFrameError, PyAvVideo

__all__ = ["ATTEMPTS", "DoubtError", "Frame", "Limits", "Video", "VideoInfo", "open_video", "probe"]

logger = logging.getLogger(__name__)

ATTEMPTS: tuple[tuple[bool, int | None], ...] = ((True, None), (False, None), (False, 1))
"""`selective` and `num_threads` to read a file with, one after the other as long as there is doubt.

The last leaves none, so a damaged file gives the same frames each time. Others need not pay for it.
"""
_NO_LIMITS = Limits()


def probe(path: Path, limits: Limits = _NO_LIMITS) -> VideoInfo:
    """Read what a video's header claims, and release the file.

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
    """Open a clip; it then stands on its first frame.

    Args:
        path: A video file, or a folder of numbered pictures.
        limits: What it may cost.
        seek: Allow seeks where they are cheaper and prove exact.
        selective: Leave out what is not needed for the frames that `Video.expect` is told, where that
            can be proven.
        num_threads: To decode with; None for as many as `decode_with` was told.

    Raises:
        DoubtError: The file has to be read in a surer way, see `ATTEMPTS`; on reading, too.
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
    logger.warning("PyAV %s has changed (%s): H.264 is read slower, in full", av.__version__, reason)


def _not_opened(path: Path, head: bytes) -> InputError:
    if looks_like_container(head):
        message = "looks like a video but does not open: damaged, cut short, or without a video stream"
    else:
        message = "is not a video"
    return InputError(path, FailureCode.NOT_A_VIDEO, message)


def _no_frame(path: Path, error: NoFrameError) -> InputError:
    why = "it is encrypted" if error.is_encrypted else f"codec {error.codec}"
    return InputError(path, FailureCode.NO_FRAMES, f"not one frame can be decoded ({why})")
