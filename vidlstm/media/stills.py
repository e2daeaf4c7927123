"""Read single frames of a film at given times with one seek each: for thumbnails, not for features."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.encode import upright
from vidlstm.media.file_types import Limits
from vidlstm.media.video.base import Image
from vidlstm.media.video.pyav.container import FFmpegError, NotOpenedError, Source


def stills(path: Path, times: Sequence[float]) -> Iterator[Image]:
    """Yield the first frame at or after each time, RGB `(H, W, 3)`; none past the end.

    Args:
        path: The film.
        times: Times in seconds since the first frame.

    Raises:
        InputError: The film cannot be read, or not beyond this point.
    """
    with contextlib.ExitStack() as stack:
        try:
            film = stack.enter_context(contextlib.closing(Source(path, Limits())))
            source, video = film.container, film.stream
            first = next(source.decode(video), None)
            if first is None:
                raise InputError(path, FailureCode.NO_FRAMES, "no frame can be decoded")
            zero = float(first.time or 0.0)
            half = 0.5 / float(video.guessed_rate or video.average_rate or 25)
            for time in times:
                source.seek(int((time + zero) * 1_000_000), backward=True)
                shown = (f for f in source.decode(video) if (f.time or 0.0) - zero >= time - half)
                frame = next(shown, None)
                if frame is None:
                    return
                yield upright(frame)
        except NotOpenedError:
            raise InputError(path, FailureCode.NOT_A_VIDEO, "cannot be read as a video") from None
        except FFmpegError as error:
            raise InputError(path, FailureCode.READ_ERROR, f"cannot be read: {error}") from None
