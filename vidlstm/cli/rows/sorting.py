"""Sort labelled files into class folders: move or link them, without ever replacing a file.

A kill at any moment loses nothing; the next run with `again` completes what was interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vidlstm.cli.console import Console
from vidlstm.errors import UsageError
from vidlstm.files import real_path, sync_folder
from vidlstm.stores import is_in_store, to_path

How = Literal["move", "link"]

_NAME_BYTES = 255
_NO_HARD_LINKS = (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*]')  # in a folder's name, on some system


class NameTakenError(Exception):
    """Another file of the same name has been sorted."""


@dataclass
class Sorter:
    """Puts labelled files into class folders."""

    console: Console
    root: Path
    how: How
    failed: int = 0
    _again: set[str] = field(default_factory=set)  # new paths of the files that were sorted `again`

    @staticmethod
    def of(console: Console, move_to: Path | None, link_to: Path | None) -> Sorter | None:
        """Return the sorter for the given options; None without any.

        Raises:
            UsageError: Both options are given.
        """
        if move_to is not None and link_to is not None:
            raise UsageError("--move-to and --link-to cannot be combined")
        if move_to is not None:
            return Sorter(console, move_to, "move")
        return None if link_to is None else Sorter(console, link_to, "link")

    @property
    def outside(self) -> Path:
        """The target folder, which is not an input even if it is inside one."""
        return real_path(self.root)

    def require_other_than(self, inputs: Sequence[str]) -> None:
        """Refuse a target folder that is searched as a whole: its own classes would be read again.

        Raises:
            UsageError: An input is the target folder.
        """
        for given in inputs:
            if real_path(to_path(given)) == self.outside:
                raise UsageError(f"{given}: cannot be searched and sorted into; choose another folder")

    def put(self, name: str, label: str, *, again: bool = False) -> bool:
        """Sort one file. Failures and changed names are reported on the console.

        Args:
            name: The file.
            label: Its class.
            again: An earlier run may have been killed while it sorted the file.

        Returns:
            False if `again`, and another file of the same name was sorted: it may be the one with this label.
        """
        if is_in_store(name):
            self.failed += 1
            self.console.warn(f"{name}: not sorted into {self.root}: it is in a store")
            return True
        source = to_path(name)
        try:
            target = sort_file(source, label, self.root, self.how, again=again)
        except NameTakenError:
            return False
        except OSError as error:
            self.failed += 1
            self.console.warn(f"{name}: not sorted into {self.root}: {error.strerror or error}")
            return True
        if again:
            self._again.add(os.fspath(target))
        if target.name != source.name:
            self.console.say(f"{name}: name already taken, sorted as {target}")
        return True

    def has_sorted_namesake(self, name: str, label: str) -> bool:
        """Tell whether the file that has taken a file's name in its class was sorted `again` by this run."""
        return os.fspath(self.root / folder_name(label) / to_path(name).name) in self._again


def sort_file(source: Path, label: str, root: Path, how: How, *, again: bool = False) -> Path:
    """Put a file into the folder of its class. An existing file is never replaced.

    Args:
        source: The file, or folder of frames.
        label: Its class.
        root: Parent of the class folders. Missing folders are created.
        how: `move` the file, or create a symbolic `link` to it.
        again: Complete what a killed run may have begun: if the class folder holds the same content under
            the file's own name, remove the source.

    Returns:
        The new path, with a numbered name if the file's own was taken.

    Raises:
        NameTakenError: To move `again`, but the class folder holds other content under the file's own name.
        OSError: It cannot be moved or linked. The file stays where it was.
    """
    folder = root / folder_name(label)
    folder.mkdir(parents=True, exist_ok=True)
    if how == "move" and source.absolute().parent.samefile(folder):
        return source
    for number in itertools.count(1):
        target = folder / (source.name if number == 1 else numbered_name(source, number))
        if how == "link" and target.is_symlink() and target.resolve() == source.resolve():
            return target
        moved = _is_same(source, target) or (again and _is_copy(source, target))
        if how == "move" and number == 1 and moved:
            _remove(source)
            return target
        if how == "move" and again and os.path.lexists(target):
            raise NameTakenError
        with contextlib.suppress(FileExistsError):
            if how == "link":
                target.symlink_to(source.resolve())
            else:
                _move(source, target)
            return target
    raise AssertionError("there is always another number")


def numbered_name(source: Path, number: int) -> str:
    """Return a file's name with a number, shortened to the limit of file systems (255 bytes)."""
    ending = f"_{number}{source.suffix}"
    stem = source.stem
    while len(os.fsencode(stem + ending)) > _NAME_BYTES and stem:
        stem = stem[:-1]
    return stem + ending


def folder_name(label: str) -> str:
    """Return a folder name for a class. No class name can lead out of the parent folder."""
    name = _UNSAFE.sub("_", label).strip(" ")
    return name if name.strip(".") else "_" * max(len(name), 1)


def _move(source: Path, target: Path) -> None:
    """Move a file or folder to a free name. At any moment it is complete, under one name or both.

    Raises:
        FileExistsError: The name is taken.
    """
    if source.is_symlink():  # a relative link would break in another folder
        target.symlink_to(source.resolve())
        source.unlink()
        return
    try:
        _rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_and_remove(source, target)


def _rename(source: Path, target: Path) -> None:
    """Rename without replacing an existing file, which POSIX would do silently.

    Raises:
        FileExistsError: The name is taken.
    """
    if os.name == "nt":
        source.rename(target)
    elif source.is_dir():
        _refuse_taken(target)
        source.rename(target)  # fails if a folder that is not empty appears in between
    else:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            _refuse_taken(target)
            source.rename(target)
        else:
            source.unlink()


def _copy_and_remove(source: Path, target: Path) -> None:
    """Move to another device. A kill leaves a hidden copy, which the next attempt replaces, or both files."""
    _refuse_taken(target)
    name = hashlib.blake2b(os.fsencode(source.absolute()), digest_size=8).hexdigest()
    beside = target.with_name(f".vidlstm-{name}.part")
    _remove(beside)
    try:
        if source.is_dir():
            shutil.copytree(source, beside)
        else:
            shutil.copy2(source, beside)
        for file in [path for path in beside.rglob("*") if path.is_file()] if beside.is_dir() else [beside]:
            _flush(file)
        _rename(beside, target)
        sync_folder(target.parent)
    except BaseException:
        _remove(beside)
        raise
    _remove(source)


def _flush(file: Path) -> None:
    # Windows flushes only writable files; other systems flush read-only files, too.
    with file.open("rb+" if os.access(file, os.W_OK) else "rb") as stream:
        os.fsync(stream.fileno())


def _is_same(source: Path, target: Path) -> bool:
    """Tell whether two names are the same file, after a kill between linking and unlinking."""
    return not source.is_symlink() and os.path.lexists(target) and source.samefile(target)


def _is_copy(source: Path, target: Path) -> bool:
    """Tell whether all content of a file or folder is also at another path."""
    if target.is_symlink() or source.is_symlink():
        return False
    if source.is_dir():
        return target.is_dir() and all(_is_copy(path, target / path.name) for path in source.iterdir())
    return target.is_file() and filecmp.cmp(source, target, shallow=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _refuse_taken(target: Path) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
