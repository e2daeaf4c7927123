"""Open one video: a file, or a folder of numbered pictures.

`probe` reads a header, `open_video` gives a cursor over the frames. Promises: the frames asked
for are those of a full decode in order, whatever the header claims; what cannot be used says why
with a code of the closed set; everything is released when the `with` block ends; nothing is
written to standard error, and nothing but the local file is opened. A decoder that crashes or
hangs takes its process with it: who reads strangers' files does so in a worker.
"""

from __future__ import annotations

from pathlib import Path

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.file_types import Limits, has_index, inspect, is_folder, looks_like_container
from vidlstm.media.video.base import Frame, Video, VideoInfo
from vidlstm.media.video.frame_folder import FrameFolder
from vidlstm.media.video.h264_reader import open_selective
from vidlstm.media.video.opencv_reader import Capture, NoFrameError, NotOpenedError, read_info
from vidlstm.media.video.pyav_reader import is_installed, open_pyav

__all__ = ["Frame", "Limits", "Video", "VideoInfo", "count_frames", "open_video", "probe"]

_NEWER_CODECS = {"av01": "AV1", "vvc1": "VVC", "vvi1": "VVC", "evc1": "EVC", "apv1": "APV"}
"""Codecs that builds of OpenCV exist without, by their lower-case four characters."""

_NO_LIMITS = Limits()


def probe(path: Path, limits: Limits = _NO_LIMITS) -> VideoInfo:
    """Read what a video's header claims, and release the file.

    Raises:
        InputError: The file cannot be used, as for `open_video`; codecs are not tried.
    """
    path = Path(path)
    if is_folder(path):
        with FrameFolder(path, limits) as folder:
            return folder.info
    head = inspect(path, limits)
    try:
        return read_info(path, limits)
    except NotOpenedError:
        video = open_pyav(path, limits)
        if video is None:
            raise _not_opened(path, head) from None
        with video:
            return video.info


def open_video(
    path: Path, limits: Limits = _NO_LIMITS, *, seek: bool = True, selective: bool = False
) -> Video:
    """Open a clip; it then stands on its first frame.

    Args:
        path: A video file, or a folder of numbered pictures.
        limits: What it may cost.
        seek: Allow seeks where they are cheaper and prove exact.
        selective: Leave out what is not needed for the frames that `Video.expect` is told, where that
            can be proven; reading then raises `DoubtError` where the proof fails.

    Raises:
        InputError: `not_found`, `permission`, `not_a_file`, `empty_file`, `not_a_video`,
            `unsupported_codec`, `no_frames`, `too_large`, `read_error`.
    """
    path = Path(path)
    if is_folder(path):
        return FrameFolder(path, limits)
    head = inspect(path, limits)
    chosen = open_selective(path, limits, head) if selective else None
    if chosen is not None:
        return chosen
    try:
        return Capture(path, limits, seek=seek and has_index(head))
    except NotOpenedError:
        error = _not_opened(path, head)
    except NoFrameError as reason:
        error = _no_frame(path, reason.codec)
    video = open_pyav(path, limits)
    if video is None:
        raise error
    return video


def count_frames(path: Path, limits: Limits = _NO_LIMITS) -> int:
    """Count the frames that can be decoded, by decoding them.

    Raises:
        InputError: The clip cannot be opened, as for `open_video`.
    """
    with open_video(path, limits, seek=False) as video:
        return video.read_to_end()


def _not_opened(path: Path, head: bytes) -> InputError:
    if looks_like_container(head):
        message = "looks like a video but does not open: damaged, cut short, or without a video stream"
    else:
        message = "is not a video"
    return InputError(path, FailureCode.NOT_A_VIDEO, message)


def _no_frame(path: Path, codec: str) -> InputError:
    name = _NEWER_CODECS.get(codec.lower())
    if name is None:
        return InputError(
            path, FailureCode.NO_FRAMES, f"not one frame can be decoded (codec {codec or 'unknown'})"
        )
    if is_installed():
        message = f"neither this OpenCV nor PyAV decodes its codec {name}"
    else:
        message = f"this OpenCV cannot decode its codec {name}: pip install vidlstm[av]"
    return InputError(path, FailureCode.UNSUPPORTED_CODEC, message)
