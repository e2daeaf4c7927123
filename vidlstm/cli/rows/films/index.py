"""Which film each document of a folder is of, as names of documents alone do not tell.

`a.avi` and `a.mkv` have the documents `a` and `a_2`. If `a.mkv` was there first, its document is `a`, and
remains so. A hidden file of the folder holds a line per document: the film as it was given, and the number in
the document's name.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlstm.cli.rows.films.paths import film_key, in_tree, numbered, with_ending
from vidlstm.cli.rows.formats.documents import SUFFIXES
from vidlstm.errors import UsageError

FILE = ".vidlstm.jsonl"


@dataclass(frozen=True)
class DocumentIndex:
    """The films of the documents in a folder.

    Args:
        folder: The folder, which need not exist.
        paths: Name of the document in the folder, without suffix, of each film that has one, by `film_key`.
    """

    folder: Path
    paths: dict[str, Path]

    @staticmethod
    def read(folder: Path) -> DocumentIndex:
        """Read the index of a folder, without documents that no longer exist and lines cut off by a kill.

        Raises:
            UsageError: The file cannot be read.
        """
        films: dict[str, tuple[str, Path]] = {}
        for line in _lines(folder / FILE):
            match line:
                case {"film": str(name), "number": int(number)}:
                    path = numbered(in_tree(name), number)
                    films[str(path).casefold()] = film_key(name), path  # the last film wrote the document
        return DocumentIndex(folder, {key: path for key, path in films.values() if _exists(folder / path)})

    def add(self, name: str, path: Path) -> None:
        """Note the document of a film in the file, before it is written.

        Raises:
            OSError: The file cannot be written.
        """
        if self.paths.get(film_key(name)) == path:
            return
        first = in_tree(name)
        number = 1 if path == first else int(path.name.removeprefix(f"{first.name}_"))
        line = "\n" + json.dumps({"film": name, "number": number})
        with (self.folder / FILE).open("ab", buffering=0) as file:  # one write: other shards append, too
            file.write(line.encode())


def _exists(path: Path) -> bool:
    """Tell whether there is a document of any format."""
    return any(os.path.exists(with_ending(path, ending)) for ending in set(SUFFIXES.values()))  # noqa: PTH110


def _lines(file: Path) -> Iterator[Any]:
    """Yield the objects of a file, without lines that are no JSON."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror})") from None
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            yield json.loads(line)
