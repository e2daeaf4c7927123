"""Thumbnail strips: a few small frames of a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Kind, Sampling
from vidlstm.engine.extraction.fetching import Fetcher, Local
from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import DecodePool, default_workers
from vidlstm.engine.extraction.reading import PEOPLE_SIDE, ReadRequest
from vidlstm.errors import FailureCode, InputError
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.media.file_types import Limits
from vidlstm.media.image import load_picture
from vidlstm.media.jpeg import encode_jpeg
from vidlstm.media.people.drawing import draw_people
from vidlstm.media.resize import WholePictures, square
from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import Image
from vidlstm.media.video.open import open_video
from vidlstm.records import Times

CLIP_SECONDS = 20.0
"""Time limit of one strip."""
_PEOPLE_SECONDS = 120.0  # finding people takes a second or two, and much longer on a busy machine
_FRAMES = 6
_HEIGHT = 96
_MAX_WIDTH = 192
_SIDE = 192  # frames are read as squares of this side, then resized to their shape


def thumbnail_strip(
    path: Path, kind: Kind, span: Times | None = None, request: ReadRequest | None = None
) -> list[bytes]:
    """Return frames spread over a clip, or a single one for a picture, as JPEG files 96 pixels high.

    Args:
        path: A video, a folder of frames, or a picture.
        kind: Which of them.
        span: Start and end in seconds, for a part of a film.
        request: What a model reads from a clip. With the `pose` stream, the frames show the people it sees.

    Raises:
        InputError: The file cannot be read.
    """
    if request is not None and "pose" in request.streams:
        frames, width = _frames_with_people(path, span, request)
    else:
        frames, width = _frames(path, kind, span)
    return [encode_jpeg(frame, width, _HEIGHT) for frame in frames]


def contact_sheet(path: Path, kind: Kind, span: Times | None = None) -> tuple[bytes, int, int]:
    """Return the same frames side by side in one JPEG file, twice as large, with its width and height.

    Raises:
        InputError: The file cannot be read.
    """
    frames, width = _frames(path, kind, span)
    size = 2 * width * len(frames), 2 * _HEIGHT
    return encode_jpeg(np.concatenate(frames, axis=1), *size), *size


def thumbnail_strips(
    clips: Sequence[tuple[Path, Times | None]],
    kind: Kind,
    request: ReadRequest | None = None,
    *,
    clip_seconds: float | None = None,
) -> dict[tuple[Path, Times | None], list[bytes]]:
    """Return the strips of the readable clips, read by decoder processes with a time limit each.

    Args:
        clips: Files; for parts of films, with start and end in seconds.
        kind: What they are.
        request: As for `thumbnail_strip`.
        clip_seconds: Time limit of one strip; by default more if people are found.
    """
    strips: dict[tuple[Path, Times | None], list[bytes]] = {}
    if not clips:
        return strips
    if clip_seconds is None:
        finds_people = request is not None and "pose" in request.streams
        clip_seconds = _PEOPLE_SECONDS if finds_people else CLIP_SECONDS
    fetcher = Fetcher(Limits().max_bytes)

    def job(local: Local[tuple[Path, Times | None]]) -> Job[list[bytes]] | None:
        if isinstance(local.path, InputError):
            return None
        return Job(local.path, partial(thumbnail_strip, local.path, kind, local.item[1], request))

    with DecodePool(min(len(clips), default_workers()), clip_seconds) as pool:
        for result in pool.run(fetcher.ahead(clips, itemgetter(0)), job):
            if result is not None:
                local, strip = result
                fetcher.release(local)
                if isinstance(strip, list):
                    strips[local.item] = strip
    return strips


def _frames(path: Path, kind: Kind, span: Times | None) -> tuple[Sequence[NDArray[np.uint8]], int]:
    """Return RGB frames, all of one size, and the width of their thumbnails."""
    if kind == "picture":
        picture = load_picture(path)
        return [picture], _width(picture.shape[1], picture.shape[0])
    if span is not None:
        return _frames_of_span(path, *span, _FRAMES, partial(square, size=_SIDE))
    clip = read_clip(path, ClipSpec(Sampling("uniform", _FRAMES), size=_SIDE))
    return list(clip.frames), _width(clip.info.width, clip.info.height)


def _frames_with_people(
    path: Path, span: Times | None, request: ReadRequest
) -> tuple[Sequence[NDArray[np.uint8]], int]:
    """Return some of the moments that a model reads, with the people that it sees.

    In a part of a film, people are tracked through this part only.
    """
    assert request.pose_networks is not None
    # Imported here, because other strips do not need the library that runs the networks.
    from vidlstm.engine.extraction.people import find_people, read_people

    if span is None:
        pictures, people = read_people(path, request)
    else:
        number = request.sampling.num_frames
        read, _ = _frames_of_span(path, *span, number, WholePictures(PEOPLE_SIDE))
        pictures = np.stack(read)
        people = find_people(pictures, request.pose_networks, request.people)
    shown = np.linspace(0, len(pictures) - 1, min(_FRAMES, len(pictures))).round().astype(int)
    frames = [
        draw_people(
            pictures[moment],
            {place: points for place, points in enumerate(people[moment]) if np.isfinite(points).all()},
        )
        for moment in shown
    ]
    return frames, _width(pictures.shape[2], pictures.shape[1])


def _frames_of_span(
    path: Path, start: float, end: float, number: int, reduce: Callable[[Image], Image]
) -> tuple[Sequence[Image], int]:
    with open_video(path, num_threads=1) as video:
        times = video.times
        if times is None:
            times = np.arange(max(video.expected, 1)) / known_fps(video.info.fps)
        wanted = start + (end - start) * (np.arange(number) + 0.5) / number
        shown = np.unique((np.searchsorted(times, wanted, side="right") - 1).clip(0))
        frames = [reduce(frame.image) for frame in video.read(shown.tolist())]
        if not frames:
            raise InputError(path, FailureCode.NO_FRAMES, f"ends before {start:.2f} s")
        return frames, _width(video.info.width, video.info.height)


def _width(width: int, height: int) -> int:
    return max(8, min(_MAX_WIDTH, round(width * _HEIGHT / height)))
