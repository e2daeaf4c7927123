"""Write a film, or a part of it, as a video that plays in browsers; optionally with something drawn in.

H.264 in MP4 with 4:2:0 chroma and the index at the front; sound as AAC. Frames are re-encoded, so cuts are
exact to a frame, which copying packets is not. Every frame keeps its time, so a variable frame rate is
preserved. The file is written to a temporary name and renamed.

Frames and their times are those that are labelled: damage is read over, and times that go back are repaired.
The sound has its own times, so a film with repaired times is written without it.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from vidlstm.errors import FailureCode, InputError
from vidlstm.files import replacing
from vidlstm.media.file_types import Limits
from vidlstm.media.resize import resize
from vidlstm.media.sampling import EARLY, known_fps
from vidlstm.media.video.base import Image, Video
from vidlstm.media.video.open import open_video
from vidlstm.media.video.pyav.container import FFmpegError, NotOpenedError, Source, packets_of

if TYPE_CHECKING:
    from typing_extensions import Self

Draw = Callable[[Image, float], Image]
"""Maps an RGB frame and its time, in seconds since the first frame, to the frame to show."""

TICK = Fraction(1, 90_000)
"""Unit of times, in seconds."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
"""Errors of the disk that is written to, not of the film."""
_WARM_UP = 1.0  # seconds of sound decoded before a part
_GAP = 0.05  # seconds without sound that are kept; shorter ones are inaccurate times
_AAC = av.Codec("aac", "w")
_USUAL_RATE = 48_000
_OPTIONS = {"preset": "veryfast", "crf": "20"}


def write_part(
    path: Path, target: Path, start: float = 0.0, end: float = math.inf, draw: Draw | None = None
) -> int:
    """Write the frames of a film in `[start, end)`; return their number.

    Args:
        path: The film: a file, or a folder of numbered pictures.
        target: Path of the `.mp4` to write, in an existing folder.
        start: Start in seconds since the first frame.
        end: End in seconds since the first frame.
        draw: Changes each frame; None: no change.

    Raises:
        InputError: The film cannot be read.
        OSError: The video cannot be written.
    """
    with _Film(path) as film:
        return film.write(target, start, end, draw)


def write_parts(path: Path, parts: Iterable[tuple[Path, float, float]]) -> list[InputError]:
    """Write parts of a film in one pass; return why parts could not be written.

    Many containers have no index, so that each part by itself would take a pass from the beginning.

    Args:
        path: The film: a file, or a folder of numbered pictures.
        parts: Path of the `.mp4` to write, start and end of each part, as for `write_part`; in the order of
            time, without overlaps.

    Raises:
        InputError: The film cannot be opened.
    """
    errors = []
    with _Film(path) as film:
        for target, start, end in parts:
            try:
                film.write(target, start, end)
            except InputError as error:
                errors.append(error)
            except OSError as error:
                message = f"{target} cannot be written: {error.strerror or error}"
                errors.append(InputError(path, FailureCode.READ_ERROR, message))
    return errors


class _Film:
    """A film that is read once, from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._video = open_video(path, num_threads=1)  # several threads would raise a DoubtError at damage
        self._sound = _Sound.of(path, self._video)
        self._early = EARLY / known_fps(self._video.info.fps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._video.close()
        if self._sound is not None:
            self._sound.source.close()

    def write(self, target: Path, start: float, end: float, draw: Draw | None = None) -> int:
        """Write a part that begins after all parts written before; return the number of frames."""
        if not self._video.reach(start - self._early) or self._video.seconds >= end - self._early:
            message = f"has no frame from {start:.2f} to {end:.2f} s"
            raise InputError(self._path, FailureCode.NO_FRAMES, message)
        with replacing(target) as beside:
            try:
                return self._write(beside, start, end, draw)
            except FFmpegError as error:
                if error.errno in _FULL:
                    raise OSError(error.errno, os.strerror(error.errno), str(target)) from None
                message = f"cannot be re-encoded: {error.strerror or error}"
                raise InputError(self._path, FailureCode.READ_ERROR, message) from None
            except ValueError as error:  # PyAV, of a frame that does not suit those before
                message = f"cannot be re-encoded: {error}"
                raise InputError(self._path, FailureCode.READ_ERROR, message) from None

    def _write(self, beside: Path, start: float, end: float, draw: Draw | None) -> int:
        video = self._video
        height, width = even(video.image()).shape[:2]
        number, last = 0, -1
        with av.open(f"file:{beside}", "w", format="mp4", options={"movflags": "+faststart"}) as made:
            shown = add_h264(made, height, width, known_fps(video.info.fps))
            # All streams are added before anything is written.
            heard = None if self._sound is None else _Track(made, self._sound, start, end)
            while video.seconds < end - self._early:
                image = even(video.image())
                if image.shape[:2] != (height, width):
                    image = resize(image, width, height)
                image = np.ascontiguousarray(image[..., ::-1])
                image = image if draw is None else draw(image, video.seconds)
                out = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                last = max(last + 1, round((video.seconds - start) / TICK))
                out.pts, out.time_base = last, TICK
                made.mux(shown.encode(out))
                number += 1
                if heard is not None:
                    heard.write(video.seconds)
                if not video.step():
                    break
            made.mux(shown.encode(None))
            if heard is not None:
                heard.close()
        return number


class _Sound:
    """The sound of a film, read once from its beginning to its end, and over damage.

    Containers without an index may be at any place after a seek.

    Args:
        source: The film, opened a second time.
        zero: Time of the first frame, in seconds.
    """

    def __init__(self, source: Source, zero: float) -> None:
        source.reopen()
        self.source = source
        self.stream: Any = _heard(source)
        self._zero = zero
        self._start = 0.0
        self._pieces = self._decode()
        self._next: tuple[float, Any] | None = None

    @staticmethod
    def of(path: Path, video: Video) -> _Sound | None:
        """Return the sound of a film; None if there is none, or if the frames do not have their own times."""
        try:
            source = Source(path, Limits())
        except (NotOpenedError, InputError):  # such as a folder
            return None
        container: Any = source.container
        # The frames of an AVI file have no times, but a constant rate.
        if _heard(source) is not None and (video.times is not None or container.format.name == "avi"):
            with contextlib.suppress(FFmpegError):
                if (first := next(container.decode(source.stream), None)) is not None:
                    return _Sound(source, float(first.time or 0.0))
        source.close()
        return None

    def take(self, start: float, end: float) -> tuple[float, Any] | None:
        """Return the begin of the next piece of sound with its middle in `[start, end)`, and the piece.

        None if there is no such piece.

        Args:
            start: In seconds since the first frame; never less than in the last call.
            end: In the same unit.
        """
        self._start = start
        while self._next is None or self._next[0] < start:
            self._next = next(self._pieces, None)
            if self._next is None:
                return None
        middle, piece = self._next
        if middle >= end:
            return None
        self._next = None
        return middle - _half(piece), piece

    def _decode(self) -> Iterator[tuple[float, Any]]:
        for packet in packets_of(self.source.container, self.stream, lambda: None):
            if packet.pts is not None and packet.time_base is not None:
                seconds = float(packet.pts * packet.time_base) - self._zero
                if seconds < self._start - _WARM_UP:
                    continue
            pieces: list[Any] = []
            with contextlib.suppress(FFmpegError):
                pieces += packet.decode()
            for piece in pieces:
                yield (piece.time or 0.0) + _half(piece) - self._zero, piece


def _half(piece: Any) -> float:
    """Return half the length of a piece of sound, in seconds."""
    return float(piece.samples / piece.sample_rate / 2)


def _heard(source: Source) -> Any | None:
    """Return the first audio stream that can be decoded. One that is declared may have no packet."""
    streams: Any = source.container.streams.audio
    return next((s for s in streams if s.codec_context and s.rate and s.layout.nb_channels), None)


class _Track:
    """The sound of a part, written along with its frames as mono or stereo at a rate that AAC has."""

    def __init__(self, made: Any, sound: _Sound, start: float, end: float) -> None:
        rate = sound.stream.rate
        self._rate = rate if rate in (_AAC.audio_rates or ()) else _USUAL_RATE
        # PCM has a number of channels without a layout, which the encoder refuses.
        self._layout = "mono" if sound.stream.layout.nb_channels == 1 else "stereo"
        self._made = made
        self._stream = made.add_stream("aac", rate=self._rate)
        self._stream.layout = self._layout
        self._form: object = None
        self._resampler: av.AudioResampler | None = None
        self._sound = sound
        self._start, self._end = start, end
        self._num_samples = 0

    def write(self, until: float) -> None:
        """Write the sound up to a time of the film."""
        while (taken := self._sound.take(self._start, min(until, self._end))) is not None:
            begin, piece = taken
            gap = round((begin - self._start) * self._rate) - self._num_samples
            if gap > _GAP * self._rate:
                if math.isinf(until):  # after the last frame
                    return
                self._write_silence(gap)
            for resampled in self._resample(piece):
                self._encode(resampled)

    def close(self) -> None:
        """Write the rest of the sound."""
        self.write(math.inf)
        for resampled in self._flush():
            self._encode(resampled)
        self._made.mux(self._stream.encode(None))

    def _resample(self, piece: Any) -> list[Any]:
        """Return a piece in the form of the track. The sound of a film may change its form."""
        form = (piece.format.name, piece.layout.name, piece.sample_rate)
        before = []
        if self._resampler is None or form != self._form:
            before = self._flush()
            self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
            self._form = form
        piece.pts = None  # its time is known, and is not the number of samples
        return before + self._resampler.resample(piece)

    def _flush(self) -> list[Any]:
        rest = [] if self._resampler is None else self._resampler.resample(None)
        return [piece for piece in rest if piece is not None]  # None: nothing was to be resampled

    def _write_silence(self, num_samples: int) -> None:
        """Write silence, which all players show as such, unlike a gap in the times."""
        channels = 1 if self._layout == "mono" else 2
        while num_samples > 0:
            length = min(num_samples, self._rate)
            silence = np.zeros((channels, length), np.float32)
            piece = av.AudioFrame.from_ndarray(silence, format="fltp", layout=self._layout)
            piece.sample_rate = self._rate
            self._encode(piece)
            num_samples -= length

    def _encode(self, piece: Any) -> None:
        piece.pts, piece.time_base = self._num_samples, Fraction(1, self._rate)
        self._num_samples += piece.samples
        self._made.mux(self._stream.encode(piece))


def even(image: Image) -> Image:
    """Return a frame with an even height and width, as 4:2:0 requires."""
    height, width = image.shape[:2]
    return image[: max(2, height // 2 * 2), : max(2, width // 2 * 2)]


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
