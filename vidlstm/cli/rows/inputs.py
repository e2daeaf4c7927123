"""The inputs of `predict` and `spans`: files, folders, and paths on standard input.

Names stay as they were given, so that the rows show them unchanged: `pathlib` would drop a leading `./`.
The names of files in a folder start with the folder as it was given, as with find.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import BinaryIO

from vidlstm.config import Kind
from vidlstm.data.layouts.folders import count
from vidlstm.data.walking import SkipReason, walk
from vidlstm.errors import DataError, UsageError
from vidlstm.files import real_path, suffix_kind
from vidlstm.media.live.address import masked
from vidlstm.stores import has_password, is_address, is_folder, refuse_passwords, walk_store

STDIN = "-"
_BLOCK = 1 << 16
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Search:
    """How inputs are found.

    Args:
        kind: Kind of files to read in folders.
        glob: Name pattern to use instead.
        separator: Byte that ends each path on standard input.
        outside: Folders to skip if they are inside a searched one; absolute, without links.
        note: Called with a sentence about each thing that is skipped.
    """

    kind: Kind
    glob: str | None = None
    separator: bytes = b"\n"
    outside: tuple[Path, ...] = ()
    note: Callable[[str], None] = lambda _: None


def expand(given: Sequence[str], search: Search) -> Iterator[str]:
    """Yield the name of every file to label, as soon as it is known.

    Args:
        given: Files, folders (searched recursively), or `-` for standard input.
        search: How inputs are found.
    """
    for name in given:
        if name == STDIN:
            yield from map(_without_password, read_names(sys.stdin.buffer, search.separator))
        elif is_address(name):
            yield from _expand_address(name, search)
        elif os.path.isdir(name):  # noqa: PTH112 - Path raises on an invalid name
            yield from _walk(name, search)
        else:
            yield name


def count_inputs(given: Sequence[str], search: Search, shard: tuple[int, int]) -> int | None:
    """Count the files to label; None if their names come from standard input."""
    if STDIN in given:
        return None
    return sum(1 for _ in take_shard(expand(given, replace(search, note=lambda _: None)), shard))


def require_files(given: Sequence[str]) -> None:
    """Reject inputs that have to be watched or downloaded.

    Raises:
        UsageError: A camera, a stream or another address is among the inputs.
    """
    for name in given:
        if is_address(name):
            refuse_passwords(name)
            continue
        if os.path.lexists(name) and not name.startswith("/dev/"):
            continue
        if _ADDRESS.match(name):
            shown = masked(name)
            raise UsageError(
                f"{shown}: is an address, but this command reads files; download it, or label it live with "
                f"`vidlstm watch {shown}`"
            )
        if name.startswith("/dev/video") or name.isdecimal():
            raise UsageError(
                f"{name}: is a camera, but this command reads files; label it live with "
                f"`vidlstm watch {name}`"
            )


def read_names(stream: BinaryIO, separator: bytes) -> Iterator[str]:
    """Yield the names in a byte stream as they arrive; their bytes need not be UTF-8.

    Raises:
        UsageError: The names are separated by NUL, but `-0` was not given.
    """
    # Not stream.read: a thread waiting in a buffered reader when the command ends is a fatal error.
    rest: list[bytes] = []
    while block := os.read(stream.fileno(), _BLOCK):
        if separator != b"\0" and b"\0" in block:
            raise UsageError("the paths on standard input are separated by NUL; add -0")
        *names, last = block.split(separator)
        if names:
            names[0] = b"".join((*rest, names[0]))
            rest = []
        rest.append(last)
        yield from (_name(name, separator) for name in names if name)
    if end := b"".join(rest):
        yield _name(end, separator)


def take_shard(names: Iterable[str], shard: tuple[int, int]) -> Iterator[str]:
    """Yield every n-th name, starting with the i-th, for a shard `(i, n)`."""
    first, step = shard
    return (name for number, name in enumerate(names) if number % step == first - 1)


def parse_seconds(flag: str, text: str) -> float:
    """Parse seconds such as `0.5s`, `0.5` or `300ms`.

    Raises:
        UsageError: The text has another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(s|ms)?", text.strip(), re.ASCII)
    if match is None:
        raise UsageError(f"{flag} {text}: give seconds, such as 0.5s or 300ms")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def parse_size(text: str) -> int:
    """Parse a number of bytes such as 500M or 64G.

    Raises:
        UsageError: The text has another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if match is None:
        raise UsageError(f"--max-size {text}: give bytes, or a number with K, M, G or T, such as 500M")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def _name(name: bytes, separator: bytes) -> str:
    """Return a name from a list. The CR of a CR LF line end (Windows) is dropped, unless a file of that
    name, CR included, exists.
    """
    text = os.fsdecode(name)
    if separator == b"\n" and text.endswith("\r") and not os.path.lexists(text):
        return text[:-1]
    return text


def _without_password(name: str) -> str:
    """Return a name, an address with `***` for its password: rows repeat names. It is refused when opened."""
    is_stream = _ADDRESS.match(name) is not None and not is_address(name)
    return masked(name) if is_stream or has_password(name) else name


def _expand_address(name: str, search: Search) -> Iterator[str]:
    """Yield the addresses of the files of a folder in a store; a file's own."""
    if name.startswith("file://"):
        yield from (f"file://{path}" for path in expand([name.removeprefix("file://")], search))
    elif suffix_kind(name) is not None or not is_folder(name):
        yield name
    else:
        yield from (found for found in walk_store(name) if _is_wanted(found, name, search))


def _is_wanted(found: str, folder: str, search: Search) -> bool:
    if search.glob is None:
        return suffix_kind(found) == search.kind
    name = found.removeprefix(folder).lstrip("/") if "/" in search.glob else found.rpartition("/")[2]
    return fnmatchcase(name, search.glob)


def _walk(given: str, search: Search) -> Iterator[str]:
    """Yield the files of a folder, including those that cannot be accessed, which get a row too."""
    root = Path(given)
    lost: list[Path] = []
    passed: Counter[str] = Counter()
    num_found = 0
    real = cache(real_path)
    outside = set(search.outside).difference(real(root).parents)

    def on_skip(path: Path, reason: SkipReason) -> None:
        if reason == "unreadable folder" or (
            reason == "broken link" and suffix_kind(path.name) == search.kind
        ):
            lost.append(path)
        elif reason == "no media":
            passed[path.suffix.lower() or "no suffix"] += 1
        elif reason != "hidden file":
            search.note(f"{path}: skipped ({reason})")

    def named(path: Path) -> str:
        return given if path == root else os.path.join(given, path.relative_to(root))  # noqa: PTH118

    for path in walk(root, search.glob, kind=search.kind, on_skip=on_skip):
        yield from map(named, lost)
        lost.clear()
        num_found += 1
        if path == root:
            search.note(
                f"{given}: read as one clip, because its pictures are numbered like frames; "
                "a model trained on pictures labels them one by one"
            )
        folder = real(path.parent)
        if outside.isdisjoint((folder, *folder.parents)):
            yield named(path)
    yield from map(named, lost)
    wanted = search.glob or f"{search.kind} files"
    if passed:
        kinds = ", ".join(f"{suffix} {number}" for suffix, number in passed.most_common(5))
        search.note(f"{given}: {count(passed.total(), 'other file')} skipped ({kinds})")
    if not num_found and not lost:
        search.note(f"{given}: contains no {wanted}")


def require_one(paths: Sequence[str], search: Search) -> Iterator[str]:
    """Return the inputs after checking that there is at least one, unless names come from standard input.

    Raises:
        DataError: There is nothing to label.
    """
    names = expand(paths, search)
    if STDIN in paths:
        return names
    first = next(names, None)
    if first is None:
        wanted = search.glob or f"{search.kind} files"
        raise DataError(f"{', '.join(paths)}: no {wanted} found (--glob PATTERN selects other names)")
    return itertools.chain([first], names)
