"""The names of the files that `spans` writes for films: no two films share one, and none is an input."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from vidlstm.cli.rows.inputs import STDIN
from vidlstm.files import real_path
from vidlstm.stores import address_of, to_path


def _ignore(_: str) -> None:
    """Note nothing."""


class FilmPaths:
    """Output names of the films of a run, without suffix.

    If two films would have the same name, the later one gets a number. All inputs are counted, in their
    order, so that each film has the same name in every shard, and in a run that is resumed.

    Args:
        given: Files and folders as given, or `-`.
        note: Called with a sentence about each film that gets a number in a name that is used.
        outside: Folders that are skipped when a folder is searched; absolute, without links.
        uses_trees: Files are written under the films' relative paths.
        uses_stems: Files are written under the films' names alone.
    """

    def __init__(
        self,
        given: Sequence[str],
        note: Callable[[str], None] = _ignore,
        *,
        outside: tuple[Path, ...] = (),
        uses_trees: bool = True,
        uses_stems: bool = True,
    ) -> None:
        self._inputs = {real_path(to_path(name)) for name in given if name != STDIN}
        self._outside = outside
        self._trees = _Unique(in_tree, note if uses_trees else _ignore)
        self._stems = _Unique(lambda name: Path(in_tree(name).name), note if uses_stems else _ignore)

    def add(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the names of the inputs, after each has got its output names."""
        for name in names:
            self._inputs.add(real_path(to_path(name)))
            self._trees.add(name)
            self._stems.add(name)
            yield name

    def in_tree(self, name: str) -> Path:
        """Return a film's relative path, in the same folders as the film."""
        return self._trees[name]

    def stem(self, name: str) -> str:
        """Return a film's name alone, for files of all films in one folder."""
        return self._stems[name].name

    def is_input(self, file: Path) -> bool:
        """Tell whether a file exists and is an input, or in a folder that was given as one."""
        real = real_path(file)
        if not os.path.lexists(real):
            return False
        # A search from above such a folder does not enter it.
        skipped = {above for folder in self._outside if folder in real.parents for above in folder.parents}
        return not self._inputs.isdisjoint({real, *real.parents} - skipped)


class _Unique:
    """Paths by film, no two alike even where file systems ignore case."""

    def __init__(self, path_of: Callable[[str], Path], note: Callable[[str], None]) -> None:
        self._path_of = path_of
        self._note = note
        self._paths: dict[str, Path] = {}
        self._taken: set[str] = set()

    def __getitem__(self, name: str) -> Path:
        return self._paths[_identity(name)]

    def add(self, name: str) -> None:
        film = _identity(name)
        if film in self._paths:
            return
        first = self._path_of(name)
        for number in itertools.count(1):
            path = first if number == 1 else first.with_name(f"{first.name}_{number}")
            if (key := str(path).casefold()) not in self._taken:
                break
        self._taken.add(key)
        self._paths[film] = path
        if number > 1:
            self._note(
                f"{name}: another film has the name {first}, so the files of this one are named {path}"
            )


def in_tree(name: str) -> Path:
    """Return a film's path without suffix, drive and `..`, so that it can be appended to a folder.

    The folders of the path are kept, so that two films of the same name get two files.
    """
    path = PurePath(name.removeprefix("file://"))
    parts = [part for part in path.parts if part not in (path.anchor, "..", ".")]
    return Path(*(parts or [Path(os.path.abspath(path)).name or "film"])).with_suffix("")  # noqa: PTH100


def with_ending(path: Path, ending: str) -> Path:
    """Append to a name, which may contain dots."""
    return path.with_name(path.name + ending)


def _identity(name: str) -> str:
    """Return what all names of one film have in common."""
    path = to_path(name)
    return address_of(path) or os.path.abspath(path)  # noqa: PTH100 - links have names of their own
