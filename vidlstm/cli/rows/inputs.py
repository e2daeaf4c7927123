"""Which files `predict` reads: files, folders, and paths on standard input, one after the other.

A name goes on its way as it was given, so that it comes out again unharmed: `pathlib` would drop a
leading `./`. The names of a folder's files begin with the folder as it was given, like those of find.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidlstm.config import Kind
from vidlstm.data.layouts.folders import count
from vidlstm.data.walking import SkipReason, walk
from vidlstm.errors import UsageError
from vidlstm.files import suffix_kind

STDIN = "-"
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Args:
        kind: What folders are searched for.
        glob: What folders are searched for instead, by name.
        separator: Between the paths on standard input.
        outside: A folder that is passed over when it lies in one that is searched.
        note: Is told what is passed over.
    """

    kind: Kind
    glob: str | None = None
    separator: bytes = b"\n"
    outside: Path | None = None
    note: Callable[[str], None] = lambda _: None


def expand(given: Sequence[str], search: Search) -> Iterator[str]:
    """Yield the name of every file to label, as soon as it is known.

    Args:
        given: Files, folders (searched recursively), or `-` for standard input.
        search: What is looked for.
    """
    for name in given:
        if name == STDIN:
            yield from read_names(sys.stdin.buffer, search.separator)
        elif os.path.isdir(name):  # noqa: PTH112 - Path raises on a name that is none
            yield from _walk(name, search)
        else:
            yield name


def read_names(stream: BinaryIO, separator: bytes) -> Iterator[str]:
    """Yield the names in a stream of bytes as they come; their bytes need not be UTF-8.

    Raises:
        UsageError: The names are separated by something else.
    """
    # Not stream.read: a thread that waits in a buffered reader when the command ends is a fatal error.
    rest: list[bytes] = []
    while block := os.read(stream.fileno(), _BLOCK):
        if separator != b"\0" and b"\0" in block:
            raise UsageError("the names on standard input end in NUL: add -0")
        *names, last = block.split(separator)
        if names:
            names[0] = b"".join((*rest, names[0]))
            rest = []
        rest.append(last)
        yield from (_name(name) for name in names if name)
    if end := b"".join(rest):
        yield _name(end)


def take_shard(names: Iterable[str], shard: tuple[int, int]) -> Iterator[str]:
    """Yield every n-th name, from the i-th on, for a shard `(i, n)`."""
    first, step = shard
    return (name for number, name in enumerate(names) if number % step == first - 1)


def parse_shard(text: str | None) -> tuple[int, int]:
    """Read `--shard i/n`, i from 1 to n.

    Raises:
        UsageError: It is something else.
    """
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
    first, step = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= first <= step:
        raise UsageError(f"--shard {text}: give i/n with i from 1 to n, such as 1/8 to 8/8")
    return first, step


def parse_size(text: str) -> int:
    """Read a number of bytes such as 500M or 64G.

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if match is None:
        raise UsageError(f"--max-size {text}: give bytes, or a number with K, M, G or T, such as 500M")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def _name(name: bytes) -> str:
    return os.fsdecode(name.removesuffix(b"\r") if os.name == "nt" else name)


def _walk(given: str, search: Search) -> Iterator[str]:
    """Yield the files of a folder, and what in it cannot even be looked at: that gets its row, too."""
    root = Path(given)
    lost: list[Path] = []
    passed: Counter[str] = Counter()
    num_found = 0

    def on_skip(path: Path, reason: SkipReason) -> None:
        if reason == "unreadable folder" or (
            reason == "broken link" and suffix_kind(path.name) == search.kind
        ):
            lost.append(path)
        elif reason == "no media":
            passed[path.suffix.lower() or "no suffix"] += 1
        elif reason != "hidden file":
            search.note(f"{path}: {reason}, passed over")

    def named(path: Path) -> str:
        return given if path == root else os.path.join(given, path.relative_to(root))  # noqa: PTH118

    for path in walk(root, search.glob, kind=search.kind, on_skip=on_skip):
        yield from map(named, lost)
        lost.clear()
        num_found += 1
        if search.outside is None or search.outside not in Path(os.path.abspath(path)).parents:  # noqa: PTH100
            yield named(path)
    yield from map(named, lost)
    wanted = search.glob or f"{search.kind} files"
    if passed:
        kinds = ", ".join(f"{suffix} {number}" for suffix, number in passed.most_common(5))
        search.note(f"{given}: {count(passed.total(), 'other file')} passed over ({kinds})")
    if not num_found and not lost:
        search.note(f"{given}: no {wanted} in it")
