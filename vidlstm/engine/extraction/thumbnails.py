"""Thumbnail strips: a few small frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vidlstm.config import Kind, Sampling
from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import DecodePool, default_workers
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.media.image import load_picture
from vidlstm.media.jpeg import encode_jpeg

CLIP_SECONDS = 20.0
"""Time limit of one strip."""
_FRAMES = 6
_HEIGHT = 96
_MAX_WIDTH = 192
_SIDE = 192  # frames are read as squares of this side, then resized to their shape


def thumbnail_strip(path: Path, kind: Kind) -> list[bytes]:
    """Return frames spread over a clip, or a single one for a picture, as JPEG files 96 pixels high.

    Raises:
        InputError: The file cannot be read.
    """
    if kind == "picture":
        picture = load_picture(path)
        return [encode_jpeg(picture, _width(picture.shape[1], picture.shape[0]), _HEIGHT)]
    clip = read_clip(path, ClipSpec(Sampling("uniform", _FRAMES), size=_SIDE))
    width = _width(clip.info.width, clip.info.height)
    return [encode_jpeg(frame, width, _HEIGHT) for frame in clip.frames]


def thumbnail_strips(
    paths: Sequence[Path], kind: Kind, *, clip_seconds: float = CLIP_SECONDS
) -> dict[Path, list[bytes]]:
    """Return the strips of the readable clips, read by decoder processes with a time limit each."""
    strips: dict[Path, list[bytes]] = {}
    if not paths:
        return strips
    with DecodePool(min(len(paths), default_workers()), clip_seconds) as pool:
        for result in pool.run(paths, lambda path: Job(path, partial(thumbnail_strip, path, kind))):
            if result is not None and isinstance(result[1], list):
                strips[result[0]] = result[1]
    return strips


def _width(width: int, height: int) -> int:
    return max(8, min(_MAX_WIDTH, round(width * _HEIGHT / height)))
