"""Walk folders: which files are media, what counts as one clip, what is passed over.

`walk` promises to give its first path before the rest of a tree has been looked at, to end on any
tree (links that loop are entered once), and to tell of everything it passes over. It opens no
file: what a file is, its suffix says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

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

SkipReason = Literal[
    "hidden file", "no media", "link loop", "broken link", "special file", "unreadable folder"
]
OnSkip = Callable[[Path, SkipReason], None]

_LAST_NUMBER = re.compile(r"\d+(?!.*\d)", re.DOTALL)


def kind_of(path: Path) -> Kind | None:
    """Tell whether a path is a video or a picture, without opening it.

    Returns:
        By the suffix of the name; `video` for a folder of numbered frames; None for anything else.
    """
    if path.is_dir():
        return "video" if is_frame_folder(path) else None
    return suffix_kind(path.name)


def suffix_kind(name: str) -> Kind | None:
    """Tell by a file name's suffix whether it is a video or a picture."""
    suffix = _split_suffix(name)[1].lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "picture" if suffix in PICTURE_SUFFIXES else None


def _split_suffix(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


def is_frame_folder(folder: Path) -> bool:
    """Tell whether a folder holds one clip as numbered pictures. An unreadable one does not."""
    try:
        with os.scandir(folder) as entries:
            return _are_frames([entry for entry in entries if not entry.name.startswith(".")])
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


def walk(
    root: Path,
    glob: str | None = None,
    *,
    kind: Kind | None = None,
    on_skip: OnSkip | None = None,
    clip_depth: int = 0,
) -> Iterator[Path]:
    """Yield the media below a folder, in the order of names within each folder, lazily.

    Args:
        root: A folder. Anything else, even if it does not exist, is yielded as it is.
        glob: Take the files that match it, whatever their suffix. A pattern without a slash is
            matched with the name, one with a slash with the path below `root`, in which `*` also
            crosses folders.
        kind: Yield only this kind. Unless it is `picture`, a folder of numbered frames is yielded as
            one path in place of its pictures.
        on_skip: Is told each path that is passed over, and why.
        clip_depth: Folders that lie less deep than this below `root` are never taken for clips:
            1 keeps `root` itself, say a class folder of numbered pictures, from being one.
    """
    skip = on_skip or _ignore
    if not root.is_dir():
        yield root
        return
    real = root.resolve()
    entered = {_identity(folder) for folder in (real, *real.parents)}
    pending: list[tuple[os.DirEntry[str] | None, int]] = [(None, 0)]
    while pending:
        entry, depth = pending.pop()
        path = root if entry is None else Path(entry.path)
        is_link = entry is not None and entry.is_symlink()
        if entry is None or _is_folder(entry):
            try:
                identity = _identity(path)
                if is_link and identity in entered:
                    skip(path, "link loop")
                    continue
                entered.add(identity)
                with os.scandir(path) as listing:
                    entries = sorted(listing, key=lambda e: e.name, reverse=True)
            except OSError:
                skip(path, "unreadable folder")
                continue
            shown = [e for e in entries if not e.name.startswith(".")]
            may_be_clip = kind != "picture" and depth >= clip_depth and _matches(path, root, glob)
            if may_be_clip and _are_frames(shown):
                yield path
                continue
            for hidden in entries:
                if hidden.name.startswith("."):
                    skip(Path(hidden.path), "hidden file")
            pending.extend((e, depth + 1) for e in shown)
        elif not _is_file(entry):
            skip(path, "broken link" if is_link and not path.exists() else "special file")
        elif _wanted(path, root, glob, kind):
            yield path
        else:
            skip(path, "no media")


def _ignore(path: Path, reason: SkipReason) -> None:
    """Tell nobody."""


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _matches(path: Path, root: Path, glob: str | None) -> bool:
    if glob is None:
        return True
    if "/" not in glob:
        return fnmatchcase(path.name, glob)
    below = path.relative_to(root).as_posix()
    return fnmatchcase(below, glob) or fnmatchcase(below, glob.replace("**/", ""))


def _wanted(path: Path, root: Path, glob: str | None, kind: Kind | None) -> bool:
    if glob is not None:
        return _matches(path, root, glob)
    found = suffix_kind(path.name)
    return found is not None and kind in (None, found)


def _are_frames(shown: Sequence[os.DirEntry[str]]) -> bool:
    """Tell whether a folder's visible entries are the numbered frames of one clip.

    That is: two or more pictures whose names differ in their last number only, no videos and no
    folders. Other files, such as a note of the frame rate, may lie beside them.
    """
    num_pictures = 0
    shape: tuple[str, ...] | None = None
    for entry in shown:
        kind = suffix_kind(entry.name)
        if kind == "picture":
            stem = _split_suffix(entry.name)[0]
            parts = tuple(_LAST_NUMBER.split(stem, maxsplit=1))
            if len(parts) != 2 or (shape is not None and parts != shape):
                return False
            shape = parts
            num_pictures += 1
        elif kind == "video" or _is_folder(entry):
            return False
    return num_pictures >= 2
