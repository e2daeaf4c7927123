"""Which paths are videos, pictures or folders of numbered frames; atomic writes.

The only module that knows file suffixes and frame names. It decides by name and opens no media file.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidlstm.config import Kind

VIDEO_SUFFIXES = frozenset(
    {".264", ".265", ".266", ".3g2", ".3gp", ".asf", ".avc", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif"}
    | {".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg"}
    | {
        ".mkv",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".obu",
        ".ogg",
        ".ogm",
        ".ogv",
    }
    | {".qt", ".rm", ".rmvb", ".ts", ".vc1", ".vob", ".vvc", ".webm", ".wmv", ".wtv", ".y4m"}
)
"""Suffixes of video files, lower case. A `.gif` is a video."""
PICTURE_SUFFIXES = frozenset(
    {".bmp", ".dib", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif"}
    | {".tiff", ".webp"}
)
"""Suffixes of pictures, lower case."""

_NAME_PART = 48  # characters of the file's name kept in the temporary name: at most 192 of 255 bytes
_LAST_NUMBER = re.compile(r"\d+(?!.*\d)", re.DOTALL)
_COPY = re.compile(r"(?: \(\d+\)| - Copy(?: \(\d+\))?| copy(?: \d+)?)$")  # by browsers and file managers
_BESIDE_FRAMES = re.compile(r"(?:optical[_-]?flow|flow|depth|mask|[xyuv])(?:[_.-].*)?$", re.IGNORECASE)
"""Prefixes of pictures that are derived from frames and stored in the same folder."""


def kind_of(path: Path) -> Kind | None:
    """Tell whether a path is a video or a picture, without opening it.

    Returns:
        The kind by file suffix; `video` for a folder of numbered frames; None for anything else.
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
    """Split a name into stem and suffix. A name such as `.mp4` has no suffix."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


@dataclass(frozen=True)
class FrameSeries:
    """The frames of one clip in a folder.

    Args:
        names: File names of the frames, in the order of their numbers.
        passed_over: Names of the other pictures in the folder, in order.
    """

    names: tuple[str, ...]
    passed_over: tuple[str, ...]


def is_frame_folder(folder: Path) -> bool:
    """Tell whether a folder holds one clip as numbered pictures; False if it is unreadable."""
    try:
        return frame_series(folder) is not None
    except OSError:
        return False


def frame_series(folder: Path) -> FrameSeries | None:
    """Return the frames of a folder that holds one clip as numbered pictures; None if it does not.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return _series_of([entry for entry in entries if not entry.name.startswith(".")])


def frames_of(folder: Path) -> tuple[Path, ...]:
    """Return the pictures of a folder of numbered frames in the order of their numbers.

    Raises:
        OSError: The folder cannot be read.
    """
    series = frame_series(folder)
    return () if series is None else tuple(folder / name for name in series.names)


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key that puts `frame2` before `frame10`."""
    # `re.split` alternates text and numbers, so keys never compare one with the other.
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def are_frames(shown: Sequence[os.DirEntry[str]]) -> bool:
    """Tell whether a folder's visible entries are the frames of one clip, by the rules of `frame_series`."""
    return _series_of(shown) is not None


def are_frame_names(names: Sequence[str]) -> bool:
    """Tell whether the files of a folder without subfolders are the frames of one clip, by the same rules."""
    kinds = [suffix_kind(name) for name in names]
    pictures = {name for name, kind in zip(names, kinds, strict=True) if kind == "picture"}
    return "video" not in kinds and _series_of_pictures(pictures) is not None


def _series_of(shown: Sequence[os.DirEntry[str]]) -> FrameSeries | None:
    """Find the frames among a folder's visible entries.

    Frames are two or more pictures whose names differ only in their last number. The folder may hold no
    video and no subfolder. Ignored are copies (`img_3 (1).jpg` next to `img_3.jpg`), a second picture with
    the same number (`f1.png` next to `f1.jpg`), and optical flow, depth and masks (`flow_x_1.jpg` next to
    `img_1.jpg`). With any other picture the folder is not a clip. Files of other types, such as a text file
    with the frame rate, are allowed.
    """
    pictures = set()
    for entry in shown:
        kind = suffix_kind(entry.name)
        if kind == "picture":
            pictures.add(entry.name)
        elif kind == "video" or is_folder(entry):
            return None
    return _series_of_pictures(pictures)


def _series_of_pictures(pictures: set[str]) -> FrameSeries | None:
    series: dict[tuple[str, str], list[str]] = {}
    for name in pictures:
        stem, suffix = split_suffix(name)
        copied = _COPY.sub("", stem)
        if copied != stem and copied + suffix in pictures:
            continue
        parts = _LAST_NUMBER.split(stem, maxsplit=1)
        if len(parts) != 2:
            return None
        series.setdefault((parts[0], parts[1]), []).append(name)
    if len(series) > 1:
        series = {key: names for key, names in series.items() if not _BESIDE_FRAMES.match(key[0])}
    if len(series) != 1:
        return None
    (candidates,) = series.values()
    names = _one_of_each_number(candidates)
    if len(names) < 2:
        return None
    return FrameSeries(tuple(names), tuple(sorted(pictures.difference(names), key=natural_key)))


def _one_of_each_number(names: Sequence[str]) -> list[str]:
    """Return names in order; of names that differ only in their suffix, one with the most frequent suffix."""
    counts = Counter(split_suffix(name)[1].lower() for name in names)
    best: dict[str, str] = {}
    for name in sorted(names):
        stem, suffix = split_suffix(name)
        rival = best.get(stem)
        if rival is None or counts[suffix.lower()] > counts[split_suffix(rival)[1].lower()]:
            best[stem] = name
    return sorted(best.values(), key=natural_key)


def real_path(path: Path) -> Path:
    """Return an absolute path without links. `Path.resolve` raises on a loop of links."""
    return Path(os.path.realpath(path))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder; False for a link that points to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def write_atomically(file: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file atomically: after a kill or a power cut it holds either the old content or the new.

    Args:
        file: Replaced if it exists.
        data: The new content.
        durable: Return only when content and name are on disk. False is for files that can be recreated.

    Raises:
        OSError: The file cannot be written. The error names `file`; no temporary file is left.
    """
    with _naming(file), replacing(file, durable=durable) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(file: Path, *, durable: bool = True) -> Iterator[Path]:
    """Write a file under a temporary name, then replace `file`: for content that is not in memory.

    Args:
        file: Replaced if it exists.
        durable: Flush content and name to disk at the end.

    Yields:
        The temporary file, empty, in the same folder. It is removed if an exception is raised.

    Raises:
        OSError: The temporary file cannot be created, or cannot replace `file`. The error names `file`.
    """
    # Only part of the name: the temporary name must not exceed the file system's limit.
    temporary = file.with_name(f".{file.name[:_NAME_PART]}.{secrets.token_hex(4)}")
    with _naming(file):
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield temporary
        with _naming(file):
            if durable:
                with temporary.open("r+b") as stream:
                    os.fsync(stream.fileno())
            temporary.replace(file)
            if durable:
                sync_folder(file.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Make an `OSError` name a file instead of its temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(file)) from None


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents; on return their names are on disk.

    Raises:
        OSError: The folder cannot be created.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system supports it.

    Without this, a new or renamed file may be gone after a power cut.
    """
    with contextlib.suppress(OSError):  # Windows cannot open a folder; some network drives cannot flush one
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
