"""Identify files by content, not by path.

`fingerprint` reads at most three blocks, so it is cheap enough for every training file. Equal content gives
equal fingerprints, whatever the path. The reverse is nearly always true; where a decision depends on it,
`full_hash` reads everything.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from vidlstm.errors import FailureCode, InputError
from vidlstm.files import frames_of
from vidlstm.stores import address_of, ahead, opened

BLOCK = 64 * 1024
_DIGEST_BYTES = 16


def fingerprint(path: Path) -> str:
    """Return a cheap fingerprint of the content of a file or folder of frames.

    BLAKE2b over the size and the first, middle and last 64 KiB, or over the whole of a smaller file; for a
    folder, over its frames in order. Names are not included.

    Returns:
        32 hexadecimal digits.

    Raises:
        InputError: The file cannot be read, or is a device, a pipe or a socket.
    """
    return _hash(path, whole=False)


def fingerprints(paths: Iterable[Path]) -> list[str]:
    """Return the fingerprint of each file, or an empty string if it cannot be read."""
    paths = list(paths)
    once = dict.fromkeys(paths)  # the samples of a film share one file
    known = dict(zip(once, ahead(_fingerprint_or_nothing, once), strict=True))
    return [known[path] for path in paths]


def _fingerprint_or_nothing(path: Path) -> str:
    try:
        return fingerprint(path)
    except InputError:
        return ""


def full_hash(path: Path) -> str:
    """Return a hash of the whole content of a file or folder of frames.

    Returns:
        32 hexadecimal digits, not comparable with a fingerprint.

    Raises:
        InputError: As for `fingerprint`.
    """
    return _hash(path, whole=True)


def _hash(path: Path, *, whole: bool) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    if (address := address_of(path)) is not None:
        with opened(address, whole=whole) as file:
            size = file.seek(0, os.SEEK_END)
            digest.update(size.to_bytes(8, "little"))
            file.seek(0)
            for block in _blocks(file, size, whole):
                digest.update(block)
        return digest.hexdigest()
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            for frame in frames_of(path):
                digest.update(_hash(frame, whole=whole).encode())
        elif stat.S_ISREG(status.st_mode):
            digest.update(status.st_size.to_bytes(8, "little"))
            with path.open("rb") as file:
                for block in _blocks(file, status.st_size, whole):
                    digest.update(block)
        else:  # opening a pipe would wait forever
            raise InputError(path, FailureCode.NOT_A_FILE, "is a device, a pipe or a socket; give a file")
    except FileNotFoundError:
        raise InputError(path, FailureCode.NOT_FOUND, "does not exist") from None
    except PermissionError:
        raise InputError(path, FailureCode.PERMISSION, "may not be read; check its permissions") from None
    except OSError as error:
        raise InputError(path, FailureCode.READ_ERROR, f"cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _blocks(file: BinaryIO, size: int, whole: bool) -> Iterator[bytes]:
    if whole or size <= 3 * BLOCK:
        while block := file.read(16 * BLOCK):
            yield block
        return
    for start in (0, (size - BLOCK) // 2, size - BLOCK):
        file.seek(start)
        yield file.read(BLOCK)
