"""One document per film, in the formats of other programs."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vidlstm.cli.console import Console
from vidlstm.cli.rows.films.index import DocumentIndex
from vidlstm.cli.rows.films.paths import FilmPaths, film_key, in_tree, with_ending
from vidlstm.cli.rows.formats.documents import SUFFIXES, DocumentFormat, to_document
from vidlstm.errors import UsageError
from vidlstm.files import write_atomically
from vidlstm.records import Failure, FilmSpans

_OF_ROWS = (".csv", ".json")  # which `choose_format` knows
_OF_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
"""Errors of one document; others, such as a full disk, end the run."""


@dataclass
class FilmDocuments:
    """The documents of the films of a run.

    A document whose name cannot be used is reported and counts as a failure.

    Args:
        console: Where failures are reported.
        format: Their format.
        index: The folder that they are written to, and the films of those that exist; None: standard output.
        paths: Names of the documents.
    """

    console: Console
    format: DocumentFormat
    index: DocumentIndex | None
    paths: FilmPaths
    failed: int = 0

    def missing(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the films without a document."""
        return (name for name in names if not _exists(self._place(name)))

    def unwritten(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the films without a document of an earlier run; each with one is a failure."""
        seen = set()
        for name in names:
            place = self._place(name)
            if place not in seen and _exists(place):
                folder = self._index.folder
                self._fail(name, f"{place} already exists; --resume {folder} skips films that are done")
                continue
            seen.add(place)
            yield name

    def has(self, name: str) -> bool:
        """Tell whether a film has a document, before all inputs are known."""
        known = self._index.paths
        path = known.get(film_key(name), in_tree(name))
        is_of_another = film_key(name) not in known and path in known.values()
        return not is_of_another and _exists(self._in_folder(path))

    def write(self, film: FilmSpans | Failure) -> None:
        """Write one film's document, whole or not at all. A film that failed has none."""
        if isinstance(film, Failure):
            return
        if self.index is None:
            sys.stdout.buffer.write(self._text(film, Path()))
            sys.stdout.buffer.flush()
            return
        place = self._place(film.path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self.index.add(film.path, self.paths.in_tree(film.path))
            write_atomically(place, self._text(film, place.parent))
        except OSError as error:
            if error.errno not in _OF_NAME:
                raise
            self._fail(film.path, f"{error.filename}: {error.strerror}")

    def _text(self, film: FilmSpans, folder: Path) -> bytes:
        return to_document(self.format, film, folder).encode("utf-8", "replace")

    def _fail(self, name: str, why: str) -> None:
        self.failed += 1
        self.console.warn(f"{name}: document not written: {why}")

    def _place(self, name: str) -> Path:
        return self._in_folder(self.paths.in_tree(name))

    def _in_folder(self, path: Path) -> Path:
        return with_ending(self._index.folder / path, SUFFIXES[self.format])

    @property
    def _index(self) -> DocumentIndex:
        assert self.index is not None
        return self.index


def _exists(place: Path) -> bool:
    return os.path.exists(place)  # noqa: PTH110 - Path raises on a name that is too long


def choose_folder(
    document: DocumentFormat | None, output: Path | None, output_dir: Path | None, resume: Path | None
) -> Path | None:
    """Return the folder for documents; None if they go elsewhere.

    Raises:
        UsageError: The options contradict each other, or the folder is a file.
    """
    if document is None:
        if output_dir is not None:
            raise UsageError(
                f"--output-dir {output_dir}: needs a format with one document per film: {', '.join(SUFFIXES)}"
            )
        return None
    if output is not None:
        raise UsageError(f"--format {document}: writes one document per film; use --output-dir, not --output")
    if resume is not None and output_dir not in (None, resume):
        raise UsageError("--resume DIR writes into DIR; leave out --output-dir")
    folder = output_dir or resume
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder for the documents")
    return folder


def require_rows_name(file: Path) -> None:
    """Check that the name of a file for rows does not promise one of the formats of documents.

    Raises:
        UsageError: It does.
    """
    suffix = file.suffix.lower()
    found = next((name for name, ending in SUFFIXES.items() if ending == suffix), None)
    if found is not None and suffix not in _OF_ROWS:
        raise UsageError(
            f"{file}: rows cannot be written as {suffix}; --format {found} --output-dir FOLDER writes one "
            f"document per film; or for a single film, --format {found} > {shlex.quote(str(file))} writes "
            "this file"
        )


def require_no_documents(folder: Path, document: DocumentFormat) -> None:
    """Check that nothing is overwritten: somebody may have corrected the documents.

    Raises:
        UsageError: The folder holds documents.
    """
    if found := next(folder.rglob(f"*{SUFFIXES[document]}"), None):
        raise UsageError(f"{found}: already exists; --resume {folder} skips films that are done")
