"""Sort labelled files into class folders: moved or linked, never over a file that is there."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidlstm.cli.console import Console
from vidlstm.errors import UsageError

How = Literal["move", "link"]

_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*]')  # in a folder's name, somewhere


@dataclass
class Sorter:
    """Puts labelled files into class folders, and says what did not go smoothly."""

    console: Console
    root: Path
    how: How
    failed: int = 0

    @staticmethod
    def of(console: Console, move_to: Path | None, link_to: Path | None) -> Sorter | None:
        """Return the sorter that the options ask for.

        Raises:
            UsageError: They exclude each other.
        """
        if move_to is not None and link_to is not None:
            raise UsageError("--move-to and --link-to exclude each other")
        if move_to is not None:
            return Sorter(console, move_to, "move")
        return None if link_to is None else Sorter(console, link_to, "link")

    @property
    def outside(self) -> Path:
        """The folder that is no input, though it may lie in one."""
        return Path(os.path.abspath(self.root))  # noqa: PTH100 - as inputs are compared

    def put(self, name: str, label: str) -> None:
        """Sort one file; say so when that is not possible, or only under another name."""
        source = Path(name)
        try:
            target = sort_file(source, label, self.root, self.how)
        except OSError as error:
            self.failed += 1
            self.console.warn(f"{name}: not sorted into {self.root}: {error.strerror or error}")
            return
        if target.name != source.name:
            self.console.say(f"{name}: its name was taken, so it is {target} now")


def sort_file(source: Path, label: str, root: Path, how: How) -> Path:
    """Put a file into the folder of its class.

    Args:
        source: The file, or folder of frames.
        label: Its class.
        root: Where the class folders are, or come to be.
        how: `move` it, or make a symbolic `link` to it.

    Returns:
        Where it is now; under a numbered name when its own is taken. A file that is there already, or
        a link to it, is left as it is.

    Raises:
        OSError: It cannot be done.
    """
    folder = root / folder_name(label)
    folder.mkdir(parents=True, exist_ok=True)
    if how == "move" and source.absolute().parent.samefile(folder):
        return source
    for number in itertools.count(1):
        target = folder / (source.name if number == 1 else f"{source.stem}_{number}{source.suffix}")
        if how == "link" and target.is_symlink() and target.resolve() == source.resolve():
            return target
        with contextlib.suppress(FileExistsError):
            if how == "link":
                target.symlink_to(source.resolve())
            else:
                _move(source, target)
            return target
    raise AssertionError("there is always another number")


def folder_name(label: str) -> str:
    """Return a folder's name for a class, which stays inside its parent folder whatever the class is."""
    name = _UNSAFE.sub("_", label).strip(" ")
    return name if name.strip(".") else "_" * max(len(name), 1)


def _move(source: Path, target: Path) -> None:
    """Move a file to a name that is free.

    Raises:
        FileExistsError: It is not.
    """
    if source.is_symlink():  # a relative one would lead nowhere from another folder
        target.symlink_to(source.resolve())
        source.unlink()
        return
    # The name is taken first, by an empty file or folder that the real one then replaces: rename alone
    # would put it over whatever is there.
    is_folder = source.is_dir()
    if is_folder:
        target.mkdir()
    else:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        _replace(source, target)
    except BaseException:
        target.rmdir() if is_folder else target.unlink()
        raise


def _replace(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            if source.is_dir():
                shutil.copytree(source, beside)
            else:
                shutil.copy2(source, beside)
            beside.replace(target)
        finally:
            shutil.rmtree(beside) if beside.is_dir() else beside.unlink(missing_ok=True)
        shutil.rmtree(source) if source.is_dir() else source.unlink()
