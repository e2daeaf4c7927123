"""Film strips: a few frames of a clip, small, to see at a glance what it shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vidlstm.config import Kind, Sampling
from vidlstm.errors import InputError
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.media.image import load_picture
from vidlstm.media.jpeg import encode_jpeg

_FRAMES = 6
_HEIGHT = 96
_MAX_WIDTH = 192
_SIDE = 192  # frames are read as squares of this side, then given their shape back


def thumbnail_strip(path: Path, kind: Kind) -> list[bytes]:
    """Return frames spread over a clip, or one of a picture, as JPEG files 96 pixels high.

    Raises:
        InputError: It cannot be read.
    """
    if kind == "picture":
        picture = load_picture(path)
        return [encode_jpeg(picture, _width(picture.shape[1], picture.shape[0]), _HEIGHT)]
    clip = read_clip(path, ClipSpec(Sampling("uniform", _FRAMES), size=_SIDE))
    width = _width(clip.info.width, clip.info.height)
    return [encode_jpeg(frame, width, _HEIGHT) for frame in clip.frames]


def thumbnail_strips(paths: Iterable[Path], kind: Kind) -> dict[Path, list[bytes]]:
    """Return the strips of the clips that can be read."""
    strips = {}
    for path in paths:
        try:
            strips[path] = thumbnail_strip(path, kind)
        except (InputError, OSError):
            continue  # a strip is an illustration: the page says that there is none
    return strips


def _width(width: int, height: int) -> int:
    return max(8, min(_MAX_WIDTH, round(width * _HEIGHT / height)))
