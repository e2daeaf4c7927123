"""Write a film, or a part of it, as a video that plays in browsers; optionally with something drawn in.

H.264 in MP4 with 4:2:0 chroma and the index at the front; sound as AAC. Frames are re-encoded, so cuts are
exact to a frame, which copying packets is not. Every frame keeps its time, so a variable frame rate is
preserved. The file is written to a temporary name and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vidlstm.errors import FailureCode, InputError
from vidlstm.files import replacing
from vidlstm.media.file_types import Limits
from vidlstm.media.video.base import Image
from vidlstm.media.video.pyav.container import NotOpenedError, Source

Draw = Callable[[Image, float], Image]
"""Maps an RGB frame and its time, in seconds since the first frame, to the frame to show."""

TICK = Fraction(1, 90_000)
"""Unit of times, in seconds."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
"""Errors of the disk that is written to, not of the film."""
_OPTIONS = {"preset": "veryfast", "crf": "20"}


def write_part(
    path: Path, target: Path, start: float = 0.0, end: float = math.inf, draw: Draw | None = None
) -> int:
    """Write the frames of a film in `[start, end)`; return their number.

    Args:
        path: The film.
        target: Path of the `.mp4` to write, in an existing folder.
        start: Start in seconds since the first frame.
        end: End in seconds since the first frame.
        draw: Changes each frame; None: no change.

    Raises:
        InputError: The film cannot be read.
        OSError: The video cannot be written.
    """
    import av

    with replacing(target) as beside:
        try:
            with contextlib.closing(Source(path, Limits())) as source:
                return _write(av, source, path, beside, start, end, draw)
        except NotOpenedError:
            raise InputError(path, FailureCode.NOT_A_VIDEO, "cannot be read as a video") from None
        except av.error.FFmpegError as error:
            if error.errno in _FULL:
                raise OSError(error.errno, os.strerror(error.errno), str(target)) from None
            raise InputError(path, FailureCode.READ_ERROR, f"cannot be re-encoded: {error}") from None


def _write(
    av: Any, film: Source, path: Path, beside: Path, start: float, end: float, draw: Draw | None
) -> int:
    source, video = film.container, film.stream
    video.thread_type = "AUTO"
    audio = next(iter(source.streams.audio), None)
    first = next(source.decode(video), None)
    if first is None:
        raise InputError(path, FailureCode.NO_FRAMES, "no frame can be decoded")
    zero = float(first.time or 0.0)
    source.seek(0)
    half = 0.5 / float(video.guessed_rate or video.average_rate or 25)
    number = 0
    with av.open(f"file:{beside}", "w", format="mp4", options={"movflags": "+faststart"}) as made:
        rate = video.guessed_rate or video.average_rate or Fraction(25)
        height, width = upright(first).shape[:2]
        shown = add_h264(made, height, width, rate)  # add all streams before anything is written
        heard = 0  # samples
        sound = None if audio is None else made.add_stream("aac", rate=audio.rate)
        resampler = None
        if sound is not None and audio is not None:
            sound.layout = audio.layout if audio.layout.nb_channels <= 2 else "stereo"
            resampler = av.AudioResampler(format="fltp", layout=sound.layout, rate=audio.rate)
        for frame in _frames(source, [s for s in (video, audio) if s is not None], start + zero):
            seconds = (frame.time or 0.0) - zero
            if isinstance(frame, av.AudioFrame):
                length = frame.samples / frame.sample_rate
                if sound is not None and resampler is not None and start <= seconds + length / 2 < end:
                    frame.pts, frame.time_base = heard, Fraction(1, frame.sample_rate)
                    heard += frame.samples
                    for piece in resampler.resample(frame):
                        made.mux(sound.encode(piece))
                continue
            if seconds < start - half / 2:
                continue
            if seconds >= end - half / 2:
                break
            image = upright(frame)
            image = image if draw is None else draw(image, seconds)
            out = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            out.pts, out.time_base = round((seconds - start) / TICK) if start <= seconds else 0, TICK
            made.mux(shown.encode(out))
            number += 1
        if not number:
            raise InputError(path, FailureCode.NO_FRAMES, f"has no frame from {start:.2f} to {end:.2f} s")
        for stream in (shown, sound):
            if stream is not None:
                made.mux(stream.encode(None))
    return number


def _frames(source: Any, streams: list[Any], start: float) -> Iterator[Any]:
    """Yield frames and sound in the order of the file, from the keyframe before a time."""
    if start > 1:
        source.seek(int(start * 1_000_000), backward=True)
    yield from source.decode(*streams)


def upright(frame: Any) -> Image:
    """Return a frame as RGB, rotated as shown, with even sides as 4:2:0 requires."""
    image = np.rot90(frame.to_ndarray(format="rgb24"), round(getattr(frame, "rotation", 0) / 90))
    height, width = image.shape[:2]
    return np.asarray(image[: max(2, height // 2 * 2), : max(2, width // 2 * 2)], dtype=np.uint8)


def add_h264(made: Any, height: int, width: int, rate: Fraction | float) -> Any:
    """Add an H.264 stream that plays in browsers to an output container.

    Args:
        made: The container.
        height: Height of the frames, in pixels; even.
        width: Width of the frames, in pixels; even.
        rate: Nominal frames per second; every frame has its own time, in `TICK`.
    """
    stream = made.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options=_OPTIONS)
    stream.height, stream.width = height, width
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = TICK
    return stream
