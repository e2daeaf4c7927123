"""Which files `predict` reads: files, folders, and paths on standard input, one after the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from vidlstm.config import Kind

_BLOCK = 1 << 16


def expand(paths: Sequence[Path], *, kind: Kind, glob: str | None, separator: bytes) -> Iterator[Path]:
    """Yield every file to label, as soon as it is known.

    Args:
        paths: Files, folders (searched recursively), or `-` for standard input.
        kind: What folders are searched for.
        glob: What folders are searched for instead, by name.
        separator: Between the paths on standard input.
    """
    for path in paths:
        if os.fspath(path) == "-":
            yield from read_names(sys.stdin.buffer, separator)
        else:
            yield from _expand_one(path, kind, glob)


def _expand_one(path: Path, kind: Kind, glob: str | None) -> Iterator[Path]:
    from vidlstm.data.walking import is_frame_folder, walk

    if path.is_dir() and not is_frame_folder(path):
        yield from walk(path, glob, kind=kind)
    else:
        yield path


def read_names(stream: BinaryIO, separator: bytes) -> Iterator[Path]:
    """Yield the paths in a stream of bytes as they come; their bytes need not be UTF-8."""
    rest = b""
    while block := os.read(stream.fileno(), _BLOCK):
        *names, rest = (rest + block).split(separator)
        yield from map(_path, filter(None, names))
    if rest:
        yield _path(rest)


def _path(name: bytes) -> Path:
    return Path(os.fsdecode(name.removesuffix(b"\r") if os.name == "nt" else name))
