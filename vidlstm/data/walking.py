"""Walk folders and find media files and folders of frames.

`walk` yields its first path before the rest of the tree is read, terminates on any tree (a link to a folder
that is walked in any case is not entered), and reports everything that it skips. It opens no file; the suffix
determines the kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from vidlstm.config import Kind
from vidlstm.files import are_frames, is_folder, real_path, suffix_kind

SkipReason = Literal[
    "hidden file", "no media", "link loop", "broken link", "special file", "unreadable folder"
]
OnSkip = Callable[[Path, SkipReason], None]


def walk(
    root: Path,
    glob: str | None = None,
    *,
    kind: Kind | None = None,
    on_skip: OnSkip | None = None,
    clip_depth: int = 0,
) -> Iterator[Path]:
    """Yield the media below a folder lazily, sorted by name within each folder.

    Args:
        root: A folder. Anything else, even if it does not exist, is yielded unchanged.
        glob: Yield the files that match, whatever their suffix. A pattern without a slash is matched against
            the name, one with a slash against the path below `root`, where `*` also matches slashes.
        kind: Yield only this kind. Unless it is `picture`, a folder of numbered frames is yielded as one path
            instead of its pictures.
        on_skip: Called with each skipped path and the reason.
        clip_depth: Folders at a smaller depth below `root` are never treated as clips: 1 excludes `root`
            itself, which may be a class folder of numbered pictures.
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
        if entry is None or is_folder(entry):
            try:
                identity = _identity(path)
                if is_link and (identity in entered or _is_below(path, real)):
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
            if may_be_clip and are_frames(shown):
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
    """Do nothing."""


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_below(link: Path, root: Path) -> bool:
    """Tell whether the target of a link is walked in any case, before or after the link."""
    target = real_path(link)
    if not target.is_relative_to(root):
        return False
    return not any(part.startswith(".") for part in target.relative_to(root).parts)


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
