"""Films with labelled spans, as training and scoring use them.

A span longer than `PIECE_SECONDS` becomes several samples of equal length, so that samples have similar
lengths, like clips. Time outside the spans becomes `background`, except for `GUARD_SECONDS` next to a span,
about the precision of annotations, and for time that an annotation may cover that is not used. All samples
of a film share at least one group, so no film is in two subsets of a split. No clips are written: a sample
is a file with a start and an end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal
from unicodedata import normalize

from vidlstm.data.annotations.formats import read_annotations
from vidlstm.data.annotations.locations import locate_films
from vidlstm.data.annotations.spans import NEAR, Film, LabelledSpan, Membership, SpanProblem, settle
from vidlstm.data.layouts.folders import Subset, count, some
from vidlstm.errors import DataError, InputError, UsageError
from vidlstm.files import real_path
from vidlstm.records import Span, Times
from vidlstm.stores import is_address

Background = Literal["auto", "none"]
Probe = Callable[[Path], Film]
"""Returns a film's length and frame rate.

Raises:
    InputError: The film cannot be opened.
"""

BACKGROUND = "background"
"""The class of time without any of the actions."""
PIECE_SECONDS = 10.0
"""Maximum length of a sample; longer spans are cut."""
GUARD_SECONDS = 0.5
_MIN_SECONDS = 1.0  # minimum length of a background sample


@dataclass(frozen=True)
class Piece:
    """A part of a film with one label, which becomes a sample."""

    path: Path
    start: float
    end: float
    label: str


@dataclass(frozen=True)
class FilmTruth:
    """The true spans of a film.

    Args:
        path: The film.
        seconds: Length of the film.
        spans: True spans, without background, in order of time.
        group: Group of the film; None if the data gives none.
        split: Subset of the film; None if the data gives none.
        unclear: Times in which an annotation that is not used may show an action; they are never background,
            and spans found there are neither right nor wrong.
    """

    path: Path
    seconds: float
    spans: tuple[Span, ...]
    group: str | None = None
    split: Subset | None = None
    unclear: tuple[Times, ...] = ()

    def pieces(self, background: Background) -> Iterator[Piece]:
        """Yield the parts of the film that are samples, in order of time."""
        parts = [(s.start, s.end, s.label) for s in self.spans] + [(*times, None) for times in self.unclear]
        last = 0.0
        for start, end, label in sorted(parts, key=lambda part: part[:2]):
            if background == "auto":
                yield from self._idle(last, start)
            if label is not None:
                yield from self._cut(start, end, label)
            last = max(last, end)
        if background == "auto":
            yield from self._idle(last, self.seconds)

    def is_unclear(self, seconds: float) -> bool:
        """Tell whether `unclear` covers the film, whose true length is given, from start to end."""
        reached = 0.0
        for start, end in sorted(self.unclear):
            if start > reached + NEAR:
                break
            reached = max(reached, end)
        return bool(self.unclear) and reached >= seconds - NEAR

    def unknown(self, seconds: float) -> tuple[Times, ...]:
        """Return the times that are unclear and in no span, in order, without overlaps.

        If the film is unclear from start to end, this is the whole film: spans alone show only misses.

        Args:
            seconds: True length of the film.
        """
        if self.is_unclear(seconds):
            return ((0.0, seconds),)
        found, last = [], 0.0
        for first, until in sorted(self.unclear):
            start, end = max(first, last), min(until, seconds)
            last = max(last, end)
            for span in self.spans:
                if span.end > start and span.start < end:
                    if span.start > start:
                        found.append((start, span.start))
                    start = span.end
            if start < end:
                found.append((start, end))
        return tuple(found)

    def _idle(self, start: float, end: float) -> Iterator[Piece]:
        start, end = start + (GUARD_SECONDS if start > 0 else 0), min(end, self.seconds)
        end -= GUARD_SECONDS if end < self.seconds else 0
        if end - start >= _MIN_SECONDS:
            yield from self._cut(start, end, BACKGROUND)

    def _cut(self, start: float, end: float, label: str) -> Iterator[Piece]:
        number = max(1, math.ceil((end - start) / PIECE_SECONDS))
        length = (end - start) / number
        for place in range(number):
            yield Piece(self.path, start + place * length, start + (place + 1) * length, label)


@dataclass(frozen=True)
class Films:
    """The films of a data set.

    Args:
        films: The films, in order.
        problems: Problems of the annotations.
        layout: Description of the recognised layout.
        grouped: Whether the data gives groups.
    """

    films: tuple[FilmTruth, ...]
    problems: tuple[SpanProblem, ...]
    layout: str
    grouped: bool

    def notes(self, background: Background) -> list[str]:
        """Describe the problems of the annotations, one sentence per kind."""
        unused = [p for p in self.problems if p.unused]
        other = [p for p in self.problems if not p.unused]
        notes = [
            f"{count(len(found), 'annotation')} {what}"
            + (f", such as {found[0]}; `vidlstm check` lists all" if len(found) > 1 else f": {found[0]}")
            for found, what in ((unused, "not used"), (other, "used with a change"))
            if found
        ]
        if unclear := [film.path.name for film in self.films if film.is_unclear(film.seconds)]:
            without = "background and no span scores" if background == "auto" else "span scores"
            films = f"{count(len(unclear), 'film')} that unusable annotations may cover from start to end"
            notes.append(f"no {without} from {films}: {some(unclear)}")
        return notes


def read_films(files: Sequence[Path], root: Path, probe: Probe, group_column: str | None = None) -> Films:
    """Read annotation files and find their films.

    Args:
        files: The files that `annotation_files` returns.
        root: The folder of the films.
        probe: Returns the facts about a film.
        group_column: Column of a table that holds the groups, instead of `group`.

    Raises:
        DataError: A file cannot be read, no film exists, or one film is in two subsets.
        UsageError: A group column is given, but the data is not a table.
    """
    annotations = read_annotations(files, group_column)
    is_table = annotations.layout.startswith("table of spans")
    if group_column is not None and not is_table:
        raise UsageError(f"group_column: {group_column} needs a table, but this is {annotations.layout}")
    if stored := next(filter(is_address, annotations.films), None):
        raise DataError(f"{files[0]}: {stored} is in a store; films with spans are read from this machine")
    paths, reasons = locate_films(annotations, root, trusted=is_table)
    annotations = annotations.renamed(_first_names(paths))
    films, unusable = _open_films({name: paths[name] for name in annotations.films if name in paths}, probe)
    reasons |= unusable
    spans, problems = settle(annotations, films, reasons)
    first = next(iter(annotations.films), None)
    if first in reasons and not films:
        raise DataError(f"{files[0]}: none of its films can be used; {first}: {reasons[first]}")
    if first is not None and not films:
        missing = f"none of its {len(annotations.films)} films exists (first: {first})"
        raise DataError(f"{files[0]}: {missing}; films are searched for in {root}")
    unused = [problem for problem in problems if problem.unused]
    if unused and not spans:
        raise DataError(f"{files[0]}: none of its annotations can be used; the first: {unused[0]}")
    if first is None:
        raise DataError(f"{files[0]}: names no film")
    found: dict[str, list[LabelledSpan]] = {
        name: list(own) for name, own in groupby(spans, key=lambda s: s.film)
    }
    given: dict[str, list[Membership]] = {}
    for membership in annotations.memberships:
        given.setdefault(membership.film, []).append(membership)
    unclear: dict[str, list[Times]] = {}
    for problem in problems:
        if problem.may_cover is not None:
            unclear.setdefault(problem.film, []).append(problem.may_cover)
    truths = [
        _truth(film, found.get(name, []), given.get(name, []), unclear.get(name, []))
        for name, film in films.items()
    ]
    return Films(tuple(truths), problems, annotations.layout, any(t.group for t in truths))


def _open_films(paths: Mapping[str, Path], probe: Probe) -> tuple[dict[str, Film], dict[str, str]]:
    """Return the films that can be opened, and why the others cannot."""
    films: dict[str, Film] = {}
    reasons: dict[str, str] = {}
    for name, path in paths.items():
        try:
            films[name] = probe(path)
        except InputError as error:
            reasons[name] = error.message
    return films, reasons


def _first_names(paths: Mapping[str, Path]) -> dict[str, str]:
    """Return, for each name of a film, the first name of the same file: `a.mp4` for `./a.mp4`."""
    first: dict[str, str] = {}
    return {
        name: first.setdefault(normalize("NFC", str(real_path(path))), name) for name, path in paths.items()
    }


def _truth(
    film: Film,
    spans: Sequence[LabelledSpan],
    memberships: Sequence[Membership],
    unclear: Sequence[Times],
) -> FilmTruth:
    splits = {m.split for m in memberships if m.split is not None}
    groups = {m.group for m in memberships if m.group is not None}
    for values, what in ((splits, "subsets"), (groups, "groups")):
        if len(values) > 1:
            named = " and ".join(sorted(values))
            raise DataError(f"{film.path}: is in several {what} ({named}); a film must be in one")
    acts = [Span(s.start, s.end, s.label) for s in spans if s.label != BACKGROUND]
    seconds = film.known_seconds or max((s.end for s in spans), default=0.0)
    group, split = next(iter(groups), None), next(iter(splits), None)
    return FilmTruth(film.path, seconds, tuple(acts), group, split, tuple(unclear))
