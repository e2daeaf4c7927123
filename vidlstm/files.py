"""Which paths are videos, pictures and clips of numbered frames; how a file is written whole or not at all.

The only place that knows suffixes and names of frames. It opens no media file: what a file is, its name says.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from vidlstm.config import Kind

VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".m2ts", ".m2v", ".m4v"}
    | {".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".qt", ".rm"}
    | {".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Suffixes of video files, lower case. A `.gif` is a video."""
PICTURE_SUFFIXES = frozenset(
    {".bmp", ".dib", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif"}
    | {".tiff", ".webp"}
)
"""Suffixes of pictures, lower case."""

_NAME_PART = 48  # characters of a file's name in its temporary one: at most 192 of 255 bytes
_LAST_NUMBER = re.compile(r"\d+(?!.*\d)", re.DOTALL)


def kind_of(path: Path) -> Kind | None:
    """Tell whether a path is a video or a picture, without opening it.

    Returns:
        By the suffix of the name; `video` for a folder of numbered frames; None for anything else.
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path raises on a name that is too long
        return "video" if is_frame_folder(path) else None
    return suffix_kind(path.name)


def suffix_kind(name: str) -> Kind | None:
    """Tell by a file name's suffix whether it is a video or a picture."""
    suffix = split_suffix(name)[1].lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "picture" if suffix in PICTURE_SUFFIXES else None


def split_suffix(name: str) -> tuple[str, str]:
    """Return a name without its suffix, and the suffix; a name that is all suffix has none."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


def is_frame_folder(folder: Path) -> bool:
    """Tell whether a folder holds one clip as numbered pictures. An unreadable one does not."""
    try:
        with os.scandir(folder) as entries:
            return are_frames([entry for entry in entries if not entry.name.startswith(".")])
    except OSError:
        return False


def frames_of(folder: Path) -> tuple[Path, ...]:
    """Return the pictures of a folder of numbered frames in the order of their numbers.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and suffix_kind(e.name) == "picture"]
    return tuple(folder / name for name in sorted(names, key=natural_key))


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key under which `frame2` stands before `frame10`."""
    # Text and numbers alternate in what split gives, so keys never compare one with the other.
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def are_frames(shown: Sequence[os.DirEntry[str]]) -> bool:
    """Tell whether a folder's visible entries are the numbered frames of one clip.

    That is: two or more pictures whose names differ in their last number only, no videos and no
    folders. Other files, such as a note of the frame rate, may lie beside them.
    """
    num_pictures = 0
    shape: tuple[str, ...] | None = None
    for entry in shown:
        kind = suffix_kind(entry.name)
        if kind == "picture":
            stem = split_suffix(entry.name)[0]
            parts = tuple(_LAST_NUMBER.split(stem, maxsplit=1))
            if len(parts) != 2 or (shape is not None and parts != shape):
                return False
            shape = parts
            num_pictures += 1
        elif kind == "video" or is_folder(entry):
            return False
    return num_pictures >= 2


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def write_atomically(file: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all: after a kill or a power cut, the old content is there or the new.

    Args:
        file: Is replaced if it exists.
        data: The new content.
        durable: Return once content and name are on the disk. False is for what can be made again.

    Raises:
        OSError: The file cannot be written. The error names `file`; nothing is left behind.
    """
    # Not all of the name: a longer one than the file's own may not be possible.
    beside = file.with_name(f".{file.name[:_NAME_PART]}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(beside, flags, 0o666), "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        beside.replace(file)
        if durable:
            sync_folder(file.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, os.fspath(file)) from None
        raise


def make_folder(folder: Path) -> None:
    """Make a folder and its parents unless they exist; on return their names are on the disk.

    Raises:
        OSError: It cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that.

    A new or renamed file whose folder is not flushed may be gone after a power cut.
    """
    with contextlib.suppress(OSError):  # Windows opens no folder; some network drives flush none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
