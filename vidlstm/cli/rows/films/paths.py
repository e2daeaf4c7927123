"""The names of the files that `spans` writes for films: no two films share one, and none is an input."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from vidlstm.cli.rows.inputs import STDIN
from vidlstm.files import real_path
from vidlstm.stores import address_of, to_path


def _ignore(_: str) -> None:
    """Note nothing."""


class FilmPaths:
    """Output names of the films of a run, without suffix.

    If two films would have the same name, the later one gets a number. All inputs are counted, in their
    order, so that each film has the same name in every shard, and in a run that is resumed. With other inputs
    than before, a film keeps its relative path if it is in `known`.

    Args:
        given: Files and folders as given, or `-`.
        note: Called with a sentence about each film that gets a number in a name that is used.
        outside: Folders that are skipped when a folder is searched; absolute, without links.
        uses_trees: Files are written under the films' relative paths.
        uses_stems: Files are written under the films' names alone.
        known: Relative paths of films that have one, by `film_key`; no other film gets these.
    """

    def __init__(
        self,
        given: Sequence[str],
        note: Callable[[str], None] = _ignore,
        *,
        outside: tuple[Path, ...] = (),
        uses_trees: bool = True,
        uses_stems: bool = True,
        known: Mapping[str, Path] | None = None,
    ) -> None:
        self._inputs = {real_path(to_path(name)) for name in given if name != STDIN}
        self._outside = outside
        self._trees = _Unique(in_tree, note if uses_trees else _ignore, known or {})
        self._stems = _Unique(lambda name: Path(in_tree(name).name), note if uses_stems else _ignore, {})

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

    def __init__(
        self, path_of: Callable[[str], Path], note: Callable[[str], None], known: Mapping[str, Path]
    ) -> None:
        self._path_of = path_of
        self._note = note
        self._known = known
        self._paths: dict[str, Path] = {}
        self._taken = {str(path).casefold() for path in known.values()}

    def __getitem__(self, name: str) -> Path:
        return self._paths[_identity(name)]

    def add(self, name: str) -> None:
        film = _identity(name)
        if film in self._paths:
            return
        first = self._path_of(name)
        path = self._known.get(film_key(name)) or self._free(first)
        self._taken.add(str(path).casefold())
        self._paths[film] = path
        if path != first:
            self._note(
                f"{name}: another film has the name {first}, so the files of this one are named {path}"
            )

    def _free(self, first: Path) -> Path:
        """Return the first path with a number that no film has."""
        paths = (numbered(first, number) for number in itertools.count(1))
        return next(path for path in paths if str(path).casefold() not in self._taken)


def in_tree(name: str) -> Path:
    """Return a film's path without suffix, drive and `..`, so that it can be appended to a folder.

    The folders of the path are kept, so that two films of the same name get two files.
    """
    path = PurePath(name.removeprefix("file://"))
    parts = [part for part in path.parts if part not in (path.anchor, "..", ".")]
    return Path(*(parts or [Path(os.path.abspath(path)).name or "film"])).with_suffix("")  # noqa: PTH100


def numbered(path: Path, number: int) -> Path:
    """Append a number from 2 to a name; 1 leaves it as it is."""
    return path if number == 1 else path.with_name(f"{path.name}_{number}")


def film_key(name: str) -> str:
    """Return what the names of one film have in common that are relative to one folder, wherever that is."""
    path = to_path(name)
    return address_of(path) or os.path.normpath(path)


def with_ending(path: Path, ending: str) -> Path:
    """Append to a name, which may contain dots."""
    return path.with_name(path.name + ending)


def _identity(name: str) -> str:
    """Return what all names of one film have in common."""
    path = to_path(name)
    return address_of(path) or os.path.abspath(path)  # noqa: PTH100 - links have names of their own
