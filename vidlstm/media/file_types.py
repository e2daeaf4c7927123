"""Check a file before a decoder opens it.

A file that passes is regular, readable, not empty and not too large, and its first bytes are not those of a
picture, a sound file or a playlist. Pipes, devices and sockets are never opened, so nothing here hangs.
Whether the file can be decoded is not known yet.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vidlstm.errors import FailureCode, InputError

_HEAD_BYTES = 256
_PICTURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    **{b"P%d%c" % (number, space): "PNM" for number in range(1, 7) for space in b" \t\n\r"},
}
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"mif1")
_MOTION_JPEG_SUFFIXES = (".mjpeg", ".mjpg")
# Otherwise a sound file with cover art would be a video of one frame.
_SOUNDS = {b"ID3": "MP3", b"fLaC": "FLAC"}
# Playlists name other files, which must not be read.
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"<?xml", b"<MPD")
_MATROSKA = b"\x1aE\xdf\xa3"
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide")  # at the start of MP4 and MOV files
_CONTAINERS = (b"RIFF", _MATROSKA, b"FLV", b"OggS", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba")


@dataclass(frozen=True)
class Limits:
    """Limits of one input.

    Args:
        max_bytes: Maximum size of a file.
        max_pixels: Maximum number of pixels of a frame, which takes three bytes per pixel.
    """

    max_bytes: int = 64 * 2**30
    max_pixels: int = 2**27


def is_folder(path: Path) -> bool:
    """Tell whether `path` is a folder.

    Raises:
        InputError: The path cannot be accessed.
    """
    with as_input_errors(path):
        return path.is_dir()


def inspect(path: Path, limits: Limits) -> bytes:
    """Return a file's first bytes, after checking that it can be a video.

    Raises:
        InputError: `not_found`, `permission`, `not_a_file`, `empty_file`, `too_large`,
            `read_error`, or `not_a_video` for a picture, a sound or a playlist.
    """
    head = read_head(path, limits)
    _refuse_other_kinds(path, head)
    return head


def read_head(path: Path, limits: Limits) -> bytes:
    """Return the first bytes of a regular file of any kind.

    Raises:
        InputError: `not_found`, `permission`, `not_a_file`, `empty_file`, `too_large`, `read_error`.
    """
    with as_input_errors(path):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(path, FailureCode.NOT_A_FILE, f"is {_kind(status.st_mode)}, not a file")
        # The file may have been replaced by a pipe since: do not wait for its other end.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            head = os.read(fd, _HEAD_BYTES)
        finally:
            os.close(fd)
    if not head:
        raise InputError(path, FailureCode.EMPTY_FILE, "is empty")
    if status.st_size > limits.max_bytes:
        raise InputError(
            path, FailureCode.TOO_LARGE, f"has {status.st_size:,} bytes, more than {limits.max_bytes:,}"
        )
    return head


def check_pixels(path: Path, width: int, height: int, limits: Limits) -> None:
    """Refuse a frame that would take too much memory.

    Raises:
        InputError: `too_large`.
    """
    if width * height > limits.max_pixels:
        raise InputError(
            path,
            FailureCode.TOO_LARGE,
            f"has frames of {width}x{height}, more than {limits.max_pixels:,} pixels; scale it down",
        )


def looks_like_container(head: bytes) -> bool:
    """Tell whether the first bytes are those of a common video file."""
    return head.startswith(_CONTAINERS) or head[4:8] in _BOXES


def picture_format(head: bytes) -> str | None:
    """Return the picture format according to the first bytes; None if it is not a picture."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return "HEIF"
    return next((name for magic, name in _PICTURES.items() if head.startswith(magic)), None)


@contextmanager
def as_input_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system about `path` into an `InputError`."""
    try:
        yield
    except ValueError:  # a NUL character in the name
        raise InputError(path, FailureCode.NOT_FOUND, "is not a valid file name") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise InputError(path, FailureCode.NOT_FOUND, "no such file") from None
        if error.errno == errno.ELOOP:
            raise InputError(path, FailureCode.NOT_FOUND, "is a link to itself") from None
        if isinstance(error, PermissionError):
            raise InputError(path, FailureCode.PERMISSION, "no permission to read it") from None
        raise InputError(path, FailureCode.READ_ERROR, f"cannot be read: {error.strerror}") from None


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    def refuse(message: str) -> InputError:
        return InputError(path, FailureCode.NOT_A_VIDEO, message)

    picture = picture_format(head)
    if _is_animated(head):
        raise refuse(
            f"is an animated picture ({picture}), of which only one frame would be read; convert it to MP4"
        )
    if picture and not (picture == "JPEG" and path.suffix.lower() in _MOTION_JPEG_SUFFIXES):
        raise refuse(f"is a picture ({picture}), not a video; use a model for pictures")
    sound = next((name for magic, name in _SOUNDS.items() if head.startswith(magic)), None)
    if sound or head[4:12] == b"ftypM4A ":
        raise refuse(f"is a sound file ({sound or 'M4A'}), not a video")
    if head.startswith(_PLAYLISTS):
        raise refuse("is a playlist or text file, not a video")


def _is_animated(head: bytes) -> bool:
    """Tell whether a WebP or PNG file announces several frames."""
    is_webp = head[8:16] == b"WEBPVP8X" and bool(head[20] & 2) if len(head) > 20 else False
    return is_webp or (head.startswith(b"\x89PNG") and head[37:41] == b"acTL")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
